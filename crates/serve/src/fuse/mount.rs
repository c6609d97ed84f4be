//! Mounting and unmounting.
//!
//! Who may call `mount(2)` does; for others `fusermount3`, which the distribution installs setuid, does it and hands
//! the kernel's file descriptor back over a socket. That socket is its standard input, so that it need not be
//! inherited in any other way.

use std::ffi::{CString, OsString};
use std::fs::OpenOptions;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::mounted::{Mounted, mounted_at};

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
/// Under which the helper learns of the socket.
const HELPER_SOCKET: &str = "_FUSE_COMMFD";
/// The longest read that is one request, in bytes: the kernel sends the parts of a longer one at once, and several
/// threads answer. Direct reads of 1 MiB go 1.6 times as fast as in one request each, on two processors.
const READ_LEN_MAX: u32 = 256 << 10;

/// Why a file system was not mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// This machine has no FUSE.
    #[error(
        "/dev/fuse is not there: the kernel's FUSE is not loaded (modprobe fuse) or not let into this container"
    )]
    NoFuse,
    /// This user may neither mount, nor have it done.
    #[error("mounting is not allowed: {0}")]
    NotAllowed(String),
    /// The mount point is missing, no directory, or out of reach.
    #[error("the mount point: {0}")]
    Point(io::Error),
    /// Something is mounted there.
    #[error("something is mounted there already ({0}): umount it first")]
    Taken(String),
    /// There are files in the directory, which the mount would hide.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The system, otherwise.
    #[error("cannot mount: {0}")]
    Io(#[from] io::Error),
}

/// How a file system goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// Only if nobody uses it.
    IfUnused,
    /// Out of sight at once, and for good when the last one who uses it has gone.
    Lazily,
}

/// Why it is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnmountError {
    /// A file of it is open, or a loop device lies on it.
    #[error("it is in use")]
    Busy,
    /// The system, otherwise.
    #[error("cannot unmount: {0}")]
    Io(#[from] io::Error),
}

/// Tells what would prevent mounting at `point`, before anything else is done; gives the point's path without links.
///
/// ```
/// use lucarne_serve::fuse::{MountError, check_mount_point};
///
/// let missing = check_mount_point("/no such directory".as_ref());
/// assert!(matches!(missing, Err(MountError::Point(_))));
/// ```
///
/// # Errors
/// As [`MountError`] says.
pub fn check_mount_point(point: &Path) -> Result<PathBuf, MountError> {
    // A mount whose server was killed is in the list, and cannot be looked at.
    let name = std::path::absolute(point).map_err(MountError::Point)?;
    if let Some(mounted) = mounted_at(&name)? {
        return Err(MountError::Taken(mounted.kind));
    }
    let point = point.canonicalize().map_err(MountError::Point)?;
    if let Some(mounted) = mounted_at(&point)? {
        return Err(MountError::Taken(mounted.kind));
    }
    let mut entries = std::fs::read_dir(&point).map_err(MountError::Point)?;
    if entries.next().is_some() {
        return Err(MountError::NotEmpty);
    }
    match rustix::fs::access(DEVICE, rustix::fs::Access::EXISTS) {
        Err(Errno::NOENT) => return Err(MountError::NoFuse),
        Err(error) => return Err(MountError::NotAllowed(format!("{DEVICE}: {error}"))),
        Ok(()) => {}
    }
    if !rustix::process::geteuid().is_root() && helper().is_none() {
        return Err(MountError::NotAllowed(format!(
            "{HELPER}, which mounts for users other than root, is not installed"
        )));
    }
    Ok(point)
}

/// What is mounted, and how.
#[derive(Debug, Clone)]
pub(super) struct Mounting<'a> {
    pub(super) point: &'a Path,
    /// What lists of mounts show as the device.
    pub(super) source: &'a str,
    pub(super) is_read_only: bool,
    pub(super) others_may: bool,
}

/// Mounts; gives what the kernel's requests are read from.
pub(super) fn mount(mounting: &Mounting<'_>) -> Result<(OwnedFd, Mounted), MountError> {
    let device = match mount_directly(mounting) {
        Ok(device) => device,
        Err(MountError::NotAllowed(_)) if !rustix::process::geteuid().is_root() => {
            mount_by_helper(mounting)?
        }
        Err(error) => return Err(error),
    };
    let mounted = mounted_at(mounting.point)?
        .ok_or_else(|| MountError::Io(io::Error::other("mounted, and yet in no list of mounts")))?;
    Ok((device, mounted))
}

fn mount_directly(mounting: &Mounting<'_>) -> Result<OwnedFd, MountError> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    let device = device.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => MountError::NoFuse,
        io::ErrorKind::PermissionDenied => MountError::NotAllowed(format!("{DEVICE}: {error}")),
        _ => MountError::Io(error),
    })?;
    // The kernel checks the permissions: the server is never asked.
    let mut options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,max_read={READ_LEN_MAX}",
        device.as_raw_fd(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if mounting.others_may {
        options.push_str(",allow_other");
    }
    let mut flags =
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    if mounting.is_read_only {
        flags |= MountFlags::RDONLY;
    }
    let options = CString::new(options).map_err(io::Error::from)?;
    match rustix::mount::mount(
        mounting.source,
        mounting.point,
        "fuse.lucarne",
        flags,
        options.as_c_str(),
    ) {
        Ok(()) => Ok(device.into()),
        Err(error @ (Errno::PERM | Errno::ACCESS)) => {
            Err(MountError::NotAllowed(format!("mount: {error}")))
        }
        Err(Errno::NODEV) => Err(MountError::NoFuse),
        Err(error) => Err(MountError::Io(error.into())),
    }
}

/// Where the helper lies; not only the directories of this process's `PATH` have it.
fn helper() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/bin", "/usr/local/bin"].map(PathBuf::from))
        .map(|directory| directory.join(HELPER))
        .find(|program| program.is_absolute() && program.is_file())
}

fn mount_by_helper(mounting: &Mounting<'_>) -> Result<OwnedFd, MountError> {
    let helper = helper().ok_or_else(|| MountError::NotAllowed(format!("{HELPER} is missing")))?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut options = OsString::from(format!(
        "default_permissions,nosuid,nodev,noexec,noatime,subtype=lucarne,max_read={READ_LEN_MAX}"
    ));
    if mounting.is_read_only {
        options.push(",ro");
    }
    if mounting.others_may {
        options.push(",allow_other");
    }
    options.push(",fsname=");
    options.push(escaped(mounting.source));
    let child = Command::new(helper)
        .arg("-o")
        .arg(options)
        .arg("--")
        .arg(mounting.point)
        .env(HELPER_SOCKET, "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // The other end is the child's alone: it ends when the child does.
    let received = receive_descriptor(&ours);
    drop(ours);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(MountError::NotAllowed(said));
    }
    received?.ok_or_else(|| MountError::Io(io::Error::other("fusermount3 gave no descriptor")))
}

/// A comma would begin another option.
fn escaped(source: &str) -> String {
    source.replace('\\', "\\\\").replace(',', "\\,")
}

fn receive_descriptor(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    loop {
        match recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut messages,
            flags,
        ) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let descriptor = messages.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(descriptor)
}

/// Unmounts what is on top at `point`, if that is the file system with this device number: one that took its place
/// meanwhile is not ours.
///
/// # Errors
/// As [`UnmountError`] says.
pub fn unmount(mounted: &Mounted, how: Unmount) -> Result<(), UnmountError> {
    match mounted_at(&mounted.point)? {
        Some(there) if there.device == mounted.device => {}
        _ => return Ok(()),
    }
    let mut flags = UnmountFlags::NOFOLLOW;
    if how == Unmount::Lazily {
        flags |= UnmountFlags::DETACH;
    }
    match rustix::mount::unmount(&mounted.point, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(UnmountError::Busy),
        Err(Errno::PERM) => unmount_by_helper(mounted, how),
        Err(error) => Err(UnmountError::Io(error.into())),
    }
}

fn unmount_by_helper(mounted: &Mounted, how: Unmount) -> Result<(), UnmountError> {
    let helper = helper().ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))?;
    let mut command = Command::new(helper);
    command.arg("-u");
    if how == Unmount::Lazily {
        command.arg("-z");
    }
    let output = command
        .arg("--")
        .arg(&mounted.point)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    match said.contains("busy") {
        true => Err(UnmountError::Busy),
        false => Err(UnmountError::Io(io::Error::other(
            said.split_whitespace().collect::<Vec<_>>().join(" "),
        ))),
    }
}

/// A path as text that a mount's source can be: without what would end it.
pub(super) fn source_text(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_control());
    OsString::from_vec(bytes.collect())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let missing = dir.path().join("missing");
        assert!(matches!(
            check_mount_point(&missing),
            Err(MountError::Point(_))
        ));
        std::fs::write(&file, "").unwrap();
        assert!(matches!(
            check_mount_point(&file),
            Err(MountError::Point(_))
        ));
        assert!(matches!(
            check_mount_point(dir.path()),
            Err(MountError::NotEmpty)
        ));
        assert!(matches!(
            check_mount_point("/proc".as_ref()),
            Err(MountError::Taken(_))
        ));
    }

    #[test]
    fn a_source_ends_no_option() {
        assert_eq!(escaped(r"/a,b\c"), r"/a\,b\\c");
        assert_eq!(source_text("/a\nb\0 c".as_ref()), "/ab c");
    }
}
