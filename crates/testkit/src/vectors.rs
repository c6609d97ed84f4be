//! The images of `testdata/images`: `NAME.txt` says what `NAME.img.zst` is and what must come of it.
//!
//! A description is lines of `field: value`; `#` starts a comment line, a field may stand several times.
//!
//! | field | meaning |
//! |---|---|
//! | `about` | what the image is for |
//! | `expect` | `open`, `wrong-key` (no keyslot takes the key), `refused` (never opened, whatever the key) |
//! | `exit` | the exit code of the command, where it is not 0 |
//! | `message` | what the error says, for `refused` |
//! | `test-passphrase` | the exit code of testing the key alone, where it is not that of opening |
//! | `image` | the packed image, if not `NAME.img.zst`: it is shared with another description |
//! | `header` | the packed detached header, if the header is apart |
//! | `zero` | `OFFSET+LEN`: bytes to zero after unpacking |
//! | `key-file-hex` | the key file's bytes; `passphrase` spells the same as text (no newline) |
//! | `keyfile-offset`, `keyfile-size` | which of its bytes count |
//! | `keyslot` | the keyslot that this key opens |
//! | `other-key` | `KEYSLOT TEXT`: a further keyslot and its passphrase |
//! | `ignored-key` | `KEYSLOT TEXT`: a keyslot that is tried only when it is named |
//! | `unbound-key` | `KEYSLOT TEXT`: a keyslot whose key is not the volume's |
//! | `volume-key-hex` | the volume key |
//! | `cipher`, `key-size`, `sector-size`, `pbkdf`, `hash`, `metadata-size` | the parameters, in the units of cryptsetup's options |
//! | `payload` | the name of the [payload stream](crate::payload::stream) that is the plaintext |
//! | `payload-len`, `payload-sha256` | the plaintext's length in bytes and its hash |
//! | `feature` | the cargo feature that the image needs |
//! | `kdf-memory` | memory of the costliest keyslot, in KiB, where it is more than the others take |
//! | `cryptsetup` | the version that made it |
//! | `made-by` | the commands, in order |

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::payload;
use crate::scratch::{Scratch, write_sparse};

/// What must come of opening an image with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It opens and the plaintext has the stated hash.
    Open,
    /// It is a sound volume and no keyslot takes this key.
    WrongKey,
    /// It is never opened.
    Refused,
}

/// An image, its key and what must come of it.
#[derive(Debug, Clone)]
pub struct Vector {
    /// The file name of the description without its ending.
    pub name: String,
    folder: PathBuf,
    fields: Vec<(String, String)>,
}

/// An image and its key, unpacked into a temporary folder.
#[derive(Debug)]
pub struct Unpacked {
    /// The image.
    pub image: PathBuf,
    /// The detached header, if it is apart.
    pub header: Option<PathBuf>,
    /// The key file.
    pub key_file: PathBuf,
}

impl Unpacked {
    /// The file that holds the header: the detached one or the image.
    pub fn header_device(&self) -> &Path {
        self.header.as_deref().unwrap_or(&self.image)
    }
}

impl Vector {
    /// Reads a description.
    ///
    /// # Panics
    /// If the file cannot be read or a line has no field name.
    pub fn load(description: &Path) -> Self {
        let text = std::fs::read_to_string(description)
            .unwrap_or_else(|e| panic!("{}: {e}", description.display()));
        let fields = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (field, value) = line
                    .split_once(": ")
                    .unwrap_or_else(|| panic!("{}: no field in `{line}`", description.display()));
                (field.to_owned(), value.to_owned())
            })
            .collect();
        let stem = description.file_stem().expect("a description has a name");
        Self {
            name: stem.to_string_lossy().into_owned(),
            folder: description
                .parent()
                .expect("it lies in a folder")
                .to_path_buf(),
            fields,
        }
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a field, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// A field that must be there.
    ///
    /// # Panics
    /// If it is not.
    pub fn required(&self, name: &str) -> &str {
        self.field(name)
            .unwrap_or_else(|| panic!("{}: no field `{name}`", self.name))
    }

    /// A field that is a number.
    ///
    /// # Panics
    /// If it is there and is none.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name).map(|value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{}: `{name}` is no number: {value}", self.name))
        })
    }

    /// The field `expect`.
    ///
    /// # Panics
    /// If it is none of the known words.
    pub fn expect(&self) -> Expect {
        match self.required("expect") {
            "open" => Expect::Open,
            "wrong-key" => Expect::WrongKey,
            "refused" => Expect::Refused,
            other => panic!("{}: expect: {other}", self.name),
        }
    }

    /// The exit code that the command must end with.
    pub fn exit(&self) -> i32 {
        self.number("exit")
            .map_or(0, |code| code.try_into().expect("an exit code"))
    }

    /// The bytes of the key file.
    pub fn key(&self) -> Vec<u8> {
        match self.field("key-file-hex") {
            Some(hex) => payload::from_hex(hex),
            None => self.required("passphrase").as_bytes().to_vec(),
        }
    }

    /// The fields `other-key` or `unbound-key`: keyslot and passphrase.
    ///
    /// # Panics
    /// If one is not a number and a text.
    pub fn keys(&self, field: &str) -> Vec<(u32, String)> {
        self.all(field)
            .map(|value| {
                let (keyslot, passphrase) = value.split_once(' ').expect("keyslot and passphrase");
                (
                    keyslot.parse().expect("a keyslot number"),
                    passphrase.to_owned(),
                )
            })
            .collect()
    }

    /// The volume key, if the description tells it.
    pub fn volume_key(&self) -> Option<Vec<u8>> {
        self.field("volume-key-hex").map(payload::from_hex)
    }

    /// The plaintext, made again from the name of its stream.
    ///
    /// # Panics
    /// If it does not have the stated hash.
    pub fn payload(&self) -> Vec<u8> {
        let len = self
            .number("payload-len")
            .expect("there is a payload")
            .try_into()
            .expect("fits");
        let bytes = payload::stream(self.required("payload"), len);
        assert_eq!(
            payload::sha256_hex(&bytes),
            self.required("payload-sha256"),
            "{}",
            self.name
        );
        bytes
    }

    /// Options of the command that say which bytes of the key file count.
    pub fn key_file_options(&self) -> Vec<String> {
        ["keyfile-offset", "keyfile-size"]
            .iter()
            .filter_map(|&name| Some(format!("--{name}={}", self.field(name)?)))
            .collect()
    }

    /// Unpacks the image, its header and its key into `scratch`.
    ///
    /// # Panics
    /// If a file is missing or damaged.
    pub fn unpack(&self, scratch: &Scratch) -> Unpacked {
        let image = scratch.path(&format!("{}.img", self.name));
        let packed = self
            .field("image")
            .map_or_else(|| format!("{}.img.zst", self.name), str::to_owned);
        unpack_zstd(&self.folder.join(packed), &image);
        let header = self.field("header").map(|packed| {
            let header = scratch.path(&format!("{}.header", self.name));
            unpack_zstd(&self.folder.join(packed), &header);
            header
        });
        let damaged = header.as_ref().unwrap_or(&image);
        for range in self.all("zero") {
            zero(damaged, range);
        }
        let key_file = scratch.file(&format!("{}.key", self.name), &self.key());
        Unpacked {
            image,
            header,
            key_file,
        }
    }
}

/// Every vector of `testdata/images`, by name.
///
/// # Panics
/// If a description cannot be read, or a packed file belongs to no description.
pub fn all() -> Vec<Vector> {
    in_folder(&crate::testdata().join("images"))
}

/// Every vector of a folder, by name.
///
/// # Panics
/// If a description cannot be read, or a packed file belongs to no description.
pub fn in_folder(folder: &Path) -> Vec<Vector> {
    let mut descriptions = Vec::new();
    let mut packed = Vec::new();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("readable").path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => descriptions.push(path),
            Some("zst") => packed.push(path.file_name().unwrap().to_string_lossy().into_owned()),
            _ => panic!(
                "{}: neither a description nor a packed image",
                path.display()
            ),
        }
    }
    descriptions.sort_by_key(|path| path.file_stem().map(ToOwned::to_owned));
    let vectors: Vec<Vector> = descriptions.iter().map(|path| Vector::load(path)).collect();
    for file in packed {
        let described = vectors.iter().any(|vector| {
            format!("{}.img.zst", vector.name) == file || vector.field("header") == Some(&file)
        });
        assert!(described, "{file} belongs to no description");
    }
    vectors
}

/// Unpacks a zstd file; zeros become holes.
///
/// # Panics
/// If it is missing or damaged.
pub fn unpack_zstd(packed: &Path, to: &Path) {
    let file = File::open(packed).unwrap_or_else(|e| panic!("{}: {e}", packed.display()));
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(BufReader::new(file))
        .unwrap_or_else(|e| panic!("{}: {e}", packed.display()));
    write_sparse(&mut decoder, to).unwrap_or_else(|e| panic!("{}: {e}", packed.display()));
}

/// Zeroes the bytes `OFFSET+LEN` of a file.
fn zero(file: &Path, range: &str) {
    let (offset, len) = range.split_once('+').expect("OFFSET+LEN");
    let offset: u64 = offset.parse().expect("a number");
    let len: usize = len.parse().expect("a number");
    let mut file = OpenOptions::new()
        .write(true)
        .open(file)
        .expect("the image is there");
    file.seek(SeekFrom::Start(offset)).expect("seekable");
    file.write_all(&vec![0; len]).expect("writable");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_and_its_image_are_read() {
        let scratch = Scratch::new();
        let mut image = vec![0_u8; 300_000];
        image[200_000..].copy_from_slice(&payload::stream("packed", 100_000));
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let packed = ruzstd::encoding::compress_to_vec(&image[..], level);
        std::fs::write(scratch.path("one.img.zst"), packed).unwrap();
        let text =
            "# a comment\nexpect: open\nkey-file-hex: 00ff\nzero: 200000+3\nother-key: 3 a b\n";
        std::fs::write(scratch.path("one.txt"), text).unwrap();

        let vectors = in_folder(scratch.dir());
        assert_eq!(vectors.len(), 1);
        let vector = &vectors[0];
        assert_eq!(vector.expect(), Expect::Open);
        assert_eq!(vector.key(), [0, 0xff]);
        assert_eq!(vector.keys("other-key"), [(3, "a b".to_owned())]);

        let place = Scratch::new();
        let unpacked = vector.unpack(&place);
        image[200_000..200_003].fill(0);
        assert_eq!(std::fs::read(unpacked.image).unwrap(), image);
    }

    #[test]
    #[should_panic(expected = "belongs to no description")]
    fn an_image_without_a_description_is_an_error() {
        let scratch = Scratch::new();
        std::fs::write(scratch.path("stray.img.zst"), b"").unwrap();
        in_folder(scratch.dir());
    }
}
