//! Files that appear complete or not at all.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, OFlags};

/// For the owner alone.
const PRIVATE: u32 = 0o600;
/// What the process's umask leaves of it.
const BY_UMASK: u32 = 0o666;

use crate::{Access, FileStorage, LockKind};

/// A file in the making: its name shows nothing, or what was there before, until [`NewFile::persist`].
///
/// Where the file system can, the file has no name at all until then, so that even a killed process
/// leaves nothing behind; elsewhere it is written under a hidden name beside the target, which is
/// removed on drop.
///
/// A file that replaces another keeps that one's permissions, and its owner and group where the
/// process may set them; access lists and other extended attributes are not kept.
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
    /// Begins a file that will be called `path`, in the directory where it will stay. Who may read it
    /// is the umask's choice.
    ///
    /// # Errors
    /// What the system says about the directory.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // Nobody may read the new bytes that could not read the old ones, not even while the file has
        // its hidden name only; [`Self::persist`] opens it as far as the old one was open.
        let mode = match path.symlink_metadata() {
            Ok(_) => PRIVATE,
            Err(_) => BY_UMASK,
        };
        Self::with_mode(path, mode)
    }

    /// As [`Self::create`], for a file that holds key material: for its owner alone, unless it replaces
    /// one that was more open.
    ///
    /// # Errors
    /// What the system says about the directory.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("header");
    /// lucarne_storage::NewFile::create_private(&path)?.persist(false)?;
    /// assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create_private(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::with_mode(path.as_ref(), PRIVATE)
    }

    fn with_mode(path: &Path, mode: u32) -> io::Result<Self> {
        let target = path.to_path_buf();
        let directory = directory_of(&target);
        let (file, hidden) = match unnamed(&directory, mode) {
            Ok(file) => (file, None),
            // Not every file system has unnamed files, and without /proc they cannot be named later.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => {
                let hidden = HiddenName::beside(&target)?;
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .mode(mode)
                    .create_new(true)
                    .open(&hidden.path)?;
                (file, Some(hidden))
            }
        };
        Ok(Self {
            storage: FileStorage::from_file(file)?.with_direct_writes(),
            target,
            hidden,
        })
    }

    /// Begins a file for its owner alone whose making can be taken up again: it lies under
    /// [`Self::partial_path`], and once [`Self::keep_partial`] was called it stays there until it is complete,
    /// whatever becomes of this process. It is locked ([`FileStorage::try_lock`]) until it has its name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when something has that name; what the system says about the directory.
    ///
    /// ```
    /// use lucarne_storage::{NewFile, Storage};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("out");
    /// let file = NewFile::create_resumable(&path)?;
    /// file.storage().write_at(b"half", 0)?;
    /// file.keep_partial();
    /// drop(file);
    /// let file = NewFile::resume(&path)?;
    /// file.storage().write_at(b" and half", 4)?;
    /// file.persist(false)?;
    /// assert_eq!(std::fs::read(&path)?, b"half and half");
    /// assert!(!NewFile::partial_path(&path)?.exists());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create_resumable(path: impl AsRef<Path>) -> io::Result<Self> {
        let target = path.as_ref().to_path_buf();
        let partial = Self::partial_path(&target)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(PRIVATE)
            .create_new(true)
            .open(&partial)?;
        let storage = FileStorage::from_file(file)?;
        // Before there is anything in it that somebody could take up.
        storage.try_lock(LockKind::Exclusive)?;
        let hidden = HiddenName::removed_on_drop(partial);
        // Whoever takes it up again after a power cut must find its name.
        File::open(directory_of(&target))?.sync_all()?;
        Ok(Self {
            storage: storage.with_direct_writes(),
            target,
            hidden: Some(hidden),
        })
    }

    /// Takes up again what [`Self::create_resumable`] began.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is nothing to take up, [`io::ErrorKind::WouldBlock`] when somebody
    /// is at work on it.
    pub fn resume(path: impl AsRef<Path>) -> io::Result<Self> {
        let target = path.as_ref().to_path_buf();
        let partial = Self::partial_path(&target)?;
        let storage = FileStorage::open(&partial, Access::ReadWrite)?;
        storage.try_lock(LockKind::Exclusive)?;
        let file = Self {
            storage: storage.with_direct_writes(),
            target,
            hidden: Some(HiddenName::removed_on_drop(partial)),
        };
        file.keep_partial();
        Ok(file)
    }

    /// The name under which a file of the name `path` lies while it is made by [`Self::create_resumable`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when the path has no file name.
    pub fn partial_path(path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = path.as_ref();
        let Some(name) = path.file_name() else {
            return Err(no_file_name());
        };
        let mut partial = OsString::from(".");
        partial.push(name);
        partial.push(".lucarne-partial");
        Ok(directory_of(path).join(partial))
    }

    /// Leaves what [`Self::create_resumable`] began where it is, should it not become complete now.
    pub fn keep_partial(&self) {
        if let Some(hidden) = &self.hidden {
            hidden.is_kept.store(true, Ordering::Relaxed);
        }
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
        if let (true, Ok(old)) = (replace, std::fs::metadata(&self.target)) {
            take_over_access(self.storage.file(), &old)?;
        }
        self.storage.file().sync_all()?;
        if let Some(hidden) = &self.hidden {
            hidden.check_is_of(self.storage.file())?;
        }
        match self.hidden {
            None if replace => {
                let hidden = HiddenName::beside(&self.target)?;
                link(self.storage.file(), &hidden.path)?;
                std::fs::rename(&hidden.path, &self.target)?;
                hidden.forget();
            }
            None => link(self.storage.file(), &self.target)?,
            Some(hidden) if replace => {
                std::fs::rename(&hidden.path, &self.target)?;
                hidden.forget();
            }
            // A hard link fails where the name is taken, as rename does not; the hidden name goes on drop.
            Some(hidden) => {
                std::fs::hard_link(&hidden.path, &self.target)?;
                hidden.is_kept.store(false, Ordering::Relaxed);
            }
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

/// Gives the new file the old one's owner, group and permissions, as far as that is allowed.
fn take_over_access(new: &File, old: &Metadata) -> io::Result<()> {
    // Only root gives files away, so a refusal is no failure; the group may be set by its members.
    let is_owners = fchown(new, Some(old.uid()), None).is_ok();
    let is_groups = fchown(new, None, Some(old.gid())).is_ok();
    // Never the set-user-ID bits: these bytes are others than those that were trusted with them.
    let mut mode = old.mode() & 0o777;
    if !is_groups {
        // The rights were another group's; this one has those of everybody.
        mode = (mode & !0o070) | ((mode & 0o007) << 3);
    }
    if !is_owners {
        // Who makes the file may read and write it, whatever the old owner might.
        mode |= PRIVATE;
    }
    new.set_permissions(Permissions::from_mode(mode))
}

fn no_file_name() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name")
}

fn unnamed(directory: &Path, mode: u32) -> io::Result<File> {
    std::fs::metadata("/proc/self/fd").map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .mode(mode)
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

/// A name that a person would not look at, removed on drop unless the file got its real one or is to be
/// completed later.
#[derive(Debug)]
struct HiddenName {
    path: PathBuf,
    /// Stays on drop.
    is_kept: AtomicBool,
}

impl HiddenName {
    fn beside(target: &Path) -> io::Result<Self> {
        if target.file_name().is_none() {
            return Err(no_file_name());
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        // Without the target's name, which may be as long as names can be.
        let name = format!(".lucarne-{}-{count}-{clock:x}.partial", std::process::id());
        Ok(Self::removed_on_drop(directory_of(target).join(name)))
    }

    fn removed_on_drop(path: PathBuf) -> Self {
        Self {
            path,
            is_kept: AtomicBool::new(false),
        }
    }

    /// A name that others know may be another file's by now; who holds the lock of the file that has it is the
    /// only one to change that.
    fn check_is_of(&self, file: &File) -> io::Result<()> {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        if identity(std::fs::symlink_metadata(&self.path)?) == identity(file.metadata()?) {
            return Ok(());
        }
        Err(io::Error::other("the partial file has been replaced"))
    }

    /// Removes nothing any more.
    fn forget(mut self) {
        // The path's own memory must go, or every new file leaks its name.
        drop(std::mem::take(&mut self.path));
        std::mem::forget(self);
    }
}

impl Drop for HiddenName {
    fn drop(&mut self) {
        if !*self.is_kept.get_mut() {
            // Nobody is left to tell; a hidden partial file does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
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
            std::fs::write(&hidden.path, expected).unwrap();
            let file = NewFile {
                storage: FileStorage::open(&hidden.path, crate::Access::ReadWrite).unwrap(),
                target: path.clone(),
                hidden: Some(hidden),
            };
            file.persist(replace).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
            assert_eq!(names(dir.path()), ["out"]);
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    /// Both ways of making a file: without a name, and under a hidden one.
    fn both_ways(path: &Path, private: bool) -> [NewFile; 2] {
        let unnamed = match private {
            true => NewFile::create_private(path).unwrap(),
            false => NewFile::create(path).unwrap(),
        };
        let hidden = HiddenName::beside(path).unwrap();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(PRIVATE)
            .create_new(true)
            .open(&hidden.path)
            .unwrap();
        let named = NewFile {
            storage: FileStorage::from_file(file).unwrap(),
            target: path.to_path_buf(),
            hidden: Some(hidden),
        };
        [unnamed, named]
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_but_no_special_bits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        for (old, kept) in [
            (0o600, 0o600),
            (0o640, 0o640),
            (0o666, 0o666),
            (0o444, 0o444),
            (0o4755, 0o755),
        ] {
            for private in [false, true] {
                for file in both_ways(&path, private) {
                    let _ = std::fs::remove_file(&path);
                    std::fs::write(&path, "old").unwrap();
                    std::fs::set_permissions(&path, Permissions::from_mode(old)).unwrap();
                    file.persist(true).unwrap();
                    assert_eq!(std::fs::read(&path).unwrap(), b"", "{old:o}");
                    assert_eq!(mode(&path), kept, "{old:o}");
                }
            }
        }
    }

    #[test]
    fn a_private_file_is_its_owners_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let file = NewFile::create_private(&path).unwrap();
        assert_eq!(
            file.storage().file().metadata().unwrap().mode() & 0o777,
            PRIVATE
        );
        file.persist(false).unwrap();
        assert_eq!(mode(&path), PRIVATE);
        // The bytes that will replace a private file are private before they do.
        let file = NewFile::create(&path).unwrap();
        assert_eq!(
            file.storage().file().metadata().unwrap().mode() & 0o777,
            PRIVATE
        );
    }

    #[test]
    fn the_owner_is_kept_where_that_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "old").unwrap();
        if std::os::unix::fs::chown(&path, Some(12345), Some(54321)).is_err() {
            return; // only root gives files away
        }
        NewFile::create(&path).unwrap().persist(true).unwrap();
        let kept = std::fs::metadata(&path).unwrap();
        assert_eq!((kept.uid(), kept.gid()), (12345, 54321));
    }

    #[test]
    fn names_may_be_as_long_as_names_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n".repeat(255));
        for file in both_ways(&path, false) {
            file.persist(true).unwrap();
        }
        assert_eq!(names(dir.path()), ["n".repeat(255)]);
    }

    #[test]
    fn a_missing_directory_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = NewFile::create(dir.path().join("no/out")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_partial_file_stays_only_when_it_is_to_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        drop(NewFile::create_resumable(&path).unwrap());
        assert!(names(dir.path()).is_empty());
        let gone = NewFile::resume(&path).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);

        let file = NewFile::create_resumable(&path).unwrap();
        file.keep_partial();
        let taken = NewFile::create_resumable(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        let busy = NewFile::resume(&path).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
        drop(file);
        assert_eq!(names(dir.path()), [".out.lucarne-partial"]);

        // Another's file does not become this one by its name.
        let file = NewFile::resume(&path).unwrap();
        std::fs::remove_file(dir.path().join(".out.lucarne-partial")).unwrap();
        let other = NewFile::create_resumable(&path).unwrap();
        other.keep_partial();
        assert!(file.persist(true).is_err());
        drop(other);
        assert_eq!(names(dir.path()), [".out.lucarne-partial"]);

        // A name that was taken meanwhile costs nothing of what was made.
        std::fs::write(&path, "somebody's").unwrap();
        let error = NewFile::resume(&path).unwrap().persist(false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(dir.path()), [".out.lucarne-partial", "out"]);
        NewFile::resume(&path).unwrap().persist(true).unwrap();
        assert_eq!(names(dir.path()), ["out"]);
        std::fs::remove_file(&path).unwrap();
        let file = NewFile::create_resumable(&path).unwrap();
        file.keep_partial();
        file.persist(false).unwrap();
        assert_eq!(names(dir.path()), ["out"]);
    }
}
