//! Policies and pins on whole images: what is judged is what is opened, and nothing is read twice.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lucarne::policy::{
    DataDevice, Limit, Pins, Policy, Rule, Severity, header_hash, volume_key_digest,
};
use lucarne::{
    Access, Error, FileStorage, FormatOptions, KdfKind, KdfRequest, MemoryStorage, OpenOptions,
    Secret, Storage, read_header,
};
use lucarne_testkit::payload::{hex, sha256_hex};
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::{luks2, vectors};
use proptest::prelude::*;
use serde_json::{Value, json};

const PASSPHRASE: &[u8] = b"an example";
const IMAGE_LEN: u64 = 4 << 20;

fn formatted(iterations: u32) -> Vec<u8> {
    let image = MemoryStorage::with_len(IMAGE_LEN as usize);
    let options = FormatOptions {
        kdf: KdfRequest {
            kind: KdfKind::Pbkdf2,
            iterations: Some(iterations),
            ..KdfRequest::default()
        },
        keyslots_size: Some(2 << 20),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, PASSPHRASE, &options).unwrap();
    image.into_bytes()
}

/// A volume to which `strict-1` holds.
static CLEAN: LazyLock<Vec<u8>> = LazyLock::new(|| formatted(100_000));

fn strict() -> Policy {
    Policy::preset("strict-1").unwrap()
}

fn device() -> DataDevice {
    DataDevice::WithHeader {
        len_bytes: IMAGE_LEN,
    }
}

/// Names and verdicts of the three presets, with the rules that each image breaks.
fn verdicts() -> String {
    let mut table = String::from("image\tdefault-1\tstrict-1\tlegacy-1\n");
    for vector in vectors::all() {
        let scratch = Scratch::new();
        let unpacked = vector.unpack(&scratch);
        let open = |path: &std::path::Path| FileStorage::open(path, Access::ReadOnly).unwrap();
        let len_bytes = open(&unpacked.image).len().unwrap();
        let device = match unpacked.header {
            Some(_) => DataDevice::Apart { len_bytes },
            None => DataDevice::WithHeader { len_bytes },
        };
        let selected = read_header(&open(unpacked.header_device()));
        let cells = Policy::PRESETS.iter().map(|name| match &selected {
            Err(_) => "not loaded".to_owned(),
            Ok(selected) => {
                let judgement = Policy::preset(name).unwrap().judge(selected, device);
                let mut rules: Vec<&str> = Vec::new();
                for finding in judgement.findings() {
                    let is_new = !rules.contains(&finding.rule);
                    if is_new && finding.severity == Severity::Violation {
                        rules.push(finding.rule);
                    }
                }
                assert_eq!(rules.is_empty(), judgement.holds());
                match judgement.holds() {
                    true => "holds".to_owned(),
                    false => rules.join(" "),
                }
            }
        });
        let cells: Vec<_> = cells.collect();
        table.push_str(&format!("{}\t{}\n", vector.name, cells.join("\t")));
    }
    table
}

/// `LUCARNE_BLESS=1` writes the table anew.
#[test]
fn every_image_of_testdata_has_its_verdicts() {
    let path = lucarne_testkit::testdata().join("policy-verdicts.tsv");
    let verdicts = verdicts();
    if std::env::var_os("LUCARNE_BLESS").is_some() {
        std::fs::write(&path, &verdicts).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), verdicts);
    assert_eq!(verdicts.lines().count(), vectors::all().len() + 1);
}

/// What a host that rewrites the header of a confidential VM's disk has tried.
#[test]
fn attacks_on_the_header_are_refused_before_a_key_is_derived() {
    type Attack = (&'static str, Rule, fn(&mut Vec<u8>));
    fn json(image: &mut [u8], change: impl Fn(&mut Value)) {
        luks2::edit_json(image, change);
    }
    let attacks: [Attack; 14] = [
        ("null cipher", Rule::SegmentCipher, |image| {
            json(image, |json| {
                json["segments"]["0"]["encryption"] = json!("cipher_null-ecb")
            });
        }),
        ("null keyslot cipher", Rule::KeyslotCipher, |image| {
            json(image, |json| {
                json["keyslots"]["0"]["area"]["encryption"] = json!("cipher_null-ecb");
            });
        }),
        ("memory without bound", Rule::Argon2MemoryKib, |image| {
            json(image, |json| {
                let salt = json["keyslots"]["0"]["kdf"]["salt"].clone();
                json["keyslots"]["0"]["kdf"] = json!({
                    "type": "argon2id", "time": 4, "memory": u32::MAX, "cpus": 4, "salt": salt
                });
            });
        }),
        (
            "iterations without bound",
            Rule::Pbkdf2Iterations,
            |image| {
                json(image, |json| {
                    json["keyslots"]["0"]["kdf"]["iterations"] = json!(u32::MAX);
                });
            },
        ),
        (
            "a digest's iterations without bound",
            Rule::DigestIterations,
            |image| {
                json(image, |json| {
                    json["digests"]["0"]["iterations"] = json!(u32::MAX)
                });
            },
        ),
        ("another secondary copy", Rule::BothCopies, |image| {
            let secondary = luks2::header_len(image, 0);
            image[secondary + 24] = b'x';
            luks2::fix_checksum(image, secondary);
        }),
        ("a second segment", Rule::Segments, |image| {
            json(image, |json| {
                json["segments"]["0"]["size"] = json!("4096");
                json["segments"]["1"] =
                    json!({"type": "linear", "offset": "3670016", "size": "dynamic"});
            });
        }),
        ("plaintext passed through", Rule::SegmentType, |image| {
            json(image, |json| {
                json["digests"]["0"]["segments"] = json!([]);
                json["segments"]["0"] =
                    json!({"type": "linear", "offset": "3145728", "size": "dynamic"});
            });
        }),
        ("a requirement", Rule::Requirements, |image| {
            json(image, |json| {
                json["config"]["requirements"] = json!({"mandatory": ["opal"]});
            });
        }),
        ("a forged decryption", Rule::Reencryption, |image| {
            json(image, |json| {
                json["config"]["requirements"] = json!({"mandatory": ["online-reencrypt-v2"]});
                json["keyslots"]["1"] = json!({
                    "type": "reencrypt", "mode": "decrypt", "direction": "forward", "key_size": 1,
                    "area": {"type": "none", "offset": "1048576", "size": "4096"}
                });
                let mut previous = json["segments"]["0"].clone();
                previous["flags"] = json!(["backup-previous"]);
                json["segments"]["1"] = previous;
                json["segments"]["2"] = json!({
                    "type": "linear", "offset": "3145728", "size": "dynamic",
                    "flags": ["backup-final"]
                });
                json["digests"]["0"]["segments"] = json!(["0", "1"]);
            });
        }),
        ("a smuggled token", Rule::TokenType, |image| {
            json(image, |json| {
                json["tokens"]["0"] =
                    json!({"type": "fetch", "keyslots": ["0"], "url": "http://host"});
            });
        }),
        ("a second volume key", Rule::DigestsPerSegment, |image| {
            json(image, |json| {
                json["digests"]["1"] = json["digests"]["0"].clone();
                json["digests"]["1"]["keyslots"] = json!([]);
            });
        }),
        ("data over the header", Rule::SegmentBounds, |image| {
            json(image, |json| json["segments"]["0"]["offset"] = json!("0"));
        }),
        ("zeros out of nothing", Rule::SparseToken, |image| {
            json(image, |json| {
                json["tokens"]["0"] =
                    json!({"type": "lucarne-length", "keyslots": [], "sparse": true});
            });
        }),
    ];
    let policy = strict();
    OpenOptions::default()
        .policy(&policy)
        .open(
            MemoryStorage::from(CLEAN.clone()),
            Secret::Passphrase(PASSPHRASE),
        )
        .unwrap();
    for (what, rule, attack) in attacks {
        let mut image = CLEAN.clone();
        attack(&mut image);
        let image = Recording::new(image, None);
        let begin = Instant::now();
        let opened = OpenOptions::default()
            .policy(&policy)
            .open(&image, Secret::Passphrase(PASSPHRASE));
        let Err(Error::Policy(judgement)) = opened else {
            panic!("{what}: {:?}", opened.err());
        };
        assert!(begin.elapsed() < Duration::from_secs(1), "{what}");
        let mut rules = judgement.findings().iter().map(|finding| finding.rule);
        assert!(
            rules.any(|found| found == rule.name()),
            "{what}: {judgement:?}"
        );
        // No key material was asked for.
        let header_end = 2 * luks2::header_len(&CLEAN, 0) as u64;
        let end = luks2::keyslots_area(&CLEAN).end as u64;
        for read in image.reads.lock().unwrap().iter() {
            assert!(
                read.end <= header_end || *read == (end - 1..end),
                "{what}: {read:?}"
            );
        }
    }
}

/// Storage that notes what is read, and gives other bytes from the second reading of any byte on.
struct Recording {
    bytes: Vec<u8>,
    afterwards: Option<Vec<u8>>,
    reads: Mutex<Vec<Range<u64>>>,
}

impl Recording {
    fn new(bytes: Vec<u8>, afterwards: Option<Vec<u8>>) -> Self {
        Self {
            bytes,
            afterwards,
            reads: Mutex::default(),
        }
    }
}

impl Storage for Recording {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut reads = self.reads.lock().unwrap();
        for (at, byte) in (offset..).zip(buf.iter_mut()) {
            let again = reads.iter().any(|read| read.contains(&at));
            let bytes = match &self.afterwards {
                Some(afterwards) if again => afterwards,
                _ => &self.bytes,
            };
            *byte = bytes[at as usize];
        }
        reads.push(offset..offset + buf.len() as u64);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn discard(&self, _: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// A host that gives one header to be judged and another to be used is not asked twice.
#[test]
fn nothing_of_the_header_is_read_twice() {
    let mut evil = CLEAN.clone();
    luks2::edit_json(&mut evil, |json| {
        json["segments"]["0"]["encryption"] = json!("cipher_null-ecb");
        json["keyslots"]["0"]["kdf"]["iterations"] = json!(1);
    });
    let policy = strict();
    let hash = header_hash(
        &read_header(&MemoryStorage::from(CLEAN.clone()))
            .unwrap()
            .header,
    );
    let pins = Pins::default().header_hash(&hex(&hash.unwrap())).unwrap();
    let image = Recording::new(CLEAN.clone(), Some(evil));
    let volume = OpenOptions::default()
        .policy(&policy)
        .pins(&pins)
        .open(&image, Secret::Passphrase(PASSPHRASE))
        .unwrap();
    let header_end = 2 * luks2::header_len(&CLEAN, 0) as u64;
    let mut read: Vec<_> = image.reads.lock().unwrap().clone();
    read.retain(|range| range.start < header_end);
    read.sort_by_key(|range| range.start);
    assert!(!read.is_empty());
    for pair in read.windows(2) {
        assert!(pair[0].end <= pair[1].start, "read twice: {read:?}");
    }
    // And afterwards, when data is read, still nothing of the header.
    let before = read.len();
    volume.read_at(&mut [0; 8192], 100).unwrap();
    let reads = image.reads.lock().unwrap();
    let of_header = reads.iter().filter(|range| range.start < header_end);
    assert_eq!(of_header.count(), before);
}

#[test]
fn pins_hold_to_their_volume_and_no_other() {
    let image = MemoryStorage::from(CLEAN.clone());
    let header = read_header(&image).unwrap().header;
    let open = |image: &MemoryStorage, pins: &Pins| {
        OpenOptions::default()
            .pins(pins)
            .open(image, Secret::Passphrase(PASSPHRASE))
            .map(drop)
    };
    let digest = volume_key_digest(&header).unwrap();
    let hash = hex(&header_hash(&header).unwrap());
    // As anyone can compute it from the image.
    let mut copy = CLEAN[..0x4000].to_vec();
    copy[104..168].fill(0);
    copy[448..512].fill(0);
    assert_eq!(hash, sha256_hex(&copy));

    let pins = Pins::default()
        .uuid(header.uuid().to_ascii_uppercase())
        .volume_key_digest(&digest.to_ascii_uppercase())
        .unwrap()
        .header_hash(&hash)
        .unwrap();
    open(&image, &pins).unwrap();

    // Another volume with the same UUID and passphrase.
    let mut other = formatted(1000);
    for copy in [0, 0x4000] {
        other[copy + 168..copy + 208].copy_from_slice(&CLEAN[168..208]);
        luks2::fix_checksum(&mut other, copy);
    }
    let other = MemoryStorage::from(other);
    open(&other, &Pins::default().uuid(header.uuid())).unwrap();
    let Err(Error::Policy(judgement)) = open(&other, &pins) else {
        panic!("another volume opened");
    };
    let rules: Vec<_> = judgement
        .findings()
        .iter()
        .map(|found| found.rule)
        .collect();
    assert_eq!(rules, ["expect-volume-key-digest", "expect-header-hash"]);
    assert_eq!(judgement.findings()[0].limit, digest);

    let wrong = Pins::default().uuid("0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d");
    let error = open(&image, &wrong).unwrap_err().to_string();
    assert!(
        error.starts_with("refused: policy pins: uuid is "),
        "{error}"
    );
}

/// A header with the pinned digest beside one for another key is not the pinned one.
#[test]
fn every_digest_of_the_data_must_be_the_pinned_one() {
    let header = read_header(&MemoryStorage::from(CLEAN.clone()))
        .unwrap()
        .header;
    let digest = volume_key_digest(&header).unwrap();
    let pins = Pins::default().volume_key_digest(&digest).unwrap();
    let judge = |change: fn(&mut Value)| {
        let mut image = CLEAN.clone();
        luks2::edit_json(&mut image, change);
        let header = read_header(&MemoryStorage::from(image)).unwrap().header;
        let fields: Vec<_> = pins
            .judge(&header)
            .findings()
            .iter()
            .map(|finding| finding.field.clone())
            .collect();
        (fields, volume_key_digest(&header))
    };
    // An unbound keyslot's digest is nothing to the data.
    let (fields, _) = judge(|json| {
        json["digests"]["1"] = json["digests"]["0"].clone();
        json["digests"]["1"]["digest"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        json["digests"]["1"]["keyslots"] = json!([]);
        json["digests"]["1"]["segments"] = json!([]);
    });
    assert_eq!(fields, [""; 0]);
    let (fields, of_header) = judge(|json| {
        json["digests"]["1"] = json["digests"]["0"].clone();
        json["digests"]["1"]["digest"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        json["digests"]["1"]["keyslots"] = json!([]);
    });
    assert_eq!(fields, ["digests.1.digest"]);
    assert_eq!(of_header, None);
    let (fields, _) = judge(|json| json["digests"]["0"]["type"] = json!("x"));
    assert_eq!(fields, ["digests.0.digest"]);
    let (fields, of_header) = judge(|json| {
        json["digests"]["0"]["segments"] = json!([]);
        json["segments"]["0"] = json!({"type": "x", "offset": "3145728", "size": "dynamic"});
    });
    assert_eq!(fields, ["digest of the segments"]);
    assert_eq!(of_header, None);
}

/// Both copies, and copies with new salts, have one hash; any change of meaning has another.
#[test]
fn a_headers_hash_is_its_states() {
    let hash = |image: &[u8]| {
        let selected = read_header(&MemoryStorage::from(image.to_vec())).unwrap();
        header_hash(&selected.header).unwrap()
    };
    let original = hash(&CLEAN);
    let secondary = 0x4000;
    let mut lost = CLEAN.clone();
    lost[..4096].fill(0);
    assert_eq!(hash(&lost), original);
    let mut resalted = CLEAN.clone();
    for copy in [0, secondary] {
        resalted[copy + 104..copy + 168].fill(7);
        luks2::fix_checksum(&mut resalted, copy);
    }
    assert_eq!(hash(&resalted), original);
    let binary: [fn(&mut [u8]); 4] = [
        |copy| copy[16..24].copy_from_slice(&9_u64.to_be_bytes()),
        |copy| copy[24] ^= 1,
        |copy| copy[170] ^= 1,
        |copy| copy[210] ^= 1,
    ];
    for change in binary {
        let mut image = CLEAN.clone();
        for copy in [0, secondary] {
            change(&mut image[copy..copy + 4096]);
            luks2::fix_checksum(&mut image, copy);
        }
        assert_ne!(hash(&image), original);
    }
    let mut image = CLEAN.clone();
    luks2::edit_json(&mut image, |json| json["unknown"] = json!(null));
    assert_ne!(hash(&image), original);
}

/// A judge of a policy with every rule on, whatever the header says.
fn judge_all(image: Vec<u8>) -> BTreeMap<&'static str, bool> {
    let Ok(selected) = read_header(&MemoryStorage::from(image)) else {
        return BTreeMap::new();
    };
    let pins = Pins::default()
        .uuid("x")
        .volume_key_digest(&"00".repeat(32))
        .and_then(|pins| pins.header_hash(&"00".repeat(32)))
        .unwrap();
    let all_on = strict()
        .with(Rule::UnknownMembers, Limit::Holds, Severity::Violation)
        .unwrap();
    let mut verdicts = BTreeMap::new();
    for name in Policy::PRESETS {
        let policy = Policy::preset(name).unwrap();
        verdicts.insert(*name, policy.judge(&selected, device()).holds());
    }
    for device in [
        device(),
        DataDevice::Unknown,
        DataDevice::Apart { len_bytes: 0 },
    ] {
        let judgement = all_on.judge_pinned(&selected, device, &pins);
        assert!(!judgement.holds());
        assert!(judgement.to_string().len() < 100_000);
        for finding in judgement.findings() {
            assert!(
                finding.value.chars().all(|c| !c.is_control()),
                "{finding:?}"
            );
        }
    }
    verdicts
}

/// Something else in place of a value of the header's JSON.
fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(|number| Value::from(number.to_string())),
        (0_u64..8192).prop_map(|number| Value::from((number * 512).to_string())),
        "\\PC{0,80}".prop_map(Value::from),
        prop::sample::select(vec![
            "dynamic",
            "crypt",
            "linear",
            "reencrypt",
            "cipher_null-ecb",
            "argon2id",
            "online-reencrypt-v2",
            "backup-final",
        ])
        .prop_map(Value::from),
        Just(json!([])),
        Just(json!(["0"])),
        Just(json!({})),
        Just(json!({"mandatory": ["x", "online-reencrypt-v3"]})),
        Just(json!({"0": {"type": "x", "keyslots": []}})),
    ]
}

/// The places of all values in a JSON.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                places(value, &format!("{at}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{index}"), into);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_header_is_judged_without_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json(), any::<bool>()), 1..4),
        flips in prop::collection::vec((8_usize..512, any::<u8>()), 0..4),
    ) {
        // Only what is read: the header and the device's length.
        let mut image = CLEAN.clone();
        luks2::edit_json(&mut image, |json| {
            for (place, value, add) in &changes {
                let mut all = Vec::new();
                places(json, "", &mut all);
                let at = json.pointer_mut(place.get::<String>(&all)).unwrap();
                match at {
                    Value::Object(members) if *add => {
                        members.insert("1".into(), value.clone());
                    }
                    Value::Array(items) if *add => items.push(value.clone()),
                    at => *at = value.clone(),
                }
            }
            if !json.is_object() {
                *json = json!({});
            }
        });
        for (at, byte) in flips {
            // The sizes stay, or nothing would load.
            if !(8..16).contains(&at) && !(256..264).contains(&at) {
                image[at] = byte;
                image[0x4000 + at] = byte;
            }
        }
        luks2::fix_checksum(&mut image, 0);
        luks2::fix_checksum(&mut image, 0x4000);
        let verdicts = judge_all(image);
        // What the strictest takes, the others take.
        if verdicts.get("strict-1") == Some(&true) {
            prop_assert_eq!(verdicts.get("default-1"), Some(&true));
        }
        if verdicts.get("default-1") == Some(&true) {
            prop_assert_eq!(verdicts.get("legacy-1"), Some(&true));
        }
    }
}
