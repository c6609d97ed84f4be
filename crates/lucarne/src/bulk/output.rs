//! Where a finished volume or plaintext appears.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use lucarne_storage::{Access, FileStorage, NewFile};

use crate::Error;
use crate::error::{Busy, IoOp, flushing};

/// What may happen to something that already has the output's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It stays, and the operation is refused.
    Never,
    /// A file is replaced once the new one is complete; a block device is overwritten.
    Allowed,
}

/// A file that appears under its name when it is complete, or a block device.
///
/// ```
/// use lucarne::{Output, Replace, Storage};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("out");
/// let output = Output::create(&path, Replace::Never)?;
/// output.storage().write_at(b"bytes", 0).unwrap();
/// assert!(!path.exists());
/// output.finish()?;
/// assert!(path.exists());
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug)]
pub struct Output {
    target: Target,
    replace: Replace,
}

#[derive(Debug)]
enum Target {
    File(NewFile),
    Device(FileStorage),
}

impl Output {
    /// Begins an output at `path`. A new file's permissions are the umask's; one that replaces another
    /// keeps that one's permissions, and its owner where that is allowed.
    ///
    /// # Errors
    /// [`Error::Busy`] when something is there and may not be replaced, or the block device is in use;
    /// [`Error::Refused`] for a directory or another kind of file; [`Error::Io`] from the system.
    pub fn create(path: impl AsRef<Path>, replace: Replace) -> Result<Self, Error> {
        Self::begin(path.as_ref(), replace, |path| NewFile::create(path))
    }

    /// As [`Self::create`], for what holds a header: a new file is for its owner alone (mode 0600, as
    /// cryptsetup's new header files), since who can read a header can try passphrases at leisure.
    ///
    /// # Errors
    /// As [`Self::create`].
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// use lucarne::{Output, Replace};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("header");
    /// Output::create_private(&path, Replace::Never)?.finish()?;
    /// assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    pub fn create_private(path: impl AsRef<Path>, replace: Replace) -> Result<Self, Error> {
        Self::begin(path.as_ref(), replace, |path| NewFile::create_private(path))
    }

    /// As [`Self::create_private`], for a file whose making can be taken up again: it lies under
    /// [`Self::partial_path`] until then, and after [`Self::keep_partial`] stays there if this process ends.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Error::Io`] too when something of that name is there already.
    pub fn create_resumable(path: impl AsRef<Path>, replace: Replace) -> Result<Self, Error> {
        Self::begin(path.as_ref(), replace, |path| {
            NewFile::create_resumable(path)
        })
    }

    /// Takes up again what [`Self::create_resumable`] began; a block device is what it is.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Error::Io`] too when nothing is there to take up.
    pub fn resume(path: impl AsRef<Path>, replace: Replace) -> Result<Self, Error> {
        Self::begin(path.as_ref(), replace, |path| NewFile::resume(path))
    }

    /// Where [`Self::create_resumable`] puts an unfinished file of that name.
    ///
    /// # Errors
    /// [`Error::Io`] when the path has no file name.
    ///
    /// ```
    /// let partial = lucarne::Output::partial_path("/mnt/new.luks")?;
    /// assert_eq!(partial.to_str(), Some("/mnt/.new.luks.lucarne-partial"));
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    pub fn partial_path(path: impl AsRef<Path>) -> Result<std::path::PathBuf, Error> {
        let path = path.as_ref();
        // Through a symbolic link, as the file itself.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        NewFile::partial_path(target).map_err(|source| Error::io(IoOp::Open, 0, source))
    }

    /// From now on there is something to take up: a file that is not finished stays where it is.
    pub fn keep_partial(&self) {
        if let Target::File(file) = &self.target {
            file.keep_partial();
        }
    }

    fn begin(
        path: &Path,
        replace: Replace,
        new_file: impl Fn(&Path) -> std::io::Result<NewFile>,
    ) -> Result<Self, Error> {
        let opening = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::WouldBlock => {
                Error::Busy(Busy::new("another process is working on it"))
            }
            _ => Error::io(IoOp::Open, 0, source),
        };
        let existing = match std::fs::symlink_metadata(path) {
            Ok(_) => Some(std::fs::metadata(path).map_err(opening)?.file_type()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(opening(error)),
        };
        let target = match existing {
            Some(_) if replace == Replace::Never => {
                return Err(Error::Busy(Busy::new("it exists already")));
            }
            Some(kind) if kind.is_block_device() => Target::Device(
                FileStorage::open(path, Access::ReadWrite)
                    .map_err(opening)?
                    .with_direct_writes(),
            ),
            Some(kind) if !kind.is_file() => {
                return Err(Error::refused("not a regular file or a block device"));
            }
            // Through a symbolic link the file that it names is replaced, not the link.
            Some(_) => Target::File(
                std::fs::canonicalize(path)
                    .and_then(|path| new_file(&path))
                    .map_err(opening)?,
            ),
            None => Target::File(new_file(path).map_err(opening)?),
        };
        Ok(Self { target, replace })
    }

    /// Where to write.
    pub fn storage(&self) -> &FileStorage {
        match &self.target {
            Target::File(file) => file.storage(),
            Target::Device(device) => device,
        }
    }

    /// Whether this is a block device, whose length is what it is.
    pub fn is_device(&self) -> bool {
        matches!(self.target, Target::Device(_))
    }

    /// Whether `other` is the very same block device: its bytes would be overwritten while being read.
    ///
    /// # Errors
    /// [`Error::Io`] when the system does not say.
    pub fn is_same_device(&self, other: &FileStorage) -> Result<bool, Error> {
        let Target::Device(device) = &self.target else {
            return Ok(false);
        };
        let identity =
            |storage: &FileStorage| storage.file().metadata().map(|metadata| metadata.rdev());
        let opening = |source| Error::io(IoOp::Open, 0, source);
        Ok(other.is_block_device()
            && identity(device).map_err(opening)? == identity(other).map_err(opening)?)
    }

    /// Makes all durable and gives a file its name.
    ///
    /// # Errors
    /// [`Error::Busy`] when a file of that name has appeared in the meantime and may not be replaced;
    /// [`Error::Io`] from the system.
    pub fn finish(self) -> Result<(), Error> {
        use lucarne_storage::Storage;
        match self.target {
            Target::Device(device) => device.flush().map_err(flushing),
            Target::File(file) => {
                file.persist(self.replace == Replace::Allowed)
                    .map_err(|source| match source.kind() {
                        std::io::ErrorKind::AlreadyExists => {
                            Error::Busy(Busy::new("a file of that name has appeared"))
                        }
                        _ => Error::io(IoOp::Rename, 0, source),
                    })
            }
        }
    }
}
