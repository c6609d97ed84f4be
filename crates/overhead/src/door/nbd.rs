//! Connections to an NBD server, for any number of threads.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, PoisonError};

use lucarne_serve::nbd::Client;

use crate::{Error, source::Source};

/// As many as there are threads; who finds none waits.
pub(super) struct Connections {
    free: Mutex<Vec<Client>>,
    returned: Condvar,
}

impl Connections {
    /// # Errors
    /// When one of the sockets leads to no export of this length.
    pub(super) fn new(sockets: Vec<OwnedFd>, len: u64) -> io::Result<Self> {
        let mut clients = Vec::new();
        for socket in sockets {
            let client = Client::connect(UnixStream::from(socket), "")?;
            if client.len() != len {
                let what = format!("an export of {} bytes, and not of {len}", client.len());
                return Err(io::Error::other(what));
            }
            clients.push(client);
        }
        Ok(Self {
            free: Mutex::new(clients),
            returned: Condvar::new(),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Client) -> T) -> T {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = loop {
            match free.pop() {
                Some(client) => break client,
                None => {
                    free = self
                        .returned
                        .wait(free)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(free);
        let result = work(&mut client);
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(client);
        self.returned.notify_one();
        result
    }
}

impl Source for std::sync::Arc<Connections> {
    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        self.with(|client| client.read_at(buf, offset))
            .map_err(Error::io(format!("cannot read by NBD at byte {offset}")))
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.with(|client| client.write_at(data, offset))
            .map_err(Error::io(format!("cannot write by NBD at byte {offset}")))
    }

    fn flush(&self) -> Result<(), Error> {
        self.with(Client::flush)
            .map_err(Error::io("cannot flush by NBD"))
    }
}
