//! Room for a run: files without a name, of which nothing stays whatever ends the process, and what there is of disk
//! and memory.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::Error;

/// Left free of the disk beyond what is announced: file systems want room for themselves.
const DISK_RESERVE_BYTES: u64 = 64 << 20;

/// A directory in which files without names can be made.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
}

impl Space {
    /// # Errors
    /// [`Error::Io`] when `dir` is not a directory that can be written to.
    pub(crate) fn new(dir: &Path) -> Result<Self, Error> {
        let space = Self {
            dir: dir.to_owned(),
        };
        // Now, and not after the user has waited.
        space.file()?;
        Ok(space)
    }

    /// An empty file without a name: the kernel takes it back with the last descriptor, even after SIGKILL.
    pub(crate) fn file(&self) -> Result<File, Error> {
        let failed = || Error::io(format!("{}: cannot make a file there", self.dir.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let unnamed = options
            .clone()
            .custom_flags(OFlags::TMPFILE.bits() as i32)
            .open(&self.dir);
        if let Ok(file) = unnamed {
            return Ok(file);
        }
        // A file system without unnamed files: a directory of the run's own, gone again before anything is written.
        let dir = self
            .dir
            .join(format!(".lucarne-overhead-{}", std::process::id()));
        std::fs::create_dir(&dir).map_err(failed())?;
        let path = dir.join("data");
        let file = options.create_new(true).open(&path);
        let removed = std::fs::remove_file(&path);
        let removed_dir = std::fs::remove_dir(&dir);
        let file = file.map_err(failed())?;
        removed.and(removed_dir).map_err(failed())?;
        Ok(file)
    }

    /// Bytes that this user can still write there.
    pub(crate) fn free_bytes(&self) -> Result<u64, Error> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|error| {
            Error::io(format!("{}: cannot ask for its space", self.dir.display()))(error.into())
        })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// # Errors
    /// [`Error::Refused`] with what is needed and what there is.
    pub(crate) fn check_disk(&self, needed: u64) -> Result<(), Error> {
        let free = self.free_bytes()?;
        if needed.saturating_add(DISK_RESERVE_BYTES) <= free {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{}: the run needs {} MiB of disk at its largest, and {} MiB are free (64 MiB of them stay so): a smaller --size, or another --dir",
            self.dir.display(),
            needed.div_ceil(1 << 20),
            free >> 20
        )))
    }

    /// The file system's name as the kernel's table of mounts has it, with the device; for the report.
    pub(crate) fn description(&self) -> String {
        let dir = std::fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        mounts
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(' ');
                let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
                dir.starts_with(point)
                    .then(|| (point.len(), format!("{kind} on {device}")))
            })
            // Of mounts on one point the last is on top.
            .max_by_key(|(len, _)| *len)
            .map_or_else(|| "unknown".into(), |(_, text)| text)
    }
}

/// The same file with a description of its own: another position, other flags.
pub(crate) fn reopened(file: &File, flags: OFlags, write: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(flags.bits() as i32)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Bytes of memory that can be had without taking any from others: what the system says is available, and what the
/// control group still allows.
pub(crate) fn available_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    let number = |path: &str| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
    let of_group = limit.map_or(u64::MAX, |limit| limit.saturating_sub(used));
    Some((kib << 10).min(of_group))
}

/// # Errors
/// [`Error::Memory`] when the buffers and the page cache of what is loaded warm do not fit.
pub(crate) fn check_memory(needed: u64, available: Option<u64>) -> Result<(), Error> {
    match available {
        Some(available) if needed > available => Err(Error::Memory(format!(
            "the run needs {} MiB of memory (what is loaded, and both files in the page cache), and {} MiB are available: a smaller --size",
            needed.div_ceil(1 << 20),
            available >> 20
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_a_name() {
        let scratch = tempfile::tempdir().unwrap();
        let space = Space::new(scratch.path()).unwrap();
        let file = space.file().unwrap();
        file.set_len(1 << 20).unwrap();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        let again = reopened(&file, OFlags::empty(), true).unwrap();
        assert_eq!(again.metadata().unwrap().len(), 1 << 20);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_figures() {
        let scratch = tempfile::tempdir().unwrap();
        let space = Space::new(scratch.path()).unwrap();
        let error = space.check_disk(1 << 60).unwrap_err().to_string();
        assert!(error.contains("1099511627776 MiB of disk"), "{error}");
        assert!(space.check_disk(1).is_ok());
        let error = check_memory(3 << 20, Some(2 << 20))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("3 MiB") && error.contains("2 MiB are available"),
            "{error}"
        );
        assert!(check_memory(3 << 20, None).is_ok());
        assert!(Space::new(Path::new("/proc/nowhere")).is_err());
    }
}
