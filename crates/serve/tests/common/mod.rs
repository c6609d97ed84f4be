//! A client that says exactly what a test wants it to say, and a server over a volume in memory.
#![allow(dead_code)] // each test file uses a part

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use lucarne::{FormatOptions, KdfKind, KdfRequest, MemoryStorage, Secret, Storage, Volume};
use lucarne_serve::VolumeExport;
use lucarne_serve::nbd::{Server, ServerOptions};

pub(crate) const PASSPHRASE: &[u8] = b"an example";

/// A volume of so many MiB of plaintext and some more, in memory.
pub(crate) fn volume(mib: usize) -> Volume<MemoryStorage> {
    volume_on(MemoryStorage::with_len((mib + 2) << 20))
}

/// A new volume that takes all of an image.
pub(crate) fn volume_on<S: Storage>(image: S) -> Volume<S> {
    let kdf = KdfRequest {
        kind: KdfKind::Pbkdf2,
        iterations: Some(1000),
        ..KdfRequest::default()
    };
    let options = FormatOptions {
        kdf,
        keyslots_size: Some(512 << 10),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, PASSPHRASE, &options).unwrap();
    Volume::open(image, Secret::Passphrase(PASSPHRASE)).unwrap()
}

/// Runs `clients` while a server has `export` on a socket; returns once the server has ended.
pub(crate) fn serving<T>(
    export: VolumeExport<MemoryStorage>,
    options: ServerOptions,
    clients: impl FnOnce(&Socket, &Server<'_>) -> T,
) -> T {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nbd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut server = Server::new(options).unwrap();
    server.add("weights".into(), "an example".into(), Box::new(export));
    std::thread::scope(|scope| {
        let served = scope.spawn(|| server.serve_unix(&listener));
        let stop = StopOnDrop(&server);
        let result = clients(&Socket(path), &server);
        drop(stop);
        served.join().unwrap().unwrap();
        result
    })
}

/// Also when a test fails.
struct StopOnDrop<'s, 'e>(&'s Server<'e>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

pub(crate) struct Socket(pub(crate) PathBuf);

impl Socket {
    /// Greeted, with both flags said.
    pub(crate) fn connect(&self) -> Client {
        let mut client = Client {
            stream: UnixStream::connect(&self.0).unwrap(),
            kind: Kind::Simple,
        };
        assert_eq!(client.take(18), b"NBDMAGICIHAVEOPT\0\x03");
        client.send(&3_u32.to_be_bytes());
        client
    }

    /// In the transmission phase.
    pub(crate) fn client(&self, kind: Kind) -> Client {
        let mut client = self.connect();
        client.agree(kind);
        let (_, replies) = client.go(7, b"weights");
        assert_eq!(replies.last().unwrap().0, 1);
        client
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Simple,
    Structured,
    Extended,
}

pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    pub(crate) kind: Kind,
}

/// A reply to an option: its type and data.
pub(crate) type OptionReply = (u32, Vec<u8>);
/// A reply to a request: its error number, and its data.
pub(crate) type Answer = Result<Vec<u8>, u32>;

impl Client {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether the server has closed the connection and said nothing more.
    pub(crate) fn is_cut_off(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset says the same.
        let _ = self.stream.read_to_end(&mut rest);
        rest.is_empty()
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    pub(crate) fn say_option(&mut self, option: u32, data: &[u8]) {
        self.send(b"IHAVEOPT");
        self.send(&option.to_be_bytes());
        self.send(&(data.len() as u32).to_be_bytes());
        self.send(data);
    }

    /// One reply to an option: its type and data.
    pub(crate) fn option_reply(&mut self, option: u32) -> OptionReply {
        assert_eq!(self.u64(), 0x0003_e889_0455_65a9);
        assert_eq!(self.u32(), option);
        let (kind, len) = (self.u32(), self.u32());
        (kind, self.take(len as usize))
    }

    /// All replies to an option, the last of which is an acknowledgement or an error.
    pub(crate) fn option(&mut self, option: u32, data: &[u8]) -> Vec<OptionReply> {
        self.say_option(option, data);
        let mut replies = Vec::new();
        loop {
            replies.push(self.option_reply(option));
            let kind = replies.last().unwrap().0;
            if kind == 1 || kind >= 1 << 31 {
                return replies;
            }
        }
    }

    pub(crate) fn agree(&mut self, kind: Kind) {
        let option = match kind {
            Kind::Simple => return,
            Kind::Structured => 8,
            Kind::Extended => 11,
        };
        assert_eq!(self.option(option, &[]), [(1, Vec::new())]);
        self.kind = kind;
    }

    /// INFO (6) or GO (7): the export's length, flags, and all replies.
    pub(crate) fn go(
        &mut self,
        option: u32,
        name: &[u8],
    ) -> (Option<(u64, u16)>, Vec<OptionReply>) {
        let mut data = (name.len() as u32).to_be_bytes().to_vec();
        data.extend(name);
        data.extend([0, 3, 0, 1, 0, 2, 0, 3]);
        let replies = self.option(option, &data);
        let about = replies
            .iter()
            .find(|(kind, data)| *kind == 3 && data[..2] == [0, 0])
            .map(|(_, data)| {
                (
                    u64::from_be_bytes(data[2..10].try_into().unwrap()),
                    u16::from_be_bytes(data[10..12].try_into().unwrap()),
                )
            });
        (about, replies)
    }

    /// LIST (9) or SET (10) of the metadata contexts.
    pub(crate) fn contexts(
        &mut self,
        option: u32,
        name: &[u8],
        queries: &[&str],
    ) -> Vec<OptionReply> {
        let mut data = (name.len() as u32).to_be_bytes().to_vec();
        data.extend(name);
        data.extend((queries.len() as u32).to_be_bytes());
        for query in queries {
            data.extend((query.len() as u32).to_be_bytes());
            data.extend(query.as_bytes());
        }
        self.option(option, &data)
    }

    pub(crate) fn say(
        &mut self,
        command: (u16, u16),
        cookie: u64,
        offset: u64,
        len: u64,
        payload: &[u8],
    ) {
        let bytes = self.request_bytes(command, cookie, offset, len, payload);
        self.send(&bytes);
    }

    pub(crate) fn request_bytes(
        &self,
        (command, flags): (u16, u16),
        cookie: u64,
        offset: u64,
        len: u64,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let is_extended = self.kind == Kind::Extended;
        // A write has the payload's flag, unless it is given here.
        let flags = match is_extended && command == 1 {
            true => flags ^ (1 << 5),
            false => flags,
        };
        let magic: u32 = if is_extended {
            0x21e4_1c71
        } else {
            0x2560_9513
        };
        bytes.extend(magic.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        match is_extended {
            true => bytes.extend(len.to_be_bytes()),
            false => bytes.extend((len as u32).to_be_bytes()),
        }
        bytes.extend(payload);
        bytes
    }

    /// Whose reply comes next.
    pub(crate) fn next_cookie(&self) -> u64 {
        let mut bytes = [0; 16];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::WAITALL;
        let (len, _) = rustix::net::recv(&self.stream, &mut bytes, flags).unwrap();
        assert_eq!(len, 16);
        u64::from_be_bytes(bytes[8..].try_into().unwrap())
    }

    /// The whole reply to a request of so many bytes from `offset` on, whatever its form.
    pub(crate) fn answer(&mut self, cookie: u64, offset: u64, read_len: usize) -> Answer {
        if self.kind == Kind::Simple {
            assert_eq!(self.u32(), 0x6744_6698);
            let error = self.u32();
            assert_eq!(self.u64(), cookie);
            return match error {
                0 => Ok(self.take(read_len)),
                error => Err(error),
            };
        }
        let mut data = vec![0xdd; read_len];
        let (mut covered, mut status, mut failure) = (0, Vec::new(), None);
        loop {
            let is_extended = self.kind == Kind::Extended;
            let magic = if is_extended {
                0x6e8a_278c
            } else {
                0x668e_33ef
            };
            assert_eq!(self.u32(), magic);
            let (flags, kind) = (self.u16(), self.u16());
            assert_eq!(self.u64(), cookie);
            let len = match is_extended {
                true => {
                    assert_eq!(self.u64(), offset);
                    self.u64()
                }
                false => u64::from(self.u32()),
            };
            let mut payload = self.take(len as usize);
            match kind {
                0 => assert!(payload.is_empty()),
                1 => {
                    let rest = payload.split_off(8);
                    assert!(!rest.is_empty(), "a chunk of data without any");
                    let at = u64::from_be_bytes(payload.try_into().unwrap()) - offset;
                    data[at as usize..at as usize + rest.len()].copy_from_slice(&rest);
                    covered += rest.len();
                }
                5 | 6 => status = payload,
                error if error & 1 << 15 != 0 => {
                    failure = Some(u32::from_be_bytes(payload[..4].try_into().unwrap()));
                }
                other => panic!("chunk of type {other}"),
            }
            if flags & 1 != 0 {
                break;
            }
        }
        match failure {
            Some(error) => Err(error),
            None if !status.is_empty() => Ok(status),
            None => {
                assert_eq!(covered, read_len);
                Ok(data)
            }
        }
    }

    pub(crate) fn request(
        &mut self,
        command: (u16, u16),
        offset: u64,
        len: u64,
        payload: &[u8],
    ) -> Answer {
        let cookie = offset ^ 0x1234_5678_9abc;
        self.say(command, cookie, offset, len, payload);
        let read_len = if command.0 == 0 { len as usize } else { 0 };
        self.answer(cookie, offset, read_len)
    }

    pub(crate) fn read(&mut self, offset: u64, len: u64) -> Answer {
        self.request((0, 0), offset, len, &[])
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Answer {
        self.request((1, 0), offset, data.len() as u64, data)
    }

    /// A reply that says that something is done, whatever it was.
    pub(crate) fn done(&mut self) {
        match self.kind {
            Kind::Simple => assert_eq!(self.take(16)[4..8], [0; 4]),
            Kind::Structured => assert_eq!(self.take(20)[4..8], [0, 1, 0, 0]),
            Kind::Extended => assert_eq!(self.take(32)[4..8], [0, 1, 0, 0]),
        }
    }
}
/// Bytes that are all different from their neighbours.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
