//! The two copies against each other, and files that end early.

use serde_json::{Value, json};

use super::binary::{COPIES, fill};
use super::{Base, Corpus, Image, set};
use crate::luks2;

const SECONDARY: usize = COPIES[1];
const BINARY: std::ops::Range<usize> = 0..luks2::BINARY_LEN;

pub(super) fn cases(corpus: &mut Corpus) {
    one_bad(corpus);
    both_good(corpus);
    places(corpus);
    truncated(corpus);
}

/// Changes the JSON of one copy only.
fn edit(image: &mut Image, copy: usize, change: &dyn Fn(&mut Value)) {
    let mut json = luks2::json(&image.header, copy);
    change(&mut json);
    let text = json.to_string();
    replace(image, copy, text.as_bytes());
}

fn replace(image: &mut Image, copy: usize, text: &[u8]) {
    let area = &mut image.header[copy + luks2::BINARY_LEN..copy + SECONDARY];
    area.fill(0);
    area[..text.len()].copy_from_slice(text);
    luks2::fix_checksum(&mut image.header, copy);
}

fn seqid(image: &mut Image, copy: usize, seqid: u64) {
    luks2::set_number(&mut image.header, copy, luks2::SEQID, seqid);
    luks2::fix_checksum(&mut image.header, copy);
}

type Damage = fn(&mut Image, usize);

/// Ways to spoil one copy.
const DAMAGES: [(&str, Damage); 14] = [
    ("zeroed", |image, copy| fill(image, copy, 0..0x4000, &[])),
    ("without its magic", |image, copy| {
        fill(image, copy, 0..6, b"NOLUKS");
    }),
    ("of version 1", |image, copy| {
        image.header[copy + 7] = 1;
        luks2::fix_checksum(&mut image.header, copy);
    }),
    ("of version 3", |image, copy| {
        image.header[copy + 7] = 3;
        luks2::fix_checksum(&mut image.header, copy);
    }),
    ("with a bad checksum", |image, copy| {
        image.header[copy + luks2::CSUM.start] ^= 1;
    }),
    ("with its binary part lost", |image, copy| {
        fill(image, copy, BINARY, &[]);
    }),
    ("with its JSON lost", |image, copy| {
        fill(image, copy, luks2::BINARY_LEN..0x4000, &[]);
    }),
    ("with an empty JSON", |image, copy| {
        replace(image, copy, b"")
    }),
    ("with no JSON", |image, copy| {
        replace(image, copy, b"{nonsense");
    }),
    ("with a JSON of no sections", |image, copy| {
        replace(image, copy, b"{}");
    }),
    ("with an area outside", |image, copy| {
        edit(image, copy, &|json| {
            set(json, "keyslots.0.area.offset", json!("0"));
        });
    }),
    ("with an unknown checksum", |image, copy| {
        fill(image, copy, 72..104, b"md7");
        luks2::fix_checksum(&mut image.header, copy);
    }),
    ("with a member twice", |image, copy| {
        let json = luks2::json(&image.header, copy).to_string();
        replace(
            image,
            copy,
            json.replace("\"tokens\":{}", "\"tokens\":{},\"tokens\":{}")
                .as_bytes(),
        );
    }),
    ("with a keyslot 40", |image, copy| {
        edit(image, copy, &|json| {
            let keyslot = super::take(json, "keyslots.0");
            set(json, "keyslots.40", keyslot);
            set(json, "digests.0.keyslots", json!(["40"]));
        });
    }),
];

fn one_bad(corpus: &mut Corpus) {
    for (what, damage) in DAMAGES {
        for (copy, name) in [(0, "primary"), (SECONDARY, "secondary")] {
            corpus.push(Base::Plain, format!("{name} {what}"), move |image| {
                damage(image, copy);
            });
        }
        corpus.push(Base::Plain, format!("newer primary {what}"), move |image| {
            damage(image, 0);
            if luks2::number(&image.header, 0, luks2::HDR_SIZE) == 0x4000
                && !what.contains("checksum")
                && !what.contains("lost")
            {
                seqid(image, 0, 100);
            } else {
                luks2::set_number(&mut image.header, 0, luks2::SEQID, 100);
            }
        });
    }
}

fn both_good(corpus: &mut Corpus) {
    let slot_missing = |json: &mut Value| {
        set(json, "keyslots", json!({}));
        set(json, "digests.0.keyslots", json!([]));
    };
    corpus.push(
        Base::Plain,
        "secondary newer, without a keyslot",
        move |image| {
            edit(image, SECONDARY, &slot_missing);
            seqid(image, SECONDARY, 100);
        },
    );
    corpus.push(
        Base::Plain,
        "primary newer, without a keyslot",
        move |image| {
            edit(image, 0, &slot_missing);
            seqid(image, 0, 100);
        },
    );
    corpus.push(
        Base::Plain,
        "secondary of the same seqid, without a keyslot",
        move |image| edit(image, SECONDARY, &slot_missing),
    );
    corpus.push(
        Base::Plain,
        "primary of the same seqid, without a keyslot",
        move |image| edit(image, 0, &slot_missing),
    );
    corpus.push(Base::Plain, "secondary of another uuid", |image| {
        fill(
            image,
            SECONDARY,
            168..208,
            b"0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d",
        );
        luks2::fix_checksum(&mut image.header, SECONDARY);
    });
    corpus.push(Base::Plain, "secondary newer, of another uuid", |image| {
        fill(
            image,
            SECONDARY,
            168..208,
            b"0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d",
        );
        seqid(image, SECONDARY, 100);
    });
    corpus.push(Base::Plain, "both of the same salt", |image| {
        image.header.copy_within(104..168, SECONDARY + 104);
        luks2::fix_checksum(&mut image.header, SECONDARY);
    });
    corpus.push(Base::Plain, "magics exchanged", |image| {
        for copy in COPIES {
            let magic: &[u8] = if copy == 0 {
                b"SKUL\xba\xbe"
            } else {
                b"LUKS\xba\xbe"
            };
            fill(image, copy, 0..6, magic);
            luks2::fix_checksum(&mut image.header, copy);
        }
    });
}

fn places(corpus: &mut Corpus) {
    // Within the keyslots area, or between it and the data: room that no keyslot owns.
    for (place, primary_good) in [
        (0x8000, false),
        (0x1_0000, false),
        (0x4_0000, false),
        (0x8_0000, false),
        (0x8_8000, false),
        (0x4_0000, true),
    ] {
        let primary = if primary_good { "sound" } else { "lost" };
        corpus.push(
            Base::Plain,
            format!("secondary at {place:#x} that says so, primary {primary}"),
            move |image| {
                let copy = image.header[SECONDARY..SECONDARY + 0x4000].to_vec();
                image.header[place..place + 0x4000].copy_from_slice(&copy);
                fill(image, SECONDARY, 0..0x4000, &[]);
                luks2::set_number(&mut image.header, place, luks2::HDR_OFFSET, place as u64);
                luks2::fix_checksum(&mut image.header, place);
                if !primary_good {
                    fill(image, 0, 0..0x4000, &[]);
                }
            },
        );
    }
    for (what, damage) in [
        ("zeroed", DAMAGES[0].1),
        ("with a bad checksum", DAMAGES[4].1),
    ] {
        corpus.push(
            Base::Large,
            format!("copies of 32 KiB, primary {what}"),
            move |image| damage(image, 0),
        );
    }
    corpus.push(
        Base::Large,
        "copies of 32 KiB, an older secondary of 16 KiB within the primary lost",
        |image| {
            fill(image, 0, 0..0x8000, &[]);
            let copy = image.header[0x8000..0xc000].to_vec();
            image.header[0x4000..0x8000].copy_from_slice(&copy);
            luks2::set_number(&mut image.header, 0x4000, luks2::HDR_SIZE, 0x4000);
            luks2::set_number(&mut image.header, 0x4000, luks2::HDR_OFFSET, 0x4000);
            luks2::fix_checksum(&mut image.header, 0x4000);
        },
    );
    corpus.push(
        Base::Plain,
        "primary lost, a partition table in its place",
        |image| {
            fill(image, 0, 0..0x4000, &[]);
            // One entry of type 0x83, the signature.
            image.header[446..462]
                .copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 8, 0, 1, 0, 0, 0, 0xff, 7, 0, 0]);
            image.header[510..512].copy_from_slice(&[0x55, 0xaa]);
        },
    );
    corpus.push(Base::Plain, "primary lost, XFS in its place", |image| {
        fill(image, 0, 0..0x4000, b"XFSB");
    });
    corpus.push(Base::Detached, "a partition table on the data", |image| {
        let data = image.data.as_mut().expect("a detached header has data");
        data[510..512].copy_from_slice(&[0x55, 0xaa]);
    });
}

fn truncated(corpus: &mut Corpus) {
    for len in [
        0, 1, 511, 512, 4095, 4096, 0x3fff, 0x4000, 0x4200, 0x5000, 0x7e00, 0x7fff, 0x8000, 0x8200,
        163_328, 163_839, 163_840, 556_544, 557_055, 557_056, 1_048_064, 1_048_575, 1_048_576,
        1_048_577, 1_049_087, 1_049_088, 1_052_160, 1_052_671, 1_052_672, 1_053_184, 1_060_864,
        1_064_448, 1_064_959,
    ] {
        corpus.push(
            Base::Plain,
            format!("ends after {len} bytes"),
            move |image| image.header.truncate(len),
        );
    }
    for len in [1_065_472, 1_069_056] {
        corpus.push(
            Base::Plain,
            format!("goes on to {len} bytes"),
            move |image| image.header.resize(len, 0),
        );
    }
    for len in [0, 512, 4095, 4096, 4608, 15_872, 16_383] {
        corpus.push(
            Base::Detached,
            format!("data end after {len} bytes"),
            move |image| {
                let data = image.data.as_mut().expect("a detached header has data");
                data.truncate(len);
            },
        );
    }
    for len in [32_768, 163_840, 556_544, 557_055] {
        corpus.push(
            Base::Detached,
            format!("header ends after {len} bytes"),
            move |image| image.header.truncate(len),
        );
    }
}
