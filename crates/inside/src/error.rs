//! What can go wrong.

use std::fmt;
use std::io;

use crate::detect::Content;
use crate::partition::Partition;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing of that path.
    #[error("{}: no such file or directory in the volume", shown(path))]
    NotFound {
        /// The path asked for.
        path: Vec<u8>,
    },
    /// The path, or a part of it, is no directory.
    #[error("{}: not a directory", shown(path))]
    NotADirectory {
        /// The path.
        path: Vec<u8>,
    },
    /// The path is a directory.
    #[error("{}: is a directory", shown(path))]
    IsADirectory {
        /// The path.
        path: Vec<u8>,
    },
    /// The path is a device, a pipe or a socket.
    #[error("{}: not a regular file", shown(path))]
    NotAFile {
        /// The path.
        path: Vec<u8>,
    },
    /// Symbolic links lead to each other, or there are too many on the way.
    #[error("{}: more than {limit} symbolic links", shown(path))]
    TooManyLinks {
        /// The path.
        path: Vec<u8>,
        /// How many are followed.
        limit: usize,
    },
    /// The volume, or the partition, holds something else.
    #[error("{place} holds {content}{}", content.advice())]
    NoFileSystem {
        /// Which part: `the volume`, `partition 2`.
        place: String,
        /// What was found.
        content: Content,
    },
    /// There is a partition table, and which partition is meant cannot be told.
    #[error("{}", partitions_said(partitions))]
    WhichPartition {
        /// All of them, with what they hold.
        partitions: Vec<(Partition, Content)>,
    },
    /// There is no partition of that number.
    #[error("no partition {number}: {}", partitions_listed(partitions))]
    NoPartition {
        /// The number asked for.
        number: u32,
        /// Those that are there.
        partitions: Vec<(Partition, Content)>,
    },
    /// The bytes contradict themselves.
    #[error("damaged file system: {0}")]
    Corrupt(String),
    /// Valid, and not read here.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The volume cannot be read there.
    #[error("cannot read {len} bytes at byte {offset} of the file system")]
    Io {
        /// Where, from the file system's start.
        offset: u64,
        /// How many.
        len: usize,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn corrupt(what: impl fmt::Display) -> Self {
        Self::Corrupt(what.to_string())
    }

    pub(crate) fn unsupported(what: impl fmt::Display) -> Self {
        Self::Unsupported(what.to_string())
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { source, .. } => source,
            other => Self::other(other),
        }
    }
}

fn partitions_listed(partitions: &[(Partition, Content)]) -> String {
    let listed: Vec<_> = partitions
        .iter()
        .map(|(partition, content)| format!("{partition}: {content}"))
        .collect();
    match listed.is_empty() {
        true => "the volume has no partitions".into(),
        false => listed.join("; "),
    }
}

fn partitions_said(partitions: &[(Partition, Content)]) -> String {
    let readable = partitions
        .iter()
        .filter(|(_, content)| content.is_readable())
        .count();
    let what = match (partitions.len(), readable) {
        (0, _) => return "the volume holds an empty partition table".into(),
        (_, 0) => "none of the volume's partitions holds a file system that is read here",
        _ => "several partitions hold a file system, and none was chosen",
    };
    format!("{what}: {}", partitions_listed(partitions))
}

/// A name or path as a person may see it: on one line, and without anything that a terminal would act on. Bytes that
/// are no text are shown as `\xNN`, a backslash as two.
///
/// ```
/// assert_eq!(lucarne_inside::shown(b"a\x1b[31m\xff\\"), r"a\u{1b}[31m\xff\\");
/// ```
pub fn shown(name: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => shown.push_str("\\\\"),
                // Characters that would change the order or the look of others are escaped with the controls.
                _ if character.is_control() || is_invisible(character) => {
                    shown.extend(character.escape_unicode());
                }
                _ => shown.push(character),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Marks that turn the writing direction, join or separate lines, and are not seen.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}
