//! Locks between processes that change a header: cryptsetup's own, so that it and we respect each other.
//!
//! For a file that is `flock` on the file itself. For a block device it is `flock` on a file of
//! `/run/cryptsetup` named after the device's number, where that directory is or can be made; elsewhere on
//! the device's node, which keeps our own processes apart.
//!
//! The locks of [`in_use`] are our own; those of block devices lie in the same directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, OFlags};

use crate::{LockKind, in_use};

const DEVICE_LOCKS: &str = "/run/cryptsetup";
/// How often a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Held until it is dropped; see [`crate::Storage::lock_header`].
#[derive(Debug)]
pub struct HeaderLock<'a>(Option<Held<'a>>);

#[derive(Debug)]
enum Held<'a> {
    /// The file, or the device's node.
    Itself(&'a File),
    LockFile(#[expect(dead_code, reason = "held")] LockFile),
    /// See [`in_use`].
    InUse(
        &'a File,
        #[expect(dead_code, reason = "held")] Option<LockFile>,
    ),
    /// A name that nobody else can have meanwhile.
    Name(#[expect(dead_code, reason = "held open")] UnixDatagram),
}

/// A file of `/run/cryptsetup` that stands for a device or a volume, locked until it is dropped.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

impl HeaderLock<'static> {
    /// For storage that no other process can reach.
    pub fn none() -> Self {
        Self(None)
    }
}

impl<'a> HeaderLock<'a> {
    /// Locks an open file or block device, waiting for at most `patience`.
    pub(crate) fn take(
        file: &'a File,
        is_block_device: bool,
        patience: Duration,
    ) -> io::Result<Self> {
        let deadline = Instant::now() + patience;
        if is_block_device && let Some(path) = device_path("L_", file)? {
            return Self::take_file(path, LockKind::Exclusive, deadline);
        }
        wait(file, LockKind::Exclusive, deadline)?;
        Ok(Self(Some(Held::Itself(file))))
    }

    /// Locks the data against whoever uses them otherwise; see [`in_use`].
    pub(crate) fn take_use(
        file: &'a File,
        is_block_device: bool,
        kind: LockKind,
    ) -> io::Result<Self> {
        in_use::take(file, kind)?;
        let device = match is_block_device {
            true => {
                LockFile::take_use(file, kind).inspect_err(|_| drop(in_use::give_back(file)))?
            }
            false => None,
        };
        Ok(Self(Some(Held::InUse(file, device))))
    }

    fn take_file(path: PathBuf, kind: LockKind, deadline: Instant) -> io::Result<Self> {
        let file = LockFile::take(path, kind, deadline)?;
        Ok(Self(Some(Held::LockFile(file))))
    }

    /// The lock of a whole re-encryption, which is held for long and keeps no change of the header out: as
    /// cryptsetup's, on a file of its directory named after the volume's UUID; where that directory is not to
    /// be had, a name in the kernel's abstract namespace, which keeps our own processes apart.
    pub(crate) fn take_reencryption(uuid: &str) -> io::Result<Self> {
        if !is_lock_directory_usable() {
            let name = format!("lucarne/LUKS2-reencryption-{uuid}");
            let address = SocketAddr::from_abstract_name(name)?;
            return match UnixDatagram::bind_addr(&address) {
                Ok(socket) => Ok(Self(Some(Held::Name(socket)))),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            };
        }
        let path = reencryption_lock_path(uuid)?;
        Self::take_file(path, LockKind::Exclusive, Instant::now())
    }

    /// The same lock, shared: a re-encryption by cryptsetup is kept out, and not who else only uses the volume or a
    /// copy of it. Where cryptsetup's directory is not to be had, no cryptsetup of this user could lock anything.
    pub(crate) fn keep_reencryption_out(uuid: &str) -> io::Result<Self> {
        if !is_lock_directory_usable() {
            return Ok(Self(None));
        }
        let path = reencryption_lock_path(uuid)?;
        Self::take_file(path, LockKind::Shared, Instant::now())
    }
}

impl LockFile {
    fn take(path: PathBuf, kind: LockKind, deadline: Instant) -> io::Result<Self> {
        loop {
            let file = open_lock_file(&path)?;
            wait(&file, kind, deadline)?;
            // Who gave it back may have removed it: then this one keeps nobody out.
            if is_there(&file, &path)? {
                return Ok(Self { file, path });
            }
        }
    }

    /// The part of [`in_use`] that is about a block device, whatever its node; `None` where cryptsetup's directory
    /// is not to be had.
    pub(crate) fn take_use(device: &File, kind: LockKind) -> io::Result<Option<Self>> {
        device_path("lucarne_use_", device)?
            .map(|path| Self::take(path, kind, Instant::now()))
            .transpose()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let Self { file, path } = self;
        // Held alone, nobody else has it: who waits for it looks whether it is still there.
        if rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && is_there(file, path).is_ok_and(|there| there)
        {
            // There is nobody to tell what goes wrong.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn reencryption_lock_path(uuid: &str) -> io::Result<PathBuf> {
    // The name comes from the header: it must not lead elsewhere.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !uuid.bytes().all(is_name) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{uuid:?} is no UUID"),
        ));
    }
    Ok(Path::new(DEVICE_LOCKS).join(format!("LN_LUKS2-reencryption-{uuid}")))
}

impl Drop for HeaderLock<'_> {
    fn drop(&mut self) {
        // Closing gives it back in any case; there is nobody to tell what goes wrong.
        match &self.0 {
            Some(Held::Itself(file)) => {
                let _ = rustix::fs::flock(file, FlockOperation::Unlock);
            }
            Some(Held::InUse(file, _)) => {
                let _ = in_use::give_back(file);
            }
            Some(Held::LockFile(_) | Held::Name(_)) | None => {}
        }
    }
}

/// Whether the path still leads to the open file.
fn is_there(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    let there = std::fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()));
    Ok(there.is_ok_and(|there| there == (ours.dev(), ours.ino())))
}

/// Whether cryptsetup's directory is there, or can be made, and is ours to write in.
fn is_lock_directory_usable() -> bool {
    let made = DirBuilder::new().mode(0o700).create(DEVICE_LOCKS);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            rustix::fs::access(DEVICE_LOCKS, Access::WRITE_OK | Access::EXEC_OK).is_ok()
        }
        other => other.is_ok(),
    }
}

/// A name in cryptsetup's directory with the device's number, `L_7:0` where cryptsetup locks it; `None` where that
/// directory is not to be had.
fn device_path(prefix: &str, device: &File) -> io::Result<Option<PathBuf>> {
    if !is_lock_directory_usable() {
        return Ok(None);
    }
    let number = device.metadata()?.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    Ok(Some(
        Path::new(DEVICE_LOCKS).join(format!("{prefix}{major}:{minor}")),
    ))
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

fn wait(file: &File, kind: LockKind, deadline: Instant) -> io::Result<()> {
    let operation = match kind {
        LockKind::Shared => FlockOperation::NonBlockingLockShared,
        LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        match rustix::fs::flock(file, operation) {
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(RETRY);
            }
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_keeps_another_opening_out_until_it_is_dropped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (file.reopen().unwrap(), file.reopen().unwrap());
        let lock = HeaderLock::take(&first, false, Duration::ZERO).unwrap();
        let refused = HeaderLock::take(&second, false, Duration::from_millis(20)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        HeaderLock::take(&second, false, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_second_reencryption_of_the_same_volume_does_not_wait() {
        let uuid = "5f0c5fd3-3b55-4a6e-b8f5-4e9a3d3a6c11";
        let lock = HeaderLock::take_reencryption(uuid).unwrap();
        let refused = HeaderLock::take_reencryption(uuid).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        drop(HeaderLock::take_reencryption(uuid).unwrap());
        if is_lock_directory_usable() {
            let path = reencryption_lock_path(uuid).unwrap();
            assert!(!path.exists(), "it is left behind");
            assert!(HeaderLock::take_reencryption("../../tmp/x").is_err());
        }
    }

    #[test]
    fn users_of_copies_share_what_keeps_a_reencryption_out() {
        if !is_lock_directory_usable() {
            return;
        }
        let uuid = "0d4a36a4-6a5c-4bbd-9f5e-0a1a5f1d6c12";
        let path = reencryption_lock_path(uuid).unwrap();
        let first = HeaderLock::keep_reencryption_out(uuid).unwrap();
        let second = HeaderLock::keep_reencryption_out(uuid).unwrap();
        drop(first);
        let refused = HeaderLock::take_reencryption(uuid).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(second);
        assert!(!path.exists(), "it is left behind");
        let alone = HeaderLock::take_reencryption(uuid).unwrap();
        assert!(HeaderLock::keep_reencryption_out(uuid).is_err());
        drop(alone);
    }

    #[test]
    fn a_lock_file_that_was_removed_and_made_anew_keeps_nobody_out_by_its_old_self() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let far = Instant::now() + Duration::from_secs(60);
        let first = HeaderLock::take_file(path.clone(), LockKind::Exclusive, far).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope
                .spawn(|| HeaderLock::take_file(path.clone(), LockKind::Exclusive, far).unwrap());
            std::thread::sleep(Duration::from_millis(30));
            drop(first);
            // Whoever has it now has the one that others find.
            let second = waiting.join().unwrap();
            let refused = HeaderLock::take_file(path.clone(), LockKind::Exclusive, Instant::now())
                .unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
            drop(second);
        });
        assert!(!path.exists());
    }

    #[test]
    fn it_waits_for_who_holds_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (file.reopen().unwrap(), file.reopen().unwrap());
        let lock = HeaderLock::take(&first, false, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| HeaderLock::take(&second, false, Duration::from_secs(60)).is_ok());
            std::thread::sleep(Duration::from_millis(30));
            drop(lock);
            assert!(waiting.join().unwrap());
        });
    }
}
