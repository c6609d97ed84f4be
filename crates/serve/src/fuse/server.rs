//! Mounted, served until it is unmounted, and flushed.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lucarne_fuse::{Session, Settings, Tally, Transport};

use super::filesystem::PlainFilesystem;
use super::mount::{
    MountError, Mounting, Unmount, UnmountError, check_mount_point, mount, source_text, unmount,
};
use super::mounted::Mounted;
use super::plain_file::PlainFile;
use crate::{Export, Extent, ZeroHow};

/// Fewer would stand still while some wait for the disk; each has a buffer of what it has been asked for at most.
const THREADS_MIN: usize = 4;
const THREADS_MAX: usize = 32;
/// As many again for each processor: the kernel asks on the queue of the processor on which a program asked, and has
/// the thread answer that did so last. Those that are not needed sleep.
const RING_THREADS_PER_PROCESSOR: usize = 4;
const RING_THREADS_MAX: usize = 128;

/// How the file is shown.
///
/// ```
/// let options = lucarne_serve::fuse::ServerOptions { name: "disk".into(), ..Default::default() };
/// assert!(!options.others_may);
/// ```
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The file's name.
    pub name: OsString,
    /// What lists of mounts show as the device: the image's path, mostly.
    pub source: OsString,
    /// Lets other users read the file, and root write to it; where the user is not root, `/etc/fuse.conf` must
    /// allow that.
    pub others_may: bool,
    /// Keeps the kernel from caching the plaintext, also where a program opens the file without `O_DIRECT`.
    pub is_uncached: bool,
    /// How many requests are worked on at a time. `None`: as many as there are processors, and at least 4; by io_uring
    /// 4 from each processor.
    pub threads: Option<usize>,
    /// How requests may come.
    pub transport: TransportChoice,
}

/// How requests may come from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransportChoice {
    /// By io_uring where the kernel offers that and this process may use it, and else by `/dev/fuse`.
    #[default]
    Auto,
    /// By `/dev/fuse` alone.
    Device,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            name: "plaintext".into(),
            source: "lucarne".into(),
            others_may: false,
            is_uncached: false,
            threads: None,
            transport: TransportChoice::Auto,
        }
    }
}

/// A mounted directory with the plaintext in it.
///
/// It stays mounted when this is dropped without [`Self::run`], as a file system of which nobody reads the requests:
/// [`Self::stopper`] unmounts.
///
/// ```no_run
/// use lucarne::{Secret, Volume};
/// use lucarne_serve::{VolumeExport, fuse::{Server, ServerOptions}};
/// use lucarne_storage::{Access, FileStorage};
///
/// let image = FileStorage::open("disk.luks", Access::ReadWrite)?;
/// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// let server = Server::mount("/mnt/disk".as_ref(), VolumeExport::new(volume), &ServerOptions::default())?;
/// server.run()?; // until somebody unmounts it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server<E: Export + 'static> {
    session: Session,
    filesystem: PlainFilesystem<Arc<E>>,
    export: Arc<E>,
    mounted: Mounted,
}

impl<E: Export + 'static> fmt::Debug for Server<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("mounted", &self.mounted)
            .finish_non_exhaustive()
    }
}

/// What ends a [`Server`] from another thread: it unmounts the file system.
#[derive(Debug, Clone)]
pub struct Stopper(Mounted);

impl Stopper {
    /// Unmounts; [`Server::run`] returns once that is done for good.
    ///
    /// # Errors
    /// As [`UnmountError`] says.
    pub fn stop(&self, how: Unmount) -> Result<(), UnmountError> {
        unmount(&self.0, how)
    }
}

impl<E: Export + 'static> Server<E> {
    /// Mounts at an empty directory. Requests are answered from [`Self::run`] on; those before wait.
    ///
    /// # Errors
    /// As [`MountError`] says.
    pub fn mount(point: &Path, export: E, options: &ServerOptions) -> Result<Self, MountError> {
        let point = check_mount_point(point)?;
        let export = Arc::new(export);
        let mounting = Mounting {
            point: &point,
            source: &source_text(Path::new(&options.source)),
            is_read_only: export.is_read_only(),
            others_may: options.others_may,
        };
        let (device, mounted) = mount(&mounting)?;
        let session = Session::begin(device, settings(options)).inspect_err(|_| {
            // Nothing is served: nobody can use it.
            let _ = unmount(&mounted, Unmount::Lazily);
        })?;
        let plain = PlainFile::new(
            Arc::clone(&export),
            options.name.clone(),
            options.others_may,
        );
        Ok(Self {
            filesystem: PlainFilesystem::new(plain, options.is_uncached, session.kernel_minor()),
            session,
            export,
            mounted,
        })
    }

    /// What was mounted, and where.
    pub fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// How requests come.
    pub fn transport(&self) -> Transport {
        self.session.transport()
    }

    /// How many requests came in which way, once [`Self::run`] is over.
    pub fn tally(&self) -> Arc<Tally> {
        self.session.tally()
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.mounted.clone())
    }

    /// Answers requests until the file system is unmounted and the last one who used it has gone; then flushes.
    ///
    /// # Errors
    /// From the kernel; from the export, when it cannot be flushed.
    pub fn run(self) -> io::Result<()> {
        let served = self.session.run(&self.filesystem);
        if !self.export.is_read_only() {
            self.export.flush()?;
        }
        served
    }
}

fn settings(options: &ServerOptions) -> Settings {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(processors.max(THREADS_MIN));
    let ring_threads = (options.threads).unwrap_or(processors * RING_THREADS_PER_PROCESSOR);
    Settings {
        threads: threads.clamp(1, THREADS_MAX),
        ring_threads: match options.transport {
            TransportChoice::Auto => Some(ring_threads.clamp(1, RING_THREADS_MAX)),
            TransportChoice::Device => None,
        },
        ..Settings::default()
    }
}

impl<E: Export + ?Sized> Export for Arc<E> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn is_read_only(&self) -> bool {
        (**self).is_read_only()
    }

    fn block_len(&self) -> u32 {
        (**self).block_len()
    }

    fn can_trim(&self) -> bool {
        (**self).can_trim()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        (**self).write_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        (**self).flush()
    }

    fn trim(&self, range: std::ops::Range<u64>) -> io::Result<()> {
        (**self).trim(range)
    }

    fn zero(&self, range: std::ops::Range<u64>, how: ZeroHow) -> io::Result<()> {
        (**self).zero(range, how)
    }

    fn extent_at(&self, range: std::ops::Range<u64>) -> io::Result<Extent> {
        (**self).extent_at(range)
    }
}
