//! TLS over a client's connection, once it has asked for it (`NBD_OPT_STARTTLS`).
//!
//! The client's bytes pass through [`rustls`], whose state is behind one lock. It is held for the cipher alone and never
//! while a socket is waited for, so that replies go out while the next request is awaited; whoever sends holds
//! another lock for as long, so that records go out in the order in which they were encrypted.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::stream::{Transport, write_all};

/// Taken off the socket at once: some records.
const INCOMING_LEN_BYTES: usize = 64 << 10;
/// Encrypted and sent at once.
const OUTGOING_LEN_BYTES: usize = 128 << 10;

/// Who a server is, and whom it believes.
///
/// TLS 1.2 and 1.3; no session is resumed. The cryptography is `graviola`'s: assembler and Rust, no C.
///
/// ```no_run
/// use lucarne_serve::nbd::Tls;
///
/// let certificate = std::fs::read("server-cert.pem")?;
/// let key = lucarne_secret::SecretBytes::from_vec(std::fs::read("server-key.pem")?);
/// let clients = std::fs::read("ca-cert.pem")?;
/// // Only clients with a certificate that this authority has signed.
/// let tls = Tls::new(&certificate, &key, Some(&clients))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No PEM, or not of the kind that is wanted.
    #[error("{what}: {reason}")]
    Pem {
        /// Which of the three texts: `certificate`, `key`, `client authority`.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// What is not one certificate and its key.
    #[error("certificate and key: {0}")]
    Identity(rustls::Error),
    /// Nobody can be verified by it.
    #[error("client authority: {0}")]
    ClientAuthority(String),
    /// The CPU lacks instructions that the cryptography is made of.
    #[error("TLS needs a CPU with {0}")]
    Cpu(&'static str),
}

impl Tls {
    /// From PEM texts (RFC 7468): the server's certificate and those of the authorities between it and the root, in this
    /// order; its private key (PKCS #8, SEC 1 or PKCS #1); and, where clients must show a certificate too, those of the
    /// authorities that may have signed it.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(
        certificates: &[u8],
        key: &[u8],
        client_authorities: Option<&[u8]>,
    ) -> Result<Self, TlsError> {
        check_cpu()?;
        let identity = certificates_of("certificate", certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| pem("key", &error))?;
        let provider = Arc::new(rustls_graviola::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?;
        let builder = match client_authorities {
            None => builder.with_no_client_auth(),
            Some(text) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates_of("client authority", text)? {
                    roots
                        .add(certificate)
                        .map_err(|error| TlsError::ClientAuthority(error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| TlsError::ClientAuthority(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(identity, key)
            .map_err(TlsError::Identity)?;
        // Tickets would let who once had a certificate come again without.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self(Arc::new(config)))
    }
}

fn certificates_of(
    what: &'static str,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem(what, &error))?;
    match certificates.is_empty() {
        true => Err(pem(what, &pem::Error::NoItemsFound)),
        false => Ok(certificates),
    }
}

fn pem(what: &'static str, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => "there is none in it (PEM is wanted)".to_owned(),
        error => error.to_string(),
    };
    TlsError::Pem { what, reason }
}

/// The cryptography is compiled for these and does not ask.
fn check_cpu() -> Result<(), TlsError> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let missing = [
            ("aes", has!("aes")),
            ("ssse3", has!("ssse3")),
            ("pclmulqdq", has!("pclmulqdq")),
            ("avx2", has!("avx2")),
            ("bmi1", has!("bmi1")),
            ("bmi2", has!("bmi2")),
            ("adx", has!("adx")),
        ];
        if let Some((name, _)) = missing.into_iter().find(|(_, is_there)| !is_there) {
            return Err(TlsError::Cpu(name));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        use std::arch::is_aarch64_feature_detected as has;
        let missing = [
            ("neon", has!("neon")),
            ("aes", has!("aes")),
            ("pmull", has!("pmull")),
            ("sha2", has!("sha2")),
        ];
        if let Some((name, _)) = missing.into_iter().find(|(_, is_there)| !is_there) {
            return Err(TlsError::Cpu(name));
        }
    }
    Ok(())
}

/// A client's connection with TLS on it.
pub(super) struct TlsTransport<'t> {
    inner: &'t dyn Transport,
    state: Mutex<ServerConnection>,
    /// Who sends has it, from the first record's encryption until the last is sent.
    sending: Mutex<Vec<u8>>,
    receiving: Mutex<Received>,
}

/// What has come off the socket and is not decrypted yet.
struct Received {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<'t> TlsTransport<'t> {
    /// Shakes hands, until `deadline` at the latest.
    pub(super) fn accept(
        inner: &'t dyn Transport,
        tls: &Tls,
        deadline: Instant,
    ) -> io::Result<Self> {
        let mut state = ServerConnection::new(Arc::clone(&tls.0)).map_err(io::Error::other)?;
        state.set_buffer_limit(Some(OUTGOING_LEN_BYTES));
        let transport = Self {
            inner,
            state: Mutex::new(state),
            sending: Mutex::default(),
            receiving: Mutex::new(Received {
                buffer: vec![0; INCOMING_LEN_BYTES].into(),
                start: 0,
                end: 0,
            }),
        };
        let mut received = lock(&transport.receiving);
        while lock(&transport.state).is_handshaking() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            inner.set_read_timeout(Some(left))?;
            let taken = transport.receive(&mut received);
            // What is wrong is told to the client too.
            transport.send_records()?;
            if !taken? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        transport.send_records()?;
        drop(received);
        Ok(transport)
    }

    /// Says that no more will come, as TLS wants it said. Whether anybody hears it does not matter.
    pub(super) fn say_goodbye(&self) {
        lock(&self.state).send_close_notify();
        let _ = self.send_records();
    }

    /// Has the next bytes decrypted; false when no more will come.
    fn receive(&self, received: &mut Received) -> io::Result<bool> {
        if received.start == received.end {
            let mut buffers = [IoSliceMut::new(&mut received.buffer)];
            (received.start, received.end) = (0, self.inner.read(&mut buffers)?);
            if received.end == 0 {
                return Ok(false);
            }
        }
        let mut bytes = &received.buffer[received.start..received.end];
        let mut state = lock(&self.state);
        received.start += state.read_tls(&mut bytes)?;
        state
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(true)
    }

    /// Sends what TLS itself has to say.
    fn send_records(&self) -> io::Result<()> {
        let mut records = lock(&self.sending);
        self.send_all(&mut records)
    }

    /// `records` is room, of who holds the lock on sending.
    fn send_all(&self, records: &mut Vec<u8>) -> io::Result<()> {
        records.clear();
        {
            let mut state = lock(&self.state);
            while state.wants_write() {
                state.write_tls(records)?;
            }
        }
        match records.is_empty() {
            true => Ok(()),
            false => write_all(self.inner, &[records]),
        }
    }
}

impl Transport for TlsTransport<'_> {
    fn read(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut received = lock(&self.receiving);
        loop {
            let (plain, says_something) = {
                let mut state = lock(&self.state);
                let plain = state.reader().read_vectored(buffers);
                (plain, state.wants_write())
            };
            if says_something {
                self.send_records()?;
            }
            match plain {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.receive(&mut received)? {
                        return Ok(0);
                    }
                }
                // Cut off without a word: no request was whole, or none was to come.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                plain => return plain,
            }
        }
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut records = lock(&self.sending);
        let len = lock(&self.state).writer().write_vectored(buffers)?;
        self.send_all(&mut records)?;
        Ok(len)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn stop_reading(&self) {
        self.inner.stop_reading();
    }

    fn abort(&self) {
        self.inner.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
