//! `luksHeaderRestore DEVICE`

use anyhow::Context;
use lucarne::{Access, AnyHeaderBackup, AnyRestore, FileStorage, HeaderRef, LockKind, LuksVersion};

use crate::{
    args::{CommonArgs, LuksHeaderRestoreArgs},
    confirm, device,
    exit::{Failure, shown},
    header,
    signals::Graceful,
    unlock::expect_version,
};

pub(crate) fn run(args: &LuksHeaderRestoreArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadWrite)?;
    if !common.disable_locks {
        // Whoever serves the data goes on under the key of the header that is there.
        let data = match &args.header {
            Some(_) => &device::open(&args.device, Access::ReadWrite)?,
            None => &storage,
        };
        device::take_into_use(&args.device, data, LockKind::Exclusive)?;
    }
    let file = args.header_backup_file.as_path();
    // cryptsetup's code for a backup that cannot be read is that of wrong parameters.
    let backup = FileStorage::open(file, Access::ReadOnly)
        .map_err(|error| Failure::Parameters(format!("{}: {error}", shown(file))))?;
    let backup = AnyHeaderBackup::read(&backup).with_context(|| shown(file))?;
    expect_version(file, backup.header().version(), common.volume_type)?;
    let restore = backup
        .compare(&storage)
        .with_context(|| format!("{} from {}", shown(path), shown(file)))?;
    let warning = warning(&shown(path), backup.header(), &restore);
    confirm::confirm(common.batch_mode, &warning)?;
    // A signal waits: half a header helps nobody.
    let _graceful = Graceful::begin()?;
    restore
        .run(header::patience(common))
        .with_context(|| shown(path))
}

fn warning(device: &str, backup: HeaderRef<'_>, restore: &AnyRestore<'_>) -> String {
    let warnings = restore.warnings();
    let version = match backup.version() {
        LuksVersion::Luks1 => "LUKS",
        LuksVersion::Luks2 => "LUKS2",
    };
    let other = match (backup.version(), warnings.luks1, warnings.luks2) {
        (LuksVersion::Luks2, true, _) => Some("LUKS1"),
        (LuksVersion::Luks1, _, true) => Some("LUKS2"),
        _ => None,
    };
    let mut text = match (other, warnings.no_header) {
        (Some(other), _) => format!(
            "Device {device} contains a {other} header. Replacing header will destroy existing keyslots."
        ),
        (_, true) => format!(
            "Device {device} does not contain {version} header. Replacing header can destroy data on that device."
        ),
        _ => format!(
            "Device {device} already contains {version} header. Replacing header will destroy existing keyslots."
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
