//! `luksErase DEVICE`

use std::path::Path;

use anyhow::Context;
use lucarne::{AnyEditor, EraseEvidence, Output, Secret, SecretBytes, Storage, UnlockOptions};

use super::editing::HeaderDevice;
use crate::{
    args::{CommonArgs, KeyFileArgs, LuksEraseArgs},
    confirm, device,
    exit::{Failure, shown},
    passphrase::{Source, StdinRole},
    report::{Report, print},
};

pub(crate) fn run(
    args: &LuksEraseArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    if args.evidence.is_none() {
        refuse_passphrase_without_evidence(&args.key)?;
    }
    let device = HeaderDevice::open(&args.device, args.header.as_deref(), common)?;
    let mut editor = device.any_editor(&args.limits)?;
    let record = match &args.evidence {
        None => None,
        Some(path) => Some(Record::begin(args, path, common)?),
    };
    let passphrase = match &record {
        Some(_) => passphrase_to_try(args)?,
        None => None,
    };
    confirm::confirm(
        common.batch_mode,
        &format!(
            "This operation will erase all keyslots on device {}.\n\
             Device will become unusable after this operation.",
            device.shown()
        ),
    )?;
    let erased = match record {
        None => editor.erase_keyslots().with_context(|| device.shown())?,
        Some(record) => {
            let evidence = with_evidence(args, &mut editor, passphrase.as_ref())
                .with_context(|| device.shown())?;
            record.write(args, &evidence)?;
            evidence.removed
        }
    };
    device.warn_of_old_copies();
    for keyslot in erased {
        report.say(&format!("Key slot {keyslot} removed."));
    }
    Ok(())
}

/// Erasing takes none, and what is ignored would look like a proof.
fn refuse_passphrase_without_evidence(key: &KeyFileArgs) -> Result<(), Failure> {
    let given = [
        ("--key-file", key.key_file.is_some()),
        ("--keyfile-offset", key.keyfile_offset != 0),
        ("--keyfile-size", key.keyfile_size != 0),
        ("--timeout", key.timeout != 0),
        ("--verify-passphrase", key.verify_passphrase),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Failure::Parameters(format!(
            "{option}: erasing needs no passphrase; with --evidence one is tried before and after"
        ))),
        None => Ok(()),
    }
}

fn passphrase_to_try(args: &LuksEraseArgs) -> anyhow::Result<Option<SecretBytes>> {
    if args.key.key_file.is_none() && !args.try_passphrase {
        return Ok(None);
    }
    Source::new(&args.key, &args.device, StdinRole::Free)
        .existing()
        .map(Some)
}

fn with_evidence(
    args: &LuksEraseArgs,
    editor: &mut AnyEditor<'_>,
    passphrase: Option<&SecretBytes>,
) -> Result<EraseEvidence, lucarne::Error> {
    let options = UnlockOptions {
        // Any keyslot's passphrase will do, an unbound one's too: none shall open afterwards.
        allow_unbound: true,
        limits: args.limits.to_limits(),
        ..UnlockOptions::default()
    };
    let secret = passphrase.map(|passphrase| Secret::Passphrase(passphrase));
    editor.erase_keyslots_with_evidence(secret, &options)
}

/// The record's file, which must be there to be written before anything is erased.
struct Record<'a> {
    path: &'a Path,
    output: Output,
}

impl<'a> Record<'a> {
    fn begin(args: &LuksEraseArgs, path: &'a Path, common: &CommonArgs) -> anyhow::Result<Self> {
        let header = args.header.as_deref().unwrap_or(&args.device);
        for volume in [header, &args.device] {
            if device::is_same_file(volume, path) {
                return Err(Failure::Exists(format!(
                    "--evidence: {} is the volume itself",
                    shown(path)
                ))
                .into());
            }
        }
        let replace = confirm::replacement(common.batch_mode, path)?;
        let output = Output::create(path, replace).with_context(|| shown(path))?;
        if output.is_device() {
            return Err(
                Failure::Device(format!("--evidence: {} is a block device", shown(path))).into(),
            );
        }
        Ok(Self { path, output })
    }

    fn write(self, args: &LuksEraseArgs, evidence: &EraseEvidence) -> anyhow::Result<()> {
        let mut json = evidence.to_json();
        let header = args.header.as_deref().unwrap_or(&args.device);
        json["device"] = shown(&args.device).into();
        json["header_device"] = shown(header).into();
        let text = format!("{json:#}\n");
        let written = self
            .output
            .storage()
            .write_at(text.as_bytes(), 0)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(self.output.finish()?));
        if written.is_err() {
            // What cannot be made again must not be lost.
            print(text.as_bytes())?;
        }
        written.with_context(|| {
            format!(
                "the keyslots are erased, but the record, which is on standard output, cannot be written to {}",
                shown(self.path)
            )
        })
    }
}
