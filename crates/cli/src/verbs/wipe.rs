//! `wipe DEVICE`

use anyhow::Context;
use lucarne::{Control, Error, Storage, Wipe, WipeContent};

use crate::{
    args::{CommonArgs, WipeArgs},
    confirm, device,
    exit::{Failure, shown},
    progress::{Lines, Watcher},
    report::complain,
    signals::Graceful,
};

pub(crate) fn run(args: &WipeArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let name = || shown(&args.device);
    let device = device::open_exclusively(&args.device, common.disable_locks)?.with_direct_writes();
    let end = match args.length {
        None => device.len().with_context(name)?,
        Some(length) => args
            .offset
            .checked_add(length)
            .ok_or_else(|| Failure::parameters("--length: past any device's end"))?,
    };
    let range = args.offset..end;
    let content = match args.zero {
        true => WipeContent::Zeros,
        false => WipeContent::Random,
    };
    if !args.destroy_luks_header
        && let Some(at) = Wipe::luks_header_in(&device, &range).with_context(name)?
    {
        return Err(Failure::Parameters(format!(
            "{}: a LUKS header lies in the range, at byte {at}; --destroy-luks-header overwrites it, and the volume is lost",
            name()
        ))
        .into());
    }
    let wipe = Wipe::over_luks_header(&device, range, content).with_context(name)?;
    confirm::confirm(
        common.batch_mode,
        &format!(
            "This will overwrite {} bytes from byte {} on, of {}, irrevocably.",
            end - args.offset,
            args.offset,
            name()
        ),
    )?;
    let _graceful = Graceful::begin()?;
    let control = Control::default();
    let watcher = Watcher::new(
        &args.progress,
        common.batch_mode,
        &args.device,
        Lines::Stdout,
    );
    let parallelism = args.progress.parallelism();
    let result = watcher.watch(&control, || wipe.run(parallelism, &control));
    if let Some(file_system) = device.copy_on_write_file_system() {
        complain(&format!(
            "{}: {file_system} does not overwrite in place: the disk may keep the old bytes for a while, and snapshots for good",
            name()
        ));
    }
    let complete = wipe.complete_to();
    match result {
        Ok(()) => Ok(()),
        Err(Error::Interrupted) => {
            let length = match args.length {
                Some(_) => format!(" --length {}", end - complete),
                None => String::new(),
            };
            Err(Failure::Parameters(format!(
                "{}: interrupted; {} bytes are overwritten, --offset {complete}{length} goes on",
                name(),
                complete - args.offset
            ))
            .into())
        }
        Err(error) => Err(anyhow::Error::new(error).context(format!(
            "{}: {} bytes are overwritten",
            name(),
            complete - args.offset
        ))),
    }
}
