//! LUKS1 headers: what is made, what is refused and by which words, what is changed and mended.
#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;

use lucarne_format::luks1::{
    HEADER_LEN, Header, KeyslotState, NewHeader, PayloadOffset, RepairedField, VolumeKeyDigest,
    area_size_for_key,
};
use lucarne_format::{Error, LoadError};
use proptest::prelude::*;

const UUID: &str = "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d";

/// Where fields stand.
const VERSION: usize = 6;
const CIPHER_NAME: usize = 8;
const CIPHER_MODE: usize = 40;
const HASH: usize = 72;
const PAYLOAD_OFFSET: usize = 104;
const KEY_BYTES: usize = 108;
const DIGEST_ITERATIONS: usize = 164;
const UUID_AT: usize = 168;
const SIGNATURE: usize = 510;

fn active(id: usize) -> usize {
    208 + 48 * id
}
fn iterations(id: usize) -> usize {
    active(id) + 4
}
fn offset(id: usize) -> usize {
    active(id) + 40
}
fn stripes(id: usize) -> usize {
    active(id) + 44
}

fn new_header() -> NewHeader {
    NewHeader {
        encryption: "aes-xts-plain64".into(),
        hash: "sha256".into(),
        key_bytes: 64,
        digest: VolumeKeyDigest {
            digest: [9; 20],
            salt: [7; 32],
            iterations: 1000,
        },
        uuid: UUID.into(),
        payload_offset: PayloadOffset::Aligned { sectors: 2048 },
        key_material_offsets: None,
    }
}

/// With keyslot 0 active.
fn sample() -> Vec<u8> {
    let header = Header::new(&new_header()).unwrap();
    header.with_keyslot(0, 2000, [5; 32]).unwrap().encode()
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put_text(bytes: &mut [u8], at: usize, text: &str) {
    bytes[at..at + 32].fill(0);
    bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
}

fn error_with(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = sample();
    change(&mut bytes);
    Header::from_bytes(&bytes).unwrap_err().to_string()
}

/// What loading an image of `device_len` bytes with these first ones gives.
fn load(start: &[u8], device_len: usize) -> Result<Header, LoadError<Infallible>> {
    let mut device = start.to_vec();
    device.resize(device_len, 0);
    Header::load(|offset, buffer| {
        let rest = usize::try_from(offset).ok().and_then(|at| device.get(at..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    })
}

#[test]
fn a_new_header_has_cryptsetups_layout() {
    for (key_bytes, stride, payload) in [
        (16, 128, 2048),
        (24, 192, 2048),
        (32, 256, 4096),
        (64, 504, 4096),
    ] {
        let header = Header::new(&NewHeader {
            key_bytes,
            ..new_header()
        })
        .unwrap();
        for (id, keyslot) in (0..).zip(header.keyslots()) {
            assert_eq!(keyslot.area.start, (8 + id * stride) * 512);
            assert_eq!(
                keyslot.area.end - keyslot.area.start,
                area_size_for_key(key_bytes)
            );
            assert_eq!(keyslot.state, KeyslotState::Inactive);
        }
        assert_eq!(header.payload_offset(), payload * 512);
        assert_eq!(header.key_bytes(), key_bytes);
        assert_eq!(Header::from_bytes(&header.encode()).unwrap(), header);
    }
    let header = Header::from_bytes(&sample()).unwrap();
    assert_eq!(header.encryption(), "aes-xts-plain64");
    assert_eq!(
        (header.cipher_name(), header.cipher_mode()),
        ("aes", "xts-plain64")
    );
    assert_eq!(header.hash(), "sha256");
    assert_eq!(header.uuid(), UUID);
    assert_eq!(header.digest().unwrap().digest, [9; 20]);
    assert_eq!(header.keyslots_end(), (8 + 7 * 504 + 500) * 512);
}

#[test]
fn the_payload_is_where_it_is_asked_for() {
    let payload = |payload_offset| {
        Header::new(&NewHeader {
            payload_offset,
            ..new_header()
        })
        .map(|header| header.payload_offset() / 512)
        .map_err(|error| error.to_string())
    };
    assert_eq!(payload(PayloadOffset::Detached), Ok(0));
    assert_eq!(payload(PayloadOffset::Sectors(0)), Ok(0));
    assert_eq!(payload(PayloadOffset::Sectors(4040)), Ok(4040));
    assert_eq!(
        payload(PayloadOffset::Sectors(u32::MAX)),
        Ok(u32::MAX.into())
    );
    assert_eq!(payload(PayloadOffset::Aligned { sectors: 8 }), Ok(4040));
    assert_eq!(payload(PayloadOffset::Aligned { sectors: 0 }), Ok(4040));
    assert_eq!(
        payload(PayloadOffset::Sectors(4039)).unwrap_err(),
        "refused: payload offset of 4039 sectors: the keyslots end at 4040, 0 is for a detached header"
    );
}

#[test]
fn what_would_make_a_header_invalid_is_refused() {
    let refusal = |change: fn(&mut NewHeader)| {
        let mut new = new_header();
        change(&mut new);
        Header::new(&new).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(|new| new.encryption = "aes".into()),
        "refused: encryption \"aes\" is not of the form cipher-mode-iv"
    );
    assert_eq!(
        refusal(|new| new.encryption = format!("aes-{}", "x".repeat(32))),
        "refused: cipher mode is 32 bytes, the limit is 31"
    );
    assert_eq!(
        refusal(|new| new.encryption = "a\0s-xts".into()),
        "refused: cipher has a zero byte at 1"
    );
    assert_eq!(
        refusal(|new| new.hash = "md5".into()),
        "not supported: hash \"md5\""
    );
    assert_eq!(
        refusal(|new| new.key_bytes = 0),
        "refused: the header would be invalid: keyBytes is 0, the least is 1"
    );
    assert_eq!(
        refusal(|new| new.digest.iterations = 0),
        "refused: the header would be invalid: mkDigestIterations is 0, the least is 1"
    );
    assert_eq!(
        refusal(|new| new.uuid = "none".into()),
        "refused: uuid \"none\" is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
    );
    assert_eq!(
        refusal(|new| new.key_material_offsets = Some([8, 512, 512, 2000, 3000, 4000, 5000, 6000])),
        "refused: the header would be invalid: keyslot 2 area 0x40000+0x3e800 overlaps keyslot 1 area 0x40000+0x3e800"
    );
    assert!(refusal(|new| new.key_bytes = u32::MAX).starts_with("refused: "));
    let upper = Header::new(&NewHeader {
        hash: "SHA512".into(),
        uuid: UUID.to_uppercase(),
        ..new_header()
    })
    .unwrap();
    assert_eq!((upper.hash(), upper.uuid()), ("sha512", UUID));
}

#[test]
fn what_stops_a_header_from_loading_is_named() {
    assert_eq!(Header::from_bytes(&[0; 592]), Err(Error::NotLuks));
    assert_eq!(Header::from_bytes(b"LUKS"), Err(Error::NotLuks));
    assert_eq!(
        error_with(|bytes| bytes.truncate(591)),
        "corrupt header: device ends at byte 591, a LUKS1 header reaches to 592"
    );
    assert_eq!(
        error_with(|bytes| bytes[VERSION + 1] = 2),
        "not supported: header version 2"
    );
    assert_eq!(
        error_with(|bytes| put_text(bytes, HASH, "md5")),
        "not supported: hash \"md5\""
    );
    // No end in its field: cryptsetup ends it before the last byte, and no hash has such a name.
    assert!(error_with(|bytes| bytes[HASH..HASH + 32].fill(b'a')).contains(&"a".repeat(31)));
    assert_eq!(
        error_with(|bytes| put(bytes, KEY_BYTES, 0)),
        "corrupt header: keyBytes is 0, the least is 1"
    );
    assert_eq!(
        error_with(|bytes| put(bytes, stripes(3), 4001)),
        "corrupt header: keyslot 3 stripes is 4001, must be 4000"
    );
    assert_eq!(
        error_with(|bytes| put(bytes, offset(7), 1)),
        "corrupt header: keyslot 7 keyMaterialOffset is 1, the least is 2"
    );
    assert_eq!(
        error_with(|bytes| put(bytes, offset(7), 1 << 23)),
        "corrupt header: keyslot 7 keyMaterialOffset is 8388608, the limit is 8388607"
    );
    assert_eq!(
        error_with(|bytes| put(bytes, PAYLOAD_OFFSET, 4035)),
        "corrupt header: keyslot 7 area 0x1ba000+0x3e800 reaches past payloadOffset, 0x1f8600 in bytes"
    );
    assert_eq!(
        error_with(|bytes| put(bytes, offset(0), 507)),
        "corrupt header: keyslot 1 area 0x40000+0x3e800 overlaps keyslot 0 area 0x3f600+0x3e800"
    );
    assert!(error_with(|bytes| put(bytes, KEY_BYTES, u32::MAX)).contains("past payloadOffset"));
    assert!(
        error_with(|bytes| {
            put(bytes, KEY_BYTES, u32::MAX);
            put(bytes, PAYLOAD_OFFSET, 0);
        })
        .contains("overlaps")
    );
}

#[test]
fn what_cryptsetup_forgives_is_forgiven() {
    let mut bytes = sample();
    put(&mut bytes, PAYLOAD_OFFSET, 4036); // behind the last area, off the grid
    put_text(&mut bytes, CIPHER_NAME, "");
    bytes[CIPHER_MODE..CIPHER_MODE + 32].fill(b'm');
    put_text(&mut bytes, HASH, "ShA256\0junk");
    bytes[UUID_AT..UUID_AT + 40].fill(0xff);
    // Areas out of order.
    put(&mut bytes, offset(6), 8 + 7 * 504);
    put(&mut bytes, offset(7), 8 + 6 * 504);
    let header = Header::from_bytes(&bytes).unwrap();
    assert_eq!(header.encode(), bytes);
    assert_eq!(header.encryption(), format!("-{}", "m".repeat(31)));
    assert_eq!(header.hash(), "ShA256");
    assert_eq!(header.uuid().chars().count(), 39);
    assert_eq!(header.keyslots_end(), 4036 * 512);
}

#[test]
fn a_device_must_hold_the_keyslots() {
    let end = 4036 * 512;
    assert!(load(&sample(), end).is_ok());
    assert_eq!(
        load(&sample(), end - 1).unwrap_err().to_string(),
        "corrupt header: device ends before the keyslots area does, at 0x1f8800"
    );
    assert_eq!(
        load(&sample(), 100).unwrap_err().to_string(),
        "corrupt header: device ends at byte 100, a LUKS1 header reaches to 592"
    );
    assert!(matches!(
        load(&[0; HEADER_LEN], 1 << 20),
        Err(LoadError::Format(Error::NotLuks))
    ));
}

#[test]
fn one_bad_keyslot_or_the_digest_leaves_the_rest_as_it_is() {
    let mut bytes = sample();
    put(&mut bytes, active(2), 0x1234);
    put(&mut bytes, active(3), 0x00ac_71f3);
    put(&mut bytes, iterations(3), 0);
    put(&mut bytes, DIGEST_ITERATIONS, 0);
    let header = Header::from_bytes(&bytes).unwrap();
    let defect = |id: usize| match &header.keyslots()[id].state {
        KeyslotState::Unusable { defect, .. } => defect.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        defect(2),
        "corrupt header: keyslot 2 active is 0x1234, must be 0xac71f3 or 0xdead"
    );
    assert_eq!(
        defect(3),
        "corrupt header: keyslot 3 iterations is 0, the least is 1"
    );
    assert_eq!(
        header.digest().unwrap_err().to_string(),
        "corrupt header: mkDigestIterations is 0, the least is 1"
    );
    assert!(matches!(
        header.keyslots()[0].state,
        KeyslotState::Active {
            iterations: 2000,
            ..
        }
    ));
    assert_eq!(header.free_keyslot(), Some(1));
    // What is unusable can be killed, not overwritten.
    assert_eq!(
        header.with_keyslot(2, 1, [0; 32]).unwrap_err().to_string(),
        "refused: keyslot 2 is not free"
    );
    let killed = header.without_keyslot(2).unwrap();
    assert_eq!(killed.keyslots()[2].state, KeyslotState::Inactive);
}

#[test]
fn edits_change_what_they_name() {
    let header = Header::from_bytes(&sample()).unwrap();
    let refusal = |result: Result<Header, Error>| result.unwrap_err().to_string();
    assert_eq!(
        refusal(header.with_keyslot(8, 1, [0; 32])),
        "refused: keyslot number is 8, the limit is 7"
    );
    assert_eq!(
        refusal(header.without_keyslot(u32::MAX)),
        "refused: keyslot number is 4294967295, the limit is 7"
    );
    assert_eq!(
        refusal(header.with_keyslot(0, 1, [0; 32])),
        "refused: keyslot 0 is not free"
    );
    assert_eq!(
        refusal(header.without_keyslot(1)),
        "refused: keyslot 1 does not exist"
    );
    assert_eq!(
        refusal(header.with_keyslot(1, 0, [0; 32])),
        "refused: the header would be invalid: keyslot 1 iterations is 0, the least is 1"
    );
    let mut full = header.clone();
    while let Some(id) = full.free_keyslot() {
        full = full.with_keyslot(id, 1000 + id, [id as u8; 32]).unwrap();
    }
    for (id, keyslot) in (1..).zip(&full.keyslots()[1..]) {
        let state = KeyslotState::Active {
            iterations: 1000 + id,
            salt: [id as u8; 32],
        };
        assert_eq!(keyslot.state, state);
    }
    for id in 1..8 {
        full = full.without_keyslot(id).unwrap();
    }
    // Salts and iterations are wiped: nothing is left of them.
    assert_eq!(full.encode(), header.encode());

    let other = "11111111-2222-3333-4444-55555555AAAA";
    let renamed = header.with_uuid(other).unwrap();
    assert_eq!(renamed.uuid(), other.to_lowercase());
    assert_eq!(renamed.with_uuid(UUID).unwrap(), header);
    assert!(header.with_uuid("x").is_err());
}

#[test]
fn what_cryptsetup_mends_is_mended() {
    let repaired = |change: fn(&mut [u8])| {
        let mut bytes = sample();
        change(&mut bytes);
        Header::repair(&bytes).map_err(|error| error.to_string())
    };
    assert_eq!(repaired(|_| {}).unwrap().changes, []);

    let whole = Header::from_bytes(&sample()).unwrap();
    // A partition table over keyslots 4, 5 and 6.
    let mended = repaired(|bytes| {
        bytes[446..510].fill(0);
        bytes[SIGNATURE..512].copy_from_slice(&[0x55, 0xaa]);
    })
    .unwrap();
    assert_eq!(
        mended.changes,
        [
            RepairedField::Stripes { keyslot: 4, was: 0 },
            RepairedField::KeyMaterialOffset {
                keyslot: 5,
                was: 0,
                is: 8 + 5 * 504
            },
            RepairedField::Stripes { keyslot: 5, was: 0 },
            RepairedField::PartitionSignature { keyslot: 6 },
        ]
    );
    assert_eq!(mended.header, whole);
    assert_eq!(
        mended.changes[1].to_string(),
        "keyslot 5 keyMaterialOffset was 0, is 2528; salt wiped"
    );

    // The signature alone stops nothing.
    let signed = repaired(|bytes| bytes[SIGNATURE..512].copy_from_slice(&[0x55, 0xaa])).unwrap();
    assert_eq!(signed.changes, []);

    let ecb = repaired(|bytes| put_text(bytes, CIPHER_MODE, "ecb-plain")).unwrap();
    assert_eq!(ecb.header.encryption(), "aes-ecb");
    assert_eq!(ecb.changes.len(), 1);
    let upper = repaired(|bytes| put_text(bytes, HASH, "SHA256")).unwrap();
    assert_eq!(upper.header, whole);
    assert_eq!(
        upper.changes,
        [RepairedField::Hash {
            was: "SHA256".into()
        }]
    );

    // An active keyslot stays as it is, and so does what is wrong with it.
    assert_eq!(
        repaired(|bytes| put(bytes, stripes(0), 1)).unwrap_err(),
        "corrupt header: keyslot 0 stripes is 1, must be 4000"
    );
    assert_eq!(
        repaired(|bytes| {
            put(bytes, stripes(7), 1);
            put(bytes, KEY_BYTES, 24);
        })
        .unwrap_err(),
        "refused: keyBytes is 24, can be repaired only if it is 16, 32 or 64"
    );
    assert_eq!(
        repaired(|bytes| {
            put(bytes, active(0), 0xdead);
            put(bytes, offset(0), 2);
            put(bytes, stripes(7), 1);
        })
        .unwrap_err(),
        "refused: keyslot 0 keyMaterialOffset is 2, can be repaired only if it is 8 or more"
    );
    assert!(
        repaired(|bytes| {
            put(bytes, PAYLOAD_OFFSET, 4036);
            put(bytes, stripes(7), 1);
        })
        .unwrap_err()
        .starts_with("refused: payload offset of 4036 sectors")
    );
    assert_eq!(
        repaired(|bytes| put_text(bytes, HASH, "foo")).unwrap_err(),
        "not supported: hash \"foo\""
    );
}

prop_compose! {
    fn any_header()(
        cipher in "[a-z]{1,31}",
        mode in "[a-z0-9:-]{1,31}",
        hash in prop::sample::select(vec!["sha1", "SHA256", "sha512", "ripemd160", "whirlpool"]),
        key_bytes in 1_u32..1024,
        iterations in prop::collection::vec(0_u32..3, 8),
        salt in any::<[u8; 32]>(),
        align in prop::option::of(0_u32..10_000),
    ) -> Header {
        let new = NewHeader {
            encryption: format!("{cipher}-{mode}"),
            hash: hash.into(),
            key_bytes,
            payload_offset: align.map_or(PayloadOffset::Detached, |sectors| PayloadOffset::Aligned { sectors }),
            ..new_header()
        };
        let mut header = Header::new(&new).unwrap();
        for (id, &iterations) in (0..).zip(&iterations) {
            if iterations != 0 {
                header = header.with_keyslot(id, iterations, salt).unwrap();
            }
        }
        header
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(header in any_header()) {
        let bytes = header.encode();
        prop_assert_eq!(bytes.len(), HEADER_LEN);
        let again = Header::from_bytes(&bytes).unwrap();
        prop_assert_eq!(again.encode(), bytes);
        prop_assert_eq!(again, header);
    }

    /// Flipped bytes and fields of edge values: no panic, and what loads is written back.
    #[test]
    fn damage_is_refused_or_kept(
        header in any_header(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        fields in prop::collection::vec((
            prop::sample::select((104..592).step_by(4).collect::<Vec<usize>>()),
            prop::sample::select(vec![0, 1, 2, 8, 512, 4000, 1 << 23, u32::MAX / 512, u32::MAX]),
        ), 0..4),
        len in 0_usize..700,
    ) {
        let mut bytes = header.encode();
        for (at, bits) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        for (at, value) in fields {
            put(&mut bytes, at, value);
        }
        bytes.resize(len.max(500), 0xee);
        if let Ok(header) = Header::from_bytes(&bytes) {
            prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_LEN]);
            prop_assert!(header.payload_offset() == 0 || header.keyslots_end() <= header.payload_offset());
        }
        if let Ok(repaired) = Header::repair(&bytes) {
            prop_assert_eq!(Header::repair(&repaired.header.encode()).unwrap().changes, []);
        }
        let _ = load(&bytes, 1 << 20);
    }
}
