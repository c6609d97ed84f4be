//! `luksUUID DEVICE`

use lucarne::Access;

use crate::{
    args::{CommonArgs, LuksUuidArgs},
    device, report,
    unlock::read_header,
};

pub(crate) fn run(args: &LuksUuidArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.header.as_deref().unwrap_or(&args.device);
    let header = read_header(
        path,
        &device::open(path, Access::ReadOnly)?,
        common.volume_type,
    )?;
    report::print(format!("{}\n", header.as_ref().uuid()).as_bytes())?;
    Ok(())
}
