//! The metadata of an unfinished re-encryption, changed in one place: nobody acts on it, and nothing is written.

#![allow(clippy::unwrap_used, reason = "tests")]

use lucarne::{
    Control, Error, MemoryStorage, OpenOptions, Parallelism, ReencryptOptions, Reencryption,
    Secret, Storage, UnprotectedZone,
};
use lucarne_storage::fault::{Event, RecordingStorage};
use lucarne_testkit::half_reencrypted::{PASSPHRASE, State, state};
use lucarne_testkit::luks2;
use serde_json::{Map, Value, json};

/// Where a forger begins. Of those behind the second, one in three forgeries is tried; with LUCARNE_TEST_FORGED all are.
const STATES: [&str; 10] = [
    "reencrypt/checksum-torn",
    "encrypt-shift/head-torn",
    "reencrypt/initialised",
    "reencrypt/journal-torn",
    "encrypt-shift/zone-torn",
    "encrypt-shift/between",
    "encrypt-detached/initialised",
    "encrypt-detached/torn",
    "decrypt-shift/zone-torn",
    "decrypt-shift/head-checksum-torn",
];

/// What becomes of a forged volume.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Refused, with not one byte written.
    Refused(String),
    /// Done, and the plaintext is as it was.
    Same,
    /// Done, and the plaintext is another.
    Spoilt,
}

struct Forgery {
    what: String,
    json: Value,
}

/// What is accepted all the same, and why that does no harm; of which states (all, if none), and what becomes of it.
const ACCEPTED: [(&str, &str, Outcome, &str); 9] = [
    (
        "encrypt-shift/",
        "segments 3 and 5 exchanged",
        Outcome::Same,
        "previous and moved with other numbers: their flags say which is which, and cryptsetup has both orders",
    ),
    (
        "encrypt-shift/head-torn",
        "segments 2 and 4 exchanged",
        Outcome::Same,
        "as the one before",
    ),
    (
        "decrypt-shift/zone-torn",
        "segments 3 and 5 exchanged",
        Outcome::Same,
        "as the ones before",
    ),
    (
        "decrypt-shift/head-checksum-torn",
        "segments 2 and 4 exchanged",
        Outcome::Same,
        "as the ones before",
    ),
    (
        "decrypt-shift/zone-torn",
        "/segments/1/flags",
        Outcome::Spoilt,
        "the border is moved before the first zone: see a_border_is_vouched_for_by_nobody",
    ),
    (
        "",
        "/priority",
        Outcome::Same,
        "it opens nothing, and its priority has no meaning",
    ),
    (
        "encrypt-shift/zone-torn",
        "/segments/2/flags removed",
        Outcome::Spoilt,
        "the border is moved over the first zone: see a_border_is_vouched_for_by_nobody",
    ),
    (
        "encrypt-shift/zone-torn",
        "/segments/2/flags is []",
        Outcome::Spoilt,
        "as when they are removed",
    ),
    (
        "encrypt-shift/between",
        "/segments/2 is",
        Outcome::Same,
        "the last zone is done again, from the bytes that it was made of",
    ),
];

/// A state's devices.
struct Devices {
    image: MemoryStorage,
    header: Option<MemoryStorage>,
}

impl Devices {
    fn of(state: &State) -> Self {
        Self {
            image: MemoryStorage::from(state.image.clone()),
            header: state.header.clone().map(MemoryStorage::from),
        }
    }

    /// The header, and the data if they are apart.
    fn pair(&self) -> (&MemoryStorage, Option<&dyn Storage>) {
        match &self.header {
            Some(header) => (header, Some(&self.image)),
            None => (&self.image, None),
        }
    }

    fn into_state(self, state: &State) -> State {
        State {
            image: self.image.into_bytes(),
            header: self.header.map(MemoryStorage::into_bytes),
            ..state.clone()
        }
    }
}

fn is_same(a: &State, b: &State) -> bool {
    a.image == b.image && a.header == b.header
}

fn resume(state: &State) -> Outcome {
    let devices = Devices::of(state);
    let options = ReencryptOptions {
        hot_zone: Some(16 << 10),
        ..ReencryptOptions::default()
    };
    let (header, data) = devices.pair();
    let result = Reencryption::resume(header, data, &[PASSPHRASE], &options)
        .and_then(|resumed| resumed.run(Parallelism::default(), &Control::default()));
    let finished = devices.into_state(state);
    match result {
        Err(error) => {
            assert!(
                is_same(&finished, state),
                "{}: {error}, and something was written",
                state.name
            );
            Outcome::Refused(error.to_string())
        }
        // What is decrypted has no key any more.
        Ok(()) if state.name.starts_with("decrypt") => {
            match finished.image.starts_with(&state.payload) {
                true => Outcome::Same,
                false => Outcome::Spoilt,
            }
        }
        Ok(()) => match read(&finished) {
            // Something was written, for all that.
            Outcome::Refused(_) => Outcome::Spoilt,
            read => read,
        },
    }
}

/// As much as the volume says that it has.
fn read(state: &State) -> Outcome {
    let devices = Devices::of(state);
    let (header, data) = devices.pair();
    let options = OpenOptions::default();
    let passphrase = Secret::Passphrase(PASSPHRASE);
    let opened = match data {
        Some(data) => options.header(header).open(data, passphrase),
        None => options.open(header as &dyn Storage, passphrase),
    };
    let volume = match opened {
        Ok(volume) => volume,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let len = state
        .payload
        .len()
        .min(usize::try_from(volume.len()).unwrap());
    let mut bytes = vec![0; len];
    let result: Result<(), Error> = volume.read_at(&mut bytes, 0);
    drop(volume);
    assert!(is_same(&devices.into_state(state), state), "{}", state.name);
    match result {
        Err(error) => Outcome::Refused(error.to_string()),
        Ok(()) if bytes == state.payload[..len] => Outcome::Same,
        Ok(()) => Outcome::Spoilt,
    }
}

fn forgeries(sound: &Value) -> Vec<Forgery> {
    let mut all = Vec::new();
    let keyslots = sound["keyslots"].as_object().unwrap();
    let journal = keyslots
        .iter()
        .find(|(_, keyslot)| keyslot["type"] == "reencrypt");
    let journal = format!("/keyslots/{}", journal.unwrap().0);
    // The lists of a digest and flags are sets: another order of one is no change.
    let sorted = with_sorted_lists(sound);
    let mut add = |what: String, json: Value| {
        if with_sorted_lists(&json) != sorted {
            all.push(Forgery { what, json });
        }
    };
    for part in ["keyslots", "segments", "digests", "config"] {
        let mut visit = |path: &str, value: &Value| {
            // What an ordinary keyslot says of its key derivation is not a re-encryption's.
            let is_detail = path.matches('/').count() > 2;
            if part == "keyslots" && is_detail && !path.starts_with(&journal) {
                return;
            }
            for (how, other) in others(path, value) {
                let mut json = sound.clone();
                *json.pointer_mut(path).unwrap() = other;
                add(format!("{path} {how}"), json);
            }
            let (parent, name) = path.rsplit_once('/').unwrap();
            if let Value::Object(object) = sound.pointer(parent).unwrap() {
                let mut without = object.clone();
                without.remove(name);
                let mut json = sound.clone();
                *json.pointer_mut(parent).unwrap() = Value::Object(without);
                add(format!("{path} removed"), json);
            }
        };
        visit(&format!("/{part}"), &sound[part]);
        walk(&sound[part], &format!("/{part}"), &mut visit);
    }
    // Another order of the segments: the numbers of two exchanged, in the digests too and not.
    let count = sound["segments"].as_object().unwrap().len();
    for second in 0..count {
        for first in 0..second {
            let mut json = sound.clone();
            let segments = &mut json["segments"];
            let (a, b) = (first.to_string(), second.to_string());
            let kept = segments[&a].clone();
            segments[&a] = segments[&b].clone();
            segments[&b] = kept;
            add(format!("segments {first} and {second} exchanged"), json);
            let mut json = sound.clone();
            let digests = json["digests"].as_object_mut().unwrap();
            for digest in digests.values_mut() {
                for id in digest["segments"].as_array_mut().unwrap() {
                    if *id == a {
                        *id = json!(b);
                    } else if *id == b {
                        *id = json!(a);
                    }
                }
            }
            add(
                format!("digests of segments {first} and {second} exchanged"),
                json,
            );
        }
    }
    all
}

fn with_sorted_lists(json: &Value) -> Value {
    let mut json = json.clone();
    for part in ["digests", "segments"] {
        let members = json[part].as_object_mut();
        for member in members.into_iter().flat_map(Map::values_mut) {
            for list in ["keyslots", "segments", "flags"] {
                if let Some(list) = member.get_mut(list).and_then(Value::as_array_mut) {
                    list.sort_by_key(Value::to_string);
                    list.dedup();
                }
            }
        }
    }
    json
}

/// All members and elements, leaves and not.
fn walk(value: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}/{name}");
                visit(&path, member);
                walk(member, &path, visit);
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                walk(element, &format!("{path}/{index}"), visit);
            }
        }
        _ => {}
    }
}

/// Other values of the kind, and what they are.
fn others(path: &str, value: &Value) -> Vec<(String, Value)> {
    let mut others = Vec::new();
    match value {
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            others.extend([number * 2, number / 2, number + 1].map(|number| json!(number)));
        }
        Value::String(text) => {
            let is_number = |text: &str| text.parse::<u64>().ok();
            match is_number(text) {
                Some(number) => {
                    let numbers = [
                        number ^ 512,
                        number ^ 4096,
                        number ^ 16_384,
                        number ^ (1 << 40),
                        number + 1,
                        u64::MAX - 511,
                    ];
                    others.extend(numbers.map(|number| json!(number.to_string())));
                    if path.ends_with("size") {
                        others.push(json!("dynamic"));
                    }
                }
                None => {
                    let known: &[&str] = match text.as_str() {
                        "encrypt" | "decrypt" | "reencrypt" => &["encrypt", "decrypt", "reencrypt"],
                        "forward" | "backward" => &["forward", "backward"],
                        "crypt" | "linear" => &["crypt", "linear", "later"],
                        "luks2" => &["reencrypt", "later"],
                        "checksum" | "journal" | "datashift" => {
                            &["checksum", "journal", "datashift", "none", "later"]
                        }
                        "sha256" => &["sha1", "sha512", "later"],
                        "dynamic" => &["512", "16384", "1048576", "0"],
                        "pbkdf2" => &["argon2id", "later"],
                        "aes-xts-plain64" => {
                            &["aes-cbc-essiv:sha256", "aes-xts-plain", "cipher_null-ecb"]
                        }
                        "aes-cbc-essiv:sha256" => {
                            &["aes-xts-plain64", "aes-cbc-plain64", "cipher_null-ecb"]
                        }
                        _ => &["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
                    };
                    others.extend(known.iter().map(|other| json!(other)));
                }
            }
        }
        Value::Array(elements) => {
            for index in 0..elements.len() {
                let mut fewer = elements.clone();
                fewer.remove(index);
                others.push(Value::Array(fewer));
            }
            let possible: &[&str] = if path.ends_with("mandatory") {
                &[
                    "online-reencrypt",
                    "online-reencrypt-v2",
                    "online-reencrypt-v3",
                    "offline-reencrypt",
                    "later",
                ]
            } else if path.ends_with("flags") {
                &[
                    "in-reencryption",
                    "backup-previous",
                    "backup-final",
                    "backup-moved-segment",
                ]
            } else {
                &["0", "1", "2", "3", "4", "5"]
            };
            for other in possible {
                let mut more = elements.clone();
                more.push(json!(other));
                others.push(Value::Array(more));
                if elements.len() == 1 {
                    others.push(json!([other]));
                }
            }
        }
        Value::Object(members)
            if path.starts_with("/segments/") && !members.contains_key("flags") =>
        {
            for flag in ["in-reencryption", "backup-previous", "backup-final"] {
                let mut flagged = members.clone();
                flagged.insert("flags".into(), json!([flag]));
                others.push(Value::Object(flagged));
            }
        }
        // One more of them.
        Value::Object(members) if path == "/keyslots" || path == "/segments" => {
            for member in members.values() {
                let mut more: Map<String, Value> = members.clone();
                more.insert(members.len().to_string(), member.clone());
                others.push(Value::Object(more));
            }
        }
        _ => {}
    }
    let shown = |value: &Value| value.to_string().chars().take(80).collect::<String>();
    let others = others.into_iter().filter(|other| other != value);
    others
        .map(|other| (format!("is {}", shown(&other)), other))
        .collect()
}

#[test]
fn what_is_forged_is_refused_with_nothing_written() {
    let (mut refused, mut accepted, mut read_all_the_same) = (0, 0, 0);
    let mut unexpected = Vec::new();
    let all = std::env::var_os("LUCARNE_TEST_FORGED").is_some();
    for (number, name) in STATES.into_iter().enumerate() {
        let mut sound = state(name);
        assert_eq!(read(&sound), Outcome::Same, "{name}");
        assert_eq!(resume(&sound), Outcome::Same, "{name}");
        let step = if all || number < 2 { 1 } else { 3 };
        let forgeries = forgeries(&luks2::json(sound.header_mut(), 0));
        for Forgery { what, json } in forgeries.into_iter().skip(number % step).step_by(step) {
            let mut forged = sound.clone();
            luks2::set_json(forged.header_mut(), json.to_string().as_bytes());
            let known = ACCEPTED.iter().find(|(state, part, ..)| {
                name.starts_with(state) && what.contains(part) && !what.starts_with("digests")
            });
            let (read, resumed) = (read(&forged), resume(&forged));
            match (known, &resumed) {
                (_, Outcome::Refused(why)) => {
                    assert!(why.len() > 10, "{name}: {what}: {why}");
                    refused += 1;
                }
                (Some((.., outcome, _)), found) if outcome == found => accepted += 1,
                _ => unexpected.push(format!("{name}: {what}: {resumed:?}")),
            }
            // What is read all the same is the plaintext.
            match read {
                Outcome::Refused(_) => {}
                Outcome::Same => read_all_the_same += 1,
                Outcome::Spoilt if matches!(known, Some((_, _, Outcome::Spoilt, _))) => {}
                Outcome::Spoilt => {
                    unexpected.push(format!("{name}: {what}: read as something else"))
                }
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    println!("{refused} refused, {accepted} accepted, {read_all_the_same} read");
    assert!(refused > 1000 && accepted < 40);
}

/// The digest covers what the data were and will be, not how far it is: whoever writes the header can move the border
/// from one step to another, as they can write over the data. They learn nothing by it, and nothing is read or written
/// outside of the data.
#[test]
fn a_border_is_vouched_for_by_nobody() {
    let mut moved = state("reencrypt/checksum-between");
    luks2::edit_json(&mut moved.image, |json| {
        let start = 1_048_576;
        json["segments"]["0"]["size"] = json!("16384");
        json["segments"]["1"]["offset"] = json!((start + 16_384).to_string());
        json["segments"]["1"]["iv_tweak"] = json!("32");
    });
    let sound = state("reencrypt/checksum-between");
    assert!(moved.image != sound.image);
    assert_eq!(resume(&sound), Outcome::Same);
    assert_eq!(
        (read(&moved), resume(&moved)),
        (Outcome::Spoilt, Outcome::Spoilt)
    );
}

/// What cryptsetup leaves when it is killed after its last zone: finished by its metadata alone, whether a keyslot of
/// the old key still opens, is wiped, or is gone.
#[test]
fn what_is_all_new_is_finished_without_the_old_key() {
    for (name, unopened) in [
        ("all-new, before the first wipe", vec![]),
        ("all-new", vec![0]),
        ("all-new-old-key-wiped", vec![0]),
        ("all-new-old-key-gone", vec![]),
    ] {
        let (base, _) = name.split_once(',').unwrap_or((name, ""));
        let mut sound = state(&format!("reencrypt/{base}"));
        if name != base {
            // Wiping has begun in the state as it is.
            let key = 32_768..98_304;
            let before = state("reencrypt/checksum-torn").image;
            sound.image[key.clone()].copy_from_slice(&before[key]);
        }
        let image = MemoryStorage::from(sound.image.clone());
        let options = ReencryptOptions::default();
        let wrong = Reencryption::resume(&image, None, &[b"wrong"], &options).unwrap_err();
        assert!(matches!(wrong, Error::WrongKey), "{wrong}");
        let resumed = Reencryption::resume(&image, None, &[PASSPHRASE], &options).unwrap();
        assert_eq!(resumed.unopened_keyslots(), unopened, "{name}");
        resumed
            .run(Parallelism::default(), &Control::default())
            .unwrap();
        let mut finished = sound.clone();
        finished.image = image.into_bytes();
        assert_eq!(read(&finished), Outcome::Same, "{name}");
        let (before, after) = (
            luks2::json(&sound.image, 0),
            luks2::json(&finished.image, 0),
        );
        assert_eq!(after["config"].get("requirements"), None, "{name}");
        assert_eq!(after["segments"].as_object().unwrap().len(), 1, "{name}");
        let keyslots: Vec<&String> = after["keyslots"].as_object().unwrap().keys().collect();
        match unopened.is_empty() {
            true => assert_eq!(keyslots, ["1"], "{name}"),
            false => assert_eq!(keyslots, ["0", "1"], "{name}"),
        }
        let data = luks2::data_offset(&sound.image);
        assert!(
            finished.image[data..] == sound.image[data..],
            "{name}: data written"
        );
        if !unopened.is_empty() {
            let area = &before["keyslots"]["0"]["area"];
            let number = |name: &str| area[name].as_str().unwrap().parse::<usize>().unwrap();
            let area = number("offset")..number("offset") + number("size");
            assert!(
                finished.image[area.clone()] == sound.image[area],
                "{name}: wiped"
            );
        }
    }
}

/// Resilience `none` marks its zone, and nothing tells old from new in it.
#[test]
fn an_unprotected_zone_goes_on_when_it_is_said_what_it_counts_as() {
    let begun = begun_without_resilience();
    // Part of the zone is new: what a crash leaves.
    let zone = 0..16 << 10;
    for (side, spoilt) in [
        (UnprotectedZone::Old, 0..NEW_LEN),
        (UnprotectedZone::New, NEW_LEN..zone.end),
    ] {
        let image = MemoryStorage::from(begun.image.clone());
        let mut options = ReencryptOptions {
            hot_zone: Some(16 << 10),
            ..ReencryptOptions::default()
        };
        let resumed = Reencryption::resume(&image, None, &[PASSPHRASE], &options).unwrap();
        assert_eq!(resumed.hot_zone(), Some(0..16 << 10));
        let error = resumed
            .run(Parallelism::default(), &Control::default())
            .unwrap_err();
        assert!(matches!(error, Error::Device(_)), "{error}");
        assert!(error.to_string().contains("bytes 0..16384"), "{error}");
        options.unprotected_zone = Some(side);
        Reencryption::resume(&image, None, &[PASSPHRASE], &options)
            .unwrap()
            .run(Parallelism::default(), &Control::default())
            .unwrap();
        let volume = OpenOptions::default()
            .open(&image, Secret::Passphrase(PASSPHRASE))
            .unwrap();
        let mut bytes = vec![0; begun.payload.len()];
        volume.read_at(&mut bytes, 0).unwrap();
        let is_same = |range: std::ops::Range<usize>| bytes[range.clone()] == begun.payload[range];
        assert!(!is_same(spoilt.clone()), "{side:?}");
        assert!(
            is_same(0..spoilt.start) && is_same(spoilt.end..bytes.len()),
            "{side:?}"
        );
    }
}

/// So much of the zone is new.
const NEW_LEN: usize = 8 << 10;

/// Killed in its first zone.
fn begun_without_resilience() -> State {
    let mut begun = state("reencrypt/no-resilience");
    // Of its two copies the other is of the moment before.
    luks2::edit_json(&mut begun.image, |_| {});
    let initialised = MemoryStorage::from(begun.image.clone());
    // As it was begun, with nothing done.
    let (old, new) = {
        let recording = RecordingStorage::new(initialised.into_bytes());
        let options = ReencryptOptions {
            hot_zone: Some(16 << 10),
            ..ReencryptOptions::default()
        };
        Reencryption::resume(&recording, None, &[PASSPHRASE], &options)
            .unwrap()
            .run(Parallelism::default(), &Control::default())
            .unwrap();
        let data = luks2::data_offset(&begun.image) as u64;
        let mut image = begun.image.clone();
        let mut new = None;
        for event in recording.events() {
            let Event::Write {
                offset,
                data: bytes,
            } = event
            else {
                continue;
            };
            if offset >= data {
                new = Some((usize::try_from(offset).unwrap(), bytes));
                break;
            }
            let start = usize::try_from(offset).unwrap();
            image[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        (image, new.unwrap())
    };
    begun.image = old;
    let (start, bytes) = new;
    begun.image[start..start + NEW_LEN].copy_from_slice(&bytes[..NEW_LEN]);
    begun
}

/// Where all data are under the new key, and no keyslot has the old one, a change of key is finished on the new key's word
/// alone. The end of an encryption overwrites the copy of its head: that would be wherever a forger says.
#[test]
fn an_encryption_is_not_finished_on_one_keys_word() {
    let mut forged = state("encrypt-shift/between");
    let mut header = luks2::json(&forged.image, 0);
    let segments = header["segments"].as_object().unwrap();
    let backup = |flag: &str| {
        let has = |segment: &&Value| {
            segment["flags"]
                .as_array()
                .is_some_and(|flags| flags.contains(&json!(flag)))
        };
        segments.values().find(has).unwrap().clone()
    };
    let (previous, last, mut moved) = (
        backup("backup-previous"),
        backup("backup-final"),
        backup("backup-moved-segment"),
    );
    let mut data = last.clone();
    data.as_object_mut().unwrap().remove("flags");
    // The volume's own first bytes, so that what a forger could do is seen.
    moved["offset"] = last["offset"].clone();
    header["segments"] = json!({"0": data, "1": previous, "2": last, "3": moved});
    let digests = header["digests"].as_object_mut().unwrap();
    let (new_id, _) = digests
        .iter()
        .find(|(_, digest)| digest["segments"] != json!([]))
        .unwrap();
    let new_id = new_id.clone();
    digests[&new_id]["segments"] = json!(["0", "2"]);
    let mut old = digests[&new_id].clone();
    old["segments"] = json!(["1", "3"]);
    old["keyslots"] = json!([]);
    digests.insert("7".into(), old);
    luks2::set_json(&mut forged.image, header.to_string().as_bytes());
    let outcome = resume(&forged);
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}
