//! From the command line to the library's options.

use lucarne::{
    HeaderRef, ReencryptOptions, ReencryptResilience, SectorSize, UnprotectedZone, luks2::Header,
};

use crate::{
    args::{CommonArgs, ReencryptArgs, ResilienceKind, UnprotectedSide},
    exit::Failure,
    header,
    verbs::format_options,
};

/// What only a new volume can have.
pub(super) fn refuse_what_has_no_effect(args: &ReencryptArgs) -> anyhow::Result<()> {
    let volume = &args.volume;
    let of_new = [
        ("--offset", volume.offset.is_some()),
        ("--align-payload", volume.align_payload.is_some()),
        ("--label", volume.label.is_some()),
        ("--subsystem", volume.subsystem.is_some()),
        ("--uuid", volume.uuid.is_some()),
        (
            "--luks2-metadata-size",
            volume.luks2_metadata_size.is_some(),
        ),
        (
            "--luks2-keyslots-size",
            volume.luks2_keyslots_size.is_some(),
        ),
    ];
    let of_crypt = [
        ("--cipher", volume.cipher.is_some()),
        ("--key-size", volume.key_size.is_some()),
        ("--sector-size", volume.sector_size.is_some()),
    ];
    let given = |options: &[(&'static str, bool)]| {
        let mut given = options.iter().filter(|(_, is_given)| *is_given);
        given.next().map(|(name, _)| *name)
    };
    if let Some(name) = given(&of_new).filter(|_| !args.encrypt) {
        return Err(Failure::Parameters(format!("{name}: only with --encrypt")).into());
    }
    if let Some(name) = given(&of_crypt).filter(|_| args.decrypt) {
        return Err(Failure::Parameters(format!("{name}: not with --decrypt")).into());
    }
    Ok(())
}

pub(super) fn translate(
    args: &ReencryptArgs,
    common: &CommonArgs,
    header: &Header,
) -> anyhow::Result<ReencryptOptions> {
    let keyslot = format_options::keyslot(&args.pbkdf, None, HeaderRef::Luks2(header))?;
    let sector_size = args
        .volume
        .sector_size
        .map(SectorSize::try_from)
        .transpose()
        .map_err(|error| Failure::Parameters(format!("--sector-size: {error}")))?;
    let cipher = args
        .volume
        .cipher
        .as_ref()
        .map(|cipher| cipher.parse())
        .transpose()
        .map_err(|error| Failure::Parameters(format!("--cipher: {error}")))?;
    Ok(ReencryptOptions {
        cipher,
        key_len: args
            .volume
            .key_size
            .filter(|&bytes| bytes != 0)
            .and_then(|bytes| usize::try_from(bytes).ok()),
        sector_size,
        keep_key: args.keep_key,
        keyslots: args.unlock.key_slot.into_iter().collect(),
        kdf: keyslot.kdf,
        area_cipher: keyslot.area_cipher,
        hash: keyslot.hash,
        ..of_new(args, common)
    })
}

/// Those that do not depend on a header.
pub(super) fn of_new(args: &ReencryptArgs, common: &CommonArgs) -> ReencryptOptions {
    ReencryptOptions {
        hot_zone: args.hotzone_size.filter(|&len| len != 0),
        unprotected_zone: args.unprotected_zone.map(|side| match side {
            UnprotectedSide::Old => UnprotectedZone::Old,
            UnprotectedSide::New => UnprotectedZone::New,
        }),
        limits: args.unlock.limits.to_limits(),
        patience: header::patience(common),
        ..ReencryptOptions::default()
    }
}

/// The resilience of data that stay where they are.
pub(super) fn in_place(args: &ReencryptArgs) -> anyhow::Result<ReencryptResilience> {
    match args.resilience.unwrap_or(ResilienceKind::Checksum) {
        ResilienceKind::None => Ok(ReencryptResilience::None),
        ResilienceKind::Journal => Ok(ReencryptResilience::Journal),
        ResilienceKind::Checksum => checksum(args),
        ResilienceKind::Datashift
        | ResilienceKind::DatashiftChecksum
        | ResilienceKind::DatashiftJournal => Err(Failure::parameters(
            "--resilience datashift: the data stay where they are; choose checksum, journal or none",
        )
        .into()),
    }
}

/// The resilience of a head that stays, when the rest moves to the start of the device.
pub(super) fn of_head(args: &ReencryptArgs) -> anyhow::Result<ReencryptResilience> {
    match args.resilience.unwrap_or(ResilienceKind::Checksum) {
        ResilienceKind::Journal | ResilienceKind::DatashiftJournal => {
            Ok(ReencryptResilience::Journal)
        }
        ResilienceKind::Checksum | ResilienceKind::DatashiftChecksum => checksum(args),
        ResilienceKind::None | ResilienceKind::Datashift => Err(Failure::parameters(
            "--resilience: the first of the data are decrypted in their place; choose datashift-checksum or datashift-journal",
        )
        .into()),
    }
}

fn checksum(args: &ReencryptArgs) -> anyhow::Result<ReencryptResilience> {
    let hash = args
        .resilience_hash
        .parse()
        .map_err(|error| Failure::Parameters(format!("--resilience-hash: {error}")))?;
    Ok(ReencryptResilience::Checksum(hash))
}
