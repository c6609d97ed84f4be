//! From a request's bytes to the answer's, by way of a [`FileSystem`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::Errno;

use crate::abi::OutHeader;
use crate::reply::{self, BODY_LEN_MIN, Entries, Reply};
use crate::request::{DecodeError, Operation, Parts, Request};

/// What requests do. Several threads ask at a time.
pub trait FileSystem: Sync {
    /// Does anything but reading.
    ///
    /// # Errors
    /// What the program that asks is told.
    fn answer(&self, node: u64, operation: Operation<'_>) -> Result<Reply, Errno>;

    /// Reads bytes from `offset` on to the front of `into`: as many as there are. Gives their number.
    ///
    /// # Errors
    /// What the program that asks is told.
    fn read(&self, node: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;

    /// Adds the names from `offset` on, of [`Entries::add`], as long as there is room.
    ///
    /// # Errors
    /// What the program that asks is told.
    fn read_directory(
        &self,
        node: u64,
        offset: u64,
        entries: &mut Entries<'_>,
    ) -> Result<(), Errno>;
}

/// A request and the room for its answer, which may be the same bytes.
pub(crate) trait Exchange {
    /// The request's bytes.
    fn parts(&self) -> Parts<'_>;
    /// Where the answer's body goes: at least [`BODY_LEN_MIN`] bytes.
    fn body(&mut self) -> &mut [u8];
}

/// Does what is asked, and writes the answer's body; gives its header, and nothing if none is expected.
///
/// A file system that panics has failed at this one request.
pub(crate) fn answer<F: FileSystem>(
    file_system: &F,
    exchange: &mut impl Exchange,
) -> Option<OutHeader> {
    let request = match Request::decode(exchange.parts()) {
        Ok(request) => request,
        Err(DecodeError::Header) => {
            tracing::warn!("a request without a header");
            return None;
        }
        // Of an operation that this does not know in that form.
        Err(DecodeError::Body { unique }) => return Some(reply::refused(unique, Errno::NOSYS)),
    };
    let (unique, node) = (request.unique, request.node);
    let done = match request.operation {
        Operation::Forget => return None,
        Operation::Read(span) => room(exchange.body(), span.len).and_then(|into| {
            let room = into.len();
            // Whatever it says.
            guarded(|| file_system.read(node, span.offset, into)).map(|len| len.min(room))
        }),
        Operation::ReadDirectory(span) => room(exchange.body(), span.len).and_then(|into| {
            let mut entries = Entries::new(into);
            guarded(|| file_system.read_directory(node, span.offset, &mut entries))?;
            Ok(entries.len())
        }),
        // There is one, and it is answered before all others.
        Operation::Init(_) => Err(Errno::IO),
        // The kernel does not say it again: requests are short.
        Operation::Interrupt => Err(Errno::NOSYS),
        Operation::Destroy => Ok(0),
        operation => guarded(|| file_system.answer(node, operation))
            .map(|reply| reply.encode(exchange.body())),
    };
    Some(match done {
        Ok(len) => reply::done(unique, len),
        Err(error) => reply::refused(unique, error),
    })
}

/// The kernel asks for no more than was agreed on.
fn room(body: &mut [u8], len: u32) -> Result<&mut [u8], Errno> {
    let len = usize::try_from(len).map_err(|_| Errno::INVAL)?;
    body.get_mut(..len).ok_or(Errno::INVAL)
}

fn guarded<T>(act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    // What it may leave half done is the file system's own, which others use as well.
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        tracing::error!("a request failed by a panic");
        Err(Errno::IO)
    })
}

/// A request in one piece, and a place of its own for the answer's body: for tests without a kernel.
struct Apart<'a> {
    request: &'a [u8],
    body: &'a mut [u8],
}

impl Exchange for Apart<'_> {
    fn parts(&self) -> Parts<'_> {
        Parts::of_contiguous(self.request)
    }

    fn body(&mut self) -> &mut [u8] {
        self.body
    }
}

/// What a request as `/dev/fuse` gives it is answered with: the error, if any, and how much of `body` is the answer's.
/// Nothing where no answer is expected. No kernel is needed.
///
/// # Panics
/// If `body` has no room for the longest answer that is not data, 128 bytes.
pub fn answer_bytes<F: FileSystem>(
    file_system: &F,
    request: &[u8],
    body: &mut [u8],
) -> Option<Result<usize, Errno>> {
    assert!(body.len() >= BODY_LEN_MIN);
    let header = answer(file_system, &mut Apart { request, body })?;
    Some(match header.error {
        0 => Ok(header.len as usize - reply::HEADER_LEN),
        error => Err(Errno::from_raw_os_error(-error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{header, write_in};
    use crate::{Kind, ROOT_NODE};

    const FILE: u64 = 2;

    /// A file of zeros that panics where it is written from byte 13 on.
    struct Zeros;

    impl FileSystem for Zeros {
        fn answer(&self, _: u64, operation: Operation<'_>) -> Result<Reply, Errno> {
            match operation {
                Operation::Write { offset: 13, .. } => panic!("on purpose"),
                Operation::Write { data, .. } => Ok(Reply::Written(data.len() as u32)),
                _ => Err(Errno::NOSYS),
            }
        }

        fn read(&self, node: u64, _: u64, into: &mut [u8]) -> Result<usize, Errno> {
            match node {
                FILE => {
                    into.fill(0);
                    Ok(into.len())
                }
                _ => Err(Errno::ISDIR),
            }
        }

        fn read_directory(
            &self,
            _: u64,
            offset: u64,
            entries: &mut Entries<'_>,
        ) -> Result<(), Errno> {
            for position in offset + 1..=3 {
                if !entries.add(FILE, Kind::File, "zeros".as_ref(), position) {
                    break;
                }
            }
            Ok(())
        }
    }

    fn asked(code: u32, node: u64, rest: &[u8]) -> Option<Result<usize, Errno>> {
        let request = [&header(code, 1, node), rest].concat();
        answer_bytes(&Zeros, &request, &mut [0xaa; 4096])
    }

    #[test]
    fn data_are_as_long_as_was_asked_and_there_is_room_for() {
        // What READ and WRITE begin with is the same.
        assert_eq!(asked(15, FILE, &write_in(0, 4096)), Some(Ok(4096)));
        assert_eq!(asked(15, FILE, &write_in(0, 4097)), Some(Err(Errno::INVAL)));
        let all = write_in(0, u32::MAX);
        assert_eq!(asked(15, FILE, &all), Some(Err(Errno::INVAL)));
        assert_eq!(
            asked(15, ROOT_NODE, &write_in(0, 1)),
            Some(Err(Errno::ISDIR))
        );
        assert_eq!(asked(28, ROOT_NODE, &write_in(0, 4096)), Some(Ok(96)));
        assert_eq!(asked(28, ROOT_NODE, &write_in(0, 80)), Some(Ok(64)));
        assert_eq!(asked(28, ROOT_NODE, &write_in(2, 80)), Some(Ok(32)));
        assert_eq!(asked(28, ROOT_NODE, &write_in(3, 80)), Some(Ok(0)));
    }

    #[test]
    fn a_panic_is_an_error_of_one_request() {
        let write = |offset| asked(16, FILE, &[&write_in(offset, 3)[..], b"abc"].concat());
        assert_eq!(write(13), Some(Err(Errno::IO)));
        assert_eq!(write(14), Some(Ok(8)));
    }

    #[test]
    fn what_is_not_done_is_said_and_what_wants_no_answer_has_none() {
        assert_eq!(asked(2, FILE, &[0; 8]), None);
        assert_eq!(asked(42, 0, &[0; 8]), None);
        assert_eq!(asked(36, 0, &[0; 8]), Some(Err(Errno::NOSYS)));
        assert_eq!(asked(26, 0, &[0; 64]), Some(Err(Errno::IO)));
        assert_eq!(asked(38, 0, &[]), Some(Ok(0)));
        assert_eq!(asked(999, FILE, &[]), Some(Err(Errno::NOSYS)));
        assert_eq!(asked(15, FILE, &[0; 39]), Some(Err(Errno::NOSYS)));
        assert_eq!(answer_bytes(&Zeros, &[0; 39], &mut [0; 128]), None);
    }
}
