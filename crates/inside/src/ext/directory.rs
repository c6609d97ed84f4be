//! Directories (kernel documentation, `filesystems/ext4/directory.rst`). The blocks of a hash tree look like
//! blocks without names to whoever reads them in order, so they need no rule of their own.

use lucarne_storage::ReadAt;

use super::inode::Inode;
use super::{Ext, blocks};
use crate::bytes::{le16, le32, part, u8_at};
use crate::crc::crc32c;
use crate::layout::Layout;
use crate::node::{Kind, MAX_DIRECTORY_LEN_BYTES};
use crate::{Error, File};

/// Takes a name, its inode, and its kind where the directory says it; false once enough were found.
pub(crate) type Found<'a> = &'a mut dyn FnMut(&[u8], u32, Option<Kind>) -> Result<bool, Error>;

/// A record's head: inode, length, length of the name, kind.
const HEAD_LEN: usize = 8;
/// A multiple of every block size.
const CHUNK_LEN_BYTES: usize = 128 << 10;
/// Bytes of the inode of the directory above, before the records that lie in an inode.
const INLINE_PARENT_LEN: usize = 4;

pub(super) fn list(
    ext: &Ext,
    source: &dyn ReadAt,
    inode: &Inode,
    found: Found<'_>,
) -> Result<(), Error> {
    inode.refuse_encrypted()?;
    if inode.has_inline_data() {
        let head = &inode.root[INLINE_PARENT_LEN..];
        if records(inode, head, found)? {
            records(inode, inode.inline_rest(), found)?;
        }
        return Ok(());
    }
    let block_len = ext.block_len();
    if inode.len > MAX_DIRECTORY_LEN_BYTES || !inode.len.is_multiple_of(block_len) {
        return Err(Error::corrupt(format!(
            "inode {}: a directory of {} bytes; whole blocks are read, up to {MAX_DIRECTORY_LEN_BYTES} bytes",
            inode.number, inode.len
        )));
    }
    let layout = blocks::layout(ext, source, inode)?;
    let Layout::Extents { .. } = &layout else {
        return Ok(());
    };
    let file = File::new(source, layout);
    // Many blocks with one read: whoever looks for a name goes through all of them.
    let mut chunk = vec![0; CHUNK_LEN_BYTES];
    let mut next = file.next_data(0);
    while let Some(range) = next {
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(CHUNK_LEN_BYTES);
            let chunk = &mut chunk[..len.min(CHUNK_LEN_BYTES)];
            file.read_exact_at(chunk, at).map_err(|source| Error::Io {
                offset: at,
                len: chunk.len(),
                source,
            })?;
            for block in chunk.chunks_exact(block_len as usize) {
                check_checksum(inode, block)?;
                if !records(inode, block, found)? {
                    return Ok(());
                }
            }
            at += chunk.len() as u64;
        }
        next = file.next_data(range.end);
    }
    Ok(())
}

/// Shows the names in a block; false when enough were found.
fn records(inode: &Inode, block: &[u8], found: Found<'_>) -> Result<bool, Error> {
    let mut at = 0;
    while at + HEAD_LEN <= block.len() {
        let len = match le16(block, at + 4) {
            // A block of 65536 bytes that is one record.
            0 | 0xffff if block.len() == 1 << 16 => 1 << 16,
            len => (usize::from(len) & !3) | (usize::from(len & 3) << 16),
        };
        let name_len = usize::from(u8_at(block, at + 6));
        if len < HEAD_LEN || at + len > block.len() || HEAD_LEN + name_len > len {
            return Err(Error::corrupt(format!(
                "directory inode {}: a record of {len} bytes at byte {at} of {} for a name of {name_len}",
                inode.number,
                block.len()
            )));
        }
        let (number, name) = (le32(block, at), part(block, at + HEAD_LEN, name_len));
        let kind = kind(u8_at(block, at + 7));
        at += len;
        if number == 0 || matches!(name, b"" | b"." | b"..") {
            continue;
        }
        if !found(name, number, kind)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn kind(code: u8) -> Option<Kind> {
    Some(match code {
        1 => Kind::File,
        2 => Kind::Directory,
        3 => Kind::CharacterDevice,
        4 => Kind::BlockDevice,
        5 => Kind::Fifo,
        6 => Kind::Socket,
        7 => Kind::Link,
        _ => return None,
    })
}

/// A block of names ends with its checksum, in what looks like an unused record; one of the hash tree keeps it
/// elsewhere, and has no names.
fn check_checksum(inode: &Inode, block: &[u8]) -> Result<(), Error> {
    let tail = block.len() - 12;
    let is_tail =
        le32(block, tail) == 0 && le16(block, tail + 4) == 12 && le16(block, tail + 6) == 0xde00;
    match inode.checksum_seed {
        Some(seed) if is_tail && crc32c(seed, &block[..tail]) != le32(block, tail + 8) => Err(
            Error::corrupt(format!("checksum of directory inode {}", inode.number)),
        ),
        _ => Ok(()),
    }
}
