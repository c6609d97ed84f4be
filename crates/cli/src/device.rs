//! Opening what the command line names.

use std::{
    ffi::OsStr,
    fs::Metadata,
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use lucarne::{Access, FileStorage, LockKind, Output};

use crate::exit::{Failure, shown};

/// Opens a file or block device; `UUID=…` names one as in cryptsetup.
pub(crate) fn open(path: &Path, access: Access) -> anyhow::Result<FileStorage> {
    let path = resolved(path);
    FileStorage::open(&path, access).map_err(|error| {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::ResourceBusy => Failure::Exists(format!(
                "{path}: in use: it is mounted, or part of another device"
            ))
            .into(),
            _ => Failure::Device(format!("{path}: {error}")).into(),
        }
    })
}

/// Opens a file or block device whose header is about to be replaced, and keeps other processes
/// (cryptsetup among them) away from it until it is closed, unless that is unwanted.
pub(crate) fn open_exclusively(path: &Path, disable_locks: bool) -> anyhow::Result<FileStorage> {
    let device = open(path, Access::ReadWrite)?;
    if disable_locks {
        return Ok(device);
    }
    device
        .try_lock(LockKind::Exclusive)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                Failure::Exists(format!("{}: another process holds its lock", shown(path)))
            }
            _ => Failure::Device(format!("{}: cannot lock: {error}", shown(path))),
        })?;
    take_into_use(path, &device, LockKind::Exclusive)?;
    Ok(device)
}

/// Keeps others from what the data are used for, until the file is closed: readers share it, and who writes or
/// replaces what lies there is alone.
pub(crate) fn take_into_use(
    path: &Path,
    data: &FileStorage,
    kind: LockKind,
) -> Result<(), Failure> {
    data.try_use(kind).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Failure::Exists(format!(
            "{}: in use by another process, which serves, writes or re-encrypts it",
            shown(path)
        )),
        _ => Failure::Device(format!("{}: cannot lock: {error}", shown(path))),
    })
}

/// Of an output that was just begun: refuses the very device that is read, and takes a device into use. A new file has
/// no users yet.
pub(crate) fn claim_output(
    path: &Path,
    output: &Output,
    input: Option<&FileStorage>,
    disable_locks: bool,
) -> anyhow::Result<()> {
    if let Some(input) = input
        && output.is_same_device(input)?
    {
        return Err(
            Failure::Exists(format!("{}: IN and OUT are the same device", shown(path))).into(),
        );
    }
    if output.is_device() && !disable_locks {
        take_into_use(path, output.storage(), LockKind::Exclusive)?;
    }
    Ok(())
}

/// Opens the device and, if it is detached, its header.
pub(crate) struct Opened {
    pub(crate) data: FileStorage,
    pub(crate) detached_header: Option<FileStorage>,
}

impl Opened {
    pub(crate) fn open(
        device: &Path,
        header: Option<&Path>,
        access: Access,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            data: open(device, access)?,
            detached_header: match header {
                Some(header) => Some(open(header, Access::ReadOnly)?),
                None => None,
            },
        })
    }

    /// Where the header lies.
    pub(crate) fn header(&self) -> &FileStorage {
        self.detached_header.as_ref().unwrap_or(&self.data)
    }
}

/// Refuses to write over what is being read, under whatever name.
pub(crate) fn refuse_same_file(input: &FileStorage, output: &Path) -> anyhow::Result<()> {
    if is_same(input.file().metadata(), output.metadata()) {
        return Err(
            Failure::Exists(format!("{}: IN and OUT are the same file", shown(output))).into(),
        );
    }
    Ok(())
}

/// Whether two names are those of one file that is there.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    is_same(a.metadata(), b.metadata())
}

/// What is not there, or cannot be asked, is no other file; creating it will say more. A device may have several nodes.
fn is_same(a: io::Result<Metadata>, b: io::Result<Metadata>) -> bool {
    let is_device = |file: &Metadata| file.file_type().is_block_device();
    matches!((a, b), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino())
        || is_device(&a) && is_device(&b) && a.rdev() == b.rdev())
}

/// Refuses two outputs that would be one file: the second would replace the first.
pub(crate) fn refuse_same_place(header: &Path, output: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| {
        path.canonicalize().unwrap_or_else(|_| {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).canonicalize();
            parent
                .unwrap_or_default()
                .join(path.file_name().unwrap_or_default())
        })
    };
    if place(header) == place(output) || is_same_file(header, output) {
        return Err(Failure::parameters(format!(
            "--header: {} is OUT itself; the header needs a file of its own",
            shown(header)
        ))
        .into());
    }
    Ok(())
}

fn resolved(path: &Path) -> PathBuf {
    match path.as_os_str().as_bytes().strip_prefix(b"UUID=") {
        Some(uuid)
            if uuid
                .iter()
                .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-') =>
        {
            Path::new("/dev/disk/by-uuid").join(OsStr::from_bytes(&uuid.to_ascii_lowercase()))
        }
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_many_names() {
        let dir = tempfile::tempdir().unwrap();
        let (there, other) = (dir.path().join("there"), dir.path().join("other"));
        std::fs::write(&there, "x").unwrap();
        std::os::unix::fs::symlink(&there, dir.path().join("link")).unwrap();
        let roundabout = dir.path().join(".").join("new");
        assert!(refuse_same_place(&there, &there).is_err());
        assert!(refuse_same_place(&dir.path().join("link"), &there).is_err());
        assert!(refuse_same_place(&roundabout, &dir.path().join("new")).is_err());
        assert!(refuse_same_place(&there, &other).is_ok());
    }

    #[test]
    fn a_uuid_names_a_device() {
        let resolved = |path: &str| resolved(Path::new(path)).display().to_string();
        assert_eq!(resolved("UUID=1A-2b"), "/dev/disk/by-uuid/1a-2b");
        assert_eq!(resolved("UUID=../x"), "UUID=../x");
        assert_eq!(resolved("disk.img"), "disk.img");
    }
}
