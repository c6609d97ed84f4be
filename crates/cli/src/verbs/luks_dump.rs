//! `luksDump DEVICE`

use std::path::Path;

use lucarne::{
    Access, SecretBytes,
    luks2::{Header, Segment},
};

use crate::{
    args::{CommonArgs, LuksDumpArgs},
    confirm, device, dump,
    exit::Failure,
    keyfile,
    passphrase::StdinRole,
    report::{self, Report},
    unlock::{Unlocking, read_selected},
};

pub(crate) fn run(args: &LuksDumpArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.unlock.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadOnly)?;
    let header = read_selected(path, &storage, &args.unlock.limits)?.header;
    let unlocking = Unlocking {
        device: &args.device,
        args: &args.unlock,
        volume_key_file: None,
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
        print_volume_key(args, path, &header, &unlocked.volume_key)
    } else if let (true, Some(keyslot)) = (args.unbound, args.unlock.key_slot) {
        if is_bound(&header, keyslot) {
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
        let text = dump::unbound_key_text(path, &header, keyslot, &unlocked.volume_key, file);
        Ok(report::print(&text)?)
    } else if args.json {
        let text = format!("{:#}\n", dump::header_json(&header));
        Ok(report::print(text.as_bytes())?)
    } else if args.dump_json_metadata {
        let text = dump::metadata_json(header.metadata().json());
        Ok(report::print(text.as_bytes())?)
    } else {
        Ok(report::print(dump::header_text(&header).as_bytes())?)
    }
}

/// As [`confirm::confirm`], but a no is a lack of permission, as in cryptsetup.
fn confirm_secret(batch_mode: bool, warning: &str) -> anyhow::Result<()> {
    confirm::confirm(batch_mode, warning)
        .map_err(|error| Failure::Permission(error.to_string()).into())
}

fn is_bound(header: &Header, keyslot: u32) -> bool {
    let mut digests = header.metadata().digest_links();
    digests
        .find(|digest| digest.keyslots.contains(&keyslot))
        .is_none_or(|digest| !digest.segments.is_empty())
}

fn print_volume_key(
    args: &LuksDumpArgs,
    path: &Path,
    header: &Header,
    key: &SecretBytes,
) -> anyhow::Result<()> {
    let metadata = header.metadata();
    let cipher = metadata
        .segments()
        .values()
        .find_map(|segment| match segment {
            Segment::Crypt(crypt) => Some(crypt.encryption.as_str()),
            _ => None,
        });
    let file = stored(args, key)?;
    let cipher = cipher.unwrap_or_default();
    let text = dump::volume_key_text(path, header, cipher, metadata.data_offset(), key, file);
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
