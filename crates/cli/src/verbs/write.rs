//! `write IMAGE --offset`

use std::io::{ErrorKind, Read};

use anyhow::Context;
use lucarne::{Access, LockKind, SteadyHeader};

use crate::{
    args::{CommonArgs, WriteArgs},
    device::{self, Opened},
    exit::{Failure, shown},
    header,
    passphrase::StdinRole,
    report::Report,
    signals::Graceful,
    stream::Interruptible,
    unlock::Unlocking,
};

const PIECE_LEN: usize = 1 << 20;

pub(crate) fn run(args: &WriteArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let opened = Opened::open(
        &args.image,
        args.opening.unlock.header.as_deref(),
        Access::ReadWrite,
    )?;
    if !common.disable_locks {
        device::take_into_use(&args.image, &opened.data, LockKind::Exclusive)?;
    }
    let unlocking = Unlocking::new(&args.image, &args.opening, StdinRole::Data, common);
    let limits = args.opening.unlock.limits.to_limits();
    let patience = header::patience(common);
    let mut header = SteadyHeader::watch(opened.header(), &limits, patience)
        .with_context(|| shown(&args.image))?;
    let volume = unlocking.volume(&opened, report)?;
    let too_long = |end: u64| {
        Failure::Parameters(format!(
            "--offset {}: standard input reaches past byte {end}, the plaintext's end; nothing is written past it",
            args.offset
        ))
    };
    let end = args
        .offset
        .saturating_add(known_len_of_stdin().unwrap_or(0));
    if args.offset > volume.len() || end > volume.len() {
        return Err(too_long(volume.len()).into());
    }
    let _graceful = Graceful::begin()?;
    let mut stdin = Interruptible::stdin();
    let mut piece = vec![0; PIECE_LEN];
    let mut offset = args.offset;
    loop {
        let len = match stdin.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                volume.flush().with_context(|| shown(&args.image))?;
                return Err(Failure::Interrupted.into());
            }
            result => result.context("standard input")?,
        };
        if len == 0 {
            break;
        }
        let room = usize::try_from(volume.len() - offset).unwrap_or(usize::MAX);
        let fitting = &piece[..len.min(room)];
        header
            .during(|| volume.write_at(fitting, offset))
            .with_context(|| shown(&args.image))?;
        offset += fitting.len() as u64;
        if fitting.len() < len {
            volume.flush().with_context(|| shown(&args.image))?;
            return Err(too_long(volume.len()).into());
        }
    }
    volume.flush().with_context(|| shown(&args.image))
}

/// How much is left of a file on standard input, so that one that does not fit changes nothing; `None`
/// for a pipe.
fn known_len_of_stdin() -> Option<u64> {
    let stdin = rustix::stdio::stdin();
    let stat = rustix::fs::fstat(stdin).ok()?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return None;
    }
    // Whoever had it before may have read a part of it.
    let position = rustix::fs::tell(stdin).ok()?;
    Some(u64::try_from(stat.st_size).ok()?.saturating_sub(position))
}
