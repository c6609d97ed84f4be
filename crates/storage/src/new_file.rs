//! Files that appear complete or not at all.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};

use crate::FileStorage;

/// A file in the making: its name shows nothing, or what was there before, until [`NewFile::persist`].
///
/// Where the file system can, the file has no name at all until then, so that even a killed process
/// leaves nothing behind; elsewhere it is written under a hidden name beside the target, which is
/// removed on drop.
///
/// ```
/// use lucarne_storage::{NewFile, Storage};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("out");
/// let file = NewFile::create(&path)?;
/// file.storage().write_at(b"complete", 0)?;
/// assert!(!path.exists());
/// file.persist(false)?;
/// assert_eq!(std::fs::read(&path)?, b"complete");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    storage: FileStorage,
    target: PathBuf,
    hidden: Option<HiddenName>,
}

impl NewFile {
    /// Begins a file that will be called `path`, in the directory where it will stay.
    ///
    /// # Errors
    /// What the system says about the directory.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let target = path.as_ref().to_path_buf();
        let directory = directory_of(&target);
        let (file, hidden) = match unnamed(&directory) {
            Ok(file) => (file, None),
            // Not every file system has unnamed files, and without /proc they cannot be named later.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => {
                let hidden = HiddenName::beside(&target)?;
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&hidden.0)?;
                (file, Some(hidden))
            }
        };
        Ok(Self {
            storage: FileStorage::from_file(file)?.with_direct_writes(),
            target,
            hidden,
        })
    }

    /// Where to write.
    pub fn storage(&self) -> &FileStorage {
        &self.storage
    }

    /// Flushes the file, gives it its name and flushes the directory.
    ///
    /// A crash before the rename leaves the old file or none; after it, the new one: its bytes were
    /// flushed before the name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when something has that name and `replace` is false.
    pub fn persist(self, replace: bool) -> io::Result<()> {
        self.storage.file().sync_all()?;
        match self.hidden {
            None if replace => {
                let hidden = HiddenName::beside(&self.target)?;
                link(self.storage.file(), &hidden.0)?;
                std::fs::rename(&hidden.0, &self.target)?;
                hidden.forget();
            }
            None => link(self.storage.file(), &self.target)?,
            Some(hidden) if replace => {
                std::fs::rename(&hidden.0, &self.target)?;
                hidden.forget();
            }
            // A hard link fails where the name is taken, as rename does not; the hidden name goes on drop.
            Some(hidden) => std::fs::hard_link(&hidden.0, &self.target)?,
        }
        File::open(directory_of(&self.target))?.sync_all()
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn unnamed(directory: &Path) -> io::Result<File> {
    std::fs::metadata("/proc/self/fd").map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o666)
        .custom_flags(OFlags::TMPFILE.bits() as i32)
        .open(directory)
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    let open_file = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(
        CWD,
        open_file,
        CWD,
        path,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}

/// A name that a person would not look at, removed on drop unless the file got its real one.
#[derive(Debug)]
struct HiddenName(PathBuf);

impl HiddenName {
    fn beside(target: &Path) -> io::Result<Self> {
        let Some(file_name) = target.file_name() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path has no file name",
            ));
        };
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let mut name = OsString::from(".");
        name.push(file_name);
        name.push(format!(".{}-{clock:x}.partial", std::process::id()));
        Ok(Self(directory_of(target).join(name)))
    }

    /// Removes nothing any more.
    fn forget(mut self) {
        // The path's own memory must go, or every new file leaks its name.
        drop(std::mem::take(&mut self.0));
        std::mem::forget(self);
    }
}

impl Drop for HiddenName {
    fn drop(&mut self) {
        // Nobody is left to tell; a hidden partial file does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn dropped_files_leave_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = NewFile::create(dir.path().join("out")).unwrap();
        file.storage().write_at(b"half", 0).unwrap();
        drop(file);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn an_existing_name_is_kept_unless_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let file = NewFile::create(&path).unwrap();
        file.storage().write_at(b"new", 0).unwrap();
        let error = file.persist(false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");

        let file = NewFile::create(&path).unwrap();
        file.storage().write_at(b"new", 0).unwrap();
        file.persist(true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn a_hidden_name_serves_where_unnamed_files_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        for (replace, expected) in [(false, "first"), (true, "second")] {
            let hidden = HiddenName::beside(&path).unwrap();
            std::fs::write(&hidden.0, expected).unwrap();
            let file = NewFile {
                storage: FileStorage::open(&hidden.0, crate::Access::ReadWrite).unwrap(),
                target: path.clone(),
                hidden: Some(hidden),
            };
            file.persist(replace).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
            assert_eq!(names(dir.path()), ["out"]);
        }
    }

    #[test]
    fn a_missing_directory_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = NewFile::create(dir.path().join("no/out")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
