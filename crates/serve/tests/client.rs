//! Our client: with our server, and with one that lies.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use common::{serving, volume};
use lucarne_serve::nbd::{Client, ServerOptions};
use lucarne_serve::{Export as _, VolumeExport};

fn bytes(len: usize) -> Vec<u8> {
    let number = |place: usize| (place.wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..len).map(number).collect()
}

#[test]
fn what_was_written_is_read_in_whatever_pieces() {
    let export = VolumeExport::new(volume(20));
    let export_len = export.len();
    serving(export, ServerOptions::default(), |socket, _| {
        let connect = |name| Client::connect(UnixStream::connect(&socket.0).unwrap(), name);
        let (mut one, mut other) = (connect("weights").unwrap(), connect("").unwrap());
        assert_eq!((one.len(), one.is_read_only()), (export_len, false));
        // More pieces than are under way at a time, and neither end on a sector.
        let data = bytes((10 << 20) + 77);
        one.write_at(&data, 1001).unwrap();
        one.flush().unwrap();
        let mut back = vec![0; data.len()];
        other.read_at(&mut back, 1001).unwrap();
        assert!(back == data);
        for (at, len) in [(0, 1), (5, 300_000), (262_143, 3), (9 << 20, 1 << 20)] {
            let mut part = vec![0; len];
            other.read_at(&mut part, 1001 + at as u64).unwrap();
            assert!(part == data[at..at + len], "{len} bytes at {at}");
        }
        other.read_at(&mut [], export_len).unwrap();
        let past = one.read_at(&mut [0; 2], export_len - 1).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::InvalidInput, "{past}");
        let past = one.write_at(&[0; 2], u64::MAX).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::InvalidInput, "{past}");
        // That was not the server's affair: the connection goes on.
        one.read_at(&mut [0], 0).unwrap();
        let error = connect("else").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    });
}

#[test]
fn a_read_only_export_is_not_written() {
    let export = VolumeExport::new(volume(1)).read_only();
    serving(export, ServerOptions::default(), |socket, _| {
        let mut client = Client::connect(UnixStream::connect(&socket.0).unwrap(), "").unwrap();
        assert!(client.is_read_only());
        let error = client.write_at(&[1], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    });
}

const GREETING: &[u8] = b"NBDMAGICIHAVEOPT\0\x03";

fn option_reply(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut reply = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
    reply.extend(7_u32.to_be_bytes());
    reply.extend(kind.to_be_bytes());
    reply.extend((data.len() as u32).to_be_bytes());
    reply.extend(data);
    reply
}

/// Greets, gives an export of 1 MiB, and whatever `more` is.
fn given(more: &[u8]) -> Vec<u8> {
    let mut about = vec![0, 0];
    about.extend((1_u64 << 20).to_be_bytes());
    about.extend([0, 1]);
    let mut said = GREETING.to_vec();
    said.extend(option_reply(3, &about));
    said.extend(option_reply(1, &[]));
    said.extend(more);
    said
}

/// A client of a server that says this, whatever it hears, and hangs up.
fn told(said: Vec<u8>, ask: impl FnOnce(io::Result<Client>)) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            theirs.write_all(&said).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            // Until the client is gone.
            let _ = io::copy(&mut theirs.take(64 << 20), &mut io::sink());
        });
        ask(Client::connect(ours, ""));
    });
}

fn simple_reply(magic: u32, error: u32, cookie: u64) -> Vec<u8> {
    let mut reply = magic.to_be_bytes().to_vec();
    reply.extend(error.to_be_bytes());
    reply.extend(cookie.to_be_bytes());
    reply
}

#[test]
fn a_server_that_does_not_keep_to_the_protocol_is_left() {
    let mut endless = GREETING.to_vec();
    for _ in 0..2000 {
        endless.extend(option_reply(3, &[0, 9]));
    }
    let mut long = option_reply(3, &[]);
    long[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    let cases = [
        (b"SSH-2.0-OpenSSH_9.2p1 D".to_vec(), "no NBD server"),
        (b"NBDMAGICIHAVEOPT\0\x02".to_vec(), "fixed newstyle"),
        (
            [GREETING, &[7; 40]].concat(),
            "not a reply to the option GO",
        ),
        (
            [GREETING, &option_reply(1, &[])].concat(),
            "length was not told",
        ),
        ([GREETING, &long].concat(), "65536 at most"),
        (endless, "more than 1024 replies"),
    ];
    for (said, part) in cases {
        told(said, |client| {
            let error = client.unwrap_err();
            assert!(error.to_string().contains(part), "{error}: {part}");
        });
    }
    told(GREETING[..9].to_vec(), |client| {
        assert_eq!(client.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_wrong_reply_ends_the_connection_and_a_refusal_does_not() {
    const MAGIC: u32 = 0x6744_6698;
    let twice = [
        simple_reply(MAGIC, 0, 0),
        vec![1; 262_144],
        simple_reply(MAGIC, 0, 0),
    ];
    for (more, part) in [
        (simple_reply(1, 0, 0), "not a simple reply"),
        (simple_reply(MAGIC, 0, 1), "no request of ours"),
        (simple_reply(MAGIC, 0, u64::MAX), "no request of ours"),
        (twice.concat(), "no request of ours"),
        (vec![], "fill"),
    ] {
        told(given(&more), |client| {
            let mut client = client.unwrap();
            let len = if part == "no request of ours" && more.len() > 16 {
                300_000
            } else {
                9
            };
            let error = client.read_at(&mut vec![0; len], 0).unwrap_err();
            assert!(error.to_string().contains(part), "{error}: {part}");
            let after = client.read_at(&mut [0], 0).unwrap_err();
            assert_eq!(after.kind(), io::ErrorKind::BrokenPipe);
        });
    }
    let refusal = [
        simple_reply(MAGIC, 5, 0),
        simple_reply(MAGIC, 0, 1),
        vec![42],
    ];
    told(given(&refusal.concat()), |client| {
        let mut client = client.unwrap();
        let error = client.read_at(&mut [0; 9], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
        let mut byte = [0];
        client.read_at(&mut byte, 7).unwrap();
        assert_eq!(byte, [42]);
    });
}
