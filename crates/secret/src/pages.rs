//! Anonymous pages: the only module of this crate with `unsafe` code.

use std::{alloc::Layout, ffi::c_void, ptr::NonNull, slice};

use rustix::mm::{MapFlags, ProtFlags, mlock, mmap_anonymous, munmap};
use zeroize::Zeroize;

/// A private anonymous mapping: zeroed at first, wiped before it is unmapped.
pub(crate) struct Pages {
    /// Start of the mapping; dangling if `len` is 0.
    start: NonNull<u8>,
    /// Length asked for; the kernel rounds the mapping up to whole pages.
    len: usize,
    locked: bool,
}

impl Pages {
    /// Maps `len` zeroed bytes.
    ///
    /// Like any allocation in Rust it does not return when there is no memory.
    pub(crate) fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self {
                start: NonNull::dangling(),
                len,
                locked: true,
            };
        }
        // SAFETY: a null address lets the kernel choose, so that no existing mapping is touched.
        let mapped = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let Some(address) = mapped.ok().and_then(NonNull::new) else {
            out_of_memory(len)
        };
        // SAFETY: the range was mapped just above; locking changes where it may live, not what it
        // holds.
        let locked = unsafe { mlock(address.as_ptr(), len) }.is_ok();
        keep_out_of_core_dumps(address, len);
        Self {
            start: address.cast(),
            len,
            locked,
        }
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is the start of a readable mapping of at least `len` bytes that lives as
        // long as `self` (or dangles, aligned, with `len` 0), and `&self` excludes writers.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; the mapping is writable and `&mut self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Best effort, like locking; only Linux has the advice.
fn keep_out_of_core_dumps(address: NonNull<c_void>, len: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};
        // SAFETY: the range is a mapping of ours; this advice changes core dumps, not the bytes.
        let _ = unsafe { madvise(address.as_ptr(), len, Advice::LinuxDontDump) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (address, len);
}

fn out_of_memory(len: usize) -> ! {
    match Layout::array::<u8>(len) {
        Ok(layout) => std::alloc::handle_alloc_error(layout),
        Err(_) => panic!("capacity overflow"),
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.as_mut_slice().zeroize();
        #[cfg(test)]
        tests::observe_before_unmap(self.as_slice());
        if self.len != 0 {
            // SAFETY: `start` and `len` are those of our own mapping, and nothing borrows from a
            // value that is being dropped. Unmapping unlocks.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

// SAFETY: the mapping is owned by this value alone, as a box's memory is.
unsafe impl Send for Pages {}
// SAFETY: shared access is read-only.
unsafe impl Sync for Pages {}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::Pages;

    thread_local! {
        static LAST_DROPPED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }

    pub(super) fn observe_before_unmap(bytes: &[u8]) {
        LAST_DROPPED.with_borrow_mut(|last| *last = Some(bytes.to_vec()));
    }

    #[test]
    fn the_bytes_are_zero_before_they_are_unmapped() {
        let mut pages = Pages::zeroed(5000);
        pages.as_mut_slice().fill(0xa5);
        drop(pages);
        let last = LAST_DROPPED.take().unwrap();
        assert_eq!(last.len(), 5000);
        assert!(last.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_fresh_mapping_is_zero_and_writable_to_its_end() {
        let mut pages = Pages::zeroed(4097);
        assert!(pages.as_slice().iter().all(|&byte| byte == 0));
        *pages.as_mut_slice().last_mut().unwrap() = 1;
        assert_eq!(pages.as_slice()[4096], 1);
    }

    #[test]
    fn nothing_needs_no_pages() {
        let mut pages = Pages::zeroed(0);
        assert!(pages.as_slice().is_empty());
        assert!(pages.as_mut_slice().is_empty());
    }

    /// The flags of the mapping that holds `address`, from `/proc/self/smaps`.
    #[cfg(target_os = "linux")]
    fn vm_flags(address: usize) -> Option<Vec<String>> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let mut inside = false;
        for line in smaps.lines() {
            let first = line.split(' ').next()?;
            if let Some((start, end)) = first.split_once('-') {
                let bound = |text| usize::from_str_radix(text, 16).ok();
                inside = (bound(start)?..bound(end)?).contains(&address);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return Some(flags.split_whitespace().map(str::to_owned).collect());
            }
        }
        None
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[allow(clippy::print_stderr)] // says which half could not be checked
    fn the_kernel_shows_the_pages_as_undumped_and_locked() {
        let pages = Pages::zeroed(100);
        let Some(flags) = vm_flags(pages.as_slice().as_ptr().addr()) else {
            eprintln!("skipped: no readable /proc/self/smaps with VmFlags on this kernel");
            return;
        };
        assert!(
            flags.iter().any(|flag| flag == "dd"),
            "not excluded from core dumps: {flags:?}"
        );
        if pages.is_locked() {
            assert!(
                flags.iter().any(|flag| flag == "lo"),
                "not locked: {flags:?}"
            );
        } else {
            eprintln!("skipped: mlock is not allowed here");
        }
    }
}
