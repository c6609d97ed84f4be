//! `reencrypt DEVICE`

use anyhow::Context;
use lucarne::{
    Access, Control, Error, HeaderRef, Parallelism, ReencryptOptions, ReencryptResilience,
    Reencryption, Secret, SectorSize, UnprotectedZone, luks2::Header, read_header_within,
};

use super::{editing, format_options};
use crate::{
    args::{CommonArgs, ReencryptArgs, ResilienceKind, UnprotectedSide},
    device::{self, Opened},
    exit::{Failure, shown},
    header,
    progress::{Lines, Watcher},
    report::{Report, complain},
    signals::Graceful,
};

pub(crate) fn run(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    let device = shown(&args.device);
    let opened = open(args)?;
    let limits = args.unlock.limits.to_limits();
    let selected = read_header_within(opened.header(), &limits)
        .map_err(of_luks1)
        .with_context(|| device.clone())?;
    let is_begun = selected.header.metadata().reencryption().is_some();
    if args.resume_only && !is_begun {
        return Err(Failure::Parameters(format!(
            "{device}: there is no re-encryption to go on with"
        ))
        .into());
    }
    if args.init_only && is_begun {
        return Err(Failure::Exists(format!(
            "{device}: a re-encryption is begun already: --resume-only goes on with it"
        ))
        .into());
    }
    let options = options(args, common, &selected.header)?;
    if !is_begun {
        refuse_to_lose_keyslots(args, &selected.header)?;
    }
    let data = opened.detached_header.is_some().then_some(&opened.data);
    let data = data.map(|data| data as &dyn lucarne::Storage);

    let _graceful = Graceful::begin()?;
    let unlocking = editing::unlocking(&args.device, &args.unlock, "Enter passphrase: ");
    let reencryption = unlocking.with_secret(HeaderRef::Luks2(&selected.header), |secret| {
        let (Secret::Passphrase(passphrase) | Secret::VolumeKey(passphrase)) = secret;
        if is_begun {
            Reencryption::resume(opened.header(), data, &[passphrase], &options)
        } else {
            Reencryption::begin(opened.header(), data, &[passphrase], &options)
        }
    })?;
    if args.init_only {
        report.say("Re-encryption begun; --resume-only goes on with it.");
        return Ok(());
    }
    let left: Vec<String> = (reencryption.unopened_keyslots().iter())
        .map(u32::to_string)
        .collect();
    let zone = reencryption
        .hot_zone()
        .filter(|_| args.unprotected_zone.is_some());
    let control = Control::default();
    let watcher = Watcher::new(
        &args.progress,
        common.batch_mode,
        &args.device,
        Lines::Stdout,
    );
    let parallelism = Parallelism {
        threads: usize::try_from(args.progress.threads)
            .ok()
            .and_then(std::num::NonZero::new),
        pool: None,
    };
    watcher
        .watch(&control, || reencryption.run(parallelism, &control))
        .map_err(|error| match error {
            Error::Interrupted => Failure::Parameters(format!(
                "{device}: interrupted; {} of {} bytes are done, the same command with --resume-only goes on",
                control.done_bytes(),
                control.total_bytes().unwrap_or_default()
            ))
            .into(),
            error => anyhow::Error::new(error).context(format!(
                "{device}: {} bytes are done, --resume-only goes on",
                control.done_bytes()
            )),
        })?;
    if let Some(zone) = zone {
        complain(&format!(
            "{device}: bytes {}..{} of the plaintext were not protected: part of them may be lost",
            zone.start, zone.end
        ));
    }
    if !left.is_empty() {
        complain(&format!(
            "{device}: the data were under the new key already; keyslot {} of the old one does not open with this passphrase and stays unbound: luksKillSlot removes it",
            left.join(", ")
        ));
    }
    Ok(())
}

/// Both for writing, the data past the page cache.
fn open(args: &ReencryptArgs) -> anyhow::Result<Opened> {
    let header = args.unlock.header.as_deref();
    Ok(Opened {
        data: device::open(&args.device, Access::ReadWrite)?.with_direct_writes(),
        detached_header: header
            .map(|header| device::open(header, Access::ReadWrite))
            .transpose()?,
    })
}

fn of_luks1(error: Error) -> anyhow::Error {
    match error {
        Error::Luks1 => Failure::Parameters(
            "LUKS1 has no metadata of a re-encryption: convert --type luks2 first, or copy it with rekey".into(),
        )
        .into(),
        error => error.into(),
    }
}

fn options(
    args: &ReencryptArgs,
    common: &CommonArgs,
    header: &Header,
) -> anyhow::Result<ReencryptOptions> {
    let keyslot = format_options::keyslot(&args.pbkdf, None, HeaderRef::Luks2(header))?;
    let resilience = match args.resilience {
        ResilienceKind::None => ReencryptResilience::None,
        ResilienceKind::Journal => ReencryptResilience::Journal,
        ResilienceKind::Checksum => ReencryptResilience::Checksum(
            args.resilience_hash
                .parse()
                .map_err(|error| Failure::Parameters(format!("--resilience-hash: {error}")))?,
        ),
    };
    let sector_size = args
        .sector_size
        .map(SectorSize::try_from)
        .transpose()
        .map_err(|error| Failure::Parameters(format!("--sector-size: {error}")))?;
    let cipher = args
        .cipher
        .as_ref()
        .map(|cipher| cipher.parse())
        .transpose()
        .map_err(|error| Failure::Parameters(format!("--cipher: {error}")))?;
    Ok(ReencryptOptions {
        cipher,
        key_len: args
            .key_size
            .filter(|&bytes| bytes != 0)
            .and_then(|bytes| usize::try_from(bytes).ok()),
        sector_size,
        keep_key: args.keep_key,
        keyslot: args.unlock.key_slot,
        kdf: keyslot.kdf,
        area_cipher: keyslot.area_cipher,
        hash: keyslot.hash,
        hot_zone: args.hotzone_size.filter(|&len| len != 0),
        resilience,
        unprotected_zone: args.unprotected_zone.map(|side| match side {
            UnprotectedSide::Old => UnprotectedZone::Old,
            UnprotectedSide::New => UnprotectedZone::New,
        }),
        limits: args.unlock.limits.to_limits(),
        patience: header::patience(common),
    })
}

/// A keyslot whose passphrase is not given cannot be made for the new key.
fn refuse_to_lose_keyslots(args: &ReencryptArgs, header: &Header) -> anyhow::Result<()> {
    let digest = header.metadata().digest_of_segment(0);
    let count = digest.map_or(0, |(_, digest)| digest.keyslots.len());
    if count > 1 && args.unlock.key_slot.is_none() && !args.keep_key {
        return Err(Failure::Parameters(format!(
            "{}: {count} keyslots are in use, and those whose passphrase is not given are gone in the end: name the one that stays with --key-slot",
            shown(&args.device)
        ))
        .into());
    }
    Ok(())
}
