//! Long random sequences of header verbs, given to cryptsetup and to lucarne on copies of one image, the two
//! programs changing places at random: after each step the same exit code, the same header but for what is
//! random, the same text of luksDump; every few steps the same keys.
//!
//! `LUCARNE_TEST_STEPS` sets how many steps each sequence has, `LUCARNE_TEST_SEED` the first seed.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::header::{in_folder, shape};
use common::{lucarne, must};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;
use serde_json::{Value, json};

const SEQUENCES: u64 = 2;
const STEPS: u64 = 100;
const KEYS: u64 = 6;
const CHEAP: &str = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000";
const OTHER_KDFS: [&str; 4] = [
    "--pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1",
    "--pbkdf argon2i --pbkdf-force-iterations 4 --pbkdf-memory 40 --pbkdf-parallel 1",
    "--pbkdf pbkdf2 --pbkdf-force-iterations 1500 --hash sha512",
    "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --keyslot-cipher aes-xts-plain64 --keyslot-key-size 256",
];

/// A generator whose numbers are the same everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// The words of one step; `@` is the image, `@name` a file beside it.
///
/// No key is in two keyslots: which of them is then found first depends on the order of the JSON's members.
fn step(random: &mut Random, new_key: u64, live: &[u64]) -> String {
    let key = match random.one_in(6) {
        true => random.below(new_key),
        false => live[random.below(live.len() as u64) as usize],
    };
    // Mostly the low ones, where there is something.
    let slot = match random.one_in(8) {
        true => random.below(34),
        false => random.below(8),
    };
    let kdf = match random.one_in(3) {
        true => OTHER_KDFS[random.below(4) as usize],
        false => CHEAP,
    };
    let chosen_slot = match random.one_in(3) {
        true => format!("--new-key-slot {slot}"),
        false => String::new(),
    };
    let unbound_slot = chosen_slot.replace("--new-key-slot", "-S");
    match random.below(20) {
        0..5 => format!("luksAddKey -q {kdf} -d @k{key} {chosen_slot} @ @k{new_key}"),
        5 => {
            format!(
                "luksAddKey -q {kdf} -s 512 --volume-key-file @volume-key {chosen_slot} @ @k{new_key}"
            )
        }
        6 => format!("luksAddKey -q {kdf} --unbound -s 256 {unbound_slot} @ @unbound"),
        7..10 => format!("luksChangeKey -q {kdf} -d @k{key} @ @k{new_key}"),
        10..12 => format!("luksConvertKey -q {kdf} -d @k{key} @"),
        12..14 => format!("luksRemoveKey -q @ @k{key}"),
        14..16 => format!("luksKillSlot -q @ {slot}"),
        16 => format!("luksKillSlot -q -d @k{key} @ {slot}"),
        17 => format!("open --test-passphrase -d @k{key} @"),
        18 => format!("open --test-passphrase -S {slot} -d @k{key} @"),
        _ => {
            format!(
                "luksAddKey -q {kdf} -s 512 --volume-key-file @volume-key {chosen_slot} @ @k{new_key}"
            )
        }
    }
}

/// A volume with a token and members that nobody knows.
fn start(scratch: &Scratch) -> PathBuf {
    for key in 0..KEYS {
        scratch.file(&format!("k{key}"), format!("key {key}").as_bytes());
    }
    // A key of its own: cryptsetup's exit code for one that opens an unbound keyslot only is another.
    scratch.file("unbound", b"no other keyslot's");
    scratch.file("volume-key", &(0..64).collect::<Vec<u8>>());
    let image = scratch.zeros("start", 11 << 20);
    must(in_folder(
        &format!(
            "luksFormat -q {CHEAP} --luks2-keyslots-size 9M --volume-key-file @volume-key -d @k0 @"
        ),
        scratch,
        &image,
    ));
    let mut bytes = std::fs::read(&image).unwrap();
    luks2::edit_json(&mut bytes, |json| {
        json["tokens"]["4"] = json!({
            "type": "example", "keyslots": ["0"], "more": {"deep": [1, 2, null, "x"]}
        });
        json["config"]["flags"] = json!(["allow-discards", "from-the-future"]);
    });
    std::fs::write(&image, &bytes).unwrap();
    image
}

/// luksDump's text without the lines that are random, and without the epoch: cryptsetup writes some changes in
/// several steps.
fn dump(outcome: &Outcome) -> String {
    let text = outcome.text();
    let is_hexadecimal = |line: &str| {
        let value = line.rsplit_once(':').map_or(line, |(_, value)| value);
        let mut words = value.split_whitespace().peekable();
        words.peek().is_some()
            && words.all(|word| word.len() == 2 && u8::from_str_radix(word, 16).is_ok())
    };
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("Epoch:") && !is_hexadecimal(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Where two JSON values differ, ours first.
fn differences(path: &str, a: &Value, b: &Value) -> Vec<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let member = |object: &serde_json::Map<String, Value>, name: &String| {
                object.get(name).cloned().unwrap_or(Value::Null)
            };
            let of_member = |name: &String| {
                differences(
                    &format!("{path}/{name}"),
                    &member(a, name),
                    &member(b, name),
                )
            };
            names.into_iter().flat_map(of_member).collect()
        }
        _ if a == b => Vec::new(),
        _ => vec![format!("{path}: {a} | {b}")],
    }
}

/// Where an unbound keyslot is the last that it looks at, cryptsetup's code for a wrong passphrase is that of
/// wrong parameters.
fn is_wrong_key_beside_unbound(our: &Outcome, their: &Outcome, image: &Path) -> bool {
    let digests = shape(image)["digests"].take();
    let mut digests = digests.as_object().unwrap().values();
    (our.code, their.code) == (Some(2), Some(1))
        && digests.any(|digest| digest["segments"] == json!([]))
}

fn who_opens(
    scratch: &Scratch,
    image: &Path,
    keys: &[u64],
    run: &dyn Fn(Vec<std::ffi::OsString>) -> Outcome,
) -> Vec<String> {
    keys.iter()
        .map(|key| {
            let words = format!("open -v --test-passphrase -d @k{key} @");
            let outcome = run(in_folder(&words, scratch, image));
            match outcome.code {
                Some(0) => {
                    let text = outcome.text();
                    let unlocked = text.lines().find(|line| line.starts_with("Key slot"));
                    unlocked.unwrap().to_owned()
                }
                Some(1 | 2) => "closed".to_owned(),
                code => format!("{code:?}"),
            }
        })
        .collect()
}

fn sequence(cryptsetup: &Cryptsetup, seed: u64, steps: u64) {
    let mut random = Random(seed);
    let scratch = Scratch::new();
    let start = start(&scratch);
    let (first, second) = (
        scratch.copy(&start, "first"),
        scratch.copy(&start, "second"),
    );
    let ours = |words: Vec<std::ffi::OsString>| lucarne(words);
    let theirs = |words: Vec<std::ffi::OsString>| cryptsetup.run(words);
    let mut succeeded = 0;
    let mut live = vec![0];
    for number in 0..steps {
        let new_key = KEYS + number;
        let words = step(&mut random, new_key, &live);
        scratch.file(&format!("k{new_key}"), format!("key {new_key}").as_bytes());
        let crossed = random.one_in(2);
        let (our_image, their_image) = match crossed {
            true => (&second, &first),
            false => (&first, &second),
        };
        let our = ours(in_folder(&words, &scratch, our_image));
        let their = theirs(in_folder(&words, &scratch, their_image));
        let what = format!("seed {seed}, step {number}: {words}");
        assert!(
            our.code == their.code || is_wrong_key_beside_unbound(&our, &their, our_image),
            "{what}: {:?} {} | {:?} {}",
            our.code,
            our.stderr,
            their.code,
            their.stderr,
        );
        if our.code == Some(0) && words.contains(&format!("@k{new_key}")) {
            live.push(new_key);
            live.drain(..live.len().saturating_sub(KEYS as usize));
        }
        succeeded += u64::from(our.code == Some(0));
        let differences = differences("", &shape(our_image), &shape(their_image));
        assert!(differences.is_empty(), "{what}: {differences:#?}");
        // Ours first: it writes nothing, cryptsetup might.
        let before = std::fs::read(our_image).unwrap();
        let our_dump = ours(in_folder("luksDump @", &scratch, our_image));
        let their_dump = theirs(in_folder("luksDump @", &scratch, our_image));
        assert_eq!(our_dump.text(), their_dump.text(), "{what}");
        assert!(
            before == std::fs::read(our_image).unwrap(),
            "{what}: cryptsetup had to repair"
        );
        let other = ours(in_folder("luksDump @", &scratch, their_image));
        assert_eq!(dump(&our_dump), dump(&other), "{what}");
        if number % 10 == 9 {
            let by_ours = who_opens(&scratch, &first, &live, &ours);
            assert_eq!(
                by_ours,
                who_opens(&scratch, &second, &live, &theirs),
                "{what}"
            );
        }
    }
    assert!(
        succeeded * 3 > steps,
        "only {succeeded} of {steps} steps did anything"
    );
    let token = &shape(&first)["tokens"]["4"]["more"]["deep"];
    assert_eq!(*token, json!([1, 2, null, "x"]));
}

#[test]
fn random_sequences_leave_the_same() {
    let Some(cryptsetup) = Cryptsetup::or_skip("sequences of header verbs") else {
        return;
    };
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let steps = number("LUCARNE_TEST_STEPS", STEPS);
    let first = number("LUCARNE_TEST_SEED", 1);
    std::thread::scope(|scope| {
        for seed in first..first + SEQUENCES {
            let cryptsetup = &cryptsetup;
            scope.spawn(move || sequence(cryptsetup, seed, steps));
        }
    });
}
