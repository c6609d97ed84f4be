//! A header with something of everything, and images made of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test binaries"
)]

use std::convert::Infallible;

use lucarne_format::luks2::{
    AntiForensic, Area, Argon2Variant, CryptSegment, Digest, Header, HeaderCopy, Kdf, Luks2Keyslot,
    NewHeader, Priority, Segment, SegmentSize, Selected,
};
use lucarne_format::{Error, LoadError};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub const UUID: &str = "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d";

pub fn new_header(header_size: u64) -> NewHeader {
    NewHeader {
        header_size,
        keyslots_size: 0x10_0000,
        uuid: UUID.into(),
        label: "models".into(),
        subsystem: "weights".into(),
        ..NewHeader::default()
    }
}

pub fn pbkdf2_keyslot(offset: u64) -> Luks2Keyslot {
    Luks2Keyslot {
        key_size: 64,
        priority: Priority::Normal,
        af: AntiForensic {
            stripes: 4000,
            hash: "sha256".into(),
        },
        kdf: Kdf::Pbkdf2 {
            hash: "sha512".into(),
            iterations: 1000,
            salt: vec![1; 32],
        },
        area: Area {
            offset,
            size: Area::size_for_key(64),
            encryption: "aes-xts-plain64".into(),
            key_size: 64,
        },
    }
}

pub fn argon2_keyslot(offset: u64) -> Luks2Keyslot {
    Luks2Keyslot {
        priority: Priority::Prefer,
        kdf: Kdf::Argon2 {
            variant: Argon2Variant::Id,
            time: 4,
            memory_kib: 1_048_576,
            lanes: 4,
            salt: vec![2; 32],
        },
        ..pbkdf2_keyslot(offset)
    }
}

pub fn crypt_segment(offset: u64) -> CryptSegment {
    CryptSegment {
        offset,
        size: SegmentSize::Dynamic,
        iv_tweak: 0,
        encryption: "aes-xts-plain64".into(),
        sector_size: 4096,
        integrity: None,
        flags: vec![],
    }
}

pub fn digest(keyslots: &[u32], segments: &[u32]) -> Digest {
    Digest {
        keyslots: keyslots.iter().copied().collect(),
        segments: segments.iter().copied().collect(),
        hash: "sha256".into(),
        iterations: 1000,
        salt: vec![3; 32],
        digest: vec![4; 32],
    }
}

pub fn token() -> Map<String, Value> {
    object(json!({"type": "example", "keyslots": ["1"], "nested": {"b": 1, "a": [null, 0.5]}}))
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// Keyslots 0 and 1, digest 0, segment 0, token 0, flags.
pub fn sample_of_size(header_size: u64) -> Header {
    Header::new(&new_header(header_size), |draft| {
        for id in [0, 1] {
            let area = draft.free_area(Area::size_for_key(64)).unwrap();
            let keyslot = match id {
                0 => pbkdf2_keyslot(area),
                _ => argon2_keyslot(area),
            };
            draft.insert_keyslot(id, &keyslot)?;
        }
        draft.insert_segment(0, &Segment::Crypt(crypt_segment(16 << 20)))?;
        draft.insert_digest(0, &digest(&[0, 1], &[0]))?;
        draft.insert_token(0, token())?;
        draft.set_flags(&["allow-discards"]);
        Ok(())
    })
    .unwrap()
}

pub fn sample() -> Header {
    sample_of_size(0x4000)
}

/// Both copies, then zeros to the end of the keyslots area.
pub fn image(header: &Header) -> Vec<u8> {
    let mut image = header.encode(HeaderCopy::Primary, [1; 64]).unwrap();
    image.extend(header.encode(HeaderCopy::Secondary, [2; 64]).unwrap());
    let end = header.metadata().keyslots_area().end;
    image.resize(usize::try_from(end).unwrap(), 0);
    image
}

pub fn load(image: &[u8]) -> Result<Selected, Error> {
    let result = Header::load(|offset, buffer: &mut [u8]| {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| image.get(at..))
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok::<_, Infallible>(len)
    });
    match result {
        Ok(selected) => Ok(selected),
        Err(LoadError::Format(error)) => Err(error),
        Err(LoadError::Read(never)) => match never {},
    }
}

/// Makes the sha256 checksum of the copy at `offset` right again.
pub fn fix_checksum(image: &mut [u8], offset: usize, header_size: usize) {
    let copy = &mut image[offset..offset + header_size];
    copy[448..512].fill(0);
    let sum = Sha256::digest(&*copy);
    copy[448..480].copy_from_slice(&sum);
}

/// Puts another JSON text in the copy at `offset`.
pub fn replace_json(image: &mut [u8], offset: usize, header_size: usize, text: &[u8]) {
    let area = &mut image[offset + 4096..offset + header_size];
    area.fill(0);
    area[..text.len()].copy_from_slice(text);
    fix_checksum(image, offset, header_size);
}

/// The sample's JSON as an area of its size, after `change`.
pub fn json_area(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut json = Value::Object(sample().metadata().json().clone());
    change(&mut json);
    let mut area = serde_json::to_vec(&json).unwrap();
    area.resize(0x3000, 0);
    area
}
