//! A mounted file, and its tests over the transport that the test program chose (`TRANSPORT`).
#![allow(dead_code)] // each test file uses a part

mod crowds;
mod operations;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucarne_serve::Export;
use lucarne_serve::fuse::{
    MountError, Server, ServerOptions, Stopper, Tally, Transport, TransportChoice, Unmount,
    UnmountError, mounted_at,
};
use rustix::io::Errno;

use crate::TRANSPORT;

/// A mounted export; it is unmounted when this goes.
pub(crate) struct Mounted {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) stopper: Stopper,
    pub(crate) serving: Option<std::thread::JoinHandle<io::Result<()>>>,
    tally: Arc<Tally>,
}

impl Mounted {
    /// `None`, and said so, where nothing can be mounted, or not over this transport.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(crate) fn new<E: Export + 'static>(export: E, options: &ServerOptions) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let server = match mount(&directory, export, options) {
            Err(error @ (MountError::NoFuse | MountError::NotAllowed(_))) => {
                eprintln!("skipped: a mounted file: {error}");
                return None;
            }
            server => server.unwrap(),
        };
        assert_eq!(server.transport(), TRANSPORT);
        let stopper = server.stopper();
        let tally = server.tally();
        Some(Self {
            directory,
            stopper,
            serving: Some(std::thread::spawn(|| server.run())),
            tally,
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("plaintext")
    }

    pub(crate) fn file(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(self.path()).unwrap()
    }

    /// Unmounts, and returns once the server has ended.
    pub(crate) fn stop(mut self) {
        let begun = Instant::now();
        // A child that another test begins has all files open for a moment, until it runs its program.
        while let Err(UnmountError::Busy) = self.stopper.stop(Unmount::IfUnused) {
            assert!(begun.elapsed() < Duration::from_secs(10), "in use");
            std::thread::yield_now();
        }
        self.join();
        assert_eq!(mounted_at(self.directory.path()).unwrap(), None);
    }

    /// Returns once the server has ended by itself, and all its requests came as they should.
    pub(crate) fn join(&mut self) {
        self.serving.take().unwrap().join().unwrap().unwrap();
        assert!(self.tally.by(TRANSPORT) > 0, "{:?}", self.tally);
        if TRANSPORT == Transport::Device {
            assert_eq!(self.tally.by(Transport::Ring), 0);
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also when a test fails.
        let _ = self.stopper.stop(Unmount::Lazily);
    }
}

fn mount<E: Export + 'static>(
    directory: &tempfile::TempDir,
    export: E,
    options: &ServerOptions,
) -> Result<Server<E>, MountError> {
    match TRANSPORT {
        Transport::Device => {
            let transport = TransportChoice::Device;
            let options = ServerOptions {
                transport,
                ..options.clone()
            };
            Server::mount(directory.path(), export, &options)
        }
        Transport::Ring => {
            if let Some(why) = no_ring() {
                return Err(MountError::NotAllowed(why));
            }
            // While it is on others may begin as well, which does them no harm.
            let turned_on = RingParameter::turn_on()
                .map_err(|error| MountError::NotAllowed(format!("fuse.enable_uring: {error}")))?;
            let server = Server::mount(directory.path(), export, options);
            drop(turned_on);
            server
        }
    }
}

/// Why this machine's kernel, or its administrator, rules the ring out.
fn no_ring() -> Option<String> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0_u32));
    let version = (numbers.next()?, numbers.next()?);
    if version < (6, 18) {
        return Some(format!("the ring takes Linux 6.18, and this is {release}"));
    }
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    if disabled.is_ok_and(|disabled| disabled.trim_end() != "0") {
        return Some("kernel.io_uring_disabled".into());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    (status.lines().any(|line| line == "Seccomp:\t2")).then(|| "a filter of system calls".into())
}

/// The kernel's FUSE offers io_uring as long as this is there. It counts when a file system is mounted, and not later.
struct RingParameter {
    file: File,
    before: String,
}

impl RingParameter {
    fn turn_on() -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/sys/module/fuse/parameters/enable_uring")?;
        // One test at a time, or else one would put back what another has set.
        file.lock()?;
        let before = io::read_to_string(&file)?;
        (&file).write_all(b"Y")?;
        Ok(Self { file, before })
    }
}

impl Drop for RingParameter {
    fn drop(&mut self) {
        let put_back = (&self.file).write_all(self.before.trim_end().as_bytes());
        assert!(put_back.is_ok() || std::thread::panicking(), "{put_back:?}");
    }
}

pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}
