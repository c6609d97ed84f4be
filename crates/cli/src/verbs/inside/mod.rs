//! The files in a volume: `ls`, `cat`, `cp`.

pub(super) mod cat;
pub(super) mod cp;
mod listing;
pub(super) mod ls;
mod tree;

use std::io::Write;

use anyhow::Context;
use lucarne::{Access, FileStorage, Storage, Volume};
use lucarne_inside::{Error, File, FileSystem, ReadAt};

use crate::{
    args::{CommonArgs, InsideArgs, Target},
    device::Opened,
    exit::{Failure, shown},
    passphrase::StdinRole,
    report::Report,
    signals,
    unlock::Unlocking,
};

/// Bytes that are read at a time: every thread has a piece of them.
const CHUNK_LEN_BYTES: usize = 4 << 20;

/// Opens image and header, not more.
pub(super) fn opened(target: &Target, args: &InsideArgs) -> anyhow::Result<Opened> {
    let header = args.opening.unlock.header.as_deref();
    Opened::open(&target.image, header, Access::ReadOnly)
}

/// Unlocks the volume.
pub(super) fn volume<'o>(
    target: &Target,
    args: &InsideArgs,
    opened: &'o Opened,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<Volume<&'o FileStorage>> {
    Unlocking::new(&target.image, &args.opening, StdinRole::Free, common).volume(opened, report)
}

/// Opens the file system in a volume.
pub(super) fn files<'v, 'o>(
    target: &Target,
    args: &InsideArgs,
    volume: &'v Volume<&'o FileStorage>,
) -> anyhow::Result<FileSystem<&'v Volume<&'o FileStorage>>> {
    FileSystem::open(volume, args.partition).map_err(|error| in_image(target, error))
}

/// The error with the image's name, and with the option that helps.
pub(super) fn in_image(target: &Target, error: Error) -> anyhow::Error {
    let needs_choice = matches!(&error, Error::WhichPartition { partitions }
        if partitions.iter().any(|(_, content)| content.is_readable()));
    let error = anyhow::Error::new(error);
    match needs_choice {
        true => error.context(format!("{}: --partition chooses one", shown(&target.image))),
        false => error.context(shown(&target.image)),
    }
}

/// The path of a file, which must be named.
pub(super) fn path(target: &Target) -> anyhow::Result<&[u8]> {
    target.path.as_deref().ok_or_else(|| {
        Failure::parameters(format!(
            "{}: which file? Name it as {}:/PATH",
            shown(&target.image),
            shown(&target.image)
        ))
        .into()
    })
}

/// Reads a file, chunk by chunk, to where `take` puts it with its offset; holes are left out if `skips_holes`.
fn read_chunks(
    file: &File<'_>,
    skips_holes: bool,
    take: &mut dyn FnMut(&[u8], u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut chunk = lucarne_tensors::AlignedBuffer::zeroed(CHUNK_LEN_BYTES);
    let mut at = 0;
    while at < file.len() {
        if signals::stop_requested() {
            return Err(Failure::Interrupted.into());
        }
        let end = match skips_holes {
            false => file.len(),
            true => match file.next_data(at) {
                Some(range) => {
                    at = range.start;
                    range.end
                }
                None => break,
            },
        };
        let len = usize::try_from(end - at).unwrap_or(CHUNK_LEN_BYTES);
        let chunk = &mut chunk[..len.min(CHUNK_LEN_BYTES)];
        file.read_exact_at(chunk, at)
            .with_context(|| format!("cannot read at byte {at}"))?;
        take(chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

fn to_stdout(file: &File<'_>) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    read_chunks(file, false, &mut |chunk, _| {
        stdout.write_all(chunk).context("standard output")
    })?;
    stdout.flush().context("standard output")
}

/// Into storage that is empty, or as long as it will ever be.
fn to_storage(file: &File<'_>, storage: &FileStorage, is_device: bool) -> anyhow::Result<()> {
    if is_device {
        if storage.len()? < file.len() {
            return Err(Failure::Device(format!(
                "the device has {} bytes, the file {}",
                storage.len()?,
                file.len()
            ))
            .into());
        }
    } else {
        storage.set_len(file.len())?;
    }
    read_chunks(file, !is_device, &mut |chunk, at| {
        Ok(storage.write_at(chunk, at)?)
    })
}
