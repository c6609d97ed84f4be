//! Requests to the file of `serve --fuse`, as a kernel might send them and as none would: each is answered as memory of
//! the same length would answer, or refused, and nothing outside of the file is ever touched.
#![no_main]

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use libfuzzer_sys::fuzz_target;
use lucarne_serve::fuse::PlainFile;
use lucarne_serve::{Export, Extent, ExtentKind, ZeroHow};

const LEN: u64 = 5000;

/// Panics where it is asked for anything that it does not have.
struct Memory {
    bytes: Mutex<Vec<u8>>,
    is_read_only: bool,
}

impl Memory {
    fn with<T>(&self, range: Range<u64>, act: impl FnOnce(&mut [u8]) -> T) -> T {
        assert!(range.start <= range.end && range.end <= LEN);
        act(&mut self.bytes.lock().unwrap()[range.start as usize..range.end as usize])
    }
}

impl Export for Memory {
    fn len(&self) -> u64 {
        LEN
    }
    fn is_read_only(&self) -> bool {
        self.is_read_only
    }
    fn block_len(&self) -> u32 {
        512
    }
    fn can_trim(&self) -> bool {
        true
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(offset..offset + buf.len() as u64, |bytes| buf.copy_from_slice(bytes));
        Ok(())
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        assert!(!self.is_read_only);
        self.with(offset..offset + data.len() as u64, |bytes| bytes.copy_from_slice(data));
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn trim(&self, _: Range<u64>) -> io::Result<()> {
        panic!("nothing of FUSE's is a hint")
    }
    fn zero(&self, range: Range<u64>, _: ZeroHow) -> io::Result<()> {
        assert!(!self.is_read_only);
        self.with(range, |bytes| bytes.fill(0));
        Ok(())
    }
    fn extent_at(&self, range: Range<u64>) -> io::Result<Extent> {
        let is_zero = |byte: &u8| *byte == 0;
        Ok(self.with(range, |bytes| {
            let first = is_zero(&bytes[0]);
            let len = bytes.iter().take_while(|byte| is_zero(byte) == first).count();
            let kind = if first { ExtentKind::Hole } else { ExtentKind::Data };
            Extent { len: len as u64, kind }
        }))
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&flags, mut rest)) = input.split_first() else {
        return;
    };
    let is_read_only = flags & 1 != 0;
    let memory = Memory {
        bytes: Mutex::new(vec![7; LEN as usize]),
        is_read_only,
    };
    let plain = PlainFile::new(memory, "x", flags & 2 != 0);
    let mut model = vec![7; LEN as usize];
    let mut buffer = vec![0; LEN as usize];
    // What is asked for, of which node, two numbers, and a mode.
    while let Some((request, after)) = rest.split_at_checked(22) {
        rest = after;
        let number = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let node = u64::from(request[1] % 4);
        let (offset, len) = (number(2), number(10));
        let mode = i32::from_le_bytes(request[18..22].try_into().unwrap());
        let fits = offset.min(LEN) as usize..offset.saturating_add(len).min(LEN) as usize;
        match request[0] % 6 {
            0 => {
                let into = &mut buffer[..len.min(LEN) as usize];
                if let Ok(read) = plain.read(node, offset, into) {
                    assert_eq!(into[..read], model[fits]);
                }
            }
            1 => {
                let data = &rest[..rest.len().min(len as usize & 0xfff)];
                if let Ok(written) = plain.write(node, offset, data) {
                    assert!(!is_read_only);
                    let written = written as usize;
                    model[fits.start..fits.start + written].copy_from_slice(&data[..written]);
                }
            }
            2 => {
                if plain.allocate(node, offset, len, mode).is_ok() {
                    assert!(!is_read_only);
                    model[fits].fill(0);
                }
            }
            3 => {
                if let Ok(at) = plain.seek(node, offset as i64, mode) {
                    assert!(at as u64 >= offset && at as u64 <= LEN);
                }
            }
            4 => assert!(
                plain
                    .set_attributes(node, Some(len), mode & 1 != 0)
                    .is_ok_and(|attributes| attributes.len == len)
                    || len != LEN
                    || node != 2
                    || mode & 1 != 0
            ),
            _ => plain.flush().unwrap(),
        }
    }
    assert_eq!(plain.read(2, 0, &mut buffer), Ok(model.len()));
    assert!(buffer == model);
});
