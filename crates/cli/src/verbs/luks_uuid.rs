//! `luksUUID DEVICE`

use anyhow::Context;
use lucarne::{Access, AnyEditor};

use crate::{
    args::{CommonArgs, LimitArgs, LuksUuidArgs},
    confirm, device,
    exit::{Failure, shown},
    header, report,
    unlock::read_header,
};

pub(crate) fn run(args: &LuksUuidArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.header.as_deref().unwrap_or(&args.device);
    let Some(uuid) = &args.uuid else {
        let storage = device::open(path, Access::ReadOnly)?;
        let header = read_header(path, &storage, common.volume_type, &LimitArgs::default())?;
        report::print(format!("{}\n", header.as_ref().uuid()).as_bytes())?;
        return Ok(());
    };
    // Other spellings of one (without hyphens, in braces) are none to cryptsetup.
    if uuid.len() != 36 {
        return Err(
            Failure::parameters("--uuid: a UUID is 32 hexadecimal digits and 4 hyphens").into(),
        );
    }
    let uuid = uuid
        .parse()
        .map_err(|error| Failure::Parameters(format!("--uuid: {error}")))?;
    let storage = device::open(path, Access::ReadWrite)?;
    let header = read_header(path, &storage, common.volume_type, &LimitArgs::default())?;
    let mut editor = AnyEditor::of_judged(&storage, header).with_patience(header::patience(common));
    confirm::confirm(
        common.batch_mode,
        "Do you really want to change UUID of device?",
    )?;
    editor.set_uuid(uuid).with_context(|| shown(path))
}
