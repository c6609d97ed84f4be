//! The handshake, byte by byte.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Kind, serving, volume};
use lucarne_serve::VolumeExport;
use lucarne_serve::nbd::ServerOptions;

const UNSUPPORTED: u32 = 1 << 31 | 1;
const INVALID: u32 = 1 << 31 | 3;
const UNKNOWN: u32 = 1 << 31 | 6;
const TOO_BIG: u32 = 1 << 31 | 9;
const EXTENDED_REQUIRED: u32 = 1 << 31 | 10;

fn with_socket(test: impl FnOnce(&common::Socket)) {
    let export = VolumeExport::new(volume(1));
    serving(export, ServerOptions::default(), |socket, _| test(socket));
}

#[test]
fn exports_are_listed_and_described() {
    with_socket(|socket| {
        let mut client = socket.connect();
        let list = client.option(3, &[]);
        assert_eq!(list.len(), 2);
        assert_eq!(list[0], (2, b"\0\0\0\x07weightsan example".to_vec()));
        let (about, replies) = client.go(6, b"weights");
        let (len, flags) = about.unwrap();
        assert!(len > 0 && len.is_multiple_of(512));
        // Flags, FLUSH, FUA, zeroes, several connections, CACHE, fast zeroes; no DF before structured replies, no TRIM.
        assert_eq!(
            flags,
            1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11
        );
        let block = replies
            .iter()
            .find(|(_, data)| data[..2] == [0, 3])
            .unwrap();
        assert_eq!(block.1[2..], [0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0]);
        let description = replies
            .iter()
            .find(|(_, data)| data[..2] == [0, 2])
            .unwrap();
        assert_eq!(description.1[2..], *b"an example");
        client.agree(Kind::Structured);
        let (about, _) = client.go(6, b"");
        assert_eq!(about, Some((len, flags | 1 << 7)));
        let (about, replies) = client.go(7, b"other");
        assert_eq!((about, replies[0].0), (None, UNKNOWN));
    });
}

#[test]
fn the_old_way_to_ask_for_an_export() {
    with_socket(|socket| {
        let mut client = socket.connect();
        client.say_option(1, b"weights");
        let about = client.take(10);
        let len = u64::from_be_bytes(about[..8].try_into().unwrap());
        assert_eq!(client.read(len - 512, 512).unwrap().len(), 512);
        let mut client = socket.connect();
        client.say_option(1, b"other");
        assert!(client.is_cut_off());
    });
}

#[test]
fn what_is_wrong_is_answered_and_the_client_goes_on() {
    with_socket(|socket| {
        let mut client = socket.connect();
        for (option, data, error) in [
            (3, &b"x"[..], INVALID),
            (4, b"", UNSUPPORTED),
            (5, b"", UNSUPPORTED),
            (5, b"x", INVALID),
            (6, b"", INVALID),
            (6, b"\xff\xff\xff\xff", INVALID),
            (6, b"\0\0\0\x07weights\0\x02\0\0", INVALID),
            (6, b"\0\0\0\x07weights\0\0\0", INVALID),
            (7, b"\0\0\0\x01\xff\0\0", INVALID),
            (8, b"x", INVALID),
            (9, b"\0\0\0\0\xff\xff\xff\xff", INVALID),
            (10, b"\0\0\0\0\0\0\0\0", INVALID),
            (11, b"x", INVALID),
            (99, b"anything", UNSUPPORTED),
            (6, &[0; 70_000], TOO_BIG),
            (99, &[0; 1 << 20], TOO_BIG),
        ] {
            let replies = client.option(option, data);
            assert_eq!(
                replies.last().unwrap().0,
                error,
                "option {option} {:?}",
                &data[..data.len().min(20)]
            );
        }
        client.agree(Kind::Structured);
        assert_eq!(client.option(8, &[])[0].0, INVALID);
        client.agree(Kind::Extended);
        assert_eq!(client.option(8, &[])[0].0, EXTENDED_REQUIRED);
        assert_eq!(client.option(11, &[])[0].0, INVALID);
        let (about, _) = client.go(7, b"weights");
        assert!(about.is_some());
        assert_eq!(client.read(0, 4).unwrap().len(), 4);
    });
}

#[test]
fn what_makes_no_sense_at_all_ends_the_connection() {
    with_socket(|socket| {
        let mut client = socket.connect();
        client.send(b"IHAVENOT\0\0\0\x03\0\0\0\0");
        assert!(client.is_cut_off());
        let mut client = socket.connect();
        client.send(b"IHAVEOPT\0\0\0\x03\xff\xff\xff\xff");
        assert!(client.is_cut_off());
        let mut client = socket.connect();
        for _ in 0..1024 {
            assert_eq!(client.option(99, &[])[0].0, UNSUPPORTED);
        }
        client.say_option(99, &[]);
        assert!(client.is_cut_off());
        // A client that says goodbye.
        let mut client = socket.connect();
        assert_eq!(client.option(2, &[]), [(1, Vec::new())]);
        assert!(client.is_cut_off());
    });
}

#[test]
fn the_metadata_context_is_that_of_the_export_and_of_the_last_choice() {
    with_socket(|socket| {
        let mut client = socket.connect();
        // Without structured replies they can be listed, and not chosen.
        let listed = client.contexts(9, b"weights", &[]);
        assert_eq!(listed[0], (4, b"\0\0\0\0base:allocation".to_vec()));
        assert_eq!(
            client.contexts(10, b"weights", &["base:allocation"])[0].0,
            INVALID
        );
        client.agree(Kind::Structured);
        assert_eq!(
            client.contexts(9, b"weights", &["qemu:"]),
            [(1, Vec::new())]
        );
        assert_eq!(client.contexts(9, b"weights", &["base:"]).len(), 2);
        assert_eq!(client.contexts(9, b"other", &[])[0].0, UNKNOWN);
        // A name space is no context.
        assert_eq!(client.contexts(10, b"weights", &["base:"]).len(), 1);
        assert_eq!(
            client
                .contexts(10, b"weights", &["x:y", "base:allocation"])
                .len(),
            2
        );
        // The next choice, of nothing, replaces it.
        assert_eq!(client.contexts(10, b"weights", &[]).len(), 1);
        client.go(7, b"weights");
        assert_eq!(client.request((7, 0), 0, 4096, &[]), Err(22));
    });
}

#[test]
fn one_client_too_many_is_turned_away() {
    let export = VolumeExport::new(volume(1));
    let options = ServerOptions {
        connections_max: 2,
        ..ServerOptions::default()
    };
    serving(export, options, |socket, _| {
        let mut first = socket.client(Kind::Simple);
        let second = socket.client(Kind::Simple);
        let mut third = common::Client {
            stream: std::os::unix::net::UnixStream::connect(&socket.0).unwrap(),
            kind: Kind::Simple,
        };
        assert!(third.is_cut_off());
        assert_eq!(first.read(0, 1).unwrap().len(), 1);
        drop(second);
        // Its place is free as soon as the server has noticed.
        let served = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut client = common::Client {
                stream: std::os::unix::net::UnixStream::connect(&socket.0).unwrap(),
                kind: Kind::Simple,
            };
            std::io::Read::read(&mut client.stream, &mut [0; 18]).is_ok_and(|len| len > 0)
        });
        assert!(served);
    });
}

#[test]
fn who_never_chooses_is_cut_off() {
    let export = VolumeExport::new(volume(1));
    let options = ServerOptions {
        handshake_timeout: std::time::Duration::from_millis(200),
        ..ServerOptions::default()
    };
    serving(export, options, |socket, _| {
        let mut idle = socket.connect();
        let mut slow = socket.connect();
        let mut chosen = socket.client(Kind::Simple);
        let trickled = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::io::Write::write_all(&mut slow.stream, b"I").is_err()
        });
        assert!(trickled);
        assert!(idle.is_cut_off());
        // Whoever has chosen may be silent as long as it likes.
        assert_eq!(chosen.read(0, 1).unwrap().len(), 1);
    });
}
