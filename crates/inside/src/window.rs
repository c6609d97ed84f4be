//! Reading, with what it is that could not be read.

use lucarne_storage::ReadAt;

use crate::Error;

/// Reads, or says where it could not.
pub(crate) fn read(source: &dyn ReadAt, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let len = buf.len();
    source
        .read_exact_at(buf, offset)
        .map_err(|source| Error::Io {
            offset,
            len,
            source,
        })
}

/// Up to `len` bytes from `offset` on: fewer, or none, at the end.
pub(crate) fn read_up_to(source: &dyn ReadAt, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
    let rest = length(source)?.saturating_sub(offset);
    let mut bytes = vec![0; len.min(usize::try_from(rest).unwrap_or(usize::MAX))];
    read(source, &mut bytes, offset)?;
    Ok(bytes)
}

pub(crate) fn length(source: &dyn ReadAt) -> Result<u64, Error> {
    source.len_bytes().map_err(|source| Error::Io {
        offset: 0,
        len: 0,
        source,
    })
}
