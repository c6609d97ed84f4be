//! The other process's side: opens what it is given, serves it, and tells what it uses.

use std::fmt;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use lucarne_serve::{Export, StorageExport, VolumeExport, fuse, nbd};
use lucarne_storage::FileStorage;
use rustix::fs::OFlags;
use tempfile::TempDir;

use super::Door;
use super::messages::{receive, send};
use crate::Error;
use crate::measure::{Clock, SystemClock};
use crate::source::{self, DEFAULT_FORMAT, Protection};
use crate::space::reopened;

/// All handles were sent.
pub(super) const READY: &str = "ready";
/// What is used is asked for with it.
pub(super) const ASK: &str = "usage";

const FILE_NAME: &str = "plaintext";

/// What a server is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) door: Door,
    pub(super) protection: Protection,
    /// Of the plaintext.
    pub(super) len: u64,
    pub(super) write: bool,
    /// Of NBD.
    pub(super) connections: usize,
}

/// Of the protection only the kernel: the format stands in the volume.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = match self.protection {
            Protection::Encrypted(_, kernel) => kernel.name(),
            _ => "-",
        };
        let access = if self.write { "rw" } else { "ro" };
        write!(
            f,
            "{} {kernel} {} {access} {}",
            self.door.name(),
            self.len,
            self.connections
        )
    }
}

impl Job {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let job = Self {
            door: match words.next()? {
                "NBD" => Door::Nbd,
                "FUSE" => Door::Fuse,
                _ => return None,
            },
            protection: match words.next()? {
                "-" => Protection::Plain,
                kernel => Protection::Encrypted(DEFAULT_FORMAT, kernel.parse().ok()?),
            },
            len: words.next()?.parse().ok()?,
            write: match words.next()? {
                "rw" => true,
                "ro" => false,
                _ => return None,
            },
            connections: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(job)
    }
}

/// What [`crate::Doors::program`] does: serves what the process at the other end of standard input says, until that
/// goes.
///
/// # Errors
/// When nobody like that is there; what fails afterwards is said to it.
pub fn serve() -> Result<(), Error> {
    let control = rustix::stdio::stdin();
    let refused =
        || Error::Refused("this is for `overhead` itself: it serves what is measured there".into());
    let given = receive(control).ok().flatten().ok_or_else(refused)?;
    let (text, Some(file)) = given else {
        return Err(refused());
    };
    let job = Job::parse(&text).ok_or_else(refused)?;
    if let Err(error) = served(job, file, control) {
        // Nobody to tell if it has gone.
        let _ = send(control, &error.to_string(), None);
    }
    Ok(())
}

fn served(
    job: Job,
    file: OwnedFd,
    control: BorrowedFd<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let export = export(job, &file.into())?;
    // What is in it is for this user alone, as long as it has a name.
    let dir = tempfile::Builder::new()
        .prefix("lucarne-overhead-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    match job.door {
        Door::Nbd => by_nbd(job, export, dir, control),
        Door::Fuse => by_fuse(job, export, dir, control),
    }
}

fn export(job: Job, file: &File) -> Result<Arc<dyn Export>, Box<dyn std::error::Error>> {
    let file = reopened(file, OFlags::empty(), job.write)?;
    // As `serve` opens them; and the plain file likewise, so that decrypting out of a mapping is beside copying out of it.
    let storage = FileStorage::from_file(file)?.with_mapped_reads();
    Ok(match job.protection {
        Protection::Encrypted(_, kernel) => {
            let volume = source::opened(storage, kernel)?;
            let export = VolumeExport::new(volume).with_len(job.len);
            match job.write {
                true => Arc::new(export),
                false => Arc::new(export.read_only()),
            }
        }
        _ => {
            let export = StorageExport::new(storage)?;
            match job.write {
                true => Arc::new(export),
                false => Arc::new(export.read_only()),
            }
        }
    })
}

fn by_nbd(
    job: Job,
    export: Arc<dyn Export>,
    dir: TempDir,
    control: BorrowedFd<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let path = dir.path().join("nbd.sock");
    let listener = UnixListener::bind(&path)?;
    let options = nbd::ServerOptions {
        connections_max: job.connections,
        ..nbd::ServerOptions::default()
    };
    let mut server = nbd::Server::new(options)?;
    server.add(String::new(), String::new(), Box::new(export));
    std::thread::scope(|scope| {
        scope.spawn(|| server.serve_unix(&listener));
        let _stop = StopOnDrop(&server);
        let connected = (0..job.connections).map(|_| UnixStream::connect(&path));
        let connected = connected.collect::<io::Result<Vec<_>>>()?;
        dir.close()?;
        for stream in connected {
            send(control, "a connection", Some(stream.as_fd()))?;
        }
        tell(control)
    })
}

/// Also where something fails: the scope waits for the server.
struct StopOnDrop<'s, 'e>(&'s nbd::Server<'e>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn by_fuse(
    job: Job,
    export: Arc<dyn Export>,
    dir: TempDir,
    control: BorrowedFd<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let options = fuse::ServerOptions {
        name: FILE_NAME.into(),
        ..fuse::ServerOptions::default()
    };
    let server = fuse::Server::mount(dir.path(), export, &options)?;
    let stopper = server.stopper();
    // It ends with the process, which nobody but the other one keeps: what was written there was flushed there.
    let serving = std::thread::Builder::new().spawn(|| server.run());
    let opened = File::options()
        .read(true)
        .write(job.write)
        .open(dir.path().join(FILE_NAME));
    // Who has the file open goes on using it.
    stopper.stop(fuse::Unmount::Lazily)?;
    dir.close()?;
    serving?;
    send(control, "the file", Some(opened?.as_fd()))?;
    tell(control)
}

/// Answers until the other process goes.
fn tell(control: BorrowedFd<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let clock = SystemClock::start();
    send(control, READY, None)?;
    while let Some((text, _)) = receive(control)? {
        if text != ASK {
            return Err(format!("{text}: not understood").into());
        }
        let device = clock
            .device_bytes()
            .map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        let said = format!("{} {device}", clock.read().cpu.as_nanos());
        send(control, &said, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lucarne::Kernel;

    use super::*;

    #[test]
    fn jobs_are_understood_as_they_were_meant() {
        for protection in [
            Protection::Plain,
            Protection::Encrypted(DEFAULT_FORMAT, Kernel::Portable),
        ] {
            for (door, write) in [(Door::Nbd, true), (Door::Fuse, false)] {
                let job = Job {
                    door,
                    protection,
                    len: 12_345,
                    write,
                    connections: 3,
                };
                assert_eq!(Job::parse(&job.to_string()), Some(job));
            }
        }
        for wrong in [
            "",
            "NBD",
            "NBD - 1 rw",
            "FUSE - 1 rw 1 1",
            "TCP - 1 rw 1",
            "NBD x 1 rw 1",
        ] {
            assert_eq!(Job::parse(wrong), None, "{wrong}");
        }
    }
}
