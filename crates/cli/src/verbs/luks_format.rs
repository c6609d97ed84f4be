//! `luksFormat DEVICE [KEYFILE]`

use anyhow::Context;
use lucarne::{Access, Output, Replace, Storage};

use super::format_options;
use crate::{
    args::{CommonArgs, LuksFormatArgs},
    confirm, device,
    exit::{Failure, shown},
    passphrase::{Source, StdinRole},
    report::{Report, complain},
    signals::Graceful,
};

pub(crate) fn run(
    args: &LuksFormatArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let options = format_options::translate(&args.format, common)?;
    let key = args
        .format
        .key
        .with_operand(args.positional_key_file.as_ref());
    let header = args.format.header.as_deref();
    let overwritten = header.unwrap_or(&args.device);
    let device = match header {
        Some(_) => device::open(&args.device, Access::ReadOnly)?,
        None => device::open_exclusively(&args.device, common.disable_locks)?,
    };
    let is_new = header.is_some_and(|header| !header.exists());
    if !is_new {
        confirm::confirm(
            common.batch_mode,
            &format!(
                "This will overwrite data on {} irrevocably.",
                shown(overwritten)
            ),
        )?;
    }
    let passphrase = Source::new(&key, &args.device, StdinRole::Free).new_one(common.batch_mode)?;

    let make = |storage: &dyn Storage, data: Option<&dyn Storage>| {
        lucarne::format(storage, data, &passphrase, &options).with_context(|| shown(overwritten))
    };
    let formatted = match header {
        None => make(&device, None)?,
        Some(header) if is_new => {
            let _graceful = Graceful::begin()?;
            // cryptsetup's code for a header that cannot be made is that of wrong parameters.
            let output = Output::create_private(header, Replace::Never)
                .map_err(|error| Failure::Parameters(format!("{}: {error}", shown(header))))?;
            let formatted = make(output.storage(), Some(&device))?;
            output.finish().with_context(|| shown(header))?;
            formatted
        }
        Some(header) => make(
            &device::open_exclusively(header, common.disable_locks)?,
            Some(&device),
        )?,
    };
    if formatted.volume_len == 0 {
        complain(&format!(
            "{}: too small to be opened: no space remains for data",
            shown(&args.device)
        ));
    }
    report.say(&format!("Key slot {} created.", options.keyslot));
    Ok(())
}
