//! From `--policy` and `--expect-…` to the library's policy and pins.

use std::io::Read;
use std::path::Path;

use lucarne::policy::{DataDevice, Judged, Pins, Policy};
use lucarne::{Error, FileStorage, Storage};

use crate::{
    args::PolicyArgs,
    exit::{Failure, shown},
};

/// More than a policy file with every rule takes, many times.
const FILE_LEN_MAX: u64 = 1 << 20;

/// A policy and pins, as far as they were asked for.
pub(crate) struct Judging {
    pub(crate) policy: Option<Policy>,
    pub(crate) pins: Pins,
}

impl Judging {
    pub(crate) fn new(args: &PolicyArgs) -> anyhow::Result<Self> {
        let option = |name: &str, error: Error| {
            let text = error.to_string();
            let text = text.strip_prefix("refused: ").unwrap_or(&text);
            Failure::Parameters(format!("{name}: {text}"))
        };
        let mut pins = Pins::default();
        if let Some(uuid) = &args.expect_uuid {
            pins = pins.uuid(uuid);
        }
        if let Some(hex) = &args.expect_volume_key_digest {
            let name = "--expect-volume-key-digest";
            pins = pins
                .volume_key_digest(hex)
                .map_err(|error| option(name, error))?;
        }
        if let Some(hex) = &args.expect_header_hash {
            let name = "--expect-header-hash";
            pins = pins.header_hash(hex).map_err(|error| option(name, error))?;
        }
        Ok(Self {
            policy: args.policy.as_deref().map(named).transpose()?,
            pins,
        })
    }

    /// Judges a header where the library does not do it on opening.
    pub(crate) fn judge(&self, header: Judged<'_>, device: DataDevice) -> Result<(), Error> {
        if let Some(policy) = &self.policy {
            policy.judge(header, device).into_result()?;
        }
        self.pins.judge(header.header()).into_result()?;
        Ok(())
    }
}

/// The policy of this name, or in this file.
fn named(name: &Path) -> anyhow::Result<Policy> {
    if let Some(policy) = name.to_str().and_then(Policy::preset) {
        return Ok(policy);
    }
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Device(format!(
            "--policy {}: neither a preset (default, strict-1, legacy) nor a file",
            shown(name)
        )),
        _ => Failure::Device(format!("--policy {}: {error}", shown(name))),
    };
    let file = std::fs::File::open(name).map_err(failed)?;
    let mut text = String::new();
    let len = file
        .take(FILE_LEN_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if len as u64 > FILE_LEN_MAX {
        let message = format!("--policy {}: longer than {FILE_LEN_MAX} bytes", shown(name));
        return Err(Failure::Parameters(message).into());
    }
    Policy::from_json(&text).map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("refused: ").unwrap_or(&text);
        Failure::Parameters(format!("--policy {}: {text}", shown(name))).into()
    })
}

/// Where the segments are.
pub(crate) fn data_device(data: &FileStorage, detached: bool) -> anyhow::Result<DataDevice> {
    let len_bytes = data.len()?;
    Ok(match detached {
        true => DataDevice::Apart { len_bytes },
        false => DataDevice::WithHeader { len_bytes },
    })
}
