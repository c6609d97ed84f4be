//! The verbs that change keys, with the same words given to cryptsetup and to lucarne: the same exit code,
//! the same header but for what is random, the same keys afterwards; and a refusal changes no byte.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::header::{in_folder, shape};
use common::{Findings, lucarne, lucarne_with_stdin, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;

const CHEAP: &str = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000";
const KEYS: [&[u8]; 4] = [b"one", b"two", b"three", b"four\nlines"];

/// A volume with keyslots 0 and 1 under the first two of [`KEYS`], and files k1 to k4 of them.
struct Volume {
    scratch: Scratch,
    image: PathBuf,
}

impl Volume {
    fn new() -> Self {
        Self::of("--type luks2 --luks2-keyslots-size 3M")
    }

    fn luks1() -> Self {
        Self::of("--type luks1")
    }

    /// With these options of luksFormat.
    fn of(format: &str) -> Self {
        let scratch = Scratch::new();
        for (index, key) in KEYS.iter().enumerate() {
            scratch.file(&format!("k{}", index + 1), key);
        }
        let key: Vec<u8> = (0..64).collect();
        scratch.file("volume-key", &key);
        scratch.file(
            "wrong-volume-key",
            &key.iter().map(|byte| byte ^ 0x80).collect::<Vec<_>>(),
        );
        scratch.file("empty", b"");
        scratch.file("text", b"no volume at all, and long enough to look at");
        let image = scratch.zeros("base", 5 << 20);
        let here = |words: &str| in_folder(words, &scratch, &image);
        must(here(&format!(
            "luksFormat -q {CHEAP} {format} --volume-key-file @volume-key --key-file @k1 @"
        )));
        must(here(&format!("luksAddKey {CHEAP} -d @k1 @ @k2")));
        Self { scratch, image }
    }

    fn copy(&self, name: &str) -> PathBuf {
        self.scratch.copy(&self.image, name)
    }
}

/// Which keyslot each key opens, by cryptsetup, on a copy.
fn who_opens(cryptsetup: &Cryptsetup, volume: &Volume, image: &Path) -> Vec<Option<String>> {
    let copy = volume.scratch.copy(image, "who-opens");
    (1..=KEYS.len())
        .map(|key| {
            let words = in_folder(
                &format!("open -v --test-passphrase --key-file @k{key} @"),
                &volume.scratch,
                &copy,
            );
            let outcome = cryptsetup.run(words);
            (outcome.code == Some(0)).then(|| outcome.text().lines().next().unwrap().to_owned())
        })
        .collect()
}

fn compare(
    cryptsetup: &Cryptsetup,
    volume: &Volume,
    (words, stdin): (&str, &str),
    findings: &mut Findings,
) {
    let (ours, theirs) = (volume.copy("ours"), volume.copy("theirs"));
    let before = std::fs::read(&ours).unwrap();
    let our = lucarne_with_stdin(in_folder(words, &volume.scratch, &ours), stdin.as_bytes());
    let their =
        cryptsetup.run_with_stdin(in_folder(words, &volume.scratch, &theirs), stdin.as_bytes());
    findings.check(our.code == their.code, || {
        format!(
            "{words}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
            our.code,
            our.stderr.trim(),
            their.code,
            their.stderr.lines().last().unwrap_or_default()
        )
    });
    if our.code == Some(0) && their.code == Some(0) {
        findings.equal(words, &shape(&ours), &shape(&theirs));
        findings.equal(
            &format!("{words}: who opens"),
            &who_opens(cryptsetup, volume, &ours),
            &who_opens(cryptsetup, volume, &theirs),
        );
        // cryptsetup finds nothing to mend in what we wrote.
        let written = std::fs::read(&ours).unwrap();
        cryptsetup.must(words!["luksDump", &ours]);
        findings.check(written == std::fs::read(&ours).unwrap(), || {
            format!("{words}: cryptsetup repaired what we wrote")
        });
    }
    if our.code != Some(0) {
        findings.check(before == std::fs::read(&ours).unwrap(), || {
            format!("{words}: refused, and changed the image")
        });
        findings.check(our.stderr.lines().count() >= 1, || {
            format!("{words}: nothing was said")
        });
    }
}

#[test]
fn the_same_words_do_the_same() {
    let Some(cryptsetup) = Cryptsetup::or_skip("verbs that change keys") else {
        return;
    };
    let cases = [
        // Adding.
        ("luksAddKey CHEAP -d @k1 @ @k3", ""),
        ("luksAddKey CHEAP @", "one\nthree\n"),
        ("luksAddKey CHEAP -d @k2 @", "three"),
        ("luksAddKey CHEAP -d @k1 @ -", "four\nlines"),
        ("luksAddKey CHEAP -d @k1 --new-keyfile @k3 @", ""),
        ("luksAddKey CHEAP -d @k1 --new-keyfile @k3 @ @k4", ""),
        (
            "luksAddKey CHEAP -d @k1 --new-keyfile-offset 5 --new-keyfile-size 5 @ @k4",
            "",
        ),
        ("luksAddKey CHEAP -d @k1 -S 5 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 --new-key-slot 5 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 0 --new-key-slot 5 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 1 --new-key-slot 5 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 1 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 31 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 32 @ @k3", ""),
        ("luksAddKey CHEAP -d @k3 @ @k4", ""),
        ("luksAddKey CHEAP -d @k1 @ @none", ""),
        ("luksAddKey CHEAP -d @none @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 @", ""),
        ("luksAddKey CHEAP -d @k1 @none", ""),
        ("luksAddKey CHEAP -d @k1 @text @k3", ""),
        ("luksAddKey CHEAP --volume-key-file @volume-key @ @k3", ""),
        (
            "luksAddKey CHEAP --volume-key-file @wrong-volume-key @ @k3",
            "",
        ),
        ("luksAddKey CHEAP --volume-key-file @k1 @ @k3", ""),
        ("luksAddKey CHEAP --unbound -s 256 @ @k3 -q", ""),
        ("luksAddKey CHEAP --unbound -s 512 -S 9 @ @k3 -q", ""),
        (
            "luksAddKey CHEAP --unbound -s 512 --volume-key-file @wrong-volume-key @ @k3 -q",
            "",
        ),
        ("luksAddKey CHEAP --unbound @ @k3 -q", ""),
        ("luksAddKey CHEAP -d @k1 --hash sha512 @ @k3", ""),
        (
            "luksAddKey CHEAP -d @k1 --keyslot-cipher aes-xts-plain64 --keyslot-key-size 256 @ @k3",
            "",
        ),
        (
            "luksAddKey --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1 -d @k1 @ @k3",
            "",
        ),
        (
            "luksAddKey --pbkdf argon2i --pbkdf-force-iterations 5 --pbkdf-memory 64 --pbkdf-parallel 1 -d @k1 @ @k3",
            "",
        ),
        (
            "luksAddKey --pbkdf pbkdf2 --pbkdf-force-iterations 999 -d @k1 @ @k3",
            "",
        ),
        // Changing.
        ("luksChangeKey CHEAP -d @k1 @ @k3", ""),
        ("luksChangeKey CHEAP @", "two\nthree\n"),
        ("luksChangeKey CHEAP -d @k1 -S 1 @ @k3", ""),
        ("luksChangeKey CHEAP -d @k1 -S 7 @ @k3", ""),
        ("luksChangeKey CHEAP -d @k3 @ @k4", ""),
        ("luksChangeKey CHEAP -d @k1 @ @none", ""),
        ("luksChangeKey CHEAP -d @k1 @ @k1", ""),
        (
            "luksChangeKey -d @k1 --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1 @ @k3",
            "",
        ),
        // Converting.
        (
            "luksConvertKey -d @k1 --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1 @",
            "",
        ),
        (
            "luksConvertKey -d @k1 --pbkdf pbkdf2 --pbkdf-force-iterations 2000 --hash sha512 @",
            "",
        ),
        (
            "luksConvertKey -d @k1 CHEAP --keyslot-cipher aes-xts-plain64 --keyslot-key-size 256 @",
            "",
        ),
        ("luksConvertKey -d @k1 CHEAP -S 1 @", ""),
        ("luksConvertKey -d @k1 CHEAP -S 9 @", ""),
        ("luksConvertKey -d @k3 CHEAP @", ""),
        // Removing.
        ("luksRemoveKey @ @k1", ""),
        ("luksRemoveKey -d @k2 @", ""),
        ("luksRemoveKey @", "two"),
        ("luksRemoveKey @ @k3", ""),
        ("luksRemoveKey @ @none", ""),
        ("luksRemoveKey @", ""),
        ("luksRemoveKey @text @k1", ""),
        // Killing.
        ("luksKillSlot -q @ 1", ""),
        ("luksKillSlot -q @ 0", ""),
        ("luksKillSlot @ 1", "one"),
        ("luksKillSlot @ 1", "two"),
        ("luksKillSlot -q @ 1", "two"),
        ("luksKillSlot -d @k1 @ 1", ""),
        ("luksKillSlot -d @k2 @ 1", ""),
        ("luksKillSlot -q -d @k3 @ 1", ""),
        ("luksKillSlot -q @ 7", ""),
        ("luksKillSlot -q @ 40", ""),
        ("luksKillSlot -q @", ""),
        // Erasing.
        ("luksErase -q @", ""),
        ("erase -q @", ""),
        ("luksErase -q @text", ""),
        ("luksErase -q @none", ""),
    ];
    let cases: Vec<(String, &str)> = cases
        .iter()
        .map(|(words, stdin)| (words.replace("CHEAP", CHEAP), *stdin))
        .collect();
    common::for_each(&cases, |(words, stdin), findings| {
        let volume = Volume::new();
        compare(&cryptsetup, &volume, (words, stdin), findings);
    });
}

/// The same on LUKS1, where each new key goes to a free number.
#[test]
fn the_same_words_do_the_same_on_luks1() {
    let Some(cryptsetup) = Cryptsetup::or_skip("verbs that change keys of LUKS1") else {
        return;
    };
    let cases = [
        // Adding.
        ("luksAddKey CHEAP -d @k1 @ @k3", ""),
        ("luksAddKey CHEAP @", "one\nthree\n"),
        ("luksAddKey CHEAP -d @k1 -S 5 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 6 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 --new-key-slot 7 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 0 --new-key-slot 5 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 1 --new-key-slot 5 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 1 @ @k3", ""),
        ("luksAddKey CHEAP -d @k1 -S 8 @ @k3", ""),
        ("luksAddKey CHEAP -d @k3 @ @k4", ""),
        ("luksAddKey CHEAP --type luks1 -d @k1 @ @k3", ""),
        ("luksAddKey CHEAP --type luks2 -d @k1 @ @k3", ""),
        ("luksAddKey CHEAP --volume-key-file @volume-key @ @k3", ""),
        (
            "luksAddKey CHEAP --volume-key-file @wrong-volume-key @ @k3",
            "",
        ),
        ("luksAddKey CHEAP --volume-key-file @k1 @ @k3", ""),
        // One hash serves all.
        ("luksAddKey CHEAP -d @k1 --hash sha512 @ @k3", ""),
        ("luksAddKey CHEAP --unbound -s 256 @ @k3 -q", ""),
        (
            "luksAddKey CHEAP -d @k1 --keyslot-cipher aes-xts-plain64 --keyslot-key-size 256 @ @k3",
            "",
        ),
        (
            "luksAddKey --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1 -d @k1 @ @k3",
            "",
        ),
        ("luksAddKey --pbkdf-force-iterations 1000 -d @k1 @ @k3", ""),
        ("luksAddKey --pbkdf-force-iterations 999 -d @k1 @ @k3", ""),
        // Changing.
        ("luksChangeKey CHEAP -d @k1 @ @k3", ""),
        ("luksChangeKey CHEAP @", "two\nthree\n"),
        ("luksChangeKey CHEAP -d @k1 -S 0 @ @k3", ""),
        ("luksChangeKey CHEAP -d @k1 -S 1 @ @k3", ""),
        ("luksChangeKey CHEAP -d @k1 -S 7 @ @k3", ""),
        ("luksChangeKey CHEAP -d @k3 @ @k4", ""),
        ("luksChangeKey CHEAP -d @k1 @ @k1", ""),
        (
            "luksChangeKey -d @k1 --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1 @ @k3",
            "",
        ),
        // Not of LUKS1.
        ("luksConvertKey -d @k1 CHEAP @", ""),
        ("luksConvertKey -d @k1 CHEAP --type luks1 @", ""),
        // Removing.
        ("luksRemoveKey @ @k1", ""),
        ("luksRemoveKey -d @k2 @", ""),
        ("luksRemoveKey @", "two"),
        ("luksRemoveKey @ @k3", ""),
        // Killing.
        ("luksKillSlot -q @ 1", ""),
        ("luksKillSlot -q @ 0", ""),
        ("luksKillSlot @ 1", "one"),
        ("luksKillSlot @ 1", "two"),
        ("luksKillSlot -d @k1 @ 1", ""),
        ("luksKillSlot -d @k2 @ 1", ""),
        ("luksKillSlot -q -d @k3 @ 1", ""),
        ("luksKillSlot -q @ 7", ""),
        ("luksKillSlot -q @ 8", ""),
        ("luksKillSlot -q --type luks2 @ 1", ""),
        // Erasing.
        ("luksErase -q @", ""),
    ];
    let cases: Vec<(String, &str)> = cases
        .iter()
        .map(|(words, stdin)| (words.replace("CHEAP", CHEAP), *stdin))
        .collect();
    common::for_each(&cases, |(words, stdin), findings| {
        compare(&cryptsetup, &Volume::luks1(), (words, stdin), findings);
    });
}

/// With all eight keyslots in use a key is changed where it is, as in cryptsetup, and none can be added.
#[test]
fn a_full_luks1_header_is_treated_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("LUKS1 with eight keyslots") else {
        return;
    };
    let cases = [
        (format!("luksChangeKey {CHEAP} -d @k1 @ @k3"), ""),
        (format!("luksChangeKey {CHEAP} -d @k2 -S 1 @ @k3"), ""),
        (format!("luksAddKey {CHEAP} -d @k1 @ @k3"), ""),
        ("luksRemoveKey @ @k1".to_owned(), ""),
        ("luksErase -q @".to_owned(), ""),
    ];
    common::for_each(&cases, |(words, stdin), findings| {
        let volume = Volume::luks1();
        for _ in 2..8 {
            let words = format!("luksAddKey {CHEAP} -d @k1 @ @k4");
            must(in_folder(&words, &volume.scratch, &volume.image));
        }
        compare(&cryptsetup, &volume, (words, stdin), findings);
    });
}

/// With one keyslot left, and nobody to ask: cryptsetup removes it, and so do we.
#[test]
fn the_last_keyslot_goes_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("removing the last keyslot") else {
        return;
    };
    let cases = [
        ("luksRemoveKey -q @ @k1", ""),
        ("luksRemoveKey @ @k1", ""),
        ("luksKillSlot -q @ 0", ""),
        ("luksKillSlot @ 0", "one"),
        ("luksKillSlot @ 0", "two"),
        ("luksKillSlot -d @k1 @ 0", ""),
        ("luksErase @", ""),
    ];
    let cases = cases.map(|case| [(Volume::new as fn() -> Volume, case), (Volume::luks1, case)]);
    common::for_each(cases.as_flattened(), |(make, case), findings| {
        let volume = make();
        must(in_folder(
            "luksKillSlot -q @ 1",
            &volume.scratch,
            &volume.image,
        ));
        compare(&cryptsetup, &volume, *case, findings);
    });
}

/// Where a keyslot is named, cryptsetup 2.6 writes the new key material over the old: a power cut then loses
/// both. Ours goes elsewhere, as without a name.
#[test]
fn a_named_keyslot_is_not_changed_in_place() {
    let volume = Volume::new();
    let area = |image: &Path| shape(image)["keyslots"]["0"]["area"]["offset"].clone();
    let before = area(&volume.image);
    let words = format!("luksChangeKey {CHEAP} -d @k1 -S 0 @ @k3");
    must(in_folder(&words, &volume.scratch, &volume.image));
    assert_ne!(area(&volume.image), before);
    must(in_folder(
        "open --test-passphrase -S 0 -d @k3 @",
        &volume.scratch,
        &volume.image,
    ));
}

/// Without a keyslot nobody but --key-size says how much of a file the volume key is.
#[test]
fn a_volume_key_of_a_volume_without_keyslots() {
    let Some(cryptsetup) = Cryptsetup::or_skip("a volume key without keyslots") else {
        return;
    };
    let volume = Volume::new();
    must(in_folder("luksErase -q @", &volume.scratch, &volume.image));
    let mut long = std::fs::read(volume.scratch.path("volume-key")).unwrap();
    long.extend(b"and more");
    volume.scratch.file("long", &long);
    let mut findings = Findings::default();
    for bits in [512, 256] {
        findings.case();
        let words = format!("luksAddKey {CHEAP} -s {bits} --volume-key-file @long @ @k3");
        compare(&cryptsetup, &volume, (&words, ""), &mut findings);
    }
    findings.finish();
}

/// What cannot be meant is refused, and limits hold for the verbs that change a header too.
#[test]
fn no_option_of_a_key_verb_is_ignored() {
    let volume = Volume::new();
    let before = std::fs::read(&volume.image).unwrap();
    for (words, said) in [
        ("luksKillSlot -q -S 1 @ 1", "--key-slot"),
        ("luksKillSlot -q --max-header 32767 @ 1", "--max-header"),
        ("luksAddKey -d @k1 --max-header 32767 @ @k3", "--max-header"),
        (
            "luksChangeKey -d @k1 --max-header 32767 @ @k3",
            "--max-header",
        ),
        ("luksConvertKey -d @k1 --max-header 32767 @", "--max-header"),
        ("luksRemoveKey --max-header 32767 @ @k1", "--max-header"),
        (
            "luksRemoveKey --max-pbkdf-iterations 999 @ @k1",
            "--max-pbkdf-iterations",
        ),
    ] {
        let outcome = lucarne(in_folder(words, &volume.scratch, &volume.image));
        assert_eq!(outcome.code, Some(1), "{words}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{words}: {}", outcome.stderr);
        assert!(before == std::fs::read(&volume.image).unwrap(), "{words}");
    }
}

/// cryptsetup takes an empty standard input for a yes; a key is not removed here unless somebody said so.
#[test]
fn a_keyslot_is_not_killed_without_a_word() {
    let volume = Volume::new();
    let before = std::fs::read(&volume.image).unwrap();
    let outcome = lucarne(in_folder(
        "luksKillSlot @ 1",
        &volume.scratch,
        &volume.image,
    ));
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("nothing to read"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("--batch-mode"),
        "{}",
        outcome.stderr
    );
    assert!(before == std::fs::read(&volume.image).unwrap());
    // And what is no number is not slot 0.
    let outcome = lucarne(in_folder(
        "luksKillSlot -q @ x",
        &volume.scratch,
        &volume.image,
    ));
    assert_eq!(outcome.code, Some(1));
    assert!(before == std::fs::read(&volume.image).unwrap());
}

/// Members and tokens that nobody here knows survive every verb.
#[test]
fn what_is_unknown_survives() {
    let volume = Volume::new();
    let mut bytes = std::fs::read(&volume.image).unwrap();
    luks2::edit_json(&mut bytes, |json| {
        json["tokens"]["3"] = serde_json::json!({
            "type": "example", "keyslots": ["1"], "more": {"deep": [1, 2.5, null, "x"]}
        });
        json["keyslots"]["1"]["note"] = "kept".into();
        json["config"]["flags"] = serde_json::json!(["allow-discards", "from-the-future"]);
    });
    std::fs::write(&volume.image, &bytes).unwrap();
    for words in [
        format!("luksAddKey {CHEAP} -d @k1 @ @k3"),
        format!("luksChangeKey {CHEAP} -d @k2 @ @k4"),
        format!("luksConvertKey {CHEAP} -d @k4 @"),
        "luksRemoveKey @ @k1".to_owned(),
    ] {
        must(in_folder(&words, &volume.scratch, &volume.image));
        let json = luks2::json(&std::fs::read(&volume.image).unwrap(), 0);
        assert_eq!(json["tokens"]["3"]["more"]["deep"][1], 2.5, "{words}");
        assert_eq!(json["tokens"]["3"]["keyslots"][0], "1", "{words}");
        assert_eq!(json["keyslots"]["1"]["note"], "kept", "{words}");
        assert_eq!(json["config"]["flags"][1], "from-the-future", "{words}");
    }
}

/// Requirements stop every verb but those that take keys away, as in cryptsetup.
#[test]
fn requirements_stop_what_adds() {
    let Some(cryptsetup) = Cryptsetup::or_skip("requirements") else {
        return;
    };
    let cases: Vec<(String, &str)> = [
        "luksAddKey CHEAP -d @k1 @ @k3",
        "luksAddKey CHEAP --unbound -s 256 -q @ @k3",
        "luksChangeKey CHEAP -d @k1 @ @k3",
        "luksConvertKey CHEAP -d @k1 @",
        "luksRemoveKey @ @k1",
        "luksKillSlot -q @ 1",
        "luksErase -q @",
    ]
    .iter()
    .flat_map(|words| {
        let words = words.replace("CHEAP", CHEAP);
        ["from-the-future", "offline-reencrypt"].map(|requirement| (words.clone(), requirement))
    })
    .collect();
    common::for_each(&cases, |(words, requirement), findings| {
        let volume = Volume::new();
        let mut bytes = std::fs::read(&volume.image).unwrap();
        luks2::edit_json(&mut bytes, |json| {
            json["config"]["requirements"] = serde_json::json!({"mandatory": [requirement]});
        });
        std::fs::write(&volume.image, &bytes).unwrap();
        compare(&cryptsetup, &volume, (words, ""), findings);
    });
}
