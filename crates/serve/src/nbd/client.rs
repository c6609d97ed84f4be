//! A client: one connection, on which several requests are under way at a time.
//!
//! It asks for what every server has: GO, and simple replies. What the server sends is checked before it is used: a
//! reply to a request that was not made, or made once and answered twice, ends the connection.

use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::negotiation::{be_u16, be_u32, be_u64};
use super::protocol::{
    FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, INIT_MAGIC, OPTION_LEN_MAX, OPTION_MAGIC,
    OPTION_REPLY_MAGIC, OPTIONS_MAX, REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, STRING_LEN_MAX, command,
    info, option, option_reply, transmission,
};
use super::stream::write_all_by;

/// A longer read or write is asked for in pieces of this length.
const PIECE_LEN_BYTES: usize = 256 << 10;
/// So many pieces of it are under way at a time.
const IN_FLIGHT_MAX: usize = 16;
/// Replies without data come several at a time.
const INCOMING_LEN_BYTES: usize = 16 << 10;
const REQUEST_LEN_BYTES: usize = 28;
const REPLY_LEN_BYTES: usize = 16;

/// A connection to an export.
///
/// ```no_run
/// use std::os::unix::net::UnixStream;
/// use lucarne_serve::nbd::Client;
///
/// let mut client = Client::connect(UnixStream::connect("disk.sock")?, "")?;
/// let mut sector = [0; 4096];
/// client.read_at(&mut sector, client.len() - 4096)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Client {
    incoming: BufReader<UnixStream>,
    len: u64,
    is_read_only: bool,
    next_cookie: u64,
    /// The stream is no longer where a reply begins.
    is_broken: bool,
}

fn unexpected(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Client {
    /// Chooses an export.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] with the server's words where it does not give this export;
    /// [`io::ErrorKind::InvalidData`] for what is no NBD server of the fixed newstyle.
    pub fn connect(stream: UnixStream, export: &str) -> io::Result<Self> {
        if export.len() > STRING_LEN_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("an export's name has {STRING_LEN_MAX} bytes at most"),
            ));
        }
        let mut client = Self {
            incoming: BufReader::with_capacity(INCOMING_LEN_BYTES, stream),
            len: 0,
            is_read_only: false,
            next_cookie: 0,
            is_broken: false,
        };
        let greeting: [u8; 18] = client.take()?;
        if be_u64(&greeting, 0) != INIT_MAGIC || be_u64(&greeting, 8) != OPTION_MAGIC {
            return Err(unexpected("this is no NBD server, or one of the old style"));
        }
        let flags = be_u16(&greeting, 16);
        if flags & FLAG_FIXED_NEWSTYLE == 0 {
            return Err(unexpected("the NBD server has not the fixed newstyle"));
        }
        let ours = u32::from(flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES));
        let mut out = ours.to_be_bytes().to_vec();
        out.extend(OPTION_MAGIC.to_be_bytes());
        out.extend(option::GO.to_be_bytes());
        // At most a string's length, twice below 32 bits.
        let name_len = export.len() as u32;
        out.extend((4 + name_len + 2).to_be_bytes());
        out.extend(name_len.to_be_bytes());
        out.extend(export.as_bytes());
        // Nothing is asked for beyond what is always told.
        out.extend(0_u16.to_be_bytes());
        client.send(&[&out])?;
        client.go()?;
        Ok(client)
    }

    /// What the server says about the export.
    fn go(&mut self) -> io::Result<()> {
        let mut is_told = false;
        for _ in 0..OPTIONS_MAX {
            let header: [u8; 20] = self.take()?;
            let (kind, len) = (be_u32(&header, 12), be_u32(&header, 16));
            if be_u64(&header, 0) != OPTION_REPLY_MAGIC || be_u32(&header, 8) != option::GO {
                return Err(unexpected("not a reply to the option GO"));
            }
            if len > OPTION_LEN_MAX {
                return Err(unexpected(format!(
                    "a reply to GO of {len} bytes: {OPTION_LEN_MAX} at most"
                )));
            }
            let mut data = vec![0; len as usize];
            self.incoming.read_exact(&mut data)?;
            match kind {
                option_reply::ACK if is_told => return Ok(()),
                option_reply::ACK => return Err(unexpected("the export's length was not told")),
                option_reply::INFO if data.len() >= 12 && be_u16(&data, 0) == info::EXPORT => {
                    self.len = be_u64(&data, 2);
                    self.is_read_only = be_u16(&data, 10) & transmission::READ_ONLY != 0;
                    is_told = true;
                }
                option_reply::INFO => {}
                error => {
                    let said = String::from_utf8_lossy(&data).into_owned();
                    let message = format!("the server refuses the export ({error:#x}): {said}");
                    return Err(io::Error::new(io::ErrorKind::NotFound, message));
                }
            }
        }
        Err(unexpected(format!("more than {OPTIONS_MAX} replies to GO")))
    }

    /// The export's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether writing is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    /// The server's number as that of the system; [`io::ErrorKind::InvalidInput`] for a range that is not in the
    /// export; what the socket says, and then every later call fails too.
    pub fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(offset, buf.len())?;
        let mut pieces: Vec<_> = buf.chunks_mut(PIECE_LEN_BYTES).map(Some).collect();
        let ranges = ranges(pieces.iter().flatten().map(|piece| piece.len()), offset);
        self.converse(command::READ, &ranges, &[], |index, stream| {
            // A reply's cookie is that of a piece that waits.
            match pieces[index].take() {
                Some(piece) => stream.read_exact(piece),
                None => Ok(()),
            }
        })
    }

    /// Writes all of `data` from byte `offset` on.
    ///
    /// # Errors
    /// As [`Self::read_at`]; [`io::ErrorKind::PermissionDenied`] where the export [is read-only](Self::is_read_only).
    pub fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.check(offset, data.len())?;
        if self.is_read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let pieces: Vec<_> = data.chunks(PIECE_LEN_BYTES).collect();
        let ranges = ranges(pieces.iter().map(|piece| piece.len()), offset);
        self.converse(command::WRITE, &ranges, &pieces, |_, _| Ok(()))
    }

    /// Returns once what was written before, over any connection, would survive a power cut.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.check(0, 0)?;
        self.converse(command::FLUSH, &[(0, 0)], &[], |_, _| Ok(()))
    }

    fn check(&self, offset: u64, len: usize) -> io::Result<()> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let end = offset.checked_add(len as u64);
        match end.is_some_and(|end| end <= self.len) {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{len} bytes from byte {offset} on: the export has {}",
                    self.len
                ),
            )),
        }
    }

    /// Asks for every range, a few at a time, and takes all replies. `payloads` follow the requests where there are
    /// any; `deliver` takes the data of the range with a number off the stream.
    fn converse(
        &mut self,
        command: u16,
        ranges: &[(u64, u32)],
        payloads: &[&[u8]],
        mut deliver: impl FnMut(usize, &mut BufReader<UnixStream>) -> io::Result<()>,
    ) -> io::Result<()> {
        let first_cookie = self.next_cookie;
        self.next_cookie = first_cookie.wrapping_add(ranges.len() as u64);
        // Until the last reply is taken.
        self.is_broken = true;
        let mut is_waited_for = vec![false; ranges.len()];
        let (mut sent, mut answered) = (0, 0);
        let mut refused = None;
        while answered < sent || (sent < ranges.len() && refused.is_none()) {
            let goal = match refused {
                None => ranges.len().min(answered + IN_FLIGHT_MAX),
                Some(_) => sent,
            };
            if sent < goal {
                let cookie = |index: usize| first_cookie.wrapping_add(index as u64);
                let headers: Vec<_> = (sent..goal)
                    .map(|index| request(command, cookie(index), ranges[index]))
                    .collect();
                let mut parts: Vec<&[u8]> = Vec::with_capacity(2 * headers.len());
                for (index, header) in (sent..goal).zip(&headers) {
                    parts.push(header);
                    parts.extend(payloads.get(index));
                }
                self.send(&parts)?;
                is_waited_for[sent..goal].fill(true);
                sent = goal;
            }
            let reply: [u8; REPLY_LEN_BYTES] = self.take()?;
            if be_u32(&reply, 0) != SIMPLE_REPLY_MAGIC {
                return Err(unexpected("not a simple reply"));
            }
            let number = be_u64(&reply, 8).wrapping_sub(first_cookie);
            let index = usize::try_from(number).unwrap_or(usize::MAX);
            if !is_waited_for.get(index).copied().unwrap_or(false) {
                return Err(unexpected("a reply to no request of ours"));
            }
            is_waited_for[index] = false;
            answered += 1;
            match be_u32(&reply, 4) {
                0 => deliver(index, &mut self.incoming)?,
                error => {
                    refused.get_or_insert(error);
                }
            }
        }
        self.is_broken = false;
        match refused {
            None => Ok(()),
            // Its numbers are those of Linux.
            Some(error) => Err(io::Error::from_raw_os_error(
                i32::try_from(error).unwrap_or(i32::MAX),
            )),
        }
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.incoming.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn send(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut stream = self.incoming.get_ref();
        write_all_by(|slices| stream.write_vectored(slices), parts)
    }
}

/// Pieces one after the other: where each begins, and how long it is.
fn ranges(lens: impl Iterator<Item = usize>, offset: u64) -> Vec<(u64, u32)> {
    let mut at = offset;
    lens.map(|len| {
        let start = at;
        at += len as u64;
        // At most a piece's length.
        (start, len as u32)
    })
    .collect()
}

fn request(command: u16, cookie: u64, (offset, len): (u64, u32)) -> [u8; REQUEST_LEN_BYTES] {
    let mut bytes = [0; REQUEST_LEN_BYTES];
    bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    // No flags in between.
    bytes[6..8].copy_from_slice(&command.to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..24].copy_from_slice(&offset.to_be_bytes());
    bytes[24..].copy_from_slice(&len.to_be_bytes());
    bytes
}
