//! Each rule broken once, and once nearly.

use std::sync::LazyLock;

use lucarne_format::luks2::{
    ChecksumAlgorithm, CryptSegment, Digest, NewHeader, Segment, SegmentSize, Selected,
};
use lucarne_testkit::luks2;
use serde_json::{Value, json};

use super::*;
use crate::{FormatOptions, KdfKind, KdfRequest, MemoryStorage, read_header};

const IMAGE_LEN: u64 = 4 << 20;
const SALT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A volume to which every preset holds without a warning.
static CLEAN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let image = MemoryStorage::with_len(IMAGE_LEN as usize);
    let options = FormatOptions {
        kdf: KdfRequest {
            kind: KdfKind::Pbkdf2,
            iterations: Some(100_000),
            ..KdfRequest::default()
        },
        keyslots_size: Some(2 << 20),
        ..FormatOptions::default()
    };
    crate::format(&image, None, b"an example", &options).unwrap();
    image.into_bytes()
});

fn loaded(image: &[u8]) -> Selected {
    read_header(&MemoryStorage::from(image.to_vec())).unwrap()
}

fn device() -> DataDevice {
    DataDevice::WithHeader {
        len_bytes: IMAGE_LEN,
    }
}

/// Strict on everything: all findings are violations, and no rule is off.
fn policy() -> Policy {
    let mut policy = Policy::preset("strict-1").unwrap();
    for setting in policy.rules.values_mut() {
        setting.severity = Severity::Violation;
    }
    assert_eq!(policy.rules.len(), Rule::ALL.len());
    policy
}

fn findings_of(rule: Rule, image: &[u8], device: DataDevice) -> Vec<Finding> {
    let judgement = policy().judge(&loaded(image), device);
    let findings = judgement.findings().iter();
    findings
        .filter(|finding| finding.rule == rule.name())
        .cloned()
        .collect()
}

/// A change of an image. What both do to it must still load.
type Change = Box<dyn Fn(&mut Vec<u8>)>;

fn json(change: impl Fn(&mut Value) + 'static) -> Change {
    Box::new(move |image| luks2::edit_json(image, &change))
}

/// Sets a member by its path.
fn set(path: &'static str, value: Value) -> Change {
    json(move |json| *json.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.clone())
}

/// Adds a member to the object at a path.
fn add(path: &'static str, name: &'static str, value: Value) -> Change {
    json(move |json| {
        let object = json.pointer_mut(path).unwrap().as_object_mut().unwrap();
        object.insert(name.to_owned(), value.clone());
    })
}

/// Writes bytes into both copies' binary headers.
fn bytes(at: usize, bytes: &'static [u8]) -> Change {
    Box::new(move |image| {
        for copy in [0, luks2::header_len(image, 0)] {
            image[copy + at..][..bytes.len()].copy_from_slice(bytes);
            luks2::fix_checksum(image, copy);
        }
    })
}

fn both(first: Change, second: Change) -> Change {
    Box::new(move |image| {
        first(image);
        second(image);
    })
}

fn nothing() -> Change {
    Box::new(|_| {})
}

fn argon2(time: u32, memory: u32, cpus: u32) -> Change {
    set(
        "/keyslots/0/kdf",
        json!({"type": "argon2id", "time": time, "memory": memory, "cpus": cpus, "salt": SALT}),
    )
}

fn token(kind: &str, more: usize) -> Value {
    json!({"type": kind, "keyslots": [], "text": "x".repeat(more)})
}

/// So many copies of keyslot 0 in areas of their own, for the data's key or each for one of its own.
fn more_keyslots(count: u32, bound: bool) -> Change {
    json(move |json| {
        let first = json["keyslots"]["0"].clone();
        let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let (offset, size) = (
            number(&first["area"]["offset"]),
            number(&first["area"]["size"]),
        );
        for id in 1..=count {
            let mut keyslot = first.clone();
            let at = offset + u64::from(id) * size;
            keyslot["area"]["offset"] = json!(at.to_string());
            json["keyslots"][id.to_string()] = keyslot;
            if bound {
                let keyslots = json["digests"]["0"]["keyslots"].as_array_mut().unwrap();
                keyslots.push(json!(id.to_string()));
            } else {
                let mut digest = json["digests"]["0"].clone();
                digest["keyslots"] = json!([id.to_string()]);
                digest["segments"] = json!([]);
                json["digests"][id.to_string()] = digest;
            }
        }
    })
}

struct Case {
    rule: Rule,
    nearly: Change,
    broken: Change,
    field: &'static str,
    value: &'static str,
}

fn case(
    rule: Rule,
    nearly: Change,
    broken: Change,
    field: &'static str,
    value: &'static str,
) -> Case {
    Case {
        rule,
        nearly,
        broken,
        field,
        value,
    }
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use Rule as R;
    let kdf = "/keyslots/0/kdf";
    let iterations = "/keyslots/0/kdf/iterations";
    let sparse = |sparse: bool| {
        add("/tokens", "0", json!({"type": "lucarne-length", "keyslots": [], "sparse": sparse}))
    };
    let by_token = || add("/tokens", "0", json!({"type": "systemd-tpm2", "keyslots": ["0"]}));
    let second_segment = |kind: &str| json!({"type": kind, "offset": "3670016", "size": "524288"});
    vec![
        case(R::BothCopies, nothing(), Box::new(|image| {
            let copy = luks2::header_len(image, 0);
            luks2::set_number(image, copy, luks2::SEQID, 0);
            luks2::fix_checksum(image, copy);
        }), "secondary copy", "stale: seqid is 0, the other copy's is 1"),
        case(R::UuidForm, bytes(168, b"0B61D7CC-6b3c-4c2b-8f3a-5d6f8a1b2c3d\0"),
            bytes(168, b"0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3g\0"),
            "uuid", "\"0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3g\""),
        case(R::LabelText, bytes(24, "m\u{f6}dels \"1\"\0".as_bytes()), bytes(24, b"m\x1b[2Jdels\0"),
            "label", "\"m\\u{1b}[2Jdels\""),
        case(R::LabelText, nothing(), bytes(208, b"m\xffdels\0"), "subsystem", "\"m\u{fffd}dels\""),
        case(R::Flags, add("/config", "flags", json!(["no-read-workqueue"])),
            add("/config", "flags", json!(["allow-discards"])), "config.flags", "\"allow-discards\""),
        case(R::Requirements, add("/config", "requirements", json!({"mandatory": []})),
            add("/config", "requirements", json!({"mandatory": ["opal-v2"]})),
            "config.requirements.mandatory", "\"opal-v2\""),
        case(R::UnknownMembers, add("/keyslots/0/kdf", "time", json!(4)),
            add("/keyslots/0/kdf", "passes", json!(4)), "keyslots.0.kdf", "\"passes\""),
        case(R::UnknownMembers, add("/tokens", "0", token("clevis", 1)),
            add("", "extra", json!({})), "the JSON", "\"extra\""),
        case(R::UnknownMembers, add("/config", "requirements", json!({})),
            add("/segments/0", "extra", json!(1)), "segments.0", "\"extra\""),
        case(R::Reencryption, add("/config", "requirements", json!({"mandatory": ["x"]})),
            add("/config", "requirements", json!({"mandatory": ["offline-reencrypt"]})),
            "config.requirements.mandatory", "\"offline-reencrypt\""),
        case(R::Reencryption, both(set("/segments/0/size", json!("524288")),
            add("/segments", "1", json!({"type": "linear", "offset": "3670016", "size": "dynamic",
                "flags": ["backupless"]}))),
            add("/segments", "1", json!({"type": "linear", "offset": "0", "size": "dynamic",
                "flags": ["x", "backup-final"]})), "segments.1.flags", "\"backup-final\""),
        case(R::Segments, nothing(), both(set("/segments/0/size", json!("524288")),
            add("/segments", "1", second_segment("x"))), "segments", "2"),
        case(R::SegmentType, nothing(), both(set("/segments/0/size", json!("524288")),
            add("/segments", "1", second_segment("linear"))), "segments.1.type", "\"linear\""),
        case(R::SegmentCipher, nothing(), set("/segments/0/encryption", json!("aes-xts-plain")),
            "segments.0.encryption", "\"aes-xts-plain\""),
        case(R::SegmentCipher, nothing(), set("/segments/0/encryption", json!("cipher_null-ecb")),
            "segments.0.encryption", "\"cipher_null-ecb\""),
        case(R::SegmentCipher, nothing(), set("/segments/0/encryption", json!("AES-xts-plain64")),
            "segments.0.encryption", "\"AES-xts-plain64\""),
        case(R::SegmentIntegrity, nothing(), add("/segments/0", "integrity",
            json!({"type": "none", "journal_encryption": "none", "journal_integrity": "none"})),
            "segments.0.integrity.type", "\"none\""),
        case(R::SegmentSize, nothing(), set("/segments/0/size", json!("4096")), "segments.0.size", "\"fixed\""),
        case(R::SegmentBounds, set("/segments/0/offset", json!("4193792")),
            set("/segments/0/offset", json!("4194304")), "segments.0.offset", "4194304"),
        case(R::SegmentBounds, set("/segments/0/size", json!("4096")),
            set("/segments/0/size", json!("4194304")), "segments.0.size", "4194304"),
        case(R::SegmentBounds, nothing(), set("/segments/0/offset", json!("0")), "segments.0.offset", "0"),
        case(R::SegmentFlags, add("/segments/0", "flags", json!(["in-reencryption"])),
            add("/segments/0", "flags", json!(["x"])), "segments.0.flags", "\"x\""),
        case(R::SectorBytes, set("/segments/0/sector_size", json!(512)),
            set("/segments/0/sector_size", json!(1536)), "segments.0.sector_size", "1536"),
        case(R::IvTweak, nothing(), set("/segments/0/iv_tweak", json!("1")), "segments.0.iv_tweak", "1"),
        case(R::DigestsPerSegment, more_keyslots(1, false), json(|json| {
            let mut digest = json["digests"]["0"].clone();
            digest["keyslots"] = json!([]);
            json["digests"]["1"] = digest;
        }), "digests of segments.0", "2"),
        case(R::KeyBits, nothing(), set("/keyslots/0/key_size", json!(32)), "keyslots.0.key_size in bits", "256"),
        case(R::KeyslotType, nothing(), set("/keyslots/0/type", json!("luks3")), "keyslots.0.type", "\"luks3\""),
        case(R::UnusableParts, set("/keyslots/0/kdf/iterations", json!(1)), set(iterations, json!(0)),
            "keyslots.0", "corrupt header: keyslots.0.kdf.iterations is 0, the least is 1"),
        case(R::UnusableParts, nothing(), set("/digests/0/type", json!("x")), "digests.0",
            "not supported: digests.0 type \"x\""),
        case(R::UnboundKeyslots, more_keyslots(1, true), more_keyslots(1, false), "keyslots.1", "unbound"),
        case(R::KeyslotCipher, nothing(), set("/keyslots/0/area/encryption", json!("cipher_null-ecb")),
            "keyslots.0.area.encryption", "\"cipher_null-ecb\""),
        case(R::KeyslotCipherBits, nothing(), set("/keyslots/0/area/key_size", json!(32)),
            "keyslots.0.area.key_size in bits", "256"),
        case(R::KeyslotAreaBytes, set("/keyslots/0/area/size", json!("1048576")),
            set("/keyslots/0/area/size", json!("1052672")), "keyslots.0.area.size", "1052672"),
        case(R::KeyslotAreaGrid, set("/keyslots/0/area/offset", json!("36864")),
            set("/keyslots/0/area/offset", json!("33280")), "keyslots.0.area.offset", "33280"),
        case(R::AfHash, set("/keyslots/0/af/hash", json!("SHA512")), set("/keyslots/0/af/hash", json!("sha1")),
            "keyslots.0.af.hash", "\"sha1\""),
        case(R::Kdf, argon2(4, 1 << 20, 4), set(kdf, json!({"type": "argon2i", "time": 4, "memory": 1 << 20,
            "cpus": 4, "salt": SALT})), "keyslots.0.kdf.type", "\"argon2i\""),
        case(R::Kdf, nothing(), set(kdf, json!({"type": "balloon"})), "keyslots.0.kdf.type", "\"balloon\""),
        case(R::Argon2MemoryKib, argon2(1, 2 << 20, 4), argon2(1, (2 << 20) + 1, 4),
            "keyslots.0.kdf.memory", "2097153"),
        case(R::Argon2MemoryKib, argon2(1, 32, 4), argon2(1, 31, 4), "keyslots.0.kdf.memory", "31"),
        case(R::Argon2WorkKib, argon2(32, 1 << 20, 4), argon2(33, 1 << 20, 4),
            "keyslots.0.kdf.memory times time", "34603008"),
        case(R::Argon2WorkKib, nothing(), argon2(u32::MAX, u32::MAX, 4),
            "keyslots.0.kdf.memory times time", "18446744065119617025"),
        case(R::Argon2Lanes, argon2(4, 1 << 20, 16), argon2(4, 1 << 20, 17), "keyslots.0.kdf.cpus", "17"),
        case(R::Argon2TotalWorkKib, both(argon2(32, 1 << 20, 4), more_keyslots(3, true)),
            both(argon2(32, 1 << 20, 4), more_keyslots(4, true)), "keyslots", "167772160"),
        case(R::Pbkdf2Hash, set("/keyslots/0/kdf/hash", json!("sha384")), set("/keyslots/0/kdf/hash", json!("md5")),
            "keyslots.0.kdf.hash", "\"md5\""),
        case(R::Pbkdf2Iterations, set(iterations, json!(50_000_000)), set(iterations, json!(50_000_001)),
            "keyslots.0.kdf.iterations", "50000001"),
        case(R::Pbkdf2Iterations, set(iterations, json!(1000)), set(iterations, json!(999)),
            "keyslots.0.kdf.iterations", "999"),
        case(R::Pbkdf2TotalIterations,
            both(both(set(iterations, json!(49_999_000)), set("/digests/0/iterations", json!(1000))),
                more_keyslots(3, true)),
            both(both(set(iterations, json!(49_999_001)), set("/digests/0/iterations", json!(1000))),
                more_keyslots(3, true)), "keyslots", "200000004"),
        case(R::PassphraseArgon2MemoryKib, argon2(3, 1 << 16, 4), argon2(4, (1 << 16) - 1, 4),
            "keyslots.0.kdf.memory", "65535"),
        case(R::PassphraseArgon2MemoryKib, both(argon2(4, 32, 1), by_token()), argon2(4, 32, 1),
            "keyslots.0.kdf.memory", "32"),
        case(R::PassphraseArgon2WorkKib, argon2(3, 1 << 16, 4), argon2(2, 1 << 16, 4),
            "keyslots.0.kdf.memory times time", "131072"),
        case(R::PassphrasePbkdf2Iterations, set(iterations, json!(100_000)), set(iterations, json!(99_999)),
            "keyslots.0.kdf.iterations", "99999"),
        case(R::PassphrasePbkdf2Iterations, both(set(iterations, json!(1000)), by_token()),
            set(iterations, json!(1000)), "keyslots.0.kdf.iterations", "1000"),
        case(R::DigestHash, set("/digests/0/hash", json!("sha512")), set("/digests/0/hash", json!("sha1")),
            "digests.0.hash", "\"sha1\""),
        case(R::DigestIterations, set("/digests/0/iterations", json!(10_000_000)),
            set("/digests/0/iterations", json!(10_000_001)), "digests.0.iterations", "10000001"),
        case(R::DigestIterations, set("/digests/0/iterations", json!(1000)),
            set("/digests/0/iterations", json!(999)), "digests.0.iterations", "999"),
        case(R::TokenType, add("/tokens", "31", token("systemd-recovery", 0)),
            add("/tokens", "31", token("systemd-recoverY", 0)), "tokens.31.type", "\"systemd-recoverY\""),
        case(R::SparseToken, sparse(false), sparse(true), "tokens", "sparse"),
    ]
}

/// Rules whose limits no header of [`CLEAN`]'s size can break, judged below with headers of their own.
const ELSEWHERE: [Rule; 8] = [
    Rule::HeaderChecksum,
    Rule::HeaderBytes,
    Rule::JsonBytes,
    Rule::KeyslotsAreaBytes,
    Rule::LabelBytes,
    Rule::Keyslots,
    Rule::Tokens,
    Rule::TokenBytes,
];

#[test]
fn nothing_is_found_in_a_clean_header() {
    let selected = loaded(&CLEAN);
    for policy in Policy::PRESETS {
        let judgement = Policy::preset(policy).unwrap().judge(&selected, device());
        assert!(judgement.findings().is_empty(), "{judgement:?}");
        judgement.into_result().unwrap();
    }
    let judgement = policy().judge(&selected, DataDevice::Unknown);
    assert_eq!(judgement.to_string(), "policy strict-1 holds");
}

#[test]
fn each_rule_broken_and_nearly_broken() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Case {
            rule, field, value, ..
        } = case;
        let mut image = CLEAN.clone();
        (case.nearly)(&mut image);
        let findings = findings_of(rule, &image, device());
        if !findings.is_empty() {
            wrong.push(format!("{rule}, nearly broken: {findings:?}"));
        }
        let mut image = CLEAN.clone();
        (case.broken)(&mut image);
        let findings = findings_of(rule, &image, device());
        match findings.as_slice() {
            [finding] if finding.field == field && finding.value == value => {
                assert!(!finding.limit.is_empty());
            }
            findings => wrong.push(format!("{rule} {field} {value}: {findings:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for rule in Rule::ALL {
        assert_eq!(
            cases().iter().any(|case| case.rule == *rule),
            !ELSEWHERE.contains(rule),
            "{rule} has no case"
        );
    }
}

/// A rule that is off finds nothing, and one that warns breaks nothing.
#[test]
fn a_rule_does_what_its_severity_says() {
    for case in cases() {
        let mut image = CLEAN.clone();
        (case.broken)(&mut image);
        let selected = loaded(&image);
        let strict = policy();
        let is_of_rule = |finding: &&Finding| finding.rule == case.rule.name();
        let count = |policy: &Policy| {
            let judgement = policy.judge(&selected, device());
            let violations = judgement.violations();
            (
                judgement.findings().iter().filter(is_of_rule).count(),
                violations,
            )
        };
        let (found, violations) = count(&strict);
        let (off, without) = count(&strict.clone().without(case.rule));
        assert_eq!((off, without), (0, violations - found), "{}", case.rule);
        let limit = strict.limit(case.rule).unwrap().clone();
        let warning = strict.with(case.rule, limit, Severity::Warning).unwrap();
        assert_eq!(
            count(&warning),
            (found, violations - found),
            "{}",
            case.rule
        );
    }
}

fn made(new: NewHeader, tokens: u32, token_len: usize) -> Header {
    Header::new(&new, |draft| {
        let segment = Segment::Crypt(CryptSegment {
            offset: 192 << 20,
            size: SegmentSize::Dynamic,
            iv_tweak: 0,
            encryption: "aes-xts-plain64".into(),
            sector_size: 4096,
            integrity: None,
            flags: vec![],
        });
        draft.insert_segment(0, &segment)?;
        let digest = Digest {
            keyslots: [].into(),
            segments: [0].into(),
            hash: "sha256".into(),
            iterations: 1000,
            salt: vec![3; 32],
            digest: vec![4; 32],
        };
        draft.insert_digest(0, &digest)?;
        for id in 0..tokens {
            let Value::Object(token) = token("clevis", token_len) else {
                unreachable!()
            };
            draft.insert_token(id, token)?;
        }
        Ok(())
    })
    .unwrap()
}

fn new_header() -> NewHeader {
    NewHeader {
        uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
        ..NewHeader::default()
    }
}

#[test]
fn sizes_are_judged() {
    let fields = |header: &Header, policy: &Policy| {
        let judgement = policy.judge(header, DataDevice::Unknown);
        let findings = judgement.findings().iter();
        findings
            .map(|finding| format!("{}: {} {}", finding.rule, finding.field, finding.value))
            .collect::<Vec<_>>()
    };
    let strict = policy();
    let header_size = |header_size| NewHeader {
        header_size,
        ..new_header()
    };
    assert_eq!(fields(&made(header_size(1 << 20), 0, 0), &strict), [""; 0]);
    assert_eq!(
        fields(&made(header_size(2 << 20), 0, 0), &strict),
        ["header-bytes: hdr_size 2097152"]
    );
    let checksum = NewHeader {
        checksum: ChecksumAlgorithm::Sha512,
        ..new_header()
    };
    assert_eq!(
        fields(&made(checksum, 0, 0), &strict),
        ["header-checksum: csum_alg \"sha512\""]
    );
    let overhead = serde_json::to_string(&token("clevis", 0)).unwrap().len();
    let fits = (64 << 10) - overhead;
    assert_eq!(
        fields(&made(header_size(1 << 20), 1, fits), &strict),
        [""; 0]
    );
    assert_eq!(
        fields(&made(header_size(1 << 20), 1, fits + 1), &strict),
        ["token-bytes: tokens.0 65537"]
    );
    let long = made(header_size(1 << 20), 4, fits);
    let len = long.metadata().to_json_text().len();
    assert_eq!(
        fields(&long, &strict),
        [format!("json-bytes: the JSON {len}")]
    );
    // At the limit, exactly.
    let short = made(
        header_size(1 << 20),
        4,
        fits - (len - (256 << 10)).div_ceil(4),
    );
    assert!(short.metadata().to_json_text().len() <= 256 << 10);
    assert_eq!(fields(&short, &strict), [""; 0]);
    // What the format itself bounds at the same place, tried with lower limits.
    let lower = |rule, max| {
        let policy = strict.clone();
        policy
            .with(rule, Limit::at_most(max), Severity::Violation)
            .unwrap()
    };
    let labelled = NewHeader {
        label: "x".repeat(47),
        subsystem: "y".into(),
        ..new_header()
    };
    let header = made(labelled, 2, 0);
    assert_eq!(fields(&header, &strict), [""; 0]);
    assert_eq!(
        fields(&header, &lower(Rule::LabelBytes, 46)),
        ["label-bytes: label 47"]
    );
    assert_eq!(
        fields(&header, &lower(Rule::Tokens, 1)),
        ["tokens: tokens 2"]
    );
    let size = header.metadata().keyslots_size();
    assert_eq!(
        fields(&header, &lower(Rule::KeyslotsAreaBytes, size - 1)),
        [format!("keyslots-area-bytes: config.keyslots_size {size}")]
    );
    let mut image = CLEAN.clone();
    more_keyslots(1, true)(&mut image);
    let header = loaded(&image).header;
    assert_eq!(
        fields(&header, &lower(Rule::Keyslots, 1)),
        ["keyslots: keyslots 2"]
    );
    assert_eq!(fields(&header, &lower(Rule::Keyslots, 2)), [""; 0]);
}

#[test]
fn bounds_depend_on_where_the_header_is() {
    let mut image = CLEAN.clone();
    set("/segments/0/offset", json!("0"))(&mut image);
    let find = |device| findings_of(Rule::SegmentBounds, &image, device).len();
    assert_eq!(find(device()), 1);
    assert_eq!(find(DataDevice::Apart { len_bytes: 512 }), 0);
    assert_eq!(find(DataDevice::Apart { len_bytes: 0 }), 1);
    assert_eq!(find(DataDevice::Unknown), 0);
}

/// A copy that is not known to be bad is not judged; all of what was loaded is.
#[test]
fn a_header_alone_says_nothing_of_its_copies() {
    let mut image = CLEAN.clone();
    image[5000] ^= 1;
    let selected = loaded(&image);
    let judgement = policy().judge(&selected, device());
    assert_eq!(judgement.findings()[0].field, "primary copy");
    assert!(policy().judge(&selected.header, device()).holds());
}

/// 60,000 flags are one rule's.
#[test]
fn a_flood_of_findings_is_bounded() {
    let mut new = new_header();
    new.header_size = 1 << 20;
    let header = made(new, 0, 0);
    let flags = vec!["x"; 30_000];
    let header = header
        .edit(|draft| {
            draft.set_flags(&flags);
            Ok(())
        })
        .unwrap();
    let judgement = policy().judge(&header, DataDevice::Unknown);
    assert_eq!(judgement.findings().len(), 64);
    assert_eq!(judgement.violations(), 30_000);
}
