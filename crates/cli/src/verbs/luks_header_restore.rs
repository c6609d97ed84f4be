//! `luksHeaderRestore DEVICE`

use anyhow::Context;
use lucarne::{Access, FileStorage, HeaderBackup, Restore};

use crate::{
    args::{CommonArgs, LuksHeaderRestoreArgs},
    confirm, device,
    exit::{Failure, shown},
    header,
    signals::Graceful,
};

pub(crate) fn run(args: &LuksHeaderRestoreArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadWrite)?;
    let file = args.header_backup_file.as_path();
    // cryptsetup's code for a backup that cannot be read is that of wrong parameters.
    let backup = FileStorage::open(file, Access::ReadOnly)
        .map_err(|error| Failure::Parameters(format!("{}: {error}", shown(file))))?;
    let backup = HeaderBackup::read(&backup).with_context(|| shown(file))?;
    let restore = backup
        .compare(&storage)
        .with_context(|| format!("{} from {}", shown(path), shown(file)))?;
    confirm::confirm(common.batch_mode, &warning(&shown(path), &restore))?;
    // A signal waits: half a header helps nobody.
    let _graceful = Graceful::begin()?;
    restore
        .run(header::patience(common))
        .with_context(|| shown(path))
}

fn warning(device: &str, restore: &Restore<'_>) -> String {
    let warnings = restore.warnings();
    let mut text = match (warnings.luks1, warnings.no_header) {
        (true, _) => format!(
            "Device {device} contains a LUKS1 header. Replacing header will destroy existing keyslots."
        ),
        (_, true) => format!(
            "Device {device} does not contain LUKS2 header. Replacing header can destroy data on that device."
        ),
        _ => format!(
            "Device {device} already contains LUKS2 header. Replacing header will destroy existing keyslots."
        ),
    };
    let mut add = |holds: bool, line: &str| {
        if holds {
            text.push('\n');
            text.push_str(line);
        }
    };
    add(
        warnings.other_uuid,
        "WARNING: real device header has different UUID than backup!",
    );
    add(
        warnings.unknown_requirements,
        "WARNING: unknown LUKS2 requirements detected in real device header!\n\
         Replacing header with backup may corrupt the data on that device!",
    );
    add(
        warnings.reencryption,
        "WARNING: Unfinished reencryption detected on the device!\n\
         Replacing header with backup may corrupt data.",
    );
    add(
        warnings.reencryption_in_backup,
        "WARNING: the backup was taken during a reencryption: it fits only where that stands as it stood then.",
    );
    add(
        !warnings.no_header && !restore.is_atomic(),
        "WARNING: there is no room to keep the old keys until the new ones are in place: if this is\n\
         interrupted, repeat it.",
    );
    text
}
