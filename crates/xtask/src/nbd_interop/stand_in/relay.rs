//! A connection passed on: our server takes no socket that somebody else has opened.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

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

/// The connection that standard input is.
pub(super) fn one(server: &Path) -> io::Result<()> {
    carry(
        &UnixStream::from(standard_input()?),
        &UnixStream::connect(server)?,
    );
    Ok(())
}

/// Those that come to the listening socket that standard input is.
pub(super) fn all(server: &Path, is_for_one_client: bool) -> io::Result<()> {
    let listener = UnixListener::from(standard_input()?);
    listener.set_nonblocking(false)?;
    loop {
        let (client, _) = listener.accept()?;
        let server = UnixStream::connect(server)?;
        if is_for_one_client {
            carry(&client, &server);
            return Ok(());
        }
        std::thread::spawn(move || carry(&client, &server));
    }
}
