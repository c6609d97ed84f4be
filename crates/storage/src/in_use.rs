//! Locks between processes that use the data of an image for longer than a change of its header takes.
//!
//! | who | holds |
//! |---|---|
//! | a server that only reads | shared |
//! | a server that writes, `write` | exclusive |
//! | what moves or replaces the data: re-encryption, formatting, wiping, a header put back | exclusive |
//! | a change of the header; reading once | nothing |
//!
//! A writer is alone because it reads, changes and writes back what is not whole sectors, and because readers keep
//! what they read in caches.
//!
//! The lock is an open file description lock (fcntl(2)) on one byte far behind any data, of the file that the data are
//! in: so it tells copies of a volume apart, which have one UUID, and takes two volumes with detached headers on one
//! file for one. cryptsetup knows nothing of it, and is not hindered: it locks files with `flock`, which the kernel
//! keeps apart from these. (On NFS it does not: there a lock of this kind and a `flock` exclude each other, and
//! cryptsetup waits.)
//!
//! Of a block device the byte is its node's, and a device may have several nodes: so there is a second lock, `flock` on
//! a file named after the device's number, which cryptsetup does not look at, in the directory of those that it does
//! ([`crate::lock`]). Who may not write there has the node's alone. Two writers exclude each other in any case, because
//! the kernel lets a device be opened with `O_EXCL` only once; the locks are about readers, who do not open it so.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

// Of 64 bits, as the kernel takes it for these locks: glibc has another of 32 beside it.
#[cfg(not(all(target_env = "gnu", target_pointer_width = "32")))]
use libc::flock as ByteLock;
#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
use libc::flock64 as ByteLock;

use crate::LockKind;

/// "LUKSUSE" in hexadecimal: no file is as long, and no program that locks bytes has come across it.
const BYTE: i64 = 0x4c55_4b53_5553_4500;

/// Takes the lock without waiting; [`io::ErrorKind::WouldBlock`] where others hold it.
pub(crate) fn take(file: &File, kind: LockKind) -> io::Result<()> {
    set(
        file,
        match kind {
            LockKind::Shared => libc::F_RDLCK,
            LockKind::Exclusive => libc::F_WRLCK,
        },
    )
}

/// Gives it back.
pub(crate) fn give_back(file: &File) -> io::Result<()> {
    set(file, libc::F_UNLCK)
}

#[allow(unsafe_code)]
fn set(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: it is a C struct of integers, for all of which zero is a value.
    let mut lock: ByteLock = unsafe { std::mem::zeroed() };
    // Small constants of the C library.
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = BYTE;
    lock.l_len = 1;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and `F_OFD_SETLK` reads one such struct from the
    // pointer, which is valid.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    match result {
        -1 => match io::Error::last_os_error() {
            // POSIX allows both for a lock that others hold.
            error if error.raw_os_error() == Some(libc::EACCES) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            error => Err(error),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (named.reopen().unwrap(), named.reopen().unwrap());
        let taken = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        };
        take(&a, LockKind::Shared).unwrap();
        take(&b, LockKind::Shared).unwrap();
        taken(take(&a, LockKind::Exclusive));
        give_back(&b).unwrap();
        take(&a, LockKind::Exclusive).unwrap();
        taken(take(&b, LockKind::Shared));
        drop(a);
        take(&b, LockKind::Exclusive).unwrap();
    }

    #[test]
    fn a_lock_on_the_whole_file_is_another_matter() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (named.reopen().unwrap(), named.reopen().unwrap());
        take(&a, LockKind::Exclusive).unwrap();
        rustix::fs::flock(&b, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
