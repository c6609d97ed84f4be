//! Files in the address space, and what becomes of them when they are cut.
//!
//! Reading a mapped page that lies past the file's new end raises SIGBUS, which by default ends the
//! process: whoever may truncate a file could end every reader. So a handler is installed with the first
//! mapping. Where the address lies in one of our mappings, it puts a page of zeros there and marks the
//! mapping as faulted; the read goes on, and who asked for it finds the mark and does not use what it got.
//! Any other SIGBUS goes where it went before.
//!
//! The marks lie in a fixed table of atomics: a signal handler may neither lock nor allocate.
#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    fs::File,
    io, mem,
    ops::Range,
    ptr::{self, NonNull},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// Mappings at a time; who comes later reads as if there were no such thing.
const SLOT_COUNT: usize = 256;

/// From here on the pages are asked for in one call and not one fault after the other.
const POPULATE_MIN_BYTES: usize = 64 << 10;
/// What is asked for at a time, and once: to ask for pages that are there takes a third of the time that
/// it takes to decrypt them. Pages that the kernel has taken back since come by faults.
const CHUNK_LEN_BYTES: usize = 1 << 20;

static SLOTS: [Slot; SLOT_COUNT] = [const { Slot::free() }; SLOT_COUNT];

/// A mapping as the signal handler knows it.
struct Slot {
    /// First address; 0 if the slot is free.
    start: AtomicUsize,
    /// The address after the last; 0 until the slot may be used.
    end: AtomicUsize,
    has_faulted: AtomicBool,
}

impl Slot {
    const fn free() -> Self {
        Self {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            has_faulted: AtomicBool::new(false),
        }
    }

    fn claim(addresses: Range<usize>) -> Option<&'static Self> {
        SLOTS.iter().find(|slot| {
            let is_ours = slot
                .start
                .compare_exchange(0, addresses.start, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
            if is_ours {
                slot.has_faulted.store(false, Ordering::Relaxed);
                slot.end.store(addresses.end, Ordering::Release);
            }
            is_ours
        })
    }

    fn release(&self) {
        self.end.store(0, Ordering::Release);
        self.start.store(0, Ordering::Release);
    }

    fn contains(&self, address: usize) -> bool {
        let end = self.end.load(Ordering::Acquire);
        (self.start.load(Ordering::Acquire)..end).contains(&address)
    }
}

/// All of a file, mapped for reading.
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
    slot: &'static Slot,
    /// A bit for each chunk that was asked for.
    populated: Box<[AtomicU64]>,
}

// SAFETY: the memory is only read, and belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: likewise.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file`, at least one.
    pub(crate) fn new(file: &File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        install_handler()?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of anybody's.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        let unmap = || {
            // SAFETY: the mapping was just made, and nothing refers to it.
            let _ = unsafe { munmap(start, len) };
        };
        // Ends below the end of the address space: it is a mapping.
        let addresses = start.addr()..start.addr() + len.next_multiple_of(page_len());
        let (Some(start), Some(slot)) = (NonNull::new(start), Slot::claim(addresses)) else {
            unmap();
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
        };
        let words = len.div_ceil(CHUNK_LEN_BYTES * u64::BITS as usize);
        Ok(Self {
            start,
            len,
            slot,
            populated: (0..words).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Shows `visitor` the bytes of `range`. `false`: they are not all there, or no longer, and what the
    /// visitor saw is not the file's.
    pub(crate) fn visit(&self, range: Range<u64>, visitor: &mut dyn FnMut(&[u8])) -> bool {
        let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end))
        else {
            return false;
        };
        if start > end || end > self.len || self.has_faulted() {
            return false;
        }
        if end - start >= POPULATE_MIN_BYTES && self.populate(start..end).is_err() {
            return false;
        }
        // SAFETY: the range lies inside the mapping, which is readable and outlives the call; a page that
        // the file loses meanwhile becomes one of zeros. That another process may change the bytes while
        // they are looked at is in the nature of files: the visitor takes them for bytes and nothing else.
        let bytes = unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().cast::<u8>().add(start), end - start)
        };
        visitor(bytes);
        !self.has_faulted()
    }

    /// Has the pages of a range's chunks mapped, if the kernel can do that (Linux 5.14) and was not asked
    /// before.
    fn populate(&self, range: Range<usize>) -> io::Result<()> {
        for chunk in range.start / CHUNK_LEN_BYTES..range.end.div_ceil(CHUNK_LEN_BYTES) {
            let word = &self.populated[chunk / u64::BITS as usize];
            let bit = 1 << (chunk % u64::BITS as usize);
            if word.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            let start = chunk * CHUNK_LEN_BYTES;
            let len = CHUNK_LEN_BYTES.min(self.len - start);
            // SAFETY: the chunk lies inside the mapping and begins with a page; its contents do not change.
            let populated = unsafe {
                let address = self.start.as_ptr().byte_add(start);
                madvise(address, len, Advice::LinuxPopulateRead)
            };
            match populated {
                // The file ends before.
                Err(error @ rustix::io::Errno::FAULT) => return Err(error.into()),
                // An old kernel, or not the time for it: the pages come one by one.
                _ => word.fetch_or(bit, Ordering::Relaxed),
            };
        }
        Ok(())
    }

    fn has_faulted(&self) -> bool {
        self.slot.has_faulted.load(Ordering::Acquire)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.slot.release();
        // SAFETY: nothing refers to the mapping any more: what `visit` showed has ended.
        let _ = unsafe { munmap(self.start.as_ptr(), self.len) };
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping")
            .field("len_bytes", &self.len)
            .finish_non_exhaustive()
    }
}

fn page_len() -> usize {
    rustix::param::page_size()
}

/// What SIGBUS did before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

fn install_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // The page length is asked for now, and not in the handler for the first time.
        page_len();
        // SAFETY: all zeros is a `sigaction` with no flags and an empty mask.
        let (mut action, mut previous): (libc::sigaction, libc::sigaction) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: both pointers are to live structures; with a null action the call only asks.
        let asked = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &mut previous) };
        if asked != 0 {
            return Err(errno());
        }
        // Known before the handler can run.
        let _ = PREVIOUS.set(previous);
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and does only what is allowed in
        // one: atomics, mmap, sigaction.
        match unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(errno()),
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

extern "C" fn on_bus_error(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid `siginfo_t` of a SIGBUS, which has an address.
    let address = unsafe { (*info).si_addr() }.addr();
    if let Some(slot) = SLOTS.iter().find(|slot| slot.contains(address)) {
        slot.has_faulted.store(true, Ordering::Release);
        if replace_page(address) {
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Puts a page of zeros where `address` is. As a system call by itself: `errno` stays as it is.
fn replace_page(address: usize) -> bool {
    let page = address - address % page_len();
    // SAFETY: the page belongs to one of our mappings, which only `visit` reads: as bytes that may change.
    let replaced = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::with_exposed_provenance_mut(page),
            page_len(),
            ProtFlags::READ,
            MapFlags::PRIVATE | MapFlags::FIXED,
        )
    };
    replaced.is_ok()
}

/// To whom the signal would have gone without us.
fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.get();
    match previous.map(|previous| (previous.sa_sigaction, previous.sa_flags)) {
        None | Some((libc::SIG_DFL | libc::SIG_IGN, _)) => {
            // SAFETY: sets the default action, under which the instruction that faulted, run again, ends
            // the process as it would have. (An ignored SIGBUS that a fault raised ends it too.)
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Some((handler, flags)) if flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO the handler has this signature.
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
                unsafe { mem::transmute(handler) };
            handler(signal, info, context);
        }
        Some((handler, _)) => {
            // SAFETY: without SA_SIGINFO the handler has this signature.
            let handler: extern "C" fn(i32) = unsafe { mem::transmute(handler) };
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(len: usize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..len).map(|place| (place % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn the_bytes_are_the_files() {
        let file = file(300_000);
        let mapping = Mapping::new(&file, 300_000).unwrap();
        for range in [0..0, 0..1, 299_999..300_000, 4095..4097, 0..300_000] {
            let mut seen = None;
            assert!(mapping.visit(range.clone(), &mut |bytes| seen = Some(bytes.to_vec())));
            let expected: Vec<u8> = range.map(|place| (place % 251) as u8).collect();
            assert_eq!(seen, Some(expected));
        }
    }

    #[test]
    fn past_the_end_is_refused_without_a_look() {
        let file = file(5000);
        let mapping = Mapping::new(&file, 5000).unwrap();
        for range in [4999..5001, 5001..5002, u64::MAX - 1..u64::MAX] {
            assert!(!mapping.visit(range, &mut |_| panic!("shown")));
        }
    }

    /// Cut between the check and the look: the read must neither end the process nor count.
    #[test]
    fn a_file_cut_while_it_is_read_is_no_end_of_the_process() {
        let pages = 40;
        let file = file(pages * page_len());
        let mapping = Mapping::new(&file, (pages * page_len()) as u64).unwrap();
        let all = 0..(pages * page_len()) as u64;
        let mut sum = 0;
        let is_whole = mapping.visit(all.clone(), &mut |bytes| {
            file.set_len(page_len() as u64).unwrap();
            sum = bytes.iter().map(|&byte| u64::from(byte)).sum();
        });
        assert!(!is_whole);
        assert!(sum > 0, "the first page is still there");
        // For good: a page of this mapping is not the file's any more.
        file.set_len(all.end).unwrap();
        assert!(!mapping.visit(0..1, &mut |_| panic!("shown")));
        // A new one has the file as it is now.
        let mapping = Mapping::new(&file, all.end).unwrap();
        assert!(mapping.visit(all, &mut |bytes| assert_eq!(bytes[page_len()], 0)));
    }

    #[test]
    fn a_file_cut_before_it_is_read_is_found_by_populating() {
        let len = 64 * page_len();
        let file = file(len);
        let mapping = Mapping::new(&file, len as u64).unwrap();
        file.set_len(page_len() as u64).unwrap();
        assert!(!mapping.visit(0..len as u64, &mut |_| ()));
        assert!(mapping.visit(0..page_len() as u64, &mut |_| ()) || mapping.has_faulted());
    }

    #[test]
    fn slots_are_given_back() {
        let file = file(10);
        for _ in 0..2 * SLOT_COUNT {
            Mapping::new(&file, 10).unwrap();
        }
        let mut held = Vec::new();
        while let Ok(mapping) = Mapping::new(&file, 10) {
            held.push(mapping);
            assert!(held.len() <= SLOT_COUNT);
        }
        assert!(held.len() > SLOT_COUNT / 2, "others' tests hold few");
    }
}
