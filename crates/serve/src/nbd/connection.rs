//! One client: several threads that take turns reading requests, and work on them side by side.
//!
//! The thread that reads is the leader; once it has a request, it lets another read, does what was asked, and
//! answers. Nobody hands a request over, and replies go out as they are ready. Memory is bounded: a thread has a
//! small buffer, and a few large ones are shared.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::Scope;
use std::time::Instant;

use lucarne_storage::AlignedBuffer;

use super::batch::{BatchLen, ShortRead};
use super::buffers::{LARGE_LEN_BYTES, LargeBuffers, Room, SMALL_LEN_BYTES, lock};
use super::protocol::errno;
use super::replies::{Replies, ReplyHeader};
use super::request::{Action, Request};
use super::session::{ReplyKind, Session};
use super::stream::{Incoming, Transport, write_all};
use crate::{Export, Extent, ExtentKind};

/// Threads that work for one client, at most.
const WORKERS_MAX: usize = 16;
/// So many read requests whatever the client does: one that sends a few, and a payload, before it takes a reply must not
/// wait for us while we wait for it.
const WORKERS_MIN: usize = 4;
/// Extents in one reply.
const EXTENTS_MAX: usize = 1 << 10;

/// The transmission phase of one client.
pub(super) struct Connection<'c> {
    session: Session,
    export: &'c dyn Export,
    transport: &'c dyn Transport,
    incoming: Mutex<Incoming<'c>>,
    outgoing: Mutex<()>,
    is_over: AtomicBool,
    workers: AtomicUsize,
    /// Workers that wait for their turn to read.
    waiting: AtomicUsize,
    /// Workers that send, or wait for their turn to.
    sending: AtomicUsize,
    large: LargeBuffers,
    batch: BatchLen,
}

/// A request with its payload, if it was short enough to be taken in whole.
struct Taken<'b> {
    request: Request,
    action: Action,
    buffer: Room<'b>,
    /// How the write went that was too long for a buffer.
    written: Option<io::Result<()>>,
    /// The request and others like it, if it is a short read.
    reads: Vec<ShortRead>,
}

impl<'c> Connection<'c> {
    pub(super) fn new(session: Session, export: &'c dyn Export, incoming: Incoming<'c>) -> Self {
        Self {
            session,
            export,
            transport: incoming.transport(),
            incoming: Mutex::new(incoming),
            outgoing: Mutex::new(()),
            is_over: AtomicBool::new(false),
            workers: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            large: LargeBuffers::default(),
            batch: BatchLen::new(),
        }
    }

    /// Serves the client until it leaves or is cut off, and all that it asked for before is done.
    pub(super) fn run(&self) {
        std::thread::scope(|scope| {
            self.workers.store(1, Ordering::Relaxed);
            self.work(scope);
        });
    }

    fn work<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let mut small = AlignedBuffer::zeroed(SMALL_LEN_BYTES);
        loop {
            let taken = match self.take(scope, &mut small) {
                Ok(Some(taken)) => taken,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "an NBD client is cut off");
                    self.is_over.store(true, Ordering::Release);
                    return;
                }
            };
            if let Err(error) = self.answer(taken) {
                tracing::debug!(%error, "an NBD client takes no reply");
                self.is_over.store(true, Ordering::Release);
                // Nobody needs to wait for what it may still send.
                self.transport.abort();
                return;
            }
        }
    }

    /// The next request; `None` when there will be none.
    fn take<'s, 'b>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        small: &'b mut AlignedBuffer,
    ) -> Result<Option<Taken<'b>>, Cut>
    where
        's: 'b,
    {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let mut incoming = lock(&self.incoming);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if self.is_over.load(Ordering::Acquire) {
            return Ok(None);
        }
        let kind = self.session.kind;
        let mut header = [0; 32];
        let header = &mut header[..Request::header_len(kind)];
        if !incoming.read_exact(header)? {
            self.is_over.store(true, Ordering::Release);
            return Ok(None);
        }
        let request = Request::parse(header, kind)?;
        let payload_len = request.payload_len(kind)? as usize;
        let action = request.action(&self.session);
        if action == Action::Disconnect {
            self.is_over.store(true, Ordering::Release);
            return Ok(None);
        }
        let room_len = match action {
            Action::Read { len, .. } => len as usize,
            _ => payload_len,
        };
        let mut buffer = self.room(small, room_len);
        let mut written = None;
        match action {
            Action::Write { len, offset, .. } if len as usize > LARGE_LEN_BYTES => {
                written = Some(self.write_in_pieces(&mut incoming, len, offset, &mut buffer)?);
            }
            Action::Write { len, .. } => fill(&mut incoming, &mut buffer[..len as usize])?,
            // A payload that nobody wants is taken off the stream.
            _ => {
                let mut left = payload_len;
                while left > 0 {
                    let len = left.min(buffer.len());
                    fill(&mut incoming, &mut buffer[..len])?;
                    left -= len;
                }
            }
        }
        let reads = match ShortRead::new(request, action) {
            Some(first) => self.batch.take(first, &mut incoming, &self.session),
            None => Vec::new(),
        };
        self.hire(scope);
        Ok(Some(Taken {
            request,
            action,
            buffer,
            written,
            reads,
        }))
    }

    /// Has somebody read the next request while this one is worked on. As long as replies wait for the client, more of
    /// them would only wait too, and cost the processors a change of threads each.
    fn hire<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        // Only the leader counts up.
        let workers = self.workers.load(Ordering::Relaxed);
        let is_somebody_free = self.waiting.load(Ordering::Acquire) > 0;
        let are_replies_waiting = self.sending.load(Ordering::Acquire) > 0;
        let are_few = workers < WORKERS_MIN;
        if workers < WORKERS_MAX && !is_somebody_free && (are_few || !are_replies_waiting) {
            let spawned = std::thread::Builder::new()
                .name("nbd".to_owned())
                .spawn_scoped(scope, || self.work(scope));
            if spawned.is_ok() {
                self.workers.store(workers + 1, Ordering::Relaxed);
            }
        }
    }

    /// Writes a payload that is longer than a buffer as it comes. Also after a failure all of it is taken.
    fn write_in_pieces(
        &self,
        incoming: &mut Incoming<'_>,
        len: u32,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<io::Result<()>, Cut> {
        let mut outcome = Ok(());
        let (mut at, mut left) = (offset, len as usize);
        while left > 0 {
            let piece = &mut buffer[..left.min(LARGE_LEN_BYTES)];
            fill(incoming, piece)?;
            if outcome.is_ok() {
                outcome = self.export.write_from(piece, at);
            }
            at += piece.len() as u64;
            left -= piece.len();
        }
        Ok(outcome)
    }

    fn room<'b>(&'b self, small: &'b mut AlignedBuffer, len: usize) -> Room<'b> {
        if len <= SMALL_LEN_BYTES {
            Room::Small(small)
        } else {
            Room::Large(self.large.borrow(), &self.large)
        }
    }

    fn answer(&self, taken: Taken<'_>) -> io::Result<()> {
        let mut buffer = taken.buffer;
        if !taken.reads.is_empty() {
            return self.answer_reads(&taken.reads, &mut buffer);
        }
        let replies = self.replies(&taken.request);
        let outcome = match taken.action {
            Action::Read {
                offset,
                len,
                is_whole,
            } => return self.answer_read(&replies, offset, len as usize, is_whole, &mut buffer),
            Action::Status {
                offset,
                len,
                is_one,
            } => match self.extents(offset, len, is_one) {
                Ok(extents) => return self.send(&[&replies.status(&extents)]),
                Err(error) => Err(error),
            },
            Action::Refuse(error, why) => return self.send(&[&replies.failed(error, why)]),
            Action::Write {
                offset,
                len,
                is_durable,
            } => {
                let written = match taken.written {
                    Some(written) => written,
                    None => self.export.write_from(&mut buffer[..len as usize], offset),
                };
                written.and_then(|()| self.flush_if(is_durable))
            }
            Action::Flush => self.export.flush(),
            Action::Trim {
                offset,
                len,
                is_durable,
            } => {
                let trimmed = self.export.trim(offset..offset + len);
                trimmed.and_then(|()| self.flush_if(is_durable))
            }
            Action::Zero {
                offset,
                len,
                how,
                is_durable,
            } => {
                let zeroed = self.export.zero(offset..offset + len, how);
                zeroed.and_then(|()| self.flush_if(is_durable))
            }
            Action::Cache | Action::Disconnect => Ok(()),
        };
        match outcome {
            Ok(()) => self.send(&[replies.done().as_bytes()]),
            Err(error) => self.send(&[&failure(&replies, &error)]),
        }
    }

    fn replies(&self, request: &Request) -> Replies {
        Replies {
            kind: self.session.kind,
            cookie: request.cookie,
            offset: request.offset,
        }
    }

    /// All in one go; `buffer` has room for them.
    fn answer_reads(&self, reads: &[ShortRead], buffer: &mut [u8]) -> io::Result<()> {
        let started = Instant::now();
        let mut answers: Vec<(Head, &[u8])> = Vec::with_capacity(reads.len());
        let mut left = buffer;
        for read in reads {
            let (data, after) = left.split_at_mut(read.len);
            left = after;
            let replies = self.replies(&read.request);
            answers.push(match self.export.read_at(data, read.offset) {
                // A chunk of data has at least one byte.
                Ok(()) if data.is_empty() => (Head::Data(replies.done()), &[]),
                Ok(()) => (
                    Head::Data(replies.data(read.offset, read.len, true)),
                    &*data,
                ),
                Err(error) => (Head::Failed(failure(&replies, &error)), &[]),
            });
        }
        self.batch.learn(reads.len(), started.elapsed());
        let parts: Vec<&[u8]> = answers
            .iter()
            .flat_map(|(head, data)| [head.as_bytes(), data])
            .collect();
        self.send(&parts)
    }

    fn answer_read(
        &self,
        replies: &Replies,
        offset: u64,
        len: usize,
        is_whole: bool,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let in_one_chunk = is_whole || replies.kind == ReplyKind::Simple;
        let first_len = len.min(buffer.len());
        if let Err(error) = self.export.read_at(&mut buffer[..first_len], offset) {
            return self.send(&[&failure(replies, &error)]);
        }
        if first_len == len || in_one_chunk {
            let _alone = self.turn_to_send();
            let header = replies.data(offset, len, true);
            write_all(self.transport, &[header.as_bytes(), &buffer[..first_len]])?;
            let mut done = first_len;
            while done < len {
                let piece = &mut buffer[..(len - done).min(first_len)];
                // The client has been promised these bytes: an error now ends the connection.
                self.export.read_at(piece, offset + done as u64)?;
                write_all(self.transport, &[piece])?;
                done += piece.len();
            }
            return Ok(());
        }
        let mut done = 0;
        while done < len {
            let piece = &mut buffer[..(len - done).min(first_len)];
            let at = offset + done as u64;
            if done > 0
                && let Err(error) = self.export.read_at(piece, at)
            {
                tracing::warn!(%error, offset = at, "an NBD read failed");
                return self.send(&[&replies.failed_at(errno_of(&error), at)]);
            }
            done += piece.len();
            let header = replies.data(at, piece.len(), done == len);
            self.send(&[header.as_bytes(), piece])?;
        }
        Ok(())
    }

    /// What lies in a range, neighbours of one kind as one.
    fn extents(&self, offset: u64, len: u64, is_one: bool) -> io::Result<Vec<Extent>> {
        let max = if is_one { 1 } else { EXTENTS_MAX };
        let mut extents: Vec<Extent> = Vec::new();
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let extent = self.export.extent_at(at..end)?;
            let found = extent.len.clamp(1, end - at);
            match extents.last_mut() {
                Some(last) if last.kind == extent.kind => last.len += found,
                _ => {
                    if extents.len() == max {
                        break;
                    }
                    extents.push(Extent {
                        len: found,
                        kind: extent.kind,
                    });
                }
            }
            at += found;
        }
        if extents.is_empty() {
            // No range is empty here.
            extents.push(Extent {
                len,
                kind: ExtentKind::Data,
            });
        }
        Ok(extents)
    }

    fn flush_if(&self, is_durable: bool) -> io::Result<()> {
        if is_durable {
            return self.export.flush();
        }
        Ok(())
    }

    fn send(&self, parts: &[&[u8]]) -> io::Result<()> {
        let _alone = self.turn_to_send();
        write_all(self.transport, parts)
    }

    /// Replies go out whole, one after another.
    fn turn_to_send(&self) -> Sending<'_> {
        self.sending.fetch_add(1, Ordering::AcqRel);
        Sending {
            count: &self.sending,
            _alone: lock(&self.outgoing),
        }
    }
}

/// What stands before data that were read, or why there are none.
enum Head {
    Data(ReplyHeader),
    Failed(Vec<u8>),
}

impl Head {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Data(header) => header.as_bytes(),
            Self::Failed(bytes) => bytes,
        }
    }
}

/// Held while a reply is sent.
struct Sending<'c> {
    count: &'c AtomicUsize,
    _alone: MutexGuard<'c, ()>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a client is cut off.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] super::ProtocolError),
}

fn fill(incoming: &mut Incoming<'_>, buf: &mut [u8]) -> Result<(), Cut> {
    match buf.is_empty() || incoming.read_exact(buf)? {
        true => Ok(()),
        false => Err(Cut::Io(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn failure(replies: &Replies, error: &io::Error) -> Vec<u8> {
    tracing::warn!(%error, "an NBD request failed");
    replies.failed(errno_of(error), &error.to_string())
}

fn errno_of(error: &io::Error) -> u32 {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => errno::EPERM,
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => errno::ENOSPC,
        Kind::OutOfMemory => errno::ENOMEM,
        Kind::Unsupported => errno::ENOTSUP,
        Kind::InvalidInput => errno::EINVAL,
        _ => errno::EIO,
    }
}
