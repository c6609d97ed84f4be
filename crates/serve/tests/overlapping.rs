//! Requests that overlap, many at a time and at offsets inside of sectors, against memory: afterwards each byte is of a
//! request that wrote it, or what it was, and what is read in the meantime was there before or is being written.
#![allow(clippy::unwrap_used)]

mod common;

use std::ops::Range;

use common::{Client, Kind, serving, volume};
use lucarne_serve::VolumeExport;
use lucarne_serve::fuse::{PLAIN, PlainFile};
use lucarne_serve::nbd::ServerOptions;
use proptest::prelude::*;
use rustix::fs::FallocateFlags;

/// Where the requests meet: some sectors, the last one in part.
const LEN: u64 = 39_321;
const CLIENTS: usize = 6;
const KINDS: [Kind; 3] = [Kind::Simple, Kind::Structured, Kind::Extended];
const READ: u16 = 0;
const WRITE: u16 = 1;
const WRITE_ZEROES: u16 = 6;
const NO_HOLE: u16 = 1 << 1;

#[derive(Debug, Clone)]
struct Request {
    what: What,
    range: Range<u64>,
}

#[derive(Debug, Clone)]
enum What {
    Write(Vec<u8>),
    Zero,
    Read,
}

impl Request {
    fn at(&self) -> u64 {
        self.range.start
    }

    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// What it writes at this place.
    fn byte(&self, at: u64) -> Option<u8> {
        if !self.range.contains(&at) {
            return None;
        }
        match &self.what {
            What::Write(data) => Some(data[(at - self.at()) as usize]),
            What::Zero => Some(0),
            What::Read => None,
        }
    }
}

fn request() -> impl Strategy<Value = Request> {
    let what = prop_oneof![3 => Just(0), 1 => Just(1), 2 => Just(2)];
    // Some begin and end with sectors.
    let edge = prop_oneof![3 => 0..LEN, 1 => (0..LEN / 512).prop_map(|sector| sector * 512)];
    (what, edge, 1_u64..9000, any::<u8>()).prop_map(|(what, at, len, seed)| {
        let range = at..(at + len).min(LEN);
        // No two neighbours are equal, and requests differ in nearly all places.
        let byte = |index: u64| (index.wrapping_mul(167) as u8).wrapping_add(seed) | 1;
        let what = match what {
            0 => What::Write((0..range.end - range.start).map(byte).collect()),
            1 => What::Zero,
            _ => What::Read,
        };
        Request { what, range }
    })
}

/// Requests that are all under way at once; the next ones begin when all are done.
fn batches() -> impl Strategy<Value = Vec<Vec<Request>>> {
    prop::collection::vec(prop::collection::vec(request(), 1..24), 1..6)
}

/// Fails unless `now`, read from `start` on, can be after the requests of a batch, or while they are done.
fn assert_possible(before: &[u8], batch: &[Request], start: u64, now: &[u8], is_done: bool) {
    for (at, &byte) in (start..).zip(now) {
        let mut written = batch.iter().filter_map(|request| request.byte(at));
        let is_untouched = !is_done || written.clone().next().is_none();
        assert!(
            written.any(|written| written == byte) || is_untouched && before[at as usize] == byte,
            "the byte {byte:#04x} at {at}, where {:#04x} was, is of no request",
            before[at as usize]
        );
    }
}

/// Each client's share of a batch.
fn share(batch: &[Request], client: usize) -> impl Iterator<Item = &Request> {
    batch.iter().skip(client).step_by(CLIENTS)
}

/// Sends all that writes before it takes a reply; then reads.
fn ask(client: &mut Client, batch: &[Request], number: usize, before: &[u8]) {
    let mut open = 0;
    for request in share(batch, number) {
        let (at, len) = (request.at(), request.len());
        match &request.what {
            What::Write(data) => client.say((WRITE, 0), at, at, len, data),
            What::Zero => client.say((WRITE_ZEROES, NO_HOLE), at, at, len, &[]),
            What::Read => continue,
        }
        open += 1;
    }
    for _ in 0..open {
        client.done();
    }
    for request in share(batch, number).filter(|request| matches!(request.what, What::Read)) {
        let read = client.request((READ, 0), request.at(), request.len(), &[]);
        assert_possible(before, batch, request.at(), &read.unwrap(), false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nbd_clients_that_overlap(batches in batches()) {
        let export = VolumeExport::new(volume(1));
        serving(export, ServerOptions::default(), |socket, _| {
            let kind = |number: usize| KINDS[number % KINDS.len()];
            let mut clients: Vec<_> = (0..CLIENTS).map(|number| socket.client(kind(number))).collect();
            let mut model = clients[0].read(0, LEN).unwrap();
            for batch in &batches {
                std::thread::scope(|scope| {
                    for (number, client) in clients.iter_mut().enumerate() {
                        let model = &model;
                        scope.spawn(move || ask(client, batch, number, model));
                    }
                });
                let now = clients[0].read(0, LEN).unwrap();
                assert_possible(&model, batch, 0, &now, true);
                model = now;
            }
        });
    }

    #[test]
    fn users_of_the_file_that_overlap(batches in batches()) {
        let plain = PlainFile::new(VolumeExport::new(volume(1)).with_len(LEN), "x", false);
        let read = |range: &Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            assert_eq!(plain.read(PLAIN, range.start, &mut bytes), Ok(bytes.len()));
            bytes
        };
        let zero_range = (FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE).bits().cast_signed();
        let mut model = read(&(0..LEN));
        for batch in &batches {
            std::thread::scope(|scope| {
                for number in 0..CLIENTS {
                    let (model, plain, read) = (&model, &plain, &read);
                    scope.spawn(move || {
                        for request in share(batch, number) {
                            let (at, len) = (request.at(), request.len());
                            match &request.what {
                                What::Write(data) => {
                                    assert_eq!(plain.write(PLAIN, at, data), Ok(len as u32));
                                }
                                What::Zero => plain.allocate(PLAIN, at, len, zero_range).unwrap(),
                                What::Read => {
                                    assert_possible(model, batch, at, &read(&request.range), false);
                                }
                            }
                        }
                    });
                }
            });
            let now = read(&(0..LEN));
            assert_possible(&model, batch, 0, &now, true);
            model = now;
        }
    }
}
