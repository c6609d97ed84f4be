//! `close NAME`

use std::fs::File;

use anyhow::Context;
use lucarne_serve::fuse::{Unmount, UnmountError, mounted_at, unmount};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    args::{CloseArgs, CommonArgs},
    exit::{Failure, shown},
    report::complain,
    running::{Found, Named, State, read_state},
};

pub(crate) fn run(args: &CloseArgs, _: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let named = Named::new(&args.name)?;
    match named.find()? {
        Found::Nothing => Err(inactive(&named)),
        Found::Dead => {
            complain(&format!(
                "{}: its server was killed: what had not been flushed may be lost; what it left is removed",
                named.name
            ));
            named.claim()?.release()
        }
        Found::Alive(_, None) => {
            Err(Failure::Exists(format!("Device {} is being opened or closed.", named.name)).into())
        }
        Found::Alive(file, Some(state)) => close(args, &named, file, &state),
    }
}

fn close(args: &CloseArgs, named: &Named, mut file: File, state: &State) -> anyhow::Result<()> {
    // Taken before it can end. If it has ended meanwhile and its number is another's, the directory is unmounted
    // already, and the lock is free.
    let pid = i32::try_from(state.pid).ok().and_then(Pid::from_raw);
    let server = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let how = match args.deferred {
        true => Unmount::Lazily,
        false => Unmount::IfUnused,
    };
    let point = named.mount_point();
    match mounted_at(&point)? {
        Some(mounted) => unmount(&mounted, how).map_err(|error| match error {
            UnmountError::Busy => Failure::Exists(format!(
                "Device {} is still in use: unmount what lies on {} and close what is open, or close --deferred",
                named.name,
                shown(&state.path)
            )),
            error => Failure::Device(format!("{}: {error}", shown(&point))),
        })?,
        // Out of sight already, and waiting for its last user.
        None if args.deferred => return Ok(()),
        None => {}
    }
    if args.deferred {
        return Ok(());
    }
    if let (Some(server), true) = (server, is_alive(named)?) {
        // It flushes first, which takes as long as it takes.
        loop {
            match poll(&mut [PollFd::new(&server, PollFlags::IN)], None) {
                Err(rustix::io::Errno::INTR) => {}
                result => {
                    result.context("waiting for the server")?;
                    break;
                }
            }
        }
    }
    match read_state(&mut file)
        .ok()
        .flatten()
        .and_then(|state| state.failure)
    {
        Some(failure) => Err(Failure::Parameters(failure).into()),
        None => Ok(()),
    }
}

fn is_alive(named: &Named) -> anyhow::Result<bool> {
    Ok(matches!(named.find()?, Found::Alive(..)))
}

/// cryptsetup's words and code.
pub(super) fn inactive(named: &Named) -> anyhow::Error {
    Failure::Device(format!("Device {} is not active.", named.name)).into()
}
