//! A connection passed on: our server takes no socket that somebody else has opened, and does not end with a client.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Where clients come in.
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// The listening socket that standard input is.
    pub(super) fn inherited() -> io::Result<Self> {
        let listener = UnixListener::from(standard_input()?);
        listener.set_nonblocking(false)?;
        Ok(Self::Unix(listener))
    }

    fn accept(&self) -> io::Result<UnixStream> {
        match self {
            Self::Unix(listener) => Ok(listener.accept()?.0),
            // What is done with it here is the same for both kinds.
            Self::Tcp(listener) => Ok(OwnedFd::from(listener.accept()?.0).into()),
        }
    }

    /// Passes on every client, or one.
    pub(super) fn relay(&self, server: &Path, is_for_one_client: bool) -> io::Result<()> {
        loop {
            let client = self.accept()?;
            let server = UnixStream::connect(server)?;
            if is_for_one_client {
                carry(&client, &server);
                return Ok(());
            }
            std::thread::spawn(move || carry(&client, &server));
        }
    }
}

/// Passes on the connection that standard input is.
pub(super) fn one(server: &Path) -> io::Result<()> {
    carry(
        &UnixStream::from(standard_input()?),
        &UnixStream::connect(server)?,
    );
    Ok(())
}

/// Carries what two ends say, until neither says more.
fn carry(client: &UnixStream, server: &UnixStream) {
    let one_way = |mut from: &UnixStream, mut to: &UnixStream| {
        // Cut off or ended: the other end is told either way.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one_way(client, server));
        one_way(server, client);
    });
}

fn standard_input() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}
