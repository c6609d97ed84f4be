//! `luksDump` in cryptsetup's words, so that scripts parse either.

use std::fmt::{self, Display, Write};
use std::ops::Range;

use lucarne::luks2::{
    Argon2Variant, Digest, Header, Kdf, Keyslot, Luks2Keyslot, Metadata, ReencryptDirection,
    ReencryptKeyslot, ReencryptMode, Resilience, SegmentSize, Token,
};
use serde_json::Value;

use super::{digest_id, hex_lines, is_bound, printable, priority_word};

const NEXT_HEX_LINE: &str = "\n\t            ";

/// The whole header.
pub(crate) fn header_text(header: &Header) -> String {
    let mut text = String::new();
    write_header(&mut text, header)
        .unwrap_or_else(|_| unreachable!("writing to a String cannot fail"));
    text
}

fn write_header(out: &mut String, header: &Header) -> fmt::Result {
    let metadata = header.metadata();
    let or = |text: &str, absent: &'static str| match text {
        "" => absent.to_owned(),
        text => printable(text).into_owned(),
    };
    writeln!(out, "LUKS header information")?;
    writeln!(out, "Version:       \t2")?;
    writeln!(out, "Epoch:         \t{}", header.seqid())?;
    writeln!(out, "Metadata area: \t{} [bytes]", header.header_size())?;
    writeln!(out, "Keyslots area: \t{} [bytes]", metadata.keyslots_size())?;
    writeln!(out, "UUID:          \t{}", or(header.uuid(), "(no UUID)"))?;
    writeln!(out, "Label:         \t{}", or(header.label(), "(no label)"))?;
    writeln!(
        out,
        "Subsystem:     \t{}",
        or(header.subsystem(), "(no subsystem)")
    )?;
    write_config(out, metadata)?;
    write_segments(out, metadata)?;
    writeln!(out, "Keyslots:")?;
    for (id, keyslot) in metadata.keyslots() {
        write_keyslot(out, metadata, *id, keyslot)?;
    }
    writeln!(out, "Tokens:")?;
    for (id, token) in metadata.tokens() {
        write_token(out, *id, token)?;
    }
    writeln!(out, "Digests:")?;
    let mut ids: Vec<_> = metadata.digest_links().map(|digest| digest.id).collect();
    ids.sort_unstable();
    for id in ids {
        if let Some(digest) = metadata.digests().get(&id) {
            write_digest(out, id, digest)?;
        } else if let Some(unusable) = metadata.unusable_digests().get(&id) {
            writeln!(out, "  {id}: {}", printable(&unusable.kind))?;
            write_defect(out, &unusable.defect)?;
        }
    }
    Ok(())
}

fn write_config(out: &mut String, metadata: &Metadata) -> fmt::Result {
    write!(out, "Flags:       \t")?;
    for flag in metadata.flags() {
        write!(out, "{} ", printable(flag))?;
    }
    if metadata.flags().is_empty() {
        write!(out, "(no flags)")?;
    }
    writeln!(out)?;
    if !metadata.requirements().is_empty() {
        write!(out, "Requirements:\t")?;
        for requirement in metadata.requirements() {
            write!(out, "{} ", printable(requirement.as_str()))?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn write_segments(out: &mut String, metadata: &Metadata) -> fmt::Result {
    writeln!(out, "Data segments:")?;
    for (id, segment) in metadata.segments() {
        // Members that a segment of an unknown type may have too are taken from the JSON.
        let member = |name: &str| {
            metadata
                .json()
                .get("segments")?
                .get(id.to_string())?
                .get(name)
        };
        writeln!(out, "  {id}: {}", printable(segment.kind()))?;
        writeln!(out, "\toffset: {} [bytes]", segment.offset())?;
        match segment.size() {
            SegmentSize::Dynamic => writeln!(out, "\tlength: (whole device)")?,
            SegmentSize::Bytes(bytes) => writeln!(out, "\tlength: {bytes} [bytes]")?,
        }
        let opal = segment.kind().starts_with("hw-opal");
        match member("encryption").and_then(Value::as_str) {
            Some(cipher) => writeln!(out, "\tcipher: {}", printable(cipher))?,
            None if opal => writeln!(out, "\tcipher: (no SW encryption)")?,
            None => {}
        }
        if let Some(bytes) = member("sector_size").and_then(Value::as_u64) {
            writeln!(out, "\tsector: {bytes} [bytes]")?;
        }
        let integrity = |name| member("integrity").and_then(|integrity| integrity.get(name));
        if let Some(kind) = integrity("type").and_then(Value::as_str) {
            writeln!(out, "\tintegrity: {}", printable(kind))?;
        }
        if let Some(bytes) = integrity("key_size").and_then(Value::as_u64) {
            let bits = bytes.saturating_mul(8);
            writeln!(out, "\tintegrity key size: {bits} [bits]")?;
        }
        if !segment.flags().is_empty() {
            writeln!(out, "\tflags : {}", printable(&segment.flags().join(", ")))?;
        }
        if opal {
            let number = |name| member(name).and_then(Value::as_u64).unwrap_or(0);
            let len = member("opal_segment_size").and_then(Value::as_str);
            let key_bits = number("opal_key_size").saturating_mul(8);
            writeln!(out, "\tHW OPAL encryption:")?;
            writeln!(
                out,
                "\t\tOPAL segment number: {}",
                number("opal_segment_number")
            )?;
            writeln!(out, "\t\tOPAL key: {key_bits} bits")?;
            writeln!(
                out,
                "\t\tOPAL segment length: {} [bytes]",
                printable(len.unwrap_or("0"))
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_keyslot(out: &mut String, metadata: &Metadata, id: u32, keyslot: &Keyslot) -> fmt::Result {
    let unbound = if is_bound(metadata, id) {
        ""
    } else {
        " (unbound)"
    };
    writeln!(out, "  {id}: {}{unbound}", printable(keyslot.kind()))?;
    writeln!(
        out,
        "\tKey:        {} bits",
        u64::from(keyslot.key_size()) * 8
    )?;
    writeln!(out, "\tPriority:   {}", priority_word(keyslot.priority()))?;
    match keyslot {
        Keyslot::Luks2(luks2) => write_luks2(out, luks2)?,
        Keyslot::Reencrypt(reencrypt) => write_reencrypt(out, reencrypt)?,
        Keyslot::Unusable(unusable) => {
            write_defect(out, &unusable.defect)?;
            write_area(out, &unusable.area)?;
        }
        _ => {}
    }
    if let Some(digest) = digest_id(metadata, id) {
        writeln!(out, "\tDigest ID:  {digest}")?;
    }
    Ok(())
}

fn write_luks2(out: &mut String, keyslot: &Luks2Keyslot) -> fmt::Result {
    let area = &keyslot.area;
    writeln!(out, "\tCipher:     {}", printable(&area.encryption))?;
    writeln!(out, "\tCipher key: {} bits", u64::from(area.key_size) * 8)?;
    let salt = match &keyslot.kdf {
        Kdf::Pbkdf2 {
            hash,
            iterations,
            salt,
        } => {
            writeln!(out, "\tPBKDF:      pbkdf2")?;
            writeln!(out, "\tHash:       {}", printable(hash))?;
            writeln!(out, "\tIterations: {iterations}")?;
            salt.as_slice()
        }
        Kdf::Argon2 {
            variant,
            time,
            memory_kib,
            lanes,
            salt,
        } => {
            writeln!(out, "\tPBKDF:      {}", argon2_word(*variant))?;
            writeln!(out, "\tTime cost:  {time}")?;
            writeln!(out, "\tMemory:     {memory_kib}")?;
            writeln!(out, "\tThreads:    {lanes}")?;
            salt
        }
        Kdf::Unknown { kind } => {
            writeln!(out, "\tPBKDF:      {}", printable(kind))?;
            &[]
        }
        _ => &[],
    };
    writeln!(out, "\tSalt:       {}", hex_lines(salt, NEXT_HEX_LINE))?;
    writeln!(out, "\tAF stripes: {}", keyslot.af.stripes)?;
    writeln!(out, "\tAF hash:    {}", printable(&keyslot.af.hash))?;
    writeln!(out, "\tArea offset:{} [bytes]", area.offset)?;
    writeln!(out, "\tArea length:{} [bytes]", area.size)
}

pub(super) fn argon2_word(variant: Argon2Variant) -> &'static str {
    match variant {
        Argon2Variant::I => "argon2i",
        Argon2Variant::Id => "argon2id",
    }
}

fn write_reencrypt(out: &mut String, keyslot: &ReencryptKeyslot) -> fmt::Result {
    let mode = match keyslot.mode {
        ReencryptMode::Reencrypt => "reencrypt",
        ReencryptMode::Encrypt => "encrypt",
        ReencryptMode::Decrypt => "decrypt",
    };
    let direction = match keyslot.direction {
        ReencryptDirection::Forward => "forward",
        ReencryptDirection::Backward => "backward",
    };
    writeln!(out, "\tMode:       {mode}")?;
    writeln!(out, "\tDirection:  {direction}")?;
    writeln!(
        out,
        "\tResilience: {}",
        printable(keyslot.resilience.kind())
    )?;
    let checksum = match &keyslot.resilience {
        Resilience::Checksum(checksum) | Resilience::DatashiftChecksum { checksum, .. } => {
            Some(checksum)
        }
        _ => None,
    };
    if let Some(checksum) = checksum {
        writeln!(out, "\tHash:       {}", printable(&checksum.hash))?;
        writeln!(out, "\tHash data:  {} [bytes]", checksum.sector_size)?;
    }
    if let Resilience::Datashift { shift_size }
    | Resilience::DatashiftJournal { shift_size }
    | Resilience::DatashiftChecksum { shift_size, .. } = keyslot.resilience
    {
        // Without a space, as cryptsetup prints it.
        writeln!(out, "\tShift size: {shift_size}[bytes]")?;
    }
    write_area(out, &keyslot.area)
}

fn write_area(out: &mut String, area: &Range<u64>) -> fmt::Result {
    writeln!(out, "\tArea offset:{} [bytes]", area.start)?;
    writeln!(
        out,
        "\tArea length:{} [bytes]",
        area.end.saturating_sub(area.start)
    )
}

/// Why a keyslot or digest opens nothing. cryptsetup prints its members whatever they say.
fn write_defect(out: &mut String, defect: &impl Display) -> fmt::Result {
    writeln!(out, "\tUnusable:   {}", printable(&defect.to_string()))
}

fn write_token(out: &mut String, id: u32, token: &Token) -> fmt::Result {
    writeln!(out, "  {id}: {}", printable(&token.kind))?;
    if token.kind == "luks2-keyring"
        && let Some(description) = token.json.get("key_description").and_then(Value::as_str)
    {
        writeln!(out, "\tKey description: {}", printable(description))?;
    }
    let keyslots = token.json.get("keyslots").and_then(Value::as_array);
    for keyslot in keyslots.into_iter().flatten().filter_map(Value::as_str) {
        writeln!(out, "\tKeyslot:    {}", printable(keyslot))?;
    }
    Ok(())
}

fn write_digest(out: &mut String, id: u32, digest: &Digest) -> fmt::Result {
    writeln!(out, "  {id}: pbkdf2")?;
    writeln!(out, "\tHash:       {}", printable(&digest.hash))?;
    writeln!(out, "\tIterations: {}", digest.iterations)?;
    writeln!(
        out,
        "\tSalt:       {}",
        hex_lines(&digest.salt, NEXT_HEX_LINE)
    )?;
    writeln!(
        out,
        "\tDigest:     {}",
        hex_lines(&digest.digest, NEXT_HEX_LINE)
    )
}
