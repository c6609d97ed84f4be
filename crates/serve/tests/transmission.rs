//! Requests and replies, byte by byte, in all three forms.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Kind, serving, volume};
use lucarne_serve::nbd::ServerOptions;
use lucarne_serve::{Export, VolumeExport};

const KINDS: [Kind; 3] = [Kind::Simple, Kind::Structured, Kind::Extended];
const FUA: u16 = 1;
const NO_HOLE: u16 = 1 << 1;
const DF: u16 = 1 << 2;
const REQ_ONE: u16 = 1 << 3;
const FAST_ZERO: u16 = 1 << 4;
const PAYLOAD_LEN: u16 = 1 << 5;
const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;
const ENOTSUP: u32 = 95;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn what_is_written_is_read_in_every_form() {
    for kind in KINDS {
        let export = VolumeExport::new(volume(40));
        serving(export, ServerOptions::default(), |socket, _| {
            let mut client = socket.client(kind);
            // Within a sector, over its border, longer than a small buffer, than a large one, and the longest.
            for (offset, len) in [
                (0, 1),
                (511, 2),
                (1000, 70_000),
                (4096, 3 << 20),
                (1 << 20, 32 << 20),
            ] {
                let data = noise(len, offset + len as u64);
                assert_eq!(client.write(offset, &data), Ok(Vec::new()));
                assert!(
                    client.read(offset, len as u64).unwrap() == data,
                    "{kind:?} {offset}"
                );
            }
            assert_eq!(client.request((3, 0), 0, 0, &[]), Ok(Vec::new()));
            assert_eq!(client.request((1, FUA), 9, 1, b"x"), Ok(Vec::new()));
            assert_eq!(client.request((0, FUA), 9, 1, &[]), Ok(b"x".to_vec()));
            assert_eq!(client.request((5, 0), 0, 4096, &[]), Ok(Vec::new()));
            assert_eq!(client.read(77, 0), Ok(Vec::new()));
            if kind != Kind::Simple {
                let whole = client.request((0, DF), 0, 3 << 20, &[]).unwrap();
                assert!(whole == client.read(0, 3 << 20).unwrap());
            }
        });
    }
}

/// Requests that come in one packet, as a client that was kept waiting sends them: short reads among others.
#[test]
fn requests_that_come_together_are_answered_each() {
    const LENS: [u64; 8] = [512, 1, 4096, 0, 64 << 10, (64 << 10) + 1, 700, 9000];
    for kind in KINDS {
        let export = VolumeExport::new(volume(4));
        let end = export.len();
        serving(export, ServerOptions::default(), |socket, _| {
            let mut client = socket.client(kind);
            let model = noise(3 << 20, 3);
            client.write(0, &model).unwrap();
            // Again and again: more are taken together while they are answered quickly.
            for round in 0..12 {
                let mut packet = Vec::new();
                let mut expected = std::collections::HashMap::new();
                for index in 0..100_u64 {
                    let len = LENS[((index + round) % 8) as usize];
                    let (command, offset, len) = match index % 17 {
                        5 => ((0, 0), end - len.min(1), len.max(2)),
                        11 => ((3, 0), 0, 0),
                        _ => ((0, 0), index * 12_345, len),
                    };
                    let cookie = round << 32 | index;
                    packet.extend(client.request_bytes(command, cookie, offset, len, &[]));
                    let answer = match index % 17 {
                        5 => Err(EINVAL),
                        11 => Ok(Vec::new()),
                        _ => Ok(model[offset as usize..(offset + len) as usize].to_vec()),
                    };
                    expected.insert(cookie, (offset, answer));
                }
                client.send(&packet);
                while !expected.is_empty() {
                    let cookie = client.next_cookie();
                    let (offset, answer) = expected.remove(&cookie).unwrap();
                    let len = answer.as_ref().map_or(0, Vec::len);
                    assert!(
                        client.answer(cookie, offset, len) == answer,
                        "{kind:?} {cookie:#x}"
                    );
                }
            }
        });
    }
}

#[test]
fn what_is_not_allowed_has_its_number_and_harms_nobody() {
    for kind in KINDS {
        let export = VolumeExport::new(volume(40));
        let len = export.len();
        serving(export, ServerOptions::default(), |socket, _| {
            let mut client = socket.client(kind);
            client.write(len - 512, &[7; 512]).unwrap();
            for (command, offset, request_len, error) in [
                ((0, 0), len - 511, 512, EINVAL),
                ((0, 0), u64::MAX, 512, EINVAL),
                ((0, 0), 0, (32 << 20) + 1, EINVAL),
                ((0, NO_HOLE), 0, 512, EINVAL),
                ((0, 1 << 14), 0, 512, EINVAL),
                ((3, 0), 512, 0, EINVAL),
                ((3, 0), 0, 512, EINVAL),
                ((3, DF), 0, 0, EINVAL),
                // TRIM was not offered.
                ((4, 0), 0, 512, EINVAL),
                ((5, 0), len, 1, EINVAL),
                ((6, 0), len - 511, 512, ENOSPC),
                ((6, FAST_ZERO), 0, 4096, ENOTSUP),
                ((6, DF), 0, 4096, EINVAL),
                // No context was chosen.
                ((7, 0), 0, 4096, EINVAL),
                ((8, 0), 0, 0, EINVAL),
                ((0xffff, 0), 0, 0, EINVAL),
            ] {
                assert_eq!(
                    client.request(command, offset, request_len, &[]),
                    Err(error),
                    "{kind:?} {command:?} {offset} {request_len}"
                );
            }
            // The payload of a write that is refused is taken off the stream.
            assert_eq!(client.write(len - 511, &[1; 512]), Err(ENOSPC));
            assert_eq!(client.write(len - 511, &[1; 5 << 20]), Err(ENOSPC));
            assert_eq!(client.request((1, NO_HOLE), 0, 5, b"abcde"), Err(EINVAL));
            assert_eq!(client.read(len - 512, 512), Ok(vec![7; 512]));
            if kind == Kind::Extended {
                // A payload where there is none to be.
                assert_eq!(
                    client.request((0, PAYLOAD_LEN), 0, 5, b"abcde"),
                    Err(EINVAL)
                );
                assert_eq!(
                    client.request((6, PAYLOAD_LEN), 0, 5, b"abcde"),
                    Err(EINVAL)
                );
                // And one without the flag that it must have: there are clients that forget it.
                assert_eq!(
                    client.request((1, PAYLOAD_LEN), 1, 5, b"abcde"),
                    Ok(Vec::new())
                );
                assert_eq!(client.read(1, 5), Ok(b"abcde".to_vec()));
                let long = client.request((6, 0), 4096, 39 << 20, &[]);
                assert_eq!(long, Ok(Vec::new()));
            }
        });
    }
}

#[test]
fn streams_that_cannot_be_understood_end() {
    for kind in KINDS {
        let export = VolumeExport::new(volume(1));
        serving(export, ServerOptions::default(), |socket, _| {
            let mut client = socket.client(kind);
            client.send(&[0x55; 64]);
            assert!(client.is_cut_off());
            // A payload that nobody will read.
            let mut client = socket.client(kind);
            client.say((1, 0), 1, 0, (32 << 20) + 1, &[]);
            assert!(client.is_cut_off());
            // Half a request, and half a payload, of clients that go away.
            let mut client = socket.client(kind);
            client.send(&[0x25, 0x60]);
            drop(client);
            let mut client = socket.client(kind);
            client.say((1, 0), 1, 0, 1 << 20, &[1; 1000]);
            drop(client);
            let mut client = socket.client(kind);
            assert_eq!(client.read(0, 1).unwrap().len(), 1);
            client.say((2, 0), 1, 0, 0, &[]);
            assert!(client.is_cut_off());
        });
    }
}

#[test]
fn a_read_only_export_is_not_written() {
    for kind in KINDS {
        let export = VolumeExport::new(volume(1)).read_only().allow_discards();
        serving(export, ServerOptions::default(), |socket, _| {
            let mut client = socket.client(kind);
            let before = client.read(0, 8192).unwrap();
            assert_eq!(client.write(0, &[1; 512]), Err(EPERM));
            assert_eq!(client.request((4, 0), 0, 512, &[]), Err(EPERM));
            assert_eq!(client.request((6, 0), 0, 512, &[]), Err(EPERM));
            assert_eq!(client.request((3, 0), 0, 0, &[]), Ok(Vec::new()));
            assert_eq!(client.read(0, 8192).unwrap(), before);
            let (about, _) = socket.connect().go(6, b"weights");
            assert_eq!(
                about.unwrap().1,
                1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 8 | 1 << 10
            );
        });
    }
}

#[test]
fn zeros_are_written_encrypted_and_cover_just_their_range() {
    for kind in KINDS {
        let export = VolumeExport::new(volume(4));
        serving(export, ServerOptions::default(), |socket, _| {
            let mut client = socket.client(kind);
            let mut model = noise(4 << 20, 5);
            client.write(0, &model).unwrap();
            for (offset, len) in [(5, 10), (500, 1000), (4096, 4096), (100_000, 3_000_001)] {
                client.request((6, FUA), offset, len, &[]).unwrap();
                model[offset as usize..(offset + len) as usize].fill(0);
            }
            assert!(client.read(0, 4 << 20).unwrap() == model);
        });
    }
}

/// Extents of a reply: lengths and flags.
fn extents(kind: Kind, status: &[u8]) -> Vec<(u64, u64)> {
    assert_eq!(status[..4], [0, 0, 0, 1]);
    match kind {
        Kind::Extended => {
            let count = u32::from_be_bytes(status[4..8].try_into().unwrap());
            let extents: Vec<_> = status[8..]
                .chunks_exact(16)
                .map(|extent| {
                    let (len, flags) = extent.split_at(8);
                    (
                        u64::from_be_bytes(len.try_into().unwrap()),
                        u64::from_be_bytes(flags.try_into().unwrap()),
                    )
                })
                .collect();
            assert_eq!(extents.len(), count as usize);
            extents
        }
        _ => status[4..]
            .chunks_exact(8)
            .map(|extent| {
                let (len, flags) = extent.split_at(4);
                (
                    u64::from(u32::from_be_bytes(len.try_into().unwrap())),
                    u64::from(u32::from_be_bytes(flags.try_into().unwrap())),
                )
            })
            .collect(),
    }
}

#[test]
fn what_was_trimmed_is_a_hole_where_zeros_are_holes() {
    for kind in [Kind::Structured, Kind::Extended] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        {
            // A file knows its holes.
            let image = lucarne_storage::FileStorage::from_file(
                std::fs::File::options()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&path)
                    .unwrap(),
            )
            .unwrap();
            lucarne_storage::Storage::set_len(&image, 10 << 20).unwrap();
            let volume = common::volume_on(image).with_zeros_as_holes();
            let export = VolumeExport::new(volume).allow_discards();
            let len = export.len();
            let socket_path = dir.path().join("sock");
            let listener = std::os::unix::net::UnixListener::bind(&socket_path).unwrap();
            let mut server = lucarne_serve::nbd::Server::new(ServerOptions::default()).unwrap();
            server.add("weights".into(), String::new(), Box::new(export));
            std::thread::scope(|scope| {
                scope.spawn(|| server.serve_unix(&listener).unwrap());
                let mut client = common::Socket(socket_path).connect();
                client.agree(kind);
                client.contexts(10, b"weights", &["base:allocation"]);
                client.go(7, b"weights");
                let status = |client: &mut common::Client, flags, offset, len| {
                    let status = client.request((7, flags), offset, len, &[]).unwrap();
                    extents(kind, &status)
                };
                assert_eq!(status(&mut client, 0, 0, len), [(len, 3)]);
                client.write(1 << 20, &noise(1 << 20, 3)).unwrap();
                client.write(3 << 20, &noise(1 << 20, 4)).unwrap();
                let mib = 1 << 20;
                let expected = [(mib, 3), (mib, 0), (mib, 3), (mib, 0), (len - 4 * mib, 3)];
                assert_eq!(status(&mut client, 0, 0, len), expected);
                assert_eq!(status(&mut client, REQ_ONE, mib / 2, mib), [(mib / 2, 3)]);
                assert_eq!(
                    status(&mut client, 0, mib + 4096, mib),
                    [(mib - 4096, 0), (4096, 3)]
                );
                // Whole sectors become a hole; the bytes beside them stay, or become zeros.
                client.request((4, FUA), mib + 100, mib - 200, &[]).unwrap();
                let trimmed = client.read(mib, mib).unwrap();
                let before = noise(1 << 20, 3);
                assert_eq!(trimmed[..100], before[..100]);
                assert!(
                    trimmed[4096..(1 << 20) - 4096]
                        .iter()
                        .all(|&byte| byte == 0)
                );
                assert_eq!(trimmed[(1 << 20) - 100..], before[(1 << 20) - 100..]);
                client
                    .request((6, FAST_ZERO), 3 * mib + 1, mib - 2, &[])
                    .unwrap();
                let zeroed = client.read(3 * mib, mib).unwrap();
                let before = noise(1 << 20, 4);
                assert_eq!(
                    (zeroed[0], zeroed[(1 << 20) - 1]),
                    (before[0], before[(1 << 20) - 1])
                );
                assert!(zeroed[1..(1 << 20) - 1].iter().all(|&byte| byte == 0));
                let found = status(&mut client, 0, 0, len);
                let holes: u64 = found
                    .iter()
                    .filter(|(_, flags)| *flags == 3)
                    .map(|(len, _)| len)
                    .sum();
                assert!(holes >= len - 5 * 4096, "{found:?}");
                server.stop();
            });
        }
    }
}

#[test]
fn many_clients_write_where_sectors_meet() {
    // Each has every eighth stripe of 300 bytes to itself, so that most sectors are shared.
    const STRIPE: usize = 300;
    const LEN: usize = 240_000;
    let export = VolumeExport::new(volume(1));
    serving(export, ServerOptions::default(), |socket, _| {
        let model: Vec<u8> = noise(LEN, 11);
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let model = &model;
                scope.spawn(move || {
                    let mut client = socket.client(KINDS[worker % 3]);
                    let stripes = (worker..LEN / STRIPE).step_by(8);
                    // All at once, answered as they are done.
                    let mut open = 0;
                    for stripe in stripes {
                        let at = stripe * STRIPE;
                        let data = &model[at..at + STRIPE];
                        client.say((1, 0), stripe as u64, at as u64, STRIPE as u64, data);
                        open += 1;
                    }
                    for _ in 0..open {
                        client.done();
                    }
                });
            }
        });
        assert!(socket.client(Kind::Simple).read(0, LEN as u64).unwrap() == model);
    });
}

#[test]
fn a_thousand_clients_come_and_go_and_a_silent_one_is_served() {
    let export = VolumeExport::new(volume(1));
    serving(export, ServerOptions::default(), |socket, _| {
        let mut silent = socket.client(Kind::Structured);
        for count in 0..1000 {
            let stream = std::os::unix::net::UnixStream::connect(&socket.0).unwrap();
            if count % 100 == 0 {
                drop(stream);
                let mut client = socket.client(Kind::Simple);
                assert_eq!(client.read(0, 512).unwrap().len(), 512);
            }
        }
        assert_eq!(silent.read(0, 512).unwrap().len(), 512);
    });
}

#[test]
fn a_client_that_takes_no_replies_holds_up_nobody() {
    let export = VolumeExport::new(volume(33));
    serving(export, ServerOptions::default(), |socket, _| {
        let mut greedy = socket.client(Kind::Simple);
        for cookie in 0..16 {
            greedy.say((0, 0), cookie, 0, 32 << 20, &[]);
        }
        let mut other = socket.client(Kind::Simple);
        for offset in 0..100 {
            assert_eq!(other.read(offset * 512, 4096).unwrap().len(), 4096);
        }
        drop(greedy);
    });
}

#[test]
fn a_payload_is_taken_while_replies_wait() {
    let export = VolumeExport::new(volume(33));
    serving(export, ServerOptions::default(), |socket, _| {
        let mut client = socket.client(Kind::Simple);
        let timeout = Some(Duration::from_secs(10));
        client.stream.set_write_timeout(timeout).unwrap();
        const READ_LEN: u64 = 8 << 20;
        for cookie in 0..3 {
            client.say((0, 0), cookie, 0, READ_LEN, &[]);
        }
        // Their replies fill the socket; this one has to come through the other way.
        std::thread::sleep(Duration::from_millis(200));
        client.say((1, 0), 3, 16 << 20, 8 << 20, &vec![7; 8 << 20]);
        let expected = 3 * (16 + READ_LEN) + 16;
        assert_eq!(client.take(expected as usize).len() as u64, expected);
        assert_eq!(client.read(16 << 20, 512), Ok(vec![7; 512]));
    });
}

#[test]
fn a_client_that_takes_no_replies_does_not_keep_the_server() {
    let options = ServerOptions {
        drain_timeout: Duration::from_millis(100),
        ..ServerOptions::default()
    };
    let mut greedy = None;
    serving(VolumeExport::new(volume(33)), options, |socket, _| {
        let client = greedy.insert(socket.client(Kind::Simple));
        client.say((0, 0), 1, 0, 32 << 20, &[]);
        // Its reply has begun, and does not fit the socket.
        client.take(1);
    });
    // The server has come to its end although the client is still there.
    assert!(greedy.is_some());
}

#[test]
fn what_was_asked_for_before_the_end_is_done() {
    serving(
        VolumeExport::new(volume(2)),
        ServerOptions::default(),
        |socket, server| {
            let mut client = socket.client(Kind::Simple);
            for cookie in 0..50 {
                client.say((1, 0), cookie, cookie * 512, 512, &[cookie as u8; 512]);
            }
            // The first reply shows that the server reads; what it has read by now is answered, and then comes the end.
            client.done();
            server.stop();
            let mut rest = Vec::new();
            std::io::Read::read_to_end(&mut client.stream, &mut rest).unwrap();
            assert!(rest.len().is_multiple_of(16));
            assert!(rest.chunks(16).all(|reply| reply[4..8] == [0; 4]));
        },
    );
}
