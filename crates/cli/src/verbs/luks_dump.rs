//! `luksDump DEVICE`

use std::path::Path;

use anyhow::Context;
use lucarne::{Access, AnyHeader, Error, HeaderRef, SecretBytes, luks2::Header};

use crate::{
    args::{CommonArgs, LuksDumpArgs},
    confirm, device, dump,
    exit::{Failure, shown},
    keyfile,
    passphrase::StdinRole,
    report::{self, Report},
    unlock::{Unlocking, read_header},
};

pub(crate) fn run(args: &LuksDumpArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.unlock.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadOnly)?;
    let header = read_header(path, &storage, common.volume_type, &args.unlock.limits)?;
    let unlocking = Unlocking {
        device: &args.device,
        args: &args.unlock,
        volume_type: common.volume_type,
        volume_key_file: None,
        volume_key_len: None,
        token: None,
        stdin: StdinRole::Free,
        prompt: None,
        judging: None,
    };
    if args.dump_volume_key {
        confirm_secret(
            common.batch_mode,
            "The header dump with volume key is sensitive information\n\
             that allows access to encrypted partition without a passphrase.\n\
             This dump should be stored encrypted in a safe place.",
        )?;
        // As in cryptsetup, --key-slot chooses nothing here: an unbound keyslot has no volume key.
        let unlocked = unlocking.key(&header, &storage, None, false, report)?;
        print_volume_key(args, path, header.as_ref(), &unlocked.volume_key)
    } else if let (true, Some(keyslot)) = (args.unbound, args.unlock.key_slot) {
        if is_bound(header.as_ref(), keyslot) {
            return Err(Failure::Parameters(format!(
                "--unbound: keyslot {keyslot} does not hold an unbound key"
            ))
            .into());
        }
        confirm_secret(
            common.batch_mode,
            "The header dump with unbound key is sensitive information.\n\
             This dump should be stored encrypted in a safe place.",
        )?;
        let unlocked = unlocking.key(&header, &storage, Some(keyslot), true, report)?;
        let file = stored(args, &unlocked.volume_key)?;
        let text = dump::unbound_key_text(
            path,
            header.as_ref().uuid(),
            keyslot,
            &unlocked.volume_key,
            file,
        );
        Ok(report::print(&text)?)
    } else if args.json {
        let text = format!("{:#}\n", dump::header_json(header.as_ref()));
        Ok(report::print(text.as_bytes())?)
    } else if args.dump_json_metadata {
        let text = dump::metadata_json(luks2(path, &header)?.metadata().json());
        Ok(report::print(text.as_bytes())?)
    } else {
        let text = dump::header_text(path, header.as_ref());
        Ok(report::print(text.as_bytes())?)
    }
}

/// As [`confirm::confirm`], but a no is a lack of permission, as in cryptsetup.
fn confirm_secret(batch_mode: bool, warning: &str) -> anyhow::Result<()> {
    confirm::confirm(batch_mode, warning)
        .map_err(|error| Failure::Permission(error.to_string()).into())
}

/// The header, for what LUKS2 alone has.
fn luks2<'h>(path: &Path, header: &'h AnyHeader) -> anyhow::Result<&'h Header> {
    match header {
        AnyHeader::Luks2(selected) => Ok(&selected.header),
        AnyHeader::Luks1(_) => Err(Error::Luks1).with_context(|| shown(path)),
    }
}

fn is_bound(header: HeaderRef<'_>, keyslot: u32) -> bool {
    let HeaderRef::Luks2(header) = header else {
        return true;
    };
    let mut digests = header.metadata().digest_links();
    digests
        .find(|digest| digest.keyslots.contains(&keyslot))
        .is_none_or(|digest| !digest.segments.is_empty())
}

fn print_volume_key(
    args: &LuksDumpArgs,
    path: &Path,
    header: HeaderRef<'_>,
    key: &SecretBytes,
) -> anyhow::Result<()> {
    let file = stored(args, key)?;
    let text = dump::volume_key_text(path, header, key, file);
    Ok(report::print(&text)?)
}

/// Writes the key to `--volume-key-file`, if there is one.
fn stored<'a>(args: &'a LuksDumpArgs, key: &SecretBytes) -> anyhow::Result<Option<&'a Path>> {
    let file = args.volume_key_file.as_deref();
    if let Some(file) = file {
        keyfile::write_new(file, key)?;
    }
    Ok(file)
}
