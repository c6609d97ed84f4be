//! Sockets: accepted, greeted, served, and stopped.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_peercred};

use super::connection::Connection;
use super::negotiation::{ExportEntry, Negotiation, Step};
use super::session::Session;
use super::stream::{Incoming, Transport, write_all};
use super::tls::{Tls, TlsTransport};
use crate::Export;

/// After the socket has run out of something, so long until it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Of a unix socket: the replies that clients ask for should fit in whole. (Of TCP the system finds its own.)
const SEND_BUFFER_LEN_BYTES: usize = 1 << 20;

/// What a server lets its clients do.
///
/// ```
/// let options = lucarne_serve::nbd::ServerOptions { connections_max: 4, ..Default::default() };
/// assert_eq!(options.allowed_uid, None);
/// ```
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Connections at a time; one more is closed as soon as it is made.
    pub connections_max: usize,
    /// How long a client may take to choose an export.
    pub handshake_timeout: Duration,
    /// How long clients may take, when the server stops, for the replies to what they asked for.
    pub drain_timeout: Duration,
    /// With it a client must ask for TLS before anything else (`NBD_OPT_STARTTLS`), and nothing goes over the socket in
    /// the clear but that.
    pub tls: Option<Tls>,
    /// On a unix socket, the only user besides the server's own who is served; `None`: whoever can open the socket.
    pub allowed_uid: Option<u32>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 128,
            handshake_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            tls: None,
            allowed_uid: None,
        }
    }
}

/// An NBD server: exports, and the clients that use them.
///
/// ```no_run
/// use lucarne::{Secret, Volume};
/// use lucarne_serve::{VolumeExport, nbd::{Server, ServerOptions}};
/// use lucarne_storage::{Access, FileStorage};
///
/// let image = FileStorage::open("disk.luks", Access::ReadWrite)?;
/// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// let mut server = Server::new(ServerOptions::default())?;
/// server.add(String::new(), "a disk".into(), Box::new(VolumeExport::new(volume)));
/// server.serve_unix(&std::os::unix::net::UnixListener::bind("disk.sock")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server<'e> {
    entries: Vec<ExportEntry>,
    exports: Vec<Box<dyn Export + 'e>>,
    options: ServerOptions,
    is_stopping: AtomicBool,
    /// What [`Self::stop`] writes into, and what wakes who waits for clients.
    wake: (UnixStream, UnixStream),
    next_id: AtomicU64,
    connected: Mutex<Vec<(u64, Arc<dyn Transport>)>>,
    /// One of them has left.
    left: Condvar,
}

impl std::fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("entries", &self.entries)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<'e> Server<'e> {
    /// Without exports.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new(options: ServerOptions) -> io::Result<Self> {
        let wake = UnixStream::pair()?;
        wake.0.set_nonblocking(true)?;
        Ok(Self {
            entries: Vec::new(),
            exports: Vec::new(),
            options,
            is_stopping: AtomicBool::new(false),
            wake,
            next_id: AtomicU64::new(0),
            connected: Mutex::new(Vec::new()),
            left: Condvar::new(),
        })
    }

    /// Adds an export. The first one also answers to the empty name.
    pub fn add(&mut self, name: String, description: String, export: Box<dyn Export + 'e>) {
        self.entries.push(ExportEntry {
            name,
            description,
            len: export.len(),
            is_read_only: export.is_read_only(),
            can_trim: export.can_trim(),
            block_len: export.block_len(),
        });
        self.exports.push(export);
    }

    /// Serves clients of a unix socket until [`Self::stop`]; then lets them finish what they asked for, and flushes.
    ///
    /// # Errors
    /// From the socket; from the exports, when they cannot be flushed at the end.
    pub fn serve_unix(&self, listener: &UnixListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.serve(listener, || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(false)?;
            if !self.may_use(&stream)? {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            // The system gives what it allows; a smaller one does too, with more changes between threads.
            let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_LEN_BYTES);
            Ok(Arc::new(UnixTransport(stream)))
        })
    }

    /// Serves clients of a TCP socket, as [`Self::serve_unix`]. Without [`ServerOptions::tls`] all bytes go over it in the
    /// clear.
    ///
    /// # Errors
    /// As [`Self::serve_unix`].
    pub fn serve_tcp(&self, listener: &TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.serve(listener, || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(false)?;
            // A reply is one write.
            stream.set_nodelay(true)?;
            Ok(Arc::new(TcpTransport(stream)))
        })
    }

    /// Ends [`Self::serve_unix`] and [`Self::serve_tcp`]: nobody is let in any more, and no further request is read.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        // Full means that it was written to before, and nobody reads it.
        let _ = (&self.wake.0).write(&[0]);
        for (_, transport) in self.connected().iter() {
            transport.stop_reading();
        }
    }

    fn connected(&self) -> MutexGuard<'_, Vec<(u64, Arc<dyn Transport>)>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(
        &self,
        listener: &impl AsFd,
        accept: impl Fn() -> io::Result<Arc<dyn Transport>>,
    ) -> io::Result<()> {
        let accepted = std::thread::scope(|scope| {
            while !self.is_stopping.load(Ordering::SeqCst) {
                let mut ready = [
                    PollFd::new(listener, PollFlags::IN),
                    PollFd::new(&self.wake.1, PollFlags::IN),
                ];
                match poll(&mut ready, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                match accept() {
                    Ok(transport) => {
                        // What fails here fails for one client.
                        let spawned = std::thread::Builder::new()
                            .name("nbd-client".to_owned())
                            .spawn_scoped(scope, move || self.client(transport));
                        if let Err(error) = spawned {
                            tracing::warn!(%error, "no thread for an NBD client");
                            std::thread::sleep(ACCEPT_PAUSE);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => {
                        tracing::warn!(%error, "an NBD client was not let in");
                        let is_scarce = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
                            .iter()
                            .any(|scarce| error.raw_os_error() == Some(scarce.raw_os_error()));
                        if is_scarce {
                            std::thread::sleep(ACCEPT_PAUSE);
                        }
                    }
                }
            }
            self.drain();
            Ok(())
        });
        for export in self.exports.iter().filter(|export| !export.is_read_only()) {
            export.flush()?;
        }
        accepted
    }

    /// Waits for the clients to take their replies, and cuts off those that do not.
    fn drain(&self) {
        let connected = self.connected();
        let (connected, _) = self
            .left
            .wait_timeout_while(connected, self.options.drain_timeout, |connected| {
                !connected.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        for (id, transport) in connected.iter() {
            tracing::warn!(client = id, "an NBD client does not take its replies");
            transport.abort();
        }
    }

    fn may_use(&self, stream: &UnixStream) -> io::Result<bool> {
        let Some(allowed) = self.options.allowed_uid else {
            return Ok(true);
        };
        let peer = socket_peercred(stream)?.uid.as_raw();
        Ok(peer == allowed || peer == rustix::process::geteuid().as_raw())
    }

    fn client(&self, transport: Arc<dyn Transport>) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        {
            let mut connected = self.connected();
            if connected.len() >= self.options.connections_max {
                tracing::warn!(
                    limit = self.options.connections_max,
                    "an NBD client too many was turned away"
                );
                return;
            }
            connected.push((id, Arc::clone(&transport)));
        }
        // Who is let in while the server stops would not be told.
        if self.is_stopping.load(Ordering::SeqCst) {
            transport.stop_reading();
        }
        if let Err(error) = self.greet(&*transport) {
            tracing::debug!(%error, "an NBD client was cut off while it chose");
        }
        self.connected().retain(|(other, _)| *other != id);
        self.left.notify_all();
        transport.abort();
    }

    /// Shakes hands with a client, and serves it.
    fn greet(&self, transport: &dyn Transport) -> Result<(), Box<dyn std::error::Error>> {
        let deadline = Instant::now() + self.options.handshake_timeout;
        let mut out = Vec::new();
        let mut negotiation = Negotiation::new(&self.entries, self.options.tls.is_some(), &mut out);
        let mut incoming = Incoming::new(transport);
        match self.negotiate(&mut negotiation, &mut incoming, out, deadline)? {
            Agreed::Nothing => {}
            Agreed::On(session) => self.transmit(session, incoming),
            Agreed::Tls => {
                let tls = self.options.tls.as_ref().ok_or("TLS is not there")?;
                // Somebody else could have sent it, and it would pass for the client's.
                if incoming.has_more() {
                    return Err("bytes in the clear came behind the request for TLS".into());
                }
                let transport = TlsTransport::accept(transport, tls, deadline)?;
                negotiation.tls_is_active();
                let mut incoming = Incoming::new(&transport);
                let agreed = self.negotiate(&mut negotiation, &mut incoming, Vec::new(), deadline);
                if let Ok(Agreed::On(session)) = agreed {
                    self.transmit(session, incoming);
                }
                transport.say_goodbye();
            }
        }
        Ok(())
    }

    fn transmit(&self, session: Session, incoming: Incoming<'_>) {
        if let Some(export) = self.exports.get(session.export) {
            Connection::new(session, &**export, incoming).run();
        }
    }

    /// Talks about options until there is an agreement. `out` is said first.
    fn negotiate(
        &self,
        negotiation: &mut Negotiation<'_>,
        incoming: &mut Incoming<'_>,
        mut out: Vec<u8>,
        deadline: Instant,
    ) -> Result<Agreed, Box<dyn std::error::Error>> {
        let transport = incoming.transport();
        loop {
            write_all(transport, &[&out])?;
            out.clear();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("it took too long".into());
            }
            transport.set_read_timeout(Some(left))?;
            let mut bytes = vec![0; negotiation.wants()];
            if !incoming.read_exact(&mut bytes)? {
                return Ok(Agreed::Nothing);
            }
            let step = negotiation.take(&bytes, &mut out);
            let agreed = match step? {
                Step::More => continue,
                Step::StartTls => Agreed::Tls,
                Step::Closed => Agreed::Nothing,
                Step::Transmission(session) => {
                    transport.set_read_timeout(None)?;
                    Agreed::On(session)
                }
            };
            write_all(transport, &[&out])?;
            return Ok(agreed);
        }
    }
}

/// What a negotiation came to.
enum Agreed {
    /// The client wants nothing more.
    Nothing,
    /// All that follows is TLS's.
    Tls,
    On(Session),
}

struct UnixTransport(UnixStream);
struct TcpTransport(TcpStream);

macro_rules! socket_transport {
    ($($socket:ty),*) => {$(
        impl Transport for $socket {
            fn read(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&self.0).read_vectored(buffers)
            }

            fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                (&self.0).write_vectored(buffers)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.0.set_read_timeout(timeout)
            }

            fn stop_reading(&self) {
                // It may be gone already.
                let _ = self.0.shutdown(Shutdown::Read);
            }

            fn abort(&self) {
                let _ = self.0.shutdown(Shutdown::Both);
            }
        }
    )*};
}

socket_transport!(UnixTransport, TcpTransport);
