//! A mounted file system, from the kernel's first request to its last.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};

use rustix::io::Errno;

use crate::abi::{MAJOR, MINOR_MIN};
use crate::answer::{Exchange, FileSystem};
use crate::device::{Buffer, Device};
use crate::init::{self, Settings};
use crate::reply;
use crate::request::{Offer, Operation, Request};
use crate::ring::{self, Worker};

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By reading `/dev/fuse`.
    Device,
    /// By io_uring.
    Ring,
}

/// How many requests came in which way; complete when the session is over.
#[derive(Debug, Default)]
pub struct Tally {
    by_device: AtomicU64,
    by_ring: AtomicU64,
}

impl Tally {
    /// In this way.
    pub fn by(&self, transport: Transport) -> u64 {
        self.counter(transport).load(Ordering::Relaxed)
    }

    fn add(&self, transport: Transport, count: u64) {
        self.counter(transport).fetch_add(count, Ordering::Relaxed);
    }

    fn counter(&self, transport: Transport) -> &AtomicU64 {
        match transport {
            Transport::Device => &self.by_device,
            Transport::Ring => &self.by_ring,
        }
    }
}

/// A mounted file system whose kernel side is ready.
#[derive(Debug)]
pub struct Session {
    device: Device,
    settings: Settings,
    kernel_minor: u32,
    /// Empty where requests are read from the device alone.
    workers: Vec<Worker>,
    tally: Arc<Tally>,
}

impl Session {
    /// Agrees with the kernel on how to speak. `device` is a descriptor of `/dev/fuse` that was mounted.
    ///
    /// The ring is prepared before it is agreed on: from then on the kernel keeps all requests back until it is in use.
    ///
    /// # Errors
    /// From the kernel; where it speaks another protocol, or ends at once.
    pub fn begin(device: OwnedFd, settings: Settings) -> io::Result<Self> {
        let device = Device::new(device);
        let mut buffer = Buffer::new(init::data_len_max(&settings))?;
        let (offer, unique) = loop {
            let (offer, unique) = first_request(&device, &mut buffer)?;
            if offer.major <= MAJOR {
                break (offer, unique);
            }
            let len = init::encode(&init::version_alone(), buffer.body());
            device.send(&reply::done(unique, len), &mut buffer);
        };
        if (offer.major, offer.minor) < (MAJOR, MINOR_MIN) {
            device.send(&reply::refused(unique, Errno::PROTO), &mut buffer);
            let version = format!("FUSE {}.{} is too old", offer.major, offer.minor);
            return Err(io::Error::new(io::ErrorKind::Unsupported, version));
        }
        let workers = workers(&offer, &settings);
        let answer = init::answer(&offer, &settings, !workers.is_empty());
        let len = init::encode(&answer, buffer.body());
        device.send(&reply::done(unique, len), &mut buffer);
        tracing::debug!(
            kernel = format_args!("{}.{}", offer.major, offer.minor),
            flags = format_args!("{:#x}{:08x}", answer.flags2, answer.flags),
            ring_threads = workers.len(),
            "a FUSE session begins"
        );
        Ok(Self {
            device,
            settings,
            kernel_minor: offer.minor,
            workers,
            tally: Arc::default(),
        })
    }

    /// The kernel's version of the protocol is 7 and this.
    pub fn kernel_minor(&self) -> u32 {
        self.kernel_minor
    }

    /// How requests come, but for a few that always come by the device.
    pub fn transport(&self) -> Transport {
        match self.workers.is_empty() {
            true => Transport::Device,
            false => Transport::Ring,
        }
    }

    /// What is counted.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Answers requests until the file system is unmounted and the last one who used it has gone.
    ///
    /// # Errors
    /// From the kernel; if there cannot be as many threads.
    pub fn run<F: FileSystem>(self, file_system: &F) -> io::Result<()> {
        let Self {
            device,
            settings,
            workers,
            tally,
            ..
        } = self;
        let data_len = init::data_len_max(&settings);
        let by_device = |device: &Device| {
            let count = device.serve(file_system, &mut Buffer::new(data_len)?)?;
            tally.add(Transport::Device, count);
            Ok(())
        };
        let registered = Barrier::new(workers.len());
        let by_ring = |worker: Worker| {
            let count = worker.serve(file_system, device.as_fd(), &registered)?;
            tally.add(Transport::Ring, count);
            // The ring is over: so is the file system, which the device says at once, or the kernel did not take the
            // ring, and asks there.
            by_device(&device)
        };
        let readers = match workers.is_empty() {
            true => settings.threads.max(1),
            // The kernel takes requests back and forgets files on the device alone.
            false => 1,
        };
        let devices = (1..readers)
            .map(|_| device.another())
            .collect::<io::Result<Vec<_>>>()?;
        let by_device = &by_device;
        let by_ring = &by_ring;
        let device = &device;
        let jobs = std::iter::once(Box::new(move || by_device(device)) as Job<'_>)
            .chain((devices.iter()).map(|device| Box::new(move || by_device(device)) as Job<'_>))
            .chain(
                (workers.into_iter()).map(|worker| Box::new(move || by_ring(worker)) as Job<'_>),
            );
        let ended = side_by_side(jobs.collect());
        tracing::debug!(?tally, "a FUSE session is over");
        ended
    }
}

type Job<'j> = Box<dyn FnOnce() -> io::Result<()> + Send + 'j>;

/// Runs each in a thread of its own. None begins before all have one: half of a ring would be none.
fn side_by_side(jobs: Vec<Job<'_>>) -> io::Result<()> {
    let may_begin = OnceLock::new();
    std::thread::scope(|scope| {
        let spawned = jobs.into_iter().enumerate().map(|(number, job)| {
            let may_begin = &may_begin;
            std::thread::Builder::new()
                .name(format!("fuse-{number}"))
                .spawn_scoped(scope, move || match may_begin.wait() {
                    true => job(),
                    false => Ok(()),
                })
        });
        let spawned: io::Result<Vec<_>> = spawned.collect();
        // OK to ignore: it is set here alone.
        let _ = may_begin.set(spawned.is_ok());
        let mut result = Ok(());
        for thread in spawned? {
            let ended =
                (thread.join()).unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            result = result.and(ended);
        }
        result
    })
}

fn first_request(device: &Device, buffer: &mut Buffer) -> io::Result<(Offer, u64)> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
    let Some(received) = device.receive(buffer)? else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    let request = Request::decode(received.parts())
        .map_err(|_| invalid("the kernel's first request is cut"))?;
    match request.operation {
        Operation::Init(offer) => Ok((offer, request.unique)),
        _ => {
            let header = reply::refused(request.unique, Errno::IO);
            device.send(&header, buffer);
            Err(invalid("the kernel's first request is another"))
        }
    }
}

/// The ring, if the kernel offers one and this process may have it.
fn workers(offer: &Offer, settings: &Settings) -> Vec<Worker> {
    let Some(threads) = settings.ring_threads.filter(|_| init::offers_ring(offer)) else {
        return Vec::new();
    };
    ring::prepare(threads, init::data_len_max(settings)).unwrap_or_else(|error| {
        tracing::debug!(%error, "io_uring is offered, and cannot be had");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told_after_all_have_ended() {
        let count = AtomicU64::new(0);
        let job = |result: fn() -> io::Result<()>| {
            let count = &count;
            Box::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
                result()
            }) as Job<'_>
        };
        let failed = side_by_side(vec![
            job(|| Ok(())),
            job(|| Err(io::ErrorKind::NotFound.into())),
            job(|| panic!("on purpose")),
        ]);
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(count.load(Ordering::SeqCst), 3);
        assert!(side_by_side(vec![job(|| Ok(()))]).is_ok());
    }
}
