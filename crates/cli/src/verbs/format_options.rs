//! From the options to what the library makes.

use std::{fmt::Display, path::Path, str::FromStr, time::Duration};

use anyhow::Context;
use lucarne::{
    CipherSpec, FormatOptions, HeaderRef, KdfKind, KdfRequest, KeyslotOptions, LuksVersion,
    SectorSize,
};

use crate::{
    args::{CommonArgs, FormatArgs, NewVolumeArgs, PbkdfArgs, VolumeType},
    exit::Failure,
    keyfile,
    report::complain,
};

/// Bytes of a volume key that nobody chose, as in cryptsetup; XTS has two keys.
const KEY_LEN: usize = 32;

/// What the options say of a new volume.
pub(super) struct NewVolume<'a> {
    pub(super) volume: &'a NewVolumeArgs,
    pub(super) pbkdf: &'a PbkdfArgs,
    pub(super) volume_key_file: Option<&'a Path>,
    pub(super) key_slot: Option<u32>,
    pub(super) has_detached_header: bool,
    pub(super) version: LuksVersion,
}

/// The library's options; what was not given is its default.
pub(super) fn translate(args: &FormatArgs, common: &CommonArgs) -> anyhow::Result<FormatOptions> {
    NewVolume {
        volume: &args.volume,
        pbkdf: &args.pbkdf,
        volume_key_file: args.volume_key_file.as_deref(),
        key_slot: args.key_slot,
        has_detached_header: args.header.is_some(),
        version: match common.volume_type {
            VolumeType::Luks1 => LuksVersion::Luks1,
            _ => LuksVersion::Luks2,
        },
    }
    .translate()
}

impl NewVolume<'_> {
    pub(super) fn translate(&self) -> anyhow::Result<FormatOptions> {
        let args = self.volume;
        let mut options = FormatOptions {
            version: self.version,
            ..FormatOptions::default()
        };
        if let Some(cipher) = &args.cipher {
            options.cipher = parse("--cipher", cipher)?;
            options.key_len = match options.cipher.chain_mode() {
                Some("xts") => 2 * KEY_LEN,
                _ => KEY_LEN,
            };
        }
        if let Some(bytes) = args.key_size.filter(|&bytes| bytes != 0) {
            options.key_len = len("--key-size", bytes)?;
        }
        if let Some(path) = self.volume_key_file {
            options.volume_key = Some(keyfile::read_volume_key(path, Some(options.key_len))?);
        }
        if let Some(bytes) = args.sector_size {
            let size =
                SectorSize::try_from(bytes).map_err(|error| refused("--sector-size", error))?;
            options.sector_size = Some(size);
        }
        if let Some(hash) = &self.pbkdf.hash {
            options.hash = parse("--hash", hash)?;
        }
        if let Some(uuid) = &args.uuid {
            // Other spellings of one (without hyphens, in braces) are none to cryptsetup.
            if uuid.len() != 36 {
                return Err(
                    refused("--uuid", "a UUID is 32 hexadecimal digits and 4 hyphens").into(),
                );
            }
            options.uuid = Some(parse("--uuid", uuid)?);
        }
        options.label = args.label.clone().unwrap_or_default();
        options.subsystem = args.subsystem.clone().unwrap_or_default();
        // As in cryptsetup, 0 stands for the default.
        let chosen = |size: Option<u64>| size.filter(|&size| size != 0);
        if options.version == LuksVersion::Luks1
            && (args.luks2_metadata_size.is_some() || args.luks2_keyslots_size.is_some())
        {
            // Even 0, as in cryptsetup.
            return Err(Failure::parameters(
                "--luks2-metadata-size and --luks2-keyslots-size are for --type luks2",
            )
            .into());
        }
        options.metadata_size = chosen(args.luks2_metadata_size);
        options.keyslots_size = chosen(args.luks2_keyslots_size);
        options.data_offset = args.offset;
        options.data_alignment = chosen(args.align_payload);
        options.keyslot = self.key_slot.unwrap_or(0);
        if let Some((cipher, key_len)) = area_cipher(self.pbkdf)? {
            options.keyslot_cipher = Some(cipher);
            options.keyslot_key_len = Some(key_len);
        }
        options.kdf = kdf(self.pbkdf, options.version)?;
        // Before a passphrase is asked for, which would be for nothing.
        options.check(self.has_detached_header)?;
        Ok(options)
    }
}

/// The library's options of a new keyslot in a header that exists.
pub(super) fn keyslot<'h>(
    args: &PbkdfArgs,
    keyslot: Option<u32>,
    header: impl Into<HeaderRef<'h>>,
) -> anyhow::Result<KeyslotOptions> {
    let header = header.into();
    if let (HeaderRef::Luks1(header), Some(hash)) = (header, &args.hash)
        && !hash.eq_ignore_ascii_case(header.hash())
    {
        // It is taken as in cryptsetup, but not without a word.
        complain(&format!(
            "--hash {hash}: a LUKS1 volume has one hash for all, {}, and the keyslot has it too",
            header.hash()
        ));
    }
    let mut options = KeyslotOptions {
        keyslot,
        kdf: kdf(args, header.version())?,
        area_cipher: area_cipher(args)?,
        ..KeyslotOptions::default()
    };
    if let Some(hash) = &args.hash {
        options.hash = parse("--hash", hash)?;
    }
    Ok(options)
}

fn area_cipher(args: &PbkdfArgs) -> anyhow::Result<Option<(CipherSpec, usize)>> {
    match (&args.keyslot_cipher, args.keyslot_key_size) {
        (Some(cipher), Some(bytes)) => Ok(Some((
            parse("--keyslot-cipher", cipher)?,
            len("--keyslot-key-size", bytes)?,
        ))),
        _ => Ok(None),
    }
}

fn kdf(args: &PbkdfArgs, version: LuksVersion) -> anyhow::Result<KdfRequest> {
    let chosen = |number: Option<u32>| number.filter(|&number| number != 0);
    let mut kdf = KdfRequest::default();
    if version == LuksVersion::Luks1 {
        kdf.kind = KdfKind::Pbkdf2;
    }
    if let Some(kind) = &args.pbkdf {
        kdf.kind = parse("--pbkdf", kind)?;
    }
    if let Some(ms) = chosen(args.iter_time) {
        kdf.target = Duration::from_millis(ms.into());
    }
    if let Some(kib) = chosen(args.pbkdf_memory) {
        kdf.max_memory_kib = kib;
    }
    if let Some(lanes) = chosen(args.pbkdf_parallel) {
        kdf.max_lanes = lanes;
    }
    // 0 is a number like any other here, and too small.
    kdf.iterations = args.pbkdf_force_iterations;
    Ok(kdf)
}

fn parse<T: FromStr<Err: Display>>(option: &str, text: &str) -> anyhow::Result<T> {
    text.parse().map_err(|error| refused(option, error).into())
}

fn refused(option: &str, error: impl Display) -> Failure {
    Failure::Parameters(format!("{option}: {error}"))
}

fn len(option: &'static str, bytes: u32) -> anyhow::Result<usize> {
    usize::try_from(bytes).context(option)
}
