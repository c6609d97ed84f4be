//! This process's side: the server started, asked, and ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::messages::{pair, receive, send};
use super::nbd::Connections;
use super::{Door, Doors};
use crate::Error;
use crate::source::{self, DEFAULT_FORMAT, Protection, Source, Way};
use crate::space::Space;

/// A server that says nothing for so long says nothing more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A server that was told to end has so long for it.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Time that its threads had a processor for.
    pub(crate) cpu: Duration,
    /// Bytes that it had read from storage devices; `None` where nobody counts.
    pub(crate) device_bytes: Option<u64>,
}

/// A file, or the volume in it, served by a process of its own.
pub(crate) struct Served {
    // In this order they go: nothing of the mounted directory is open when its server ends.
    opened: Opened,
    process: Process,
}

enum Opened {
    Nbd(Arc<Connections>),
    Fuse(File),
}

struct Process {
    /// Until it goes the server serves.
    control: Option<OwnedFd>,
    child: Child,
}

impl Served {
    /// Starts a server of the first `len` bytes of what is in `file`, for so many threads.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's words.
    pub(crate) fn start(
        doors: &Doors,
        door: Door,
        file: &File,
        (protection, len): (Protection, u64),
        write: bool,
        threads: usize,
    ) -> Result<Self, Error> {
        let started = || -> io::Result<Self> {
            let (control, theirs) = pair()?;
            set_socket_timeout(&control, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
            let child = Command::new(&doors.program)
                .args(&doors.arguments)
                .stdin(Stdio::from(theirs))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            let process = Process {
                control: Some(control),
                child,
            };
            let job = super::server::Job {
                door,
                protection,
                len,
                write,
                connections: threads,
            };
            process.send(&job.to_string(), Some(file))?;
            let mut handles = Vec::new();
            loop {
                match process.receive()? {
                    (_, Some(handle)) => handles.push(handle),
                    (ready, None) if ready == super::server::READY => break,
                    (failure, None) => return Err(io::Error::other(failure)),
                }
            }
            let opened = match (door, handles.pop()) {
                (Door::Nbd, Some(last)) => {
                    handles.push(last);
                    Opened::Nbd(Arc::new(Connections::new(handles, len)?))
                }
                (Door::Fuse, Some(file)) => Opened::Fuse(file.into()),
                (_, None) => return Err(io::Error::other("it opened nothing")),
            };
            Ok(Self { opened, process })
        };
        started().map_err(|error| Error::Refused(format!("no {} server: {error}", door.name())))
    }

    /// What it used until now. A server that has ended is found by whoever reads from it, and used nothing since.
    pub(crate) fn usage(&self) -> Usage {
        let asked = self.process.send(super::server::ASK, None);
        let said = asked.and_then(|()| self.process.receive());
        said.ok()
            .and_then(|(text, _)| {
                let (cpu, device) = text.split_once(' ')?;
                Some(Usage {
                    cpu: Duration::from_nanos(cpu.parse().ok()?),
                    device_bytes: device.parse().ok(),
                })
            })
            .unwrap_or_default()
    }

    /// What comes by it.
    pub(crate) fn source(&self, way: Way, write: bool) -> Result<Box<dyn Source + Send>, Error> {
        match &self.opened {
            Opened::Nbd(connections) => Ok(Box::new(Arc::clone(connections))),
            Opened::Fuse(file) => {
                let way = match way {
                    Way::FuseMapping => Way::Mapping,
                    _ => Way::Pread,
                };
                source::open(file, Protection::Plain, way, write)
            }
        }
    }

    /// Has the next read ask the server.
    pub(crate) fn drop_cached(&self) -> Result<(), Error> {
        match &self.opened {
            Opened::Nbd(_) => Ok(()),
            Opened::Fuse(file) => source::storage(file, Way::Pread, false)?
                .drop_cached()
                .map_err(Error::io("cannot drop the page cache of the mounted file")),
        }
    }
}

impl Process {
    fn control(&self) -> io::Result<&OwnedFd> {
        self.control
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn send(&self, text: &str, file: Option<&File>) -> io::Result<()> {
        send(self.control()?, text, file.map(AsFd::as_fd))
    }

    fn receive(&self) -> io::Result<(String, Option<OwnedFd>)> {
        receive(self.control()?)?.ok_or_else(|| io::Error::other("it ended without a word"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.control = None;
        let told = Instant::now();
        let mut pause = Duration::from_micros(200);
        while let Ok(None) = self.child.try_wait() {
            if told.elapsed() > END_TIMEOUT {
                // It may have ended meanwhile.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

/// Why a door cannot be had here; `None` if it can.
pub(crate) fn probe(doors: &Doors, door: Door, space: &Space) -> Result<Option<String>, Error> {
    let file = space.file()?;
    let len = u64::from(DEFAULT_FORMAT.sector.bytes());
    file.set_len(len)
        .map_err(Error::io("cannot make a file of one sector"))?;
    let what = (Protection::Plain, len);
    let served = Served::start(doors, door, &file, what, false, 1);
    let seen =
        served.and_then(|served| served.source(door.ways()[0], false)?.read(&mut [0; 512], 0));
    Ok(seen.err().map(|error| error.to_string()))
}
