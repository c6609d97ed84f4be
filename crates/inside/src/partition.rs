//! Partition tables: GPT (UEFI 2.10, chapter 5) and MBR with logical partitions.

use std::fmt;
use std::ops::Range;

use lucarne_storage::ReadAt;

use crate::Error;
use crate::bytes::{le16, le32, le64, part, u8_at};
use crate::crc::crc32;
use crate::error::shown;
use crate::window::{length, read, read_up_to};

/// Entries of a GPT that are looked at; the format's minimum is 128, which all tools write.
const MAX_GPT_ENTRIES: u32 = 1024;
/// Logical partitions of an MBR; Linux knows 60.
const MAX_LOGICAL: u32 = 60;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its number, as Linux counts: the entry's from 1 on, logical ones of an MBR from 5 on.
    pub number: u32,
    /// Where it lies, in bytes.
    pub range: Range<u64>,
    /// Its name (GPT only).
    pub name: String,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        if !self.name.is_empty() {
            write!(f, " ({})", shown(self.name.as_bytes()))?;
        }
        let len = self.range.end - self.range.start;
        write!(f, ", {len} bytes at {}", self.range.start)
    }
}

/// The partitions of a table, in the order of their numbers; those that reach past the end of the source are left
/// out. `sector_len` is the unit of an MBR's numbers, of 512 or 4096 bytes; a GPT is found at either.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] for a GPT neither of whose copies is whole.
pub fn partitions(source: &dyn ReadAt, sector_len: u64) -> Result<Vec<Partition>, Error> {
    let len = length(source)?;
    let mut found = match gpt(source, len)? {
        Some(found) => found,
        None => mbr(source, sector_len)?,
    };
    found.retain(|partition| !partition.range.is_empty() && partition.range.end <= len);
    found.sort_by_key(|partition| partition.number);
    Ok(found)
}

/// `None` where there is no GPT.
fn gpt(source: &dyn ReadAt, len: u64) -> Result<Option<Vec<Partition>>, Error> {
    let mut damage = None;
    for sector_len in [512, 4096] {
        // The copy at the end is for when the first is damaged.
        let last = (len / sector_len).saturating_sub(1) * sector_len;
        for at in [sector_len, last] {
            match gpt_copy(source, sector_len, at) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => damage = Some(error),
            }
        }
    }
    damage.map_or(Ok(None), Err)
}

fn gpt_copy(
    source: &dyn ReadAt,
    sector_len: u64,
    at: u64,
) -> Result<Option<Vec<Partition>>, Error> {
    let mut header = read_up_to(source, at, sector_len as usize)?;
    if part(&header, 0, 8) != b"EFI PART" {
        return Ok(None);
    }
    let header_len = le32(&header, 12) as usize;
    if !(92..=header.len()).contains(&header_len) {
        return Err(Error::corrupt(format!("GPT header of {header_len} bytes")));
    }
    let checksum = le32(&header, 16);
    header[16..20].fill(0);
    if crc32(&header[..header_len]) != checksum || le64(&header, 24) != at / sector_len {
        return Err(Error::corrupt("checksum or place of the GPT header"));
    }
    let (count, entry_len) = (le32(&header, 80), le32(&header, 84));
    if count > MAX_GPT_ENTRIES || !(128..=4096).contains(&entry_len) || entry_len % 8 != 0 {
        return Err(Error::corrupt(format!(
            "GPT of {count} entries of {entry_len} bytes; at most {MAX_GPT_ENTRIES} of 128 to 4096 are read"
        )));
    }
    let entries_at = le64(&header, 72).checked_mul(sector_len);
    let entries_at = entries_at.ok_or_else(|| Error::corrupt("the GPT's entries lie nowhere"))?;
    let mut entries = vec![0; count as usize * entry_len as usize];
    read(source, &mut entries, entries_at)?;
    if crc32(&entries) != le32(&header, 88) {
        return Err(Error::corrupt("checksum of the GPT's entries"));
    }
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(entry_len as usize)) {
        if part(entry, 0, 16).iter().all(|&byte| byte == 0) {
            continue;
        }
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        let range = first.checked_mul(sector_len).zip(
            last.checked_add(1)
                .and_then(|end| end.checked_mul(sector_len)),
        );
        let Some((start, end)) = range.filter(|(start, end)| start < end) else {
            continue;
        };
        let name: Vec<u16> = (0..36)
            .map(|index| le16(entry, 56 + 2 * index))
            .take_while(|&unit| unit != 0)
            .collect();
        found.push(Partition {
            number,
            range: start..end,
            name: String::from_utf16_lossy(&name),
        });
    }
    Ok(Some(found))
}

/// Types of an MBR's partition that is a chain of others.
fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0f | 0x85)
}

fn mbr(source: &dyn ReadAt, sector_len: u64) -> Result<Vec<Partition>, Error> {
    let head = read_up_to(source, 0, 512)?;
    let mut found = Vec::new();
    let mut extended = None;
    for (number, entry) in (1..).zip(entries(&head)) {
        if is_extended(entry.kind) {
            extended.get_or_insert(entry.first);
        } else if entry.kind != 0 {
            found.extend(entry.partition(number, 0, sector_len));
        }
    }
    let Some(extended) = extended else {
        return Ok(found);
    };
    let mut next = extended;
    for number in 5..5 + MAX_LOGICAL {
        let Some(at) = next.checked_mul(sector_len) else {
            break;
        };
        let sector = read_up_to(source, at, 512)?;
        if le16(&sector, 510) != 0xaa55 {
            break;
        }
        let mut follows = None;
        for entry in entries(&sector) {
            if is_extended(entry.kind) {
                follows.get_or_insert(entry.first);
            } else if entry.kind != 0 {
                found.extend(entry.partition(number, next, sector_len));
            }
        }
        // A chain that leads back is cut off by the number of partitions.
        match follows {
            Some(follows) if follows != 0 => next = extended.saturating_add(follows),
            _ => break,
        }
    }
    Ok(found)
}

struct MbrEntry {
    kind: u8,
    first: u64,
    count: u64,
}

impl MbrEntry {
    fn partition(&self, number: u32, base: u64, sector_len: u64) -> Option<Partition> {
        let start = base.checked_add(self.first)?.checked_mul(sector_len)?;
        let end = start.checked_add(self.count.checked_mul(sector_len)?)?;
        Some(Partition {
            number,
            range: start..end,
            name: String::new(),
        })
    }
}

fn entries(sector: &[u8]) -> impl Iterator<Item = MbrEntry> {
    (0..4).map(move |index| {
        let entry = part(sector, 446 + 16 * index, 16);
        MbrEntry {
            kind: u8_at(entry, 4),
            first: le32(entry, 8).into(),
            count: le32(entry, 12).into(),
        }
    })
}
