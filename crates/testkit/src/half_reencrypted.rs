//! The volumes of `testdata/half-reencrypted`: cryptsetup's files in the midst of a re-encryption.
//!
//! `NAME.txt` describes `NAME.states.zst`: one state after the other, each `image-len` bytes of the image and
//! `header-len` of the detached header, if there is one. The states of a file share their keyslots, which are
//! most of its bytes, so they pack well together.

use crate::payload::sha256_hex;
use crate::scratch::Scratch;
use crate::vectors::{Vector, unpack_zstd};

/// Their passphrase.
pub const PASSPHRASE: &[u8] = b"pass";

/// A volume whose re-encryption is unfinished.
#[derive(Debug, Clone)]
pub struct State {
    /// `FAMILY/STATE`.
    pub name: String,
    /// The image.
    pub image: Vec<u8>,
    /// The detached header, if it is apart.
    pub header: Option<Vec<u8>>,
    /// The plaintext.
    pub payload: Vec<u8>,
}

impl State {
    /// What holds the header.
    pub fn header_mut(&mut self) -> &mut Vec<u8> {
        self.header.as_mut().unwrap_or(&mut self.image)
    }
}

/// The state `FAMILY/STATE`.
///
/// # Panics
/// If there is none.
pub fn state(name: &str) -> State {
    let (family, _) = name.split_once('/').expect("FAMILY/STATE");
    let found = of_family(family)
        .into_iter()
        .find(|state| state.name == name);
    found.unwrap_or_else(|| panic!("no state {name}"))
}

/// All of them.
///
/// # Panics
/// If a file is missing or damaged.
pub fn all() -> Vec<State> {
    [
        "decrypt-shift",
        "encrypt-detached",
        "encrypt-shift",
        "reencrypt",
    ]
    .into_iter()
    .flat_map(of_family)
    .collect()
}

fn of_family(family: &str) -> Vec<State> {
    let folder = crate::testdata().join("half-reencrypted");
    let vector = Vector::load(&folder.join(format!("{family}.txt")));
    let scratch = Scratch::new();
    let unpacked = scratch.path("states");
    unpack_zstd(&folder.join(format!("{family}.states.zst")), &unpacked);
    let bytes = std::fs::read(unpacked).expect("readable");
    let number = |name| usize::try_from(vector.number(name).unwrap_or(0)).expect("fits");
    let (image_len, header_len) = (number("image-len"), number("header-len"));
    let payload = payload(number("payload-len"));
    assert_eq!(sha256_hex(&payload), vector.required("payload-sha256"));
    let names: Vec<&str> = vector.all("state").collect();
    assert_eq!(bytes.len(), names.len() * (image_len + header_len));
    (names.iter().zip(bytes.chunks(image_len + header_len)))
        .map(|(name, bytes)| State {
            name: format!("{family}/{name}"),
            image: bytes[..image_len].to_vec(),
            header: (header_len > 0).then(|| bytes[image_len..].to_vec()),
            payload: payload.clone(),
        })
        .collect()
}

/// Each sector holds its number.
fn payload(len: usize) -> Vec<u8> {
    (0..len / 512)
        .flat_map(|sector| format!("sector {sector:08} ").repeat(32).into_bytes())
        .collect()
}
