//! `serve --tls-cert`: who is let in, and what the others see.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::programs::{have, must_peer, peer};
use common::served::Served;
use common::{assert_refused, decrypted, encrypted, lucarne, words};
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

const LEN: usize = (8 << 20) + 512;

fn certificates() -> PathBuf {
    lucarne_testkit::testdata().join("tls")
}

/// What of `testdata/tls` makes a server.
fn server_options(asks_clients: bool) -> Vec<OsString> {
    let folder = certificates();
    let mut options = words![
        "--tls-cert",
        folder.join("server-cert.pem"),
        "--tls-key",
        folder.join("server-key.pem")
    ]
    .to_vec();
    if asks_clients {
        options.extend(words!["--tls-client-ca", folder.join("ca-cert.pem")]);
    }
    options
}

fn served(scratch: &Scratch, image: &Path, asks_clients: bool) -> Served {
    let mut arguments = words!["--nbd", "tcp:127.0.0.1:0", image].to_vec();
    arguments.extend(server_options(asks_clients));
    let served = Served::start(scratch, &arguments);
    assert!(
        served.uri.starts_with("nbds://127.0.0.1:"),
        "{}",
        served.uri
    );
    served
}

/// The server, for a client that believes the authority and shows what lies in `folder`.
fn uri(served: &Served, folder: &Path) -> String {
    format!("{}/?tls-certificates={}", served.uri, folder.display())
}

/// A folder as libnbd wants it, with the certificate of `client`, if there is to be one.
fn client_folder(scratch: &Scratch, client: Option<&str>) -> PathBuf {
    let folder = scratch.path(&format!("client-{}", client.unwrap_or("none")));
    std::fs::create_dir(&folder).unwrap();
    let from = certificates();
    std::fs::copy(from.join("ca-cert.pem"), folder.join("ca-cert.pem")).unwrap();
    if let Some(client) = client {
        for kind in ["cert", "key"] {
            let from = from.join(format!("{client}-{kind}.pem"));
            std::fs::copy(from, folder.join(format!("client-{kind}.pem"))).unwrap();
        }
    }
    folder
}

#[test]
fn nbdcopy_and_qemu_come_through_tls() {
    if !have(
        "nbdcopy, nbdinfo, qemu-img",
        &["nbdcopy", "nbdinfo", "qemu-img"],
    ) {
        return;
    }
    let scratch = Scratch::new();
    let before = stream("served by TLS", LEN);
    let image = encrypted(&scratch, "image", &before, &[]);
    let served = served(&scratch, &image, false);
    let uri = uri(&served, &client_folder(&scratch, None));
    let info = must_peer("nbdinfo", &words![&uri]);
    assert!(info.contains("TLS"), "{info}");
    let copy = scratch.path("copy");
    must_peer("nbdcopy", &words!["--connections=4", &uri, &copy]);
    assert!(std::fs::read(&copy).unwrap() == before);

    let after = stream("served by TLS anew", LEN);
    let source = scratch.file("source", &after);
    must_peer(
        "nbdcopy",
        &words!["--connections=4", "--flush", &source, &uri],
    );

    let port = served.uri.rsplit(':').next().unwrap();
    let credentials = format!(
        "tls-creds-x509,id=t,endpoint=client,dir={}",
        client_folder(&scratch, Some("client")).display()
    );
    let target =
        format!("driver=nbd,host=127.0.0.1,port={port},tls-creds=t,tls-hostname=localhost");
    let same = words![
        "compare",
        "--object",
        &credentials,
        "--image-opts",
        &target,
        "driver=raw,file.driver=file,file.filename=SOURCE"
    ];
    let mut same = same.to_vec();
    *same.last_mut().unwrap() = format!(
        "driver=raw,file.driver=file,file.filename={}",
        source.display()
    )
    .into();
    must_peer("qemu-img", &same);
    assert_eq!(served.stop(), Some(0));
    assert!(decrypted(&scratch, &image, &[]) == after);
}

#[test]
fn who_has_no_certificate_of_the_authority_is_not_let_in() {
    if !have("nbdinfo", &["nbdinfo"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &[7; 4096], &[]);
    let served = served(&scratch, &image, true);
    for (client, is_welcome) in [
        (Some("client"), true),
        (Some("stranger"), false),
        (None, false),
    ] {
        let uri = uri(&served, &client_folder(&scratch, client));
        let outcome = peer("nbdinfo", &words!["--size", &uri]);
        assert_eq!(
            outcome.code == Some(0),
            is_welcome,
            "{client:?}: {}",
            outcome.stderr
        );
    }
    // And who does not ask for TLS at all hears no more than that.
    let outcome = peer(
        "nbdinfo",
        &words!["--size", served.uri.replace("nbds:", "nbd:")],
    );
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("TLS"), "{}", outcome.stderr);
    assert_eq!(served.stop(), Some(0));
}

/// Greeting, flags, and the option STARTTLS, answered with an acknowledgement.
fn starting_tls(served: &Served) -> TcpStream {
    let address = served.uri.strip_prefix("nbds://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.read_exact(&mut [0; 18]).unwrap();
    stream.write_all(&[0, 0, 0, 3]).unwrap();
    stream
}

const STARTTLS: [u8; 16] = *b"IHAVEOPT\0\0\0\x05\0\0\0\0";

#[test]
fn what_is_no_tls_is_cut_off_and_harms_nobody() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &[7; 4096], &[]);
    let served = served(&scratch, &image, false);
    // Noise instead of a handshake: an alert, and the end.
    let mut stream = starting_tls(&served);
    stream.write_all(&STARTTLS).unwrap();
    stream.read_exact(&mut [0; 20]).unwrap();
    stream.write_all(&[0x55; 4096]).unwrap();
    let mut rest = Vec::new();
    // Reset or closed: either is the end.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64, "{rest:?}");
    // A request that comes in the clear, right behind the one for TLS, is never acted on.
    let mut stream = starting_tls(&served);
    let list = b"IHAVEOPT\0\0\0\x03\0\0\0\0";
    stream.write_all(&[&STARTTLS[..], list].concat()).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() <= 20, "{rest:?}");
    // Half a handshake, and the server stops all the same.
    let mut stream = starting_tls(&served);
    stream.write_all(&STARTTLS).unwrap();
    stream.read_exact(&mut [0; 20]).unwrap();
    stream.write_all(&[0x16, 3, 1]).unwrap();
    let start = Instant::now();
    assert_eq!(served.stop(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn mistakes_have_one_line_each() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &[7; 4096], &[]);
    let folder = certificates();
    let (cert, key) = (
        folder.join("server-cert.pem"),
        folder.join("server-key.pem"),
    );
    let no_pem = scratch.file("no.pem", b"not a secret");
    let foreign_key = folder.join("client-key.pem");
    let missing = scratch.path("missing.pem");
    let of = |address: &str, cert: &Path, key: &Path, ca: Option<&Path>| {
        let mut line = words![
            "serve",
            &image,
            "--nbd",
            address,
            "--tls-cert",
            cert,
            "--tls-key",
            key
        ]
        .to_vec();
        if let Some(ca) = ca {
            line.extend(words!["--tls-client-ca", ca]);
        }
        lucarne(line)
    };
    let local = "tcp:127.0.0.1:0";
    assert_refused(
        "no PEM",
        &of(local, &no_pem, &key, None),
        1,
        "certificate: there is none in it",
    );
    assert_refused(
        "no key",
        &of(local, &cert, &cert, None),
        1,
        "key: there is none in it",
    );
    assert_refused(
        "another's key",
        &of(local, &cert, &foreign_key, None),
        1,
        "certificate and key",
    );
    assert_refused(
        "no file",
        &of(local, &missing, &key, None),
        1,
        "missing.pem",
    );
    assert_refused(
        "no authority",
        &of(local, &cert, &key, Some(&no_pem)),
        1,
        "client authority",
    );
    let in_the_clear = lucarne(words!["serve", &image, "--nbd", "tcp:192.0.2.1:10809"]);
    assert_refused("in the clear", &in_the_clear, 1, "--tls-cert");
    let half = lucarne(words!["serve", &image, "--nbd", local, "--tls-cert", &cert]);
    assert_refused("half of it", &half, 1, "--tls-key");
}
