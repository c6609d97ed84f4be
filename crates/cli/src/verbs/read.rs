//! `read IMAGE --offset --length`

use std::io::Write;

use anyhow::Context;
use lucarne::Access;

use crate::{
    args::{CommonArgs, ReadArgs},
    device::Opened,
    exit::{Failure, shown},
    passphrase::StdinRole,
    report::Report,
    unlock::Unlocking,
};

const PIECE_LEN: usize = 1 << 20;

pub(crate) fn run(args: &ReadArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let opened = Opened::open(
        &args.image,
        args.opening.unlock.header.as_deref(),
        Access::ReadOnly,
    )?;
    let unlocking = Unlocking::new(&args.image, &args.opening, StdinRole::Free, common);
    let volume = unlocking.volume(&opened, report)?;
    let end = match args.length {
        None => volume.len(),
        Some(length) => args.offset.saturating_add(length),
    };
    // Checked as a whole, so that nothing is printed when the end is out of reach.
    if args.offset > volume.len() || end > volume.len() {
        return Err(Failure::Parameters(format!(
            "--offset {} and --length reach to byte {end}, the plaintext has {}",
            args.offset,
            volume.len()
        ))
        .into());
    }
    if let Some(unreadable) = volume.unreadable()
        && unreadable.start < end
        && args.offset < unreadable.end
    {
        let byte = unreadable.start.max(args.offset);
        volume
            .read_at(&mut [0], byte)
            .with_context(|| shown(&args.image))?;
    }
    let mut stdout = std::io::stdout().lock();
    let mut piece = vec![0; PIECE_LEN];
    let mut offset = args.offset;
    while offset < end {
        let len = usize::try_from(end - offset)
            .unwrap_or(PIECE_LEN)
            .min(PIECE_LEN);
        let piece = &mut piece[..len];
        volume
            .read_at(piece, offset)
            .with_context(|| shown(&args.image))?;
        stdout.write_all(piece).context("standard output")?;
        offset += len as u64;
    }
    stdout.flush().context("standard output")
}
