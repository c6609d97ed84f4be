//! No kernel reads or writes outside its buffers: they end, and then begin, at pages that can be neither read nor
//! written, where a single byte too far kills the test. (Prefetches may go there: they never fault.)
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]
// The mapping of the pages; the rest of the test is safe.
#![allow(unsafe_code)]

use std::{ffi::c_void, ptr, slice};

use lucarne_cipher::{CipherError, Kernel, XtsAes};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// The sizes of LUKS, others of whole batches and of parts of one for every vector width, the largest.
const UNIT_BYTES: [usize; 8] = [16, 48, 512, 1024, 2048, 4096, 4112, XtsAes::MAX_UNIT_BYTES];
/// Whole pages, whatever their size here.
const GUARD_BYTES: usize = 64 << 10;
const MAX_BYTES: usize = 3 * XtsAes::MAX_UNIT_BYTES;

/// Where in its pages a buffer lies.
#[derive(Debug, Clone, Copy)]
enum Edge {
    /// Its first byte is the first that can be touched.
    Start,
    /// Its last byte is the last that can be touched.
    End,
}

/// Memory for a buffer of up to `room` bytes between two pages that nothing may touch.
struct Guarded {
    mapping: *mut c_void,
    room: usize,
}

impl Guarded {
    fn new(room: usize) -> Self {
        let room = room.next_multiple_of(GUARD_BYTES);
        let len = room + 2 * GUARD_BYTES;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null address lets the kernel choose, so that no existing mapping is touched.
        let mapping =
            unsafe { mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) }.unwrap();
        for offset in [0, GUARD_BYTES + room] {
            // SAFETY: pages of the mapping just made, which nothing refers to yet.
            unsafe {
                let guard = mapping.byte_add(offset);
                mprotect(guard, GUARD_BYTES, MprotectFlags::empty()).unwrap();
            }
        }
        Self { mapping, room }
    }

    /// `len` bytes at an edge.
    fn at(&mut self, edge: Edge, len: usize) -> &mut [u8] {
        assert!(len <= self.room);
        let offset = GUARD_BYTES
            + match edge {
                Edge::Start => 0,
                Edge::End => self.room - len,
            };
        // SAFETY: these bytes lie between the guards, can be read and written, and are borrowed from `self`.
        unsafe { slice::from_raw_parts_mut(self.mapping.byte_add(offset).cast(), len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let len = self.room + 2 * GUARD_BYTES;
        // SAFETY: the mapping of `new`, which nothing borrows from any more.
        unsafe { munmap(self.mapping, len) }.unwrap();
    }
}

/// Encryption or decryption, from a source or in place.
type FromSource = fn(&XtsAes, usize, u64, &[u8], &mut [u8]) -> Result<(), CipherError>;
type InPlace = fn(&XtsAes, usize, u64, &mut [u8]) -> Result<(), CipherError>;
const DIRECTIONS: [(&str, FromSource, InPlace); 2] = [
    ("encrypt", XtsAes::encrypt_from, XtsAes::encrypt),
    ("decrypt", XtsAes::decrypt_from, XtsAes::decrypt),
];

/// Counts of data units with every remainder of a group of four, and none at all.
fn unit_counts(unit_bytes: usize) -> Vec<usize> {
    [0, 1, 2, 3, 4, 5, 7, 8, 9, 66]
        .into_iter()
        .filter(|units| units * unit_bytes <= MAX_BYTES)
        .chain([MAX_BYTES / unit_bytes])
        .collect()
}

#[test]
fn every_kernel_stays_inside_its_buffers() {
    let key: Vec<u8> = (0..64).collect();
    let plain: Vec<u8> = (0..MAX_BYTES).map(|i| (i ^ (i >> 7)) as u8).collect();
    let mut source = Guarded::new(MAX_BYTES);
    let mut destination = Guarded::new(MAX_BYTES);
    let mut runs = 0;
    for key in [&key[..32], &key] {
        // The one that has no unsafe code is what the others must agree with.
        let portable = XtsAes::new(key, Kernel::Portable).unwrap();
        for unit_bytes in UNIT_BYTES {
            for units in unit_counts(unit_bytes) {
                let plain = &plain[..units * unit_bytes];
                for (direction, from_source, in_place) in DIRECTIONS {
                    let mut expected = plain.to_vec();
                    in_place(&portable, unit_bytes, 7, &mut expected).unwrap();
                    for kernel in Kernel::available() {
                        let xts = XtsAes::new(key, kernel).unwrap();
                        for edge in [Edge::Start, Edge::End] {
                            let what = format!(
                                "{kernel}, {direction}, {units} units of {unit_bytes}, {edge:?}"
                            );
                            let data = source.at(edge, plain.len());
                            data.copy_from_slice(plain);
                            for out_edge in [Edge::Start, Edge::End] {
                                let out = destination.at(out_edge, plain.len());
                                out.fill(0xee);
                                from_source(&xts, unit_bytes, 7, data, out).unwrap();
                                assert!(*out == *expected, "{what} to {out_edge:?}");
                                runs += 1;
                            }
                            in_place(&xts, unit_bytes, 7, data).unwrap();
                            assert!(*data == *expected, "{what}, in place");
                            runs += 1;
                        }
                    }
                }
            }
        }
    }
    let counts: usize = UNIT_BYTES
        .map(|bytes| unit_counts(bytes).len())
        .iter()
        .sum();
    assert_eq!(runs, 2 * counts * 2 * Kernel::available().count() * 2 * 3);
}

/// That the guards do guard: a process that touches the byte past an edge dies of it.
#[test]
fn one_byte_too_far_is_fatal() {
    use std::os::unix::process::ExitStatusExt;

    const TOUCH: &str = "LUCARNE_TEST_TOUCH_GUARD";
    const SIGSEGV: i32 = 11;
    if let Ok(place) = std::env::var(TOUCH) {
        let mut memory = Guarded::new(1);
        let room = memory.room;
        let place: isize = match place.as_str() {
            "inside" => 0,
            "before" => -1,
            _ => room.cast_signed(),
        };
        let start = memory.at(Edge::Start, room).as_mut_ptr();
        // SAFETY: none for the two that are meant to fault: the process exists to be killed here.
        unsafe { start.offset(place).read_volatile() };
        return;
    }
    let ends = |place: &str| {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "one_byte_too_far_is_fatal"]);
        again.env(TOUCH, place).output().unwrap().status
    };
    assert!(ends("inside").success());
    assert_eq!(ends("before").signal(), Some(SIGSEGV));
    assert_eq!(ends("after").signal(), Some(SIGSEGV));
}
