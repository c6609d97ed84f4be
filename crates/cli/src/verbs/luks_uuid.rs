//! `luksUUID DEVICE`

use lucarne::Access;

use crate::{args::LuksUuidArgs, device, report, unlock::read_header};

pub(crate) fn run(args: &LuksUuidArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.header.as_deref().unwrap_or(&args.device);
    let header = read_header(path, &device::open(path, Access::ReadOnly)?)?;
    report::print(format!("{}\n", header.uuid()).as_bytes())?;
    Ok(())
}
