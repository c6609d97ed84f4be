//! The NBD protocol, fixed newstyle: a server, and a client
//! (<https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>).
//!
//! | part | what |
//! |---|---|
//! | [`Negotiation`] | the handshake and its options, without I/O |
//! | [`Session`] | requests and replies of one client, without I/O |
//! | [`Server`] | sockets and threads |
//! | [`Client`] | the other end: reads and writes an export |
//! | [`Tls`] | certificates and keys of a server whose clients must use TLS |

mod batch;
mod buffers;
mod client;
mod connection;
mod negotiation;
mod protocol;
mod replies;
mod request;
mod server;
mod session;
mod stream;
mod tls;

pub use client::Client;
pub use negotiation::{ExportEntry, Negotiation, ProtocolError, Step};
pub use request::{Action, Request};
pub use server::{Server, ServerOptions};
pub use session::{ReplyKind, Session};
pub use tls::{Tls, TlsError};
