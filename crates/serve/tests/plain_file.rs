//! The plaintext as a file: what requests do, without a kernel.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::ops::Range;

use common::{noise, volume};
use lucarne_serve::fuse::{PLAIN, PlainFile, ROOT};
use lucarne_serve::{Export, VolumeExport};
use proptest::prelude::*;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

const KEEP_SIZE: i32 = FallocateFlags::KEEP_SIZE.bits().cast_signed();
const PUNCH_HOLE: i32 = FallocateFlags::PUNCH_HOLE.bits().cast_signed();
const ZERO_RANGE: i32 = FallocateFlags::ZERO_RANGE.bits().cast_signed();

#[derive(Debug, Clone)]
enum Op {
    Write(u64, usize, u64),
    Read(u64, u32),
    Zero(u64, u64),
    Punch(u64, u64),
    Flush,
}

fn op(len: u64) -> impl Strategy<Value = Op> {
    let at = 0..len + 5000;
    prop_oneof![
        4 => (at.clone(), 0_usize..20_000, any::<u64>()).prop_map(|(at, len, seed)| Op::Write(at, len, seed)),
        4 => (at.clone(), 0_u32..30_000).prop_map(|(at, len)| Op::Read(at, len)),
        1 => (at.clone(), 1_u64..40_000).prop_map(|(at, len)| Op::Zero(at, len)),
        1 => (at, 1_u64..40_000).prop_map(|(at, len)| Op::Punch(at, len)),
        1 => Just(Op::Flush),
    ]
}

/// Within a file of this length.
fn clamped(at: u64, len: u64, file_len: u64) -> Range<usize> {
    at.min(file_len) as usize..at.saturating_add(len).min(file_len) as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_does_what_memory_of_that_length_would_do(
        ops in prop::collection::vec(op(1 << 20), 1..60),
        cut in 0_u64..5000,
    ) {
        let export = VolumeExport::new(volume(1));
        let len = export.len() - cut;
        let plain = PlainFile::new(export.with_len(len), "x", false);
        prop_assert_eq!(plain.attributes(PLAIN).unwrap().len, len);
        // What nobody has written is noise.
        let mut model = vec![0; len as usize + 1];
        prop_assert_eq!(plain.read(PLAIN, 0, &mut model), Ok(len as usize));
        model.truncate(len as usize);
        let mut buffer = vec![0; len as usize];
        for op in ops {
            match op {
                Op::Write(at, data_len, seed) => {
                    let data = noise(data_len, seed);
                    let fits = clamped(at, data_len as u64, len);
                    let expected = match fits.is_empty() && data_len > 0 {
                        true => Err(Errno::NOSPC),
                        false => Ok(fits.len() as u32),
                    };
                    prop_assert_eq!(plain.write(PLAIN, at, &data), expected);
                    model[fits.clone()].copy_from_slice(&data[..fits.len()]);
                }
                Op::Read(at, read_len) => {
                    let fits = clamped(at, read_len.into(), len);
                    let into = &mut buffer[..read_len as usize];
                    let read = plain.read(PLAIN, at, into).unwrap();
                    prop_assert!(into[..read] == model[fits]);
                }
                Op::Zero(at, zero_len) => {
                    let grows = at + zero_len > len;
                    let expected = if grows { Err(Errno::PERM) } else { Ok(()) };
                    prop_assert_eq!(plain.allocate(PLAIN, at, zero_len, ZERO_RANGE), expected);
                    prop_assert_eq!(plain.allocate(PLAIN, at, zero_len, ZERO_RANGE | KEEP_SIZE), Ok(()));
                    model[clamped(at, zero_len, len)].fill(0);
                }
                // Nothing, and in no case noise.
                Op::Punch(at, hole_len) => {
                    let expected = match at >= len {
                        true => Ok(()),
                        false => Err(Errno::OPNOTSUPP),
                    };
                    prop_assert_eq!(plain.allocate(PLAIN, at, hole_len, PUNCH_HOLE | KEEP_SIZE), expected);
                }
                Op::Flush => plain.flush().unwrap(),
            }
        }
        prop_assert_eq!(plain.read(PLAIN, 0, &mut buffer), Ok(len as usize));
        prop_assert!(buffer == model);
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_systems_own_numbers() {
    let plain = PlainFile::new(VolumeExport::new(volume(1)), "x", false);
    let len = plain.export().len();
    let mut buffer = [0; 10];
    assert_eq!(plain.lookup(ROOT, OsStr::new("y")), Err(Errno::NOENT));
    assert_eq!(plain.lookup(PLAIN, OsStr::new("x")), Err(Errno::NOTDIR));
    assert_eq!(plain.attributes(3), Err(Errno::NOENT));
    assert_eq!(plain.read(ROOT, 0, &mut buffer), Err(Errno::ISDIR));
    assert_eq!(plain.read(PLAIN, u64::MAX, &mut buffer), Ok(0));
    assert_eq!(plain.read(PLAIN, len - 3, &mut buffer), Ok(3));
    assert_eq!(plain.write(ROOT, 0, b"x"), Err(Errno::ISDIR));
    assert_eq!(plain.write(PLAIN, len, b"x"), Err(Errno::NOSPC));
    assert_eq!(plain.write(PLAIN, u64::MAX, b"x"), Err(Errno::NOSPC));
    assert_eq!(plain.write(PLAIN, len - 1, b"xyz"), Ok(1));
    assert_eq!(
        plain.set_attributes(PLAIN, Some(0), false),
        Err(Errno::PERM)
    );
    assert_eq!(
        plain.set_attributes(PLAIN, Some(len + 1), false),
        Err(Errno::PERM)
    );
    assert_eq!(plain.set_attributes(PLAIN, None, true), Err(Errno::PERM));
    assert!(plain.set_attributes(PLAIN, Some(len), false).is_ok());
    for mode in [
        0,
        KEEP_SIZE,
        PUNCH_HOLE,
        8,
        0x20 | KEEP_SIZE,
        -1,
        PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE,
    ] {
        assert_eq!(
            plain.allocate(PLAIN, 0, 1, mode),
            Err(Errno::OPNOTSUPP),
            "{mode:#x}"
        );
    }
    assert_eq!(
        plain.allocate(PLAIN, u64::MAX, 2, ZERO_RANGE | KEEP_SIZE),
        Err(Errno::INVAL)
    );
    assert_eq!(plain.allocate(PLAIN, 0, 0, ZERO_RANGE), Err(Errno::INVAL));
    assert_eq!(plain.seek(PLAIN, 0, 3), Ok(0));
    assert_eq!(plain.seek(PLAIN, 0, 4), Ok(len as i64));
    assert_eq!(plain.seek(PLAIN, len as i64, 3), Err(Errno::NXIO));
    assert_eq!(plain.seek(PLAIN, -1, 3), Err(Errno::NXIO));
    assert_eq!(plain.seek(PLAIN, 0, 0), Err(Errno::INVAL));
    let kept = PlainFile::new(VolumeExport::new(volume(1)).read_only(), "x", true);
    assert_eq!(kept.open(PLAIN, true), Err(Errno::ROFS));
    assert_eq!(kept.open(PLAIN, false), Ok(()));
    assert_eq!(kept.write(PLAIN, 0, b"x"), Err(Errno::ROFS));
    assert_eq!(kept.allocate(PLAIN, 0, 1, ZERO_RANGE), Err(Errno::ROFS));
    assert_eq!(kept.attributes(PLAIN).unwrap().permissions, 0o444);
}
