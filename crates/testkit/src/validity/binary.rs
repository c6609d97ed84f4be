//! The binary part: magic, version, sizes, offsets, checksum algorithm, texts.

use std::ops::Range;

use super::{Base, Corpus, Image};
use crate::luks2;

const MAGIC: Range<usize> = 0..6;
const VERSION: Range<usize> = 6..8;
const LABEL: Range<usize> = 24..72;
const CSUM_ALG: Range<usize> = 72..104;
const SALT: Range<usize> = 104..168;
const UUID: Range<usize> = 168..208;
const SUBSYSTEM: Range<usize> = 208..256;
const PADDING: Range<usize> = 264..448;
const PADDING_4096: Range<usize> = 512..4096;

/// Where the copies of [`Base::Plain`] lie.
pub(super) const COPIES: [usize; 2] = [0, 0x4000];

/// Puts bytes at the start of a field, zeros after them; the checksum is left as it is.
pub(super) fn fill(image: &mut Image, copy: usize, field: Range<usize>, bytes: &[u8]) {
    let field = &mut image.header[copy + field.start..copy + field.end];
    field.fill(0);
    field[..bytes.len()].copy_from_slice(bytes);
}

pub(super) fn cases(corpus: &mut Corpus) {
    texts(corpus);
    numbers(corpus);
    checksums(corpus);
}

/// A field of both copies, checksums right.
fn field(corpus: &mut Corpus, what: &str, field: Range<usize>, bytes: &[u8]) {
    let bytes = bytes.to_vec();
    corpus.push(Base::Plain, what, move |image| {
        for copy in COPIES {
            fill(image, copy, field.clone(), &bytes);
            luks2::fix_checksum(&mut image.header, copy);
        }
    });
}

fn texts(corpus: &mut Corpus) {
    for (name, range) in [("label", LABEL), ("subsystem", SUBSYSTEM)] {
        field(
            corpus,
            &format!("{name} of 47 bytes"),
            range.clone(),
            &[b'x'; 47],
        );
        field(
            corpus,
            &format!("{name} without a terminator"),
            range.clone(),
            &[b'x'; 48],
        );
        field(
            corpus,
            &format!("{name} with bytes after its terminator"),
            range.clone(),
            b"one\0two",
        );
        field(
            corpus,
            &format!("{name} that is no UTF-8"),
            range.clone(),
            b"\xff\xfe",
        );
        field(
            corpus,
            &format!("{name} with a line break"),
            range,
            b"a\n\x1b[31m",
        );
    }
    for (what, uuid) in [
        ("uuid empty", &b""[..]),
        ("uuid that is none", b"no such thing"),
        ("uuid without a terminator", &[b'a'; 40]),
        ("uuid in capitals", b"0B61D7CC-6B3C-4C2B-8F3A-5D6F8A1B2C3D"),
        (
            "uuid with bytes after its terminator",
            b"0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d\0xyz",
        ),
        ("uuid that is a path", b"../../../../etc/passwd"),
    ] {
        field(corpus, what, UUID, uuid);
    }
    field(corpus, "salt of zeros", SALT, &[]);
    field(corpus, "padding not zero", PADDING, &[1; 184]);
    field(corpus, "padding to 4096 not zero", PADDING_4096, &[1; 3584]);
    field(corpus, "magic of another format", MAGIC, b"LUKS\xba\xbf");
    field(
        corpus,
        "magic of the secondary in both",
        MAGIC,
        b"SKUL\xba\xbe",
    );
    field(
        corpus,
        "magic of the primary in both",
        MAGIC,
        b"LUKS\xba\xbe",
    );
    for version in [0_u16, 1, 3, 0x0200, 0x0202, 0xffff] {
        let what = format!("version {version:#06x}");
        field(corpus, &what, VERSION, &version.to_be_bytes());
    }
}

/// Sets a 64-bit field; a checksum is made right where the size in the header still lets it.
fn number(corpus: &mut Corpus, name: &str, at: Range<usize>, value: u64, only: &'static [usize]) {
    let places = match only {
        [0] => " in the primary",
        [0x4000] => " in the secondary",
        _ => "",
    };
    corpus.push(
        Base::Plain,
        format!("{name} {value:#x}{places}"),
        move |image| {
            for &copy in only {
                luks2::set_number(&mut image.header, copy, at.clone(), value);
                let end = usize::try_from(value)
                    .ok()
                    .and_then(|len| copy.checked_add(len));
                if at != luks2::HDR_SIZE || end.is_some_and(|end| end <= image.header.len()) {
                    luks2::fix_checksum(&mut image.header, copy);
                }
            }
        },
    );
}

fn numbers(corpus: &mut Corpus) {
    for size in [
        0,
        512,
        4096,
        0x2000,
        0x3000,
        0x3fff,
        0x4001,
        0x5000,
        0x6000,
        0x8000,
        0xc000,
        0x1_0000,
        0x40_0000,
        0x40_1000,
        0x80_0000,
        1 << 32,
        (1 << 32) + 0x4000,
        u64::MAX,
    ] {
        number(corpus, "hdr_size", luks2::HDR_SIZE, size, &COPIES);
        number(corpus, "hdr_size", luks2::HDR_SIZE, size, &[0]);
    }
    number(corpus, "hdr_size", luks2::HDR_SIZE, 0x8000, &[0x4000]);
    for offset in [0x200, 0x4000, 0x8000, u64::MAX] {
        number(corpus, "hdr_offset", luks2::HDR_OFFSET, offset, &[0]);
    }
    for offset in [0, 0x4200, 0x8000, u64::MAX] {
        number(corpus, "hdr_offset", luks2::HDR_OFFSET, offset, &[0x4000]);
    }
    for offset in [0x200, 0x8000] {
        number(corpus, "hdr_offset", luks2::HDR_OFFSET, offset, &COPIES);
    }
    for seqid in [0, 1, u64::MAX - 1, u64::MAX] {
        number(corpus, "seqid", luks2::SEQID, seqid, &COPIES);
        number(corpus, "seqid", luks2::SEQID, seqid, &[0]);
        number(corpus, "seqid", luks2::SEQID, seqid, &[0x4000]);
    }
}

fn checksums(corpus: &mut Corpus) {
    use sha2::Digest as _;
    type Hash = fn(&[u8]) -> Vec<u8>;
    let hashes: [(&str, Hash); 13] = [
        ("sha1", |bytes| sha1::Sha1::digest(bytes).to_vec()),
        ("sha224", |bytes| sha2::Sha224::digest(bytes).to_vec()),
        ("sha384", |bytes| sha2::Sha384::digest(bytes).to_vec()),
        ("sha512", |bytes| sha2::Sha512::digest(bytes).to_vec()),
        ("SHA256", |bytes| sha2::Sha256::digest(bytes).to_vec()),
        ("Sha512", |bytes| sha2::Sha512::digest(bytes).to_vec()),
        ("sha-256", |bytes| sha2::Sha256::digest(bytes).to_vec()),
        ("sha2-256", |bytes| sha2::Sha256::digest(bytes).to_vec()),
        ("sha256 ", |bytes| sha2::Sha256::digest(bytes).to_vec()),
        ("sha512-256", |bytes| {
            sha2::Sha512_256::digest(bytes).to_vec()
        }),
        ("blake2b-512", |bytes| {
            blake2::Blake2b512::digest(bytes).to_vec()
        }),
        ("ripemd160", |bytes| {
            ripemd::Ripemd160::digest(bytes).to_vec()
        }),
        ("sha3-256", |bytes| sha3::Sha3_256::digest(bytes).to_vec()),
    ];
    for (name, hash) in hashes {
        corpus.push(Base::Plain, format!("csum_alg {name:?}"), move |image| {
            for copy in COPIES {
                fill(image, copy, CSUM_ALG, name.as_bytes());
                fill(image, copy, luks2::CSUM, &[]);
                let sum = hash(&image.header[copy..copy + 0x4000]);
                fill(image, copy, luks2::CSUM, &sum);
            }
        });
    }
    let with_sha256: [(&str, &[u8]); 7] = [
        ("csum_alg empty", b""),
        ("csum_alg unknown", b"md7"),
        ("csum_alg without a terminator", &[b's'; 32]),
        ("csum_alg sha512 with the sum of sha256", b"sha512"),
        ("csum_alg sha1 with the sum of sha256", b"sha1"),
        ("csum_alg with bytes after its terminator", b"sha256\0later"),
        ("csum_alg sha25", b"sha25"),
    ];
    for (what, bytes) in with_sha256 {
        field(corpus, what, CSUM_ALG, bytes);
    }
    corpus.push(Base::Plain, "csum one bit wrong in both", |image| {
        for copy in COPIES {
            image.header[copy + luks2::CSUM.start] ^= 1;
        }
    });
    corpus.push(Base::Plain, "csum with bytes after the sum", |image| {
        for copy in COPIES {
            image.header[copy + luks2::CSUM.end - 1] = 1;
        }
    });
    corpus.push(Base::Plain, "csum of zeros", |image| {
        for copy in COPIES {
            fill(image, copy, luks2::CSUM, &[]);
        }
    });
    corpus.push(
        Base::Plain,
        "one bit past the JSON's end, checksum stale",
        |image| {
            for copy in COPIES {
                image.header[copy + 0x3fff] ^= 1;
            }
        },
    );
}
