//! `isLuks DEVICE`

use anyhow::Context;
use lucarne::{Access, Error};

use crate::{
    args::{CommonArgs, IsLuksArgs},
    device,
    exit::{Failure, shown},
    report::Report,
    unlock::expect_version,
};

pub(crate) fn run(args: &IsLuksArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    if let Some(operand) = args.rest.rest.first() {
        // cryptsetup's code for it.
        return Err(Failure::Device(format!(
            "{}: one operand too many: isLuks takes one",
            operand.display()
        ))
        .into());
    }
    let path = args.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadOnly)?;
    let found = match lucarne::read_any_header(&storage) {
        Ok(header) => header.version(),
        // The exit code is the answer; what is wrong is said only if asked.
        Err(Error::NotLuks | Error::Corrupt(_) | Error::Unsupported(_)) if !report.is_verbose() => {
            return Err(Failure::Silent.into());
        }
        Err(error) => return Err(error).with_context(|| shown(path)),
    };
    match expect_version(path, found, common.volume_type) {
        Err(_) if !report.is_verbose() => Err(Failure::Silent.into()),
        answer => answer,
    }
}
