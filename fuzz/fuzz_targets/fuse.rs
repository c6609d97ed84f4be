//! The bytes of requests to the file of `serve --fuse`, as a kernel might send them and as none would: each is answered
//! as memory of the same length would answer, or refused, and nothing outside of the file is ever touched.
#![no_main]

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use libfuzzer_sys::fuzz_target;
use lucarne_fuse::{DecodeError, Errno, HEADER_LEN, Operation, Parts, Request, answer_bytes};
use lucarne_serve::fuse::{PlainFile, PlainFilesystem};
use lucarne_serve::{Export, Extent, ExtentKind, ZeroHow};

const LEN: u64 = 5000;
/// In place of an operation's number: what follows is the whole request.
const RAW: u8 = 255;

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

/// A request as the kernel sends it.
fn request(code: u8, node: u8, unique: u64, body: &[u8]) -> Vec<u8> {
    let len = HEADER_LEN + body.len();
    let mut bytes = (len as u32).to_ne_bytes().to_vec();
    bytes.extend(u32::from(code).to_ne_bytes());
    bytes.extend(unique.to_ne_bytes());
    bytes.extend(u64::from(node).to_ne_bytes());
    bytes.resize(HEADER_LEN, 0);
    bytes.extend(body);
    bytes
}

/// Of the file, from `offset` on.
fn within(offset: u64, len: u64) -> Range<usize> {
    offset.min(LEN) as usize..offset.saturating_add(len).min(LEN) as usize
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
    let files = PlainFilesystem::new(plain, flags & 4 != 0, 45);
    let mut model = vec![7; LEN as usize];
    let mut body = vec![0; 2 * LEN as usize];
    let mut unique = 0;
    // What is asked for, of which node, and how much follows.
    while let Some((head, after)) = rest.split_at_checked(4) {
        let len = u16::from_le_bytes([head[2], head[3]]) as usize;
        let (follows, after) = after.split_at(len.min(after.len()));
        rest = after;
        unique += 1;
        let bytes = match head[0] {
            RAW => follows.to_vec(),
            code => request(code, head[1] % 4, unique, follows),
        };
        let answer = answer_bytes(&files, &bytes, &mut body);
        let request = match Request::decode(Parts::of_contiguous(&bytes)) {
            Ok(request) => request,
            Err(DecodeError::Header) => {
                assert_eq!(answer, None);
                continue;
            }
            Err(DecodeError::Body { .. }) => {
                assert_eq!(answer, Some(Err(Errno::NOSYS)));
                continue;
            }
        };
        let Some(answer) = answer else {
            assert_eq!(request.operation, Operation::Forget);
            continue;
        };
        assert!(request.node == 1 || request.node == 2 || answer.is_err() || !is_of_file(&request.operation));
        let Ok(len) = answer else { continue };
        let answer = &body[..len];
        match request.operation {
            Operation::Read(span) => assert_eq!(answer, &model[within(span.offset, span.len.into())]),
            Operation::Write { offset, data } => {
                assert!(!is_read_only);
                let written = within(offset, u32::from_ne_bytes(answer[..4].try_into().unwrap()).into());
                let data = &data[..written.len()];
                model[written].copy_from_slice(data);
            }
            Operation::Allocate { offset, len, .. } => {
                assert!(!is_read_only);
                model[within(offset, len)].fill(0);
            }
            Operation::Seek { offset, .. } => {
                let at = u64::from_ne_bytes(answer.try_into().unwrap());
                assert!(at >= offset as u64 && at <= LEN);
            }
            Operation::SetAttributes { len, changes_owner_or_mode } => {
                assert!(!changes_owner_or_mode && len.is_none_or(|len| [0, LEN].contains(&len)));
            }
            Operation::Init(_) => panic!("answered twice"),
            _ => {}
        }
    }
    let read = request(15, 2, 1, &[&[0; 16][..], &(LEN as u32).to_ne_bytes(), &[0; 20]].concat());
    assert_eq!(answer_bytes(&files, &read, &mut body), Some(Ok(model.len())));
    assert_eq!(body[..model.len()], model);
});

/// What is refused where there is no such file.
fn is_of_file(operation: &Operation<'_>) -> bool {
    matches!(
        operation,
        Operation::Lookup { .. }
            | Operation::Attributes
            | Operation::SetAttributes { .. }
            | Operation::Open { .. }
            | Operation::Read(_)
            | Operation::Write { .. }
            | Operation::ReadDirectory(_)
            | Operation::Allocate { .. }
            | Operation::Seek { .. }
    )
}
