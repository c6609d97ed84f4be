//! LUKS1 (specification 1.2.3, 2.1): one header of 592 bytes, no checksum, eight keyslots in their places.

use std::ops::Range;

use super::{Base, Corpus, Image};

const MAGIC: usize = 0;
const VERSION: usize = 6;
const CIPHER_NAME: Range<usize> = 8..40;
const CIPHER_MODE: Range<usize> = 40..72;
const HASH: Range<usize> = 72..104;
const PAYLOAD_OFFSET: usize = 104;
const KEY_BYTES: usize = 108;
const DIGEST: usize = 112;
const DIGEST_SALT: usize = 132;
const DIGEST_ITERATIONS: usize = 164;
const UUID: Range<usize> = 168..208;
const KEYSLOTS: usize = 208;
const KEYSLOT_LEN: usize = 48;
const HEADER_LEN: usize = 592;

/// The keyslot of the bases that is active; the others are not.
const ACTIVE_ID: usize = 6;
const ACTIVE: u32 = 0x00ac_71f3;
const INACTIVE: u32 = 0x0000_dead;

/// Fields of a keyslot.
mod keyslot {
    pub(super) const STATE: usize = 0;
    pub(super) const ITERATIONS: usize = 4;
    pub(super) const SALT: usize = 8;
    pub(super) const OFFSET: usize = 40;
    pub(super) const STRIPES: usize = 44;
}

pub(super) fn cases(corpus: &mut Corpus) {
    begin(corpus);
    texts(corpus);
    numbers(corpus);
    for (id, name) in [(ACTIVE_ID, "active"), (0, "inactive")] {
        keyslots(corpus, id, name);
    }
    relations(corpus);
    lengths(corpus);
}

fn put(image: &mut Image, at: usize, bytes: &[u8]) {
    image.header[at..at + bytes.len()].copy_from_slice(bytes);
}

fn number(image: &Image, at: usize) -> u32 {
    let bytes = image.header[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(bytes)
}

/// Bytes at a place.
fn bytes(corpus: &mut Corpus, what: &str, at: usize, bytes: impl Into<Vec<u8>>) {
    let bytes = bytes.into();
    corpus.push(Base::Luks1, what, move |image| put(image, at, &bytes));
}

/// A number at a place, made from the one that is there.
fn calculated(
    corpus: &mut Corpus,
    what: &str,
    at: usize,
    value: impl Fn(u32) -> u32 + Send + Sync + 'static,
) {
    corpus.push(Base::Luks1, what, move |image| {
        let value = value(number(image, at));
        put(image, at, &value.to_be_bytes());
    });
}

fn each(corpus: &mut Corpus, name: &str, at: usize, values: &[u32]) {
    for &value in values {
        bytes(
            corpus,
            &format!("{name} = {value}"),
            at,
            value.to_be_bytes(),
        );
    }
}

fn begin(corpus: &mut Corpus) {
    for (what, at, value) in [
        ("magic of a secondary LUKS2 header", MAGIC, &b"SKUL"[..]),
        ("magic in lower case", MAGIC, b"luks"),
        ("magic with another fifth byte", MAGIC + 4, b"\xbb"),
        ("magic with another last byte", MAGIC + 5, b"\xbf"),
        ("version 0", VERSION, &[0, 0]),
        ("version 2", VERSION, &[0, 2]),
        ("version 3", VERSION, &[0, 3]),
        ("version 256, little-endian 1", VERSION, &[1, 0]),
        ("version 65535", VERSION, &[255, 255]),
    ] {
        bytes(corpus, what, at, value);
    }
    corpus.push(Base::Luks1, "nothing but magic and version", |image| {
        image.header[VERSION + 2..].fill(0);
    });
    corpus.push(Base::Luks1, "zeros behind the header", |image| {
        image.header[HEADER_LEN..].fill(0);
    });
    bytes(corpus, "a byte in the sector's rest", HEADER_LEN, *b"x");
    bytes(
        corpus,
        "the signature of a partition table",
        510,
        *b"\x55\xaa",
    );
    bytes(
        corpus,
        "a secondary LUKS2 magic at 16 KiB",
        0x4000,
        *b"SKUL\xba\xbe\0\x02",
    );
}

/// The longest text of a field, the same without its terminator, and these.
fn text(corpus: &mut Corpus, name: &str, field: &Range<usize>, values: &[&str]) {
    for value in values {
        let mut field_bytes = vec![0; field.len()];
        field_bytes[..value.len()].copy_from_slice(value.as_bytes());
        let what = format!("{name} {:?}", value.replace('\0', "(nul)"));
        bytes(corpus, &what, field.start, field_bytes);
    }
    bytes(
        corpus,
        &format!("{name} without a terminator"),
        field.start,
        vec![b'x'; field.len()],
    );
    bytes(
        corpus,
        &format!("{name} that is no UTF-8"),
        field.start,
        *b"\xff\xfe\0",
    );
    // A sound text that fills its field is read past it.
    let end = field.end;
    corpus.push(
        Base::Luks1,
        format!("{name} with bytes at its field's end"),
        move |image| put(image, end - 1, b"x"),
    );
}

fn texts(corpus: &mut Corpus) {
    text(
        corpus,
        "cipher-name",
        &CIPHER_NAME,
        &[
            "",
            "AES",
            "aes\0junk",
            "cipher_null",
            "serpent",
            "twofish",
            "nonsense",
            "aes-xts",
            "capi:xts(aes)-plain64",
            " aes",
        ],
    );
    text(
        corpus,
        "cipher-mode",
        &CIPHER_MODE,
        &[
            "",
            "ecb",
            "xts",
            "xts-plain",
            "xts-plain64be",
            "xts-essiv:sha256",
            "xts-null",
            "xts-random",
            "XTS-PLAIN64",
            "xts-plain64\0junk",
            "xts-plain65",
            "cbc-plain",
            "cbc-plain64",
            "cbc-essiv:sha256",
            "cbc-essiv:md5",
            "cbc-essiv",
            "cbc-benbi",
            "cbc-null",
            "ctr-plain64",
            "lrw-benbi",
            "nonsense",
        ],
    );
    text(
        corpus,
        "hash-spec",
        &HASH,
        &[
            "",
            "sha1",
            "sha224",
            "sha384",
            "sha512",
            "SHA256",
            "sha-256",
            "sha256\0junk",
            "sha3-256",
            "ripemd160",
            "whirlpool",
            "blake2b-512",
            "md5",
            "crc32",
            "nonsense",
        ],
    );
    text(
        corpus,
        "uuid",
        &UUID,
        &[
            "",
            "no such thing",
            "00000000-0000-0000-0000-000000000000",
            "a\nb",
            "12345678-1234-4234-8234-123456789ABC",
        ],
    );
}

fn numbers(corpus: &mut Corpus) {
    each(
        corpus,
        "payload-offset",
        PAYLOAD_OFFSET,
        &[0, 1, 8, 1008, 1 << 31, u32::MAX],
    );
    calculated(
        corpus,
        "payload-offset one sector less",
        PAYLOAD_OFFSET,
        |at| at - 1,
    );
    calculated(
        corpus,
        "payload-offset one sector more",
        PAYLOAD_OFFSET,
        |at| at + 1,
    );
    calculated(
        corpus,
        "payload-offset 32 sectors more",
        PAYLOAD_OFFSET,
        |at| at + 32,
    );
    calculated(
        corpus,
        "payload-offset 33 sectors more",
        PAYLOAD_OFFSET,
        |at| at + 33,
    );
    let key_bytes = [
        0,
        1,
        16,
        24,
        31,
        32,
        33,
        48,
        63,
        65,
        128,
        512,
        513,
        1 << 16,
        1 << 31,
        u32::MAX,
    ];
    each(corpus, "key-bytes", KEY_BYTES, &key_bytes);
    bytes(corpus, "mk-digest of zeros", DIGEST, [0; 20]);
    bytes(
        corpus,
        "mk-digest with another last byte",
        DIGEST + 19,
        *b"\0",
    );
    bytes(corpus, "mk-digest-salt of zeros", DIGEST_SALT, [0; 32]);
    let iterations = [0, 1, 999, 1001, 1 << 31, u32::MAX];
    each(corpus, "mk-digest-iter", DIGEST_ITERATIONS, &iterations);
}

fn keyslots(corpus: &mut Corpus, id: usize, name: &str) {
    let at = |field: usize| KEYSLOTS + id * KEYSLOT_LEN + field;
    let name = |field: &str| format!("{name} keyslot {id}: {field}");
    each(
        corpus,
        &name("active"),
        at(keyslot::STATE),
        &[0, 1, ACTIVE ^ 1, INACTIVE ^ 1, u32::MAX],
    );
    let other = if id == ACTIVE_ID { INACTIVE } else { ACTIVE };
    bytes(
        corpus,
        &name("the other state"),
        at(keyslot::STATE),
        other.to_be_bytes(),
    );
    let iterations = [0, 1, 999, 1001, 1 << 31, u32::MAX];
    // Those of an inactive one are zero already.
    let different = if id == ACTIVE_ID {
        &iterations[..]
    } else {
        &iterations[1..]
    };
    each(
        corpus,
        &name("iterations"),
        at(keyslot::ITERATIONS),
        different,
    );
    bytes(corpus, &name("salt"), at(keyslot::SALT), [7; 32]);
    each(
        corpus,
        &name("key-material-offset"),
        at(keyslot::OFFSET),
        &[0, 1, 2, 6, 1 << 31, u32::MAX],
    );
    for (what, shift) in [
        ("one sector less", -1),
        ("one sector more", 1),
        ("8 sectors more", 8),
    ] {
        calculated(
            corpus,
            &name(&format!("key-material-offset {what}")),
            at(keyslot::OFFSET),
            move |at| at.wrapping_add_signed(shift),
        );
    }
    each(
        corpus,
        &name("stripes"),
        at(keyslot::STRIPES),
        &[0, 1, 3999, 4001, 8000, u32::MAX],
    );
}

/// Fields against each other.
fn relations(corpus: &mut Corpus) {
    let at = |id: usize, field: usize| KEYSLOTS + id * KEYSLOT_LEN + field;
    let copied = |corpus: &mut Corpus, what: &str, from: usize, to: usize| {
        corpus.push(Base::Luks1, what, move |image| {
            let value = number(image, from);
            put(image, to, &value.to_be_bytes());
        });
    };
    copied(
        corpus,
        "two areas at one place, one active",
        at(6, keyslot::OFFSET),
        at(1, keyslot::OFFSET),
    );
    copied(
        corpus,
        "two areas at one place, none active",
        at(1, keyslot::OFFSET),
        at(2, keyslot::OFFSET),
    );
    copied(
        corpus,
        "an area at the payload",
        PAYLOAD_OFFSET,
        at(7, keyslot::OFFSET),
    );
    copied(
        corpus,
        "the payload at an area",
        at(3, keyslot::OFFSET),
        PAYLOAD_OFFSET,
    );
    corpus.push(Base::Luks1, "no keyslot active", move |image| {
        put(
            image,
            at(ACTIVE_ID, keyslot::STATE),
            &INACTIVE.to_be_bytes(),
        );
        put(image, at(ACTIVE_ID, keyslot::SALT), &[0; 32]);
    });
    corpus.push(Base::Luks1, "all keyslots active", move |image| {
        for id in 0..8 {
            put(image, at(id, keyslot::STATE), &ACTIVE.to_be_bytes());
            put(image, at(id, keyslot::ITERATIONS), &1000u32.to_be_bytes());
        }
    });
    corpus.push(Base::Luks1, "areas in reverse order", move |image| {
        let places: Vec<u32> = (0..8)
            .map(|id| number(image, at(id, keyslot::OFFSET)))
            .collect();
        for (id, place) in places.iter().rev().enumerate() {
            put(image, at(id, keyslot::OFFSET), &place.to_be_bytes());
        }
    });
    corpus.push(
        Base::Luks1,
        "keyslot fields in reverse order",
        move |image| {
            let fields = image.header[KEYSLOTS..HEADER_LEN].to_vec();
            for (id, fields) in fields.chunks(KEYSLOT_LEN).rev().enumerate() {
                put(image, at(id, 0), fields);
            }
        },
    );
    corpus.push(Base::Luks1, "stripes 1 in all keyslots", move |image| {
        for id in 0..8 {
            put(image, at(id, keyslot::STRIPES), &1u32.to_be_bytes());
        }
    });
    corpus.push(
        Base::Luks1,
        "key material with another byte",
        move |image| {
            let start = number(image, at(ACTIVE_ID, keyslot::OFFSET)) as usize * 512;
            image.header[start + 1000] ^= 1;
        },
    );
}

/// Files that end early, or late.
fn lengths(corpus: &mut Corpus) {
    let cut = |corpus: &mut Corpus, what: &str, len: fn(&Image) -> usize| {
        corpus.push(Base::Luks1, what, move |image| {
            let len = len(image);
            image.header.resize(len, 0);
        });
    };
    fn area(image: &Image, id: usize) -> usize {
        number(image, KEYSLOTS + id * KEYSLOT_LEN + keyslot::OFFSET) as usize * 512
    }
    fn payload(image: &Image) -> usize {
        number(image, PAYLOAD_OFFSET) as usize * 512
    }
    cut(corpus, "file of the magic", |_| 6);
    cut(corpus, "file of magic and version", |_| 8);
    cut(corpus, "file of 511 bytes", |_| 511);
    cut(corpus, "file of 512 bytes", |_| 512);
    cut(corpus, "file of 591 bytes", |_| 591);
    cut(corpus, "file of 592 bytes", |_| 592);
    cut(corpus, "file of 1024 bytes", |_| 1024);
    cut(corpus, "file of 4096 bytes", |_| 4096);
    cut(corpus, "file to the active area", |image| {
        area(image, ACTIVE_ID)
    });
    cut(
        corpus,
        "file to the active area's last sector but one",
        |image| area(image, ACTIVE_ID) + 64 * 4000 - 512,
    );
    cut(corpus, "file to the active area's end", |image| {
        area(image, ACTIVE_ID) + 64 * 4000
    });
    cut(corpus, "file to a sector before the payload", |image| {
        payload(image) - 512
    });
    cut(corpus, "file to a byte before the payload", |image| {
        payload(image) - 1
    });
    cut(corpus, "file to the payload", payload);
    cut(corpus, "file with a byte of payload", |image| {
        payload(image) + 1
    });
    cut(corpus, "file with 511 bytes of payload", |image| {
        payload(image) + 511
    });
    cut(corpus, "file with a sector of payload", |image| {
        payload(image) + 512
    });
}
