//! The workloads: what a loader or a trainer does with a checkpoint.

use std::sync::{Mutex, PoisonError};

use lucarne_storage::AlignedBuffer;

use crate::{Error, source::Source, weights::Checkpoint};

/// A part of a file that is read or written in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which file of a sharded checkpoint.
    pub(crate) shard: usize,
    /// First byte.
    pub(crate) offset: u64,
    /// How many.
    pub(crate) len: usize,
}

/// Loaders ask for a tensor at once; a longer one is cut, so that threads can share it.
pub(crate) const REQUEST_MAX_LEN_BYTES: u64 = 8 << 20;

/// All tensors of a file in the order of their bytes, cut at `max_len`.
pub(crate) fn sequential(checkpoint: &Checkpoint, shard: usize, max_len: u64) -> Vec<Request> {
    let mut requests = Vec::new();
    for tensor in &checkpoint.tensors {
        let mut at = tensor.range.start;
        while at < tensor.range.end {
            let len = (tensor.range.end - at).min(max_len.max(1));
            requests.push(Request {
                shard,
                offset: at,
                // At most `max_len`, which is a request's.
                len: len as usize,
            });
            at += len;
        }
    }
    requests
}

/// All of a file in blocks for direct reads; the last one, which may not fill a block, comes by another way.
pub(crate) fn blocks(len_bytes: u64, shard: usize, max_len: u64) -> Vec<Request> {
    let step = usize::try_from(max_len).unwrap_or(usize::MAX).max(1);
    let mut requests: Vec<_> = (0..len_bytes)
        .step_by(step)
        .map(|offset| Request {
            shard,
            offset,
            len: (len_bytes - offset).min(max_len) as usize,
        })
        .collect();
    let block = lucarne_storage::DIRECT_ALIGNMENT;
    if let Some(last) = requests.last_mut().filter(|last| last.len > block) {
        let rest = last.len % block;
        last.len -= rest;
        if rest != 0 {
            let offset = last.offset + last.len as u64;
            requests.push(Request {
                shard,
                offset,
                len: rest,
            });
        }
    }
    requests
}

/// What is loaded into: as long as the largest load, touched before the first, as a loader's own memory is when it
/// has loaded once.
pub(crate) struct Arena {
    memory: AlignedBuffer,
    /// For what is copied on, as into a device's staging memory.
    second: AlignedBuffer,
}

impl Arena {
    pub(crate) fn new(len: u64, second: u64) -> Result<Self, Error> {
        let touched = |len: u64| {
            let len = usize::try_from(len).map_err(|_| {
                Error::Memory(format!("{len} bytes are more than can be addressed"))
            })?;
            let mut memory =
                AlignedBuffer::zeroed(len.next_multiple_of(lucarne_storage::DIRECT_ALIGNMENT));
            memory.fill(1);
            Ok(memory)
        };
        Ok(Self {
            memory: touched(len)?,
            second: touched(second)?,
        })
    }

    /// Loaded bytes from the start on; for writing them back, and for comparing.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory
    }
}

/// Threads that wait for work: to start them anew would count as work.
pub(crate) struct Crew(Option<rayon::ThreadPool>);

impl Crew {
    /// One thread is the caller's own.
    pub(crate) fn new(threads: usize) -> Result<Self, Error> {
        if threads <= 1 {
            return Ok(Self(None));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::Refused(format!("{threads} threads: {error}")))?;
        Ok(Self(Some(pool)))
    }

    /// Hands out the parts one by one to whichever thread is free.
    fn share<T>(
        &self,
        mut parts: impl Iterator<Item = T> + Send,
        work: impl Fn(T) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let Some(pool) = &self.0 else {
            return parts.try_for_each(work);
        };
        let parts = Mutex::new(parts);
        let results = pool.broadcast(|_| {
            loop {
                let part = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
                match part {
                    Some(part) => work(part)?,
                    None => return Ok(()),
                }
            }
        });
        results.into_iter().collect()
    }
}

/// Where a request is read to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// Each to its own place, one after the other.
    OwnPlaces,
    /// All to one place: what is touched here and there is looked at and forgotten.
    OnePlace,
    /// Each to its own place, and from there copied into a second buffer, as a loader does that hands tensors to a
    /// framework.
    ThenSecond,
}

/// Reads all requests into the arena.
pub(crate) fn load(
    sources: &[Box<dyn Source + Send>],
    requests: &[Request],
    into: Into,
    arena: &mut Arena,
    crew: &Crew,
) -> Result<(), Error> {
    let Arena { memory, second } = arena;
    let read =
        |request: &Request, place: &mut [u8]| sources[request.shard].read(place, request.offset);
    match into {
        Into::OnePlace => requests
            .iter()
            .try_for_each(|request| read(request, &mut memory[..request.len])),
        Into::OwnPlaces => {
            let places = requests.iter().zip(places(requests, memory));
            crew.share(places, |(request, place)| read(request, place))
        }
        Into::ThenSecond => {
            let both = places(requests, memory).zip(places(requests, second));
            crew.share(requests.iter().zip(both), |(request, (place, second))| {
                read(request, place)?;
                second.copy_from_slice(place);
                Ok(())
            })
        }
    }
}

/// The place of each request: one after the other; blocks stay aligned.
fn places<'a>(requests: &'a [Request], memory: &'a mut [u8]) -> impl Iterator<Item = &'a mut [u8]> {
    let mut rest = memory;
    requests.iter().map(move |request| {
        let (place, after) = std::mem::take(&mut rest).split_at_mut(request.len);
        rest = after;
        place
    })
}

/// Writes all requests from the arena, and flushes every file.
pub(crate) fn store(
    sources: &[Box<dyn Source + Send>],
    requests: &[Request],
    arena: &Arena,
    crew: &Crew,
) -> Result<(), Error> {
    let mut start = 0;
    let parts = requests.iter().map(|request| {
        let data = &arena.bytes()[start..start + request.len];
        start += request.len;
        (request, data)
    });
    crew.share(parts, |(request, data)| {
        sources[request.shard].write(data, request.offset)
    })?;
    sources.iter().try_for_each(|source| source.flush())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Model;

    #[test]
    fn requests_are_all_tensors_bytes_once() {
        let checkpoint = Checkpoint::of_model(Model::Small, 20 << 20);
        let requests = sequential(&checkpoint, 0, 1 << 20);
        let sum: u64 = requests.iter().map(|request| request.len as u64).sum();
        assert_eq!(sum, checkpoint.data_len_bytes());
        assert!(
            requests
                .array_windows()
                .all(|[a, b]| a.offset + a.len as u64 == b.offset)
        );
        assert!(requests.iter().all(|request| request.len <= 1 << 20));
    }

    #[test]
    fn blocks_are_whole_but_the_last() {
        for len in [1, 4096, 4097, 1 << 20, (1 << 20) + 5000] {
            let blocks = blocks(len, 0, 1 << 18);
            assert_eq!(
                blocks.iter().map(|block| block.len as u64).sum::<u64>(),
                len
            );
            let whole = &blocks[..blocks.len() - 1];
            assert!(whole.iter().all(|block| block.len.is_multiple_of(4096)));
            assert!(
                blocks
                    .array_windows()
                    .all(|[a, b]| a.offset + a.len as u64 == b.offset)
            );
        }
    }

    #[test]
    fn a_fault_of_one_thread_is_the_loads() {
        struct Fails;
        impl Source for Fails {
            fn read(&self, _: &mut [u8], offset: u64) -> Result<(), Error> {
                match offset {
                    5 => Err(Error::Refused("here".into())),
                    _ => Ok(()),
                }
            }
            fn write(&self, _: &[u8], _: u64) -> Result<(), Error> {
                Ok(())
            }
            fn flush(&self) -> Result<(), Error> {
                Ok(())
            }
        }
        let requests: Vec<_> = (0..9)
            .map(|offset| Request {
                shard: 0,
                offset,
                len: 1,
            })
            .collect();
        let mut arena = Arena::new(9, 9).unwrap();
        for threads in [1, 3] {
            let crew = Crew::new(threads).unwrap();
            let sources: [Box<dyn Source + Send>; 1] = [Box::new(Fails)];
            for into in [Into::OwnPlaces, Into::ThenSecond, Into::OnePlace] {
                assert!(load(&sources, &requests, into, &mut arena, &crew).is_err());
                assert!(load(&sources, &requests[..5], into, &mut arena, &crew).is_ok());
            }
            assert!(store(&sources, &requests, &arena, &crew).is_ok());
        }
    }
}
