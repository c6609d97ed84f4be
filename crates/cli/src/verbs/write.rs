//! `write IMAGE --offset`

use std::io::{ErrorKind, Read};

use anyhow::Context;
use lucarne::Access;

use crate::{
    args::WriteArgs,
    device::Opened,
    exit::{Failure, shown},
    passphrase::StdinRole,
    report::Report,
    signals::Graceful,
    stdin::InterruptibleStdin,
    unlock::Unlocking,
};

const PIECE_LEN: usize = 1 << 20;

pub(crate) fn run(args: &WriteArgs, report: &Report) -> anyhow::Result<()> {
    let opened = Opened::open(
        &args.image,
        args.opening.unlock.header.as_deref(),
        Access::ReadWrite,
    )?;
    let unlocking = Unlocking::new(&args.image, &args.opening, StdinRole::Data);
    let volume = unlocking.volume(&opened, report)?;
    let too_long = |end: u64| {
        Failure::Parameters(format!(
            "--offset {}: standard input reaches past byte {end}, the plaintext's end; nothing is written past it",
            args.offset
        ))
    };
    // A file's length is known, so that one that does not fit changes nothing.
    let known_len = rustix::fs::fstat(rustix::stdio::stdin())
        .ok()
        .filter(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file())
        .map(|stat| u64::try_from(stat.st_size).unwrap_or(0));
    let end = args.offset.saturating_add(known_len.unwrap_or(0));
    if args.offset > volume.len() || end > volume.len() {
        return Err(too_long(volume.len()).into());
    }
    let _graceful = Graceful::begin()?;
    let mut stdin = InterruptibleStdin;
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
        volume
            .write_at(fitting, offset)
            .with_context(|| shown(&args.image))?;
        offset += fitting.len() as u64;
        if fitting.len() < len {
            volume.flush().with_context(|| shown(&args.image))?;
            return Err(too_long(volume.len()).into());
        }
    }
    volume.flush().with_context(|| shown(&args.image))
}
