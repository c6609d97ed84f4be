//! `luksHeaderBackup DEVICE`

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use anyhow::Context;
use lucarne::{Access, AnyHeaderBackup, Error, Output, Replace, Storage};

use crate::{
    args::{CommonArgs, LuksHeaderBackupArgs},
    device,
    exit::{Failure, shown},
    header,
    signals::Graceful,
    unlock::expect_version,
};

/// The owner may read it; nobody may change it.
const READ_ONLY: u32 = 0o400;

pub(crate) fn run(args: &LuksHeaderBackupArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadOnly)?;
    let found = lucarne::read_any_header(&storage).with_context(|| shown(path))?;
    expect_version(path, found.version(), common.volume_type)?;
    let file = args.header_backup_file.as_path();
    let not_made = |error: Error| Failure::Parameters(format!("{}: {error}", shown(file)));
    let _graceful = Graceful::begin()?;
    // cryptsetup's code for one that cannot be made is that of wrong parameters.
    let output = Output::create_private(file, Replace::Never).map_err(not_made)?;
    let backup =
        AnyHeaderBackup::take(&storage, header::patience(common)).with_context(|| shown(path))?;
    output
        .storage()
        .write_at(backup.as_bytes(), 0)
        .and_then(|()| {
            let file = output.storage().file();
            file.set_permissions(Permissions::from_mode(READ_ONLY))
        })
        .with_context(|| shown(file))?;
    Ok(output.finish().map_err(not_made)?)
}
