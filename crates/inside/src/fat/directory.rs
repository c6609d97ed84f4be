//! Records of a directory: 32 bytes each, a long name in those before the file's own.

use crate::Error;
use crate::bytes::{le16, le32, part, u8_at};
use crate::node::{Entry, Id, Kind, Node, What};

const RECORD_LEN: usize = 32;
const READ_ONLY: u8 = 0x01;
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;
/// A long name is in at most 20 records of 13 units of UTF-16.
const MAX_NAME_RECORDS: u8 = 20;
const UNITS: usize = 13;

/// Takes an entry and the short name beside its own; false once enough were found.
pub(crate) type Found<'a> = &'a mut dyn FnMut(Entry, &[u8]) -> Result<bool, Error>;

/// Shows each file with its long name, and the short one beside it.
pub(super) fn records(bytes: &[u8], is_wide: bool, found: Found<'_>) -> Result<(), Error> {
    let mut long = LongName::default();
    for record in bytes.chunks_exact(RECORD_LEN) {
        let (first, attributes) = (record[0], record[11]);
        match (first, attributes & 0x3f) {
            (0, _) => break,
            (0xe5, _) => long = LongName::default(),
            (_, LONG_NAME) => long.take(record),
            (_, kind) if kind & VOLUME_LABEL != 0 => long = LongName::default(),
            _ => {
                let short = short_name(record);
                let name = std::mem::take(&mut long).finish(record);
                if matches!(short.as_slice(), b"." | b"..") {
                    continue;
                }
                let name = name.unwrap_or_else(|| short.clone());
                let node = node(record, is_wide);
                let entry = Entry {
                    name,
                    kind: Some(node.kind),
                    what: What::Node(node),
                };
                if !found(entry, &short)? {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn node(record: &[u8], is_wide: bool) -> Node {
    let attributes = u8_at(record, 11);
    let kind = match attributes & DIRECTORY {
        0 => Kind::File,
        _ => Kind::Directory,
    };
    let high = if is_wide { le16(record, 20) } else { 0 };
    let mode = match kind {
        Kind::Directory => 0o755,
        _ => 0o644,
    };
    Node {
        id: Id(u64::from(high) << 16 | u64::from(le16(record, 26))),
        kind,
        len: match kind {
            Kind::Directory => 0,
            _ => le32(record, 28).into(),
        },
        mode: match attributes & READ_ONLY {
            0 => mode,
            _ => mode & !0o222,
        },
        user: 0,
        group: 0,
        modified: modified(le16(record, 24), le16(record, 22)),
    }
}

/// Seconds from 1970 on, of a date and a time of two seconds' precision; `None` for no date.
fn modified(date: u16, time: u16) -> Option<i64> {
    let (year, month, day) = (
        1980 + i64::from(date >> 9),
        i64::from(date >> 5 & 0xf),
        i64::from(date & 0x1f),
    );
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Days since the first of March of year 0, when leap days come last.
    let (shifted_year, shifted_month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + day
        - 1;
    let seconds = i64::from(time >> 11) * 3600
        + i64::from(time >> 5 & 0x3f) * 60
        + i64::from(time & 0x1f) * 2;
    Some((days - 719_468) * 86_400 + seconds)
}

#[derive(Default)]
struct LongName {
    /// Units, the last record's first.
    records: Vec<[u16; UNITS]>,
    /// Which record comes next; 0 for none.
    next: u8,
    checksum: u8,
    is_whole: bool,
}

impl LongName {
    fn take(&mut self, record: &[u8]) {
        let (order, checksum) = (record[0], record[13]);
        let number = order & 0x3f;
        if order & 0x40 != 0 {
            *self = Self {
                next: number,
                checksum,
                ..Self::default()
            };
        }
        let fits = self.next == number && checksum == self.checksum;
        if !fits || !(1..=MAX_NAME_RECORDS).contains(&number) {
            *self = Self::default();
            return;
        }
        let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
        self.records.push(places.map(|at| le16(record, at)));
        self.next -= 1;
        self.is_whole = self.next == 0;
    }

    /// The name, if it is whole and that of this record.
    fn finish(self, record: &[u8]) -> Option<Vec<u8>> {
        let checksum = part(record, 0, 11)
            .iter()
            .fold(0_u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte));
        if !self.is_whole || checksum != self.checksum {
            return None;
        }
        let units: Vec<u16> = self
            .records
            .into_iter()
            .rev()
            .flatten()
            .take_while(|&unit| unit != 0)
            .collect();
        Some(String::from_utf16_lossy(&units).into_bytes()).filter(|name| !name.is_empty())
    }
}

/// Name and extension; a byte says whether each was written in lower case.
fn short_name(record: &[u8]) -> Vec<u8> {
    let cases = u8_at(record, 12);
    let word = |bytes: &[u8], is_lower: bool| -> String {
        let len = bytes
            .iter()
            .rposition(|&byte| byte != b' ')
            .map_or(0, |at| at + 1);
        let text: String = bytes[..len]
            .iter()
            .map(|&byte| of_code_page_437(byte))
            .collect();
        match is_lower {
            true => text.to_lowercase(),
            false => text,
        }
    };
    let mut name = [0; 8];
    name.copy_from_slice(&record[..8]);
    if name[0] == 0x05 {
        name[0] = 0xe5;
    }
    let (base, extension) = (
        word(&name, cases & 0x08 != 0),
        word(&record[8..11], cases & 0x10 != 0),
    );
    match extension.is_empty() {
        true => base,
        false => format!("{base}.{extension}"),
    }
    .into_bytes()
}

/// What Linux takes short names for.
fn of_code_page_437(byte: u8) -> char {
    const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
    match byte {
        0..0x80 => byte.into(),
        _ => UPPER
            .chars()
            .nth(usize::from(byte - 0x80))
            .unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        // `date -ud 2026-11-26T15:28:06 +%s`
        let date = (46 << 9) | (11 << 5) | 26;
        let time = (15 << 11) | (28 << 5) | 3;
        assert_eq!(modified(date, time), Some(1_795_706_886));
        assert_eq!(modified(1 << 5 | 1, 0), Some(315_532_800));
        assert_eq!(modified(0, 0), None);
    }

    #[test]
    fn the_code_page_is_whole() {
        let all: Vec<char> = (0..=255).map(of_code_page_437).collect();
        assert_eq!(all[0xe1], 'ß');
        assert_eq!(all[0x80], 'Ç');
        assert_eq!(all[255], '\u{a0}');
        assert!(!all.contains(&char::REPLACEMENT_CHARACTER));
    }
}
