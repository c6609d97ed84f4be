//! Ways in for other programs: an NBD server, and a file in a directory through FUSE. Both sides of a comparison come
//! by the same server, once over the bare file and once over the volume.
//!
//! The server is a process of its own, as it is in use, and because a process that is killed while it waits for an
//! answer of its own FUSE server never ends. What it uses of the processors is added to what this process does. It
//! hands over what was opened (sockets that are connected, a file of the mounted directory) and then takes the names
//! away: the socket's and the mount's. What is left when it ends, however it ends, has none.
//!
//! | file | what |
//! |---|---|
//! | `messages` | what both processes say to each other: texts, each with a descriptor or without |
//! | `process` | this process's side |
//! | `server` | the other's |

mod messages;
mod nbd;
mod process;
mod server;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::source::Way;
pub(crate) use process::{Served, Usage, probe};
pub use server::serve;

/// A way in for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// A client of a unix socket, several requests under way at a time.
    Nbd,
    /// A file in a mounted directory.
    Fuse,
}

impl Door {
    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nbd => "NBD",
            Self::Fuse => "FUSE",
        }
    }

    /// How bytes come through it.
    pub(crate) fn ways(self) -> &'static [Way] {
        match self {
            Self::Nbd => &[Way::Nbd],
            Self::Fuse => &[Way::Fuse, Way::FuseMapping],
        }
    }
}

/// Which doors are measured, and what serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doors {
    /// In this order.
    pub through: Vec<Door>,
    /// A program that calls [`serve`] and nothing else.
    pub program: PathBuf,
    /// What has it do that.
    pub arguments: Vec<OsString>,
}
