//! `luksDump` of a LUKS1 header: in cryptsetup's words, and as JSON.

use std::fmt::{self, Write};
use std::path::Path;

use lucarne::luks1::{Header, Keyslot, KeyslotState};
use serde_json::{Value, json};

use super::{hex_lines, printable};

/// Under the first byte of a digest or a volume key's salt, and under that of a keyslot's salt.
const NEXT_HEX_LINE: &str = "\n               \t";
const NEXT_KEYSLOT_HEX_LINE: &str = "\n\t                      \t";

/// The whole header.
pub(super) fn header_text(device: &Path, header: &Header) -> String {
    let mut text = String::new();
    write_header(&mut text, device, header)
        .unwrap_or_else(|_| unreachable!("writing to a String cannot fail"));
    text
}

fn write_header(out: &mut String, device: &Path, header: &Header) -> fmt::Result {
    writeln!(out, "LUKS header information for {}", device.display())?;
    writeln!(out)?;
    writeln!(out, "Version:       \t1")?;
    writeln!(out, "Cipher name:   \t{}", printable(header.cipher_name()))?;
    writeln!(out, "Cipher mode:   \t{}", printable(header.cipher_mode()))?;
    writeln!(out, "Hash spec:     \t{}", printable(header.hash()))?;
    writeln!(out, "Payload offset:\t{}", header.payload_offset() / 512)?;
    writeln!(
        out,
        "MK bits:       \t{}",
        u64::from(header.key_bytes()) * 8
    )?;
    match header.digest() {
        Ok(digest) => {
            // The digest's twenty bytes stand in one line.
            let hex: String = digest.digest.iter().map(|b| format!("{b:02x} ")).collect();
            writeln!(out, "MK digest:     \t{hex}")?;
            let salt = hex_lines(&digest.salt, NEXT_HEX_LINE);
            writeln!(out, "MK salt:       \t{salt}")?;
            writeln!(out, "MK iterations: \t{}", digest.iterations)?;
        }
        Err(defect) => writeln!(out, "MK digest:     \tunusable: {defect}")?,
    }
    writeln!(out, "UUID:          \t{}", printable(header.uuid()))?;
    writeln!(out)?;
    for (id, keyslot) in header.keyslots().iter().enumerate() {
        write_keyslot(out, id, keyslot)?;
    }
    Ok(())
}

fn write_keyslot(out: &mut String, id: usize, keyslot: &Keyslot) -> fmt::Result {
    match &keyslot.state {
        KeyslotState::Active { iterations, salt } => {
            writeln!(out, "Key Slot {id}: ENABLED")?;
            writeln!(out, "\tIterations:         \t{iterations}")?;
            let salt = hex_lines(salt, NEXT_KEYSLOT_HEX_LINE);
            writeln!(out, "\tSalt:               \t{salt}")?;
            writeln!(out, "\tKey material offset:\t{}", keyslot.area.start / 512)?;
            writeln!(out, "\tAF stripes:            \t4000")
        }
        KeyslotState::Inactive => writeln!(out, "Key Slot {id}: DISABLED"),
        KeyslotState::Unusable { defect, .. } => {
            let defect = defect.to_string();
            writeln!(out, "Key Slot {id}: UNUSABLE")?;
            writeln!(out, "\tUnusable:   {}", printable(&defect))
        }
    }
}

/// The header as a JSON value, with the names that `machine` gives LUKS2's parts.
pub(super) fn header_json(header: &Header) -> Value {
    let used = (0_u32..).zip(header.keyslots());
    let used = used.filter(|(_, keyslot)| keyslot.state != KeyslotState::Inactive);
    let keyslots: Vec<_> = used
        .map(|(id, keyslot)| keyslot_json(header, id, keyslot))
        .collect();
    let digest = match header.digest() {
        Ok(digest) => json!({
            "id": 0,
            "type": "pbkdf2",
            "hash": header.hash(),
            "iterations": digest.iterations,
        }),
        Err(defect) => json!({ "id": 0, "type": "pbkdf2", "unusable": defect.to_string() }),
    };
    json!({
        "version": 1,
        "uuid": header.uuid(),
        "key_bits": u64::from(header.key_bytes()) * 8,
        "segments": [{
            "id": 0,
            "type": "crypt",
            "offset_bytes": header.payload_offset(),
            "size_bytes": null,
            "cipher": header.encryption(),
            "sector_bytes": 512,
        }],
        "keyslots": keyslots,
        "digests": [digest],
    })
}

fn keyslot_json(header: &Header, id: u32, keyslot: &Keyslot) -> Value {
    let mut value = json!({
        "id": id,
        "type": "luks1",
        "key_bits": u64::from(header.key_bytes()) * 8,
        "cipher": header.encryption(),
        "area_offset_bytes": keyslot.area.start,
        "area_size_bytes": keyslot.area.end.saturating_sub(keyslot.area.start),
        "af_hash": header.hash(),
        "af_stripes": 4000,
    });
    match &keyslot.state {
        KeyslotState::Active { iterations, .. } => {
            value["pbkdf"] =
                json!({ "type": "pbkdf2", "hash": header.hash(), "iterations": iterations });
        }
        KeyslotState::Unusable { defect, .. } => value["unusable"] = json!(defect.to_string()),
        KeyslotState::Inactive => {}
    }
    value
}
