//! `convert --type TYPE DEVICE`

use anyhow::Context;
use lucarne::LuksVersion;

use super::editing::HeaderDevice;
use crate::{
    args::{CommonArgs, ConvertArgs, VolumeType},
    confirm,
    exit::Failure,
};

pub(crate) fn run(args: &ConvertArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let (to, name) = match common.volume_type {
        VolumeType::Luks1 => (LuksVersion::Luks1, "LUKS1"),
        VolumeType::Luks2 => (LuksVersion::Luks2, "LUKS2"),
        VolumeType::Luks => {
            return Err(Failure::parameters(
                "convert: --type says what the volume becomes: luks1 or luks2",
            )
            .into());
        }
    };
    let device = HeaderDevice::open(&args.device, args.header.as_deref(), common)?;
    // Before anybody is asked.
    let header = lucarne::read_any_header(device.storage()).with_context(|| device.shown())?;
    if header.version() == to {
        return Err(Failure::Parameters(format!(
            "{}: the volume is {name} already",
            device.shown()
        ))
        .into());
    }
    confirm::confirm(
        common.batch_mode,
        &format!(
            "This operation will convert {} to {name} format.",
            device.shown()
        ),
    )?;
    lucarne::convert(device.storage(), to, device.patience()).with_context(|| device.shown())?;
    device.warn_of_old_copies();
    Ok(())
}
