//! `write IMAGE --offset`

use std::io::Read;

use anyhow::Context;
use lucarne::Access;

use crate::{
    args::WriteArgs,
    device::Opened,
    exit::{Failure, shown},
    passphrase::StdinRole,
    report::Report,
    signals,
    unlock::Unlocking,
};

const PIECE_LEN: usize = 1 << 20;

pub(crate) fn run(args: &WriteArgs, report: &Report) -> anyhow::Result<()> {
    let opened = Opened::open(
        &args.image,
        args.unlock.header.as_deref(),
        Access::ReadWrite,
    )?;
    let unlocking = Unlocking {
        device: &args.image,
        args: &args.unlock,
        volume_key_file: args.volume_key_file.as_deref(),
        stdin: StdinRole::Data,
    };
    signals::install()?;
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
    let mut stdin = std::io::stdin().lock();
    let mut piece = vec![0; PIECE_LEN];
    let mut offset = args.offset;
    loop {
        if signals::stop_requested() {
            return Err(Failure::Interrupted.into());
        }
        let len = stdin.read(&mut piece).context("standard input")?;
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
