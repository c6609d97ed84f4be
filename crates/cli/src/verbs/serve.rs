//! `serve IMAGE --nbd unix:PATH | tcp:HOST:PORT`; `fuse` has the other door

use std::{
    collections::BTreeSet,
    io,
    net::TcpListener,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context;
use lucarne_serve::nbd::{Server, ServerOptions};
use rustix::fs::Mode;

use super::fuse;

use crate::{
    args::{CommonArgs, NbdAddress, ServeArgs},
    device::Opened,
    exit::{Failure, shown},
    report::{self, Report},
    served::Served,
    signals::{self, Graceful},
};

/// How often it is looked whether a signal came.
const SIGNAL_PERIOD: Duration = Duration::from_millis(50);

pub(crate) fn run(args: &ServeArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let Some(address) = &args.nbd else {
        return fuse::run(args, common, report);
    };
    let names = export_names(args)?;
    let tls = args.tls.to_tls()?;
    refuse_in_the_clear(address, tls.is_some())?;
    let served = Served {
        opening: &args.opening,
        is_read_only: args.read_only,
        allows_discards: args.allow_discards,
    };
    let opened = (args.images.iter())
        .map(|image| served.open(image))
        .collect::<anyhow::Result<Vec<Opened>>>()?;
    let mut server = Server::new(ServerOptions {
        tls: tls.clone(),
        connections_max: args.max_connections as usize,
        // Root may do what it likes; of the others only who is named.
        allowed_uid: args.allowed_uid,
        ..ServerOptions::default()
    })?;
    let mut locks = Vec::new();
    for ((image, opened), name) in args.images.iter().zip(&opened).zip(names) {
        locks.push(served.lock(image, opened, common)?);
        let export = served.export(image, opened, common, report)?;
        server.add(name, shown(image), Box::new(export));
    }
    // Passphrases first: whoever connects is served.
    let door = Door::open(address, args.allowed_uid.is_some())?;
    let _graceful = Graceful::begin()?;
    let is_done = AtomicBool::new(false);
    report::print(format!("{}\n", door.address(tls.is_some())?).as_bytes())?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                if signals::stop_requested() {
                    server.stop();
                    return;
                }
                std::thread::sleep(SIGNAL_PERIOD);
            }
        });
        let served = door.serve(&server);
        is_done.store(true, Ordering::SeqCst);
        served
    })
}

fn refuse_in_the_clear(address: &NbdAddress, has_tls: bool) -> anyhow::Result<()> {
    match address {
        NbdAddress::Tcp(host, _) if !host.is_loopback() && !has_tls => {
            Err(Failure::parameters(format!(
                "--nbd tcp:{host}: other machines reach it, and every byte would go there in the clear: give --tls-cert and --tls-key, or 127.0.0.1, [::1] or a unix socket"
            ))
            .into())
        }
        _ => Ok(()),
    }
}

/// One image is the export without a name; several go by their file names.
fn export_names(args: &ServeArgs) -> anyhow::Result<Vec<String>> {
    if args.images.len() == 1 {
        return Ok(vec![String::new()]);
    }
    if args.opening.unlock.header.is_some() {
        return Err(Failure::parameters(
            "--header: it belongs to one image, and several are given",
        )
        .into());
    }
    let names: Vec<String> = args
        .images
        .iter()
        .map(|image| {
            let name = image.file_name().unwrap_or(image.as_os_str());
            name.to_string_lossy().into_owned()
        })
        .collect();
    let different: BTreeSet<&String> = names.iter().collect();
    if different.len() < names.len() {
        return Err(Failure::parameters(
            "two images have the same file name, which are the names of exports",
        )
        .into());
    }
    Ok(names)
}

/// Where clients come in. A socket's file goes when it is closed.
enum Door {
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// The file's number: another one under its name is not ours.
        inode: u64,
    },
    Tcp(TcpListener),
}

impl Door {
    fn open(address: &NbdAddress, others_may: bool) -> anyhow::Result<Self> {
        match address {
            NbdAddress::Tcp(host, port) => {
                let listener = TcpListener::bind((*host, *port))
                    .map_err(|error| refused(&error, &format!("tcp:{host}:{port}")))?;
                Ok(Self::Tcp(listener))
            }
            NbdAddress::Unix(path) => {
                remove_stale(path)?;
                let mode = match others_may {
                    true => Mode::empty(),
                    false => Mode::RWXG | Mode::RWXO,
                };
                // As long as nobody else makes files: the rights must be right before the first client.
                let umask = rustix::process::umask(mode);
                let listener = UnixListener::bind(path);
                rustix::process::umask(umask);
                let listener = listener.map_err(|error| refused(&error, &shown(path)))?;
                let inode = path.symlink_metadata().with_context(|| shown(path))?.ino();
                Ok(Self::Unix {
                    listener,
                    path: path.clone(),
                    inode,
                })
            }
        }
    }

    /// As NBD clients write it.
    fn address(&self, has_tls: bool) -> anyhow::Result<String> {
        let scheme = if has_tls { "nbds" } else { "nbd" };
        Ok(match self {
            Self::Unix { path, .. } => format!("{scheme}+unix:///?socket={}", escaped(path)),
            Self::Tcp(listener) => format!("{scheme}://{}", listener.local_addr()?),
        })
    }

    fn serve(&self, server: &Server<'_>) -> anyhow::Result<()> {
        match self {
            Self::Unix { listener, path, .. } => {
                server.serve_unix(listener).with_context(|| shown(path))
            }
            Self::Tcp(listener) => server.serve_tcp(listener).context("TCP"),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Self::Unix { path, inode, .. } = self
            && path
                .symlink_metadata()
                .is_ok_and(|there| there.ino() == *inode)
        {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket that a killed server left behind is in nobody's way.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(there) = path.symlink_metadata() else {
        return Ok(());
    };
    let taken = |why: &str| Failure::Exists(format!("{}: {why}", shown(path)));
    if !there.file_type().is_socket() {
        return Err(taken("there is a file already, which is no socket").into());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).with_context(|| shown(path))?;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(taken("there is a socket already, which is another user's").into())
        }
        _ => Err(taken("another server listens there").into()),
    }
}

fn refused(error: &io::Error, place: &str) -> Failure {
    let message = format!("{place}: {error}");
    match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::AlreadyExists => Failure::Exists(message),
        io::ErrorKind::PermissionDenied => Failure::Permission(message),
        // A path that is too long.
        io::ErrorKind::InvalidInput => Failure::Parameters(message),
        _ => Failure::Device(message),
    }
}

/// A path inside of a URI (RFC 3986).
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
