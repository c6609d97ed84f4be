//! Key files and lines of a pipe: the bytes that are taken are those that the rules name, whatever pieces the
//! input comes in, and none more is read than has to be.
//!
//! The first byte is the way (file or line, and how large the pieces are), the next four are offset and size (two
//! bytes each), the rest is the input, as it stands or so often that it passes the limit.
#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use lucarne::{KeyExtent, KeyInputError};

fuzz_target!(|input: &[u8]| {
    let Some((&[way, o0, o1, l0, l1], start)) = input.split_first_chunk() else {
        return;
    };
    let is_line = way & 1 != 0;
    // The longest passphrase of an unknown length has 2048 times as many bytes as this.
    let times = if way & 2 != 0 && start.len() >= 4096 { 2049 } else { 1 };
    let offset = u64::from(u16::from_be_bytes([o0, o1]));
    let extent = KeyExtent {
        offset: if way & 4 != 0 { offset << 48 } else { offset },
        len: usize::from(u16::from_be_bytes([l0, l1])),
    };
    let bytes = start.repeat(times);
    let mut pieces = Pieces {
        rest: &bytes,
        len: usize::from(way >> 3) + 1,
        interrupted: false,
    };
    let result = match is_line {
        true => extent.read_line(&mut pieces),
        false => extent.read(&mut pieces),
    };
    let taken = bytes.len() - pieces.rest.len();
    check(&bytes, extent, is_line, taken, result.map(|secret| secret.to_vec()));
});

/// The rules once more, on the whole input at once.
fn check(bytes: &[u8], extent: KeyExtent, is_line: bool, taken: usize, got: Result<Vec<u8>, KeyInputError>) {
    let skipped = usize::try_from(extent.offset).unwrap_or(usize::MAX);
    let Some(rest) = bytes.get(skipped..) else {
        assert!(matches!(got, Err(KeyInputError::OffsetPastEnd { present, offset })
            if present == bytes.len() as u64 && offset == extent.offset));
        return;
    };
    let newline = rest.iter().position(|&byte| byte == b'\n').filter(|_| is_line);
    let line = &rest[..newline.unwrap_or(rest.len())];
    let key = match extent.len {
        0 => line,
        len => &line[..line.len().min(len)],
    };
    // What is left unread is for who reads next: a line's end is taken, what follows is not.
    let most = match extent.len {
        0 => KeyExtent::LEN_MAX + 1,
        len => len,
    };
    let ended = newline.is_some_and(|at| at < most);
    assert_eq!(taken, skipped + key.len().min(most) + usize::from(ended));
    match got {
        Ok(got) => {
            assert!(got == key && key.len() <= most);
            assert!(extent.len == 0 || key.len() == extent.len);
        }
        Err(KeyInputError::NothingToRead) => assert!(is_line && key.is_empty() && newline.is_none()),
        Err(KeyInputError::TooShort { present, wanted }) => {
            assert!(present == key.len() && wanted == extent.len && present < wanted);
        }
        Err(KeyInputError::TooLong { limit }) => assert!(extent.len == 0 && key.len() > limit),
        Err(error) => panic!("{error}"),
    }
}

/// Gives the input in pieces, each after an interruption.
struct Pieces<'b> {
    rest: &'b [u8],
    len: usize,
    interrupted: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = match self.rest.len() {
            // Long inputs in long pieces, or a run would take too long.
            many if many > 1 << 20 => buf.len(),
            _ => self.len,
        };
        let room = buf.len().min(len);
        self.rest.read(&mut buf[..room])
    }
}
