//! `isLuks DEVICE`

use anyhow::Context;
use lucarne::{Access, Error};

use crate::{
    args::{CommonArgs, IsLuksArgs, VolumeType},
    device,
    exit::{Failure, shown},
    report::Report,
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
    let found = match lucarne::read_header(&storage) {
        Ok(_) => VolumeType::Luks2,
        Err(Error::Luks1) => VolumeType::Luks1,
        // The exit code is the answer; what is wrong is said only if asked.
        Err(Error::NotLuks | Error::Corrupt(_) | Error::Unsupported(_)) if !report.is_verbose() => {
            return Err(Failure::Silent.into());
        }
        Err(error) => return Err(error).with_context(|| shown(path)),
    };
    match common.volume_type {
        VolumeType::Luks => Ok(()),
        wanted if wanted == found => Ok(()),
        _ if !report.is_verbose() => Err(Failure::Silent.into()),
        _ => Err(Failure::Parameters(format!("{}: another LUKS version", shown(path))).into()),
    }
}
