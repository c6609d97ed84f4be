//! Headers that lie.

use std::ffi::OsString;

use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

use crate::common::{self, for_each, key_file, lucarne, must, words};
use crate::damages::{Peer::Refuses, damages};
use crate::{HEADER_LEN, LAYOUT, one_line};

#[test]
fn damaged_volumes_are_refused_in_one_line_and_left_alone() {
    let cryptsetup = Cryptsetup::or_skip("exit codes on damaged volumes");
    let origin = Scratch::new();
    let sound = std::fs::read(common::encrypted(
        &origin,
        "sound",
        &stream("sound", 64 << 10),
        &LAYOUT,
    ))
    .unwrap();
    for_each(&damages(), |damage, findings| {
        let scratch = Scratch::new();
        let mut bytes = sound.clone();
        (damage.apply)(&mut bytes);
        let image = scratch.file("image", &bytes);
        let key = key_file(&scratch);
        let what = damage.what;
        let names = scratch.names();

        let outcome = lucarne(words![
            "decrypt",
            "--key-file",
            &key,
            &image,
            scratch.path("out")
        ]);
        findings.check(outcome.code == Some(damage.code), || {
            format!(
                "{what}: decrypt: expected {}, got {:?}: {}",
                damage.code,
                outcome.code,
                outcome.stderr.trim()
            )
        });
        one_line(what, &outcome, &image, findings);
        for name in damage.names {
            findings.check(outcome.stderr.contains(name), || {
                format!(
                    "{what}: the error does not name {name}: {}",
                    outcome.stderr.trim()
                )
            });
        }
        for verb in [
            &["read"][..],
            &["luksDump"],
            &["isLuks"],
            &["luksUUID"],
            &["open", "--test-passphrase"],
        ] {
            let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
            if matches!(verb[0], "read" | "open") {
                arguments.extend(words!["--key-file", &key]);
            }
            arguments.push((&image).into());
            let ours = lucarne(&arguments);
            findings.check(ours.code.is_some(), || {
                format!("{what}: {verb:?} was ended by a signal")
            });
            if verb[0] == "read" {
                findings.check(ours.code == outcome.code, || {
                    format!(
                        "{what}: read ends with {:?}, decrypt with {:?}",
                        ours.code, outcome.code
                    )
                });
            } else if let (Some(cryptsetup), Refuses) = (&cryptsetup, damage.peer) {
                let copy = scratch.copy(&image, "copy");
                *arguments.last_mut().unwrap() = copy.into();
                let theirs = cryptsetup.run(&arguments);
                std::fs::remove_file(scratch.path("copy")).unwrap();
                findings.check(ours.code == theirs.code, || {
                    format!(
                        "{what}: {verb:?}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                        ours.code,
                        ours.stderr.trim(),
                        theirs.code,
                        theirs.stderr.trim()
                    )
                });
            }
        }
        findings.equal(&format!("{what}: files"), &scratch.names(), &names);
        findings.check(std::fs::read(&image).unwrap() == bytes, || {
            format!("{what}: the image changed")
        });
    });
}

/// One copy is enough, and a read does not repair the other.
#[test]
fn one_sound_copy_is_enough_and_the_other_stays_as_it_is() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("copies", 64 << 10);
    let image = common::encrypted(&scratch, "image", &plaintext, &LAYOUT);
    let sound = std::fs::read(&image).unwrap();
    for offset in [0, HEADER_LEN] {
        for (at, len) in [
            (0, 6),
            (0, HEADER_LEN),
            (luks2::CSUM.start, 4),
            (luks2::BINARY_LEN + 9, 1),
            (16, 8),
        ] {
            let mut bytes = sound.clone();
            bytes[offset + at..offset + at + len].fill(0x55);
            std::fs::write(&image, &bytes).unwrap();
            assert!(
                must(words!["decrypt", "--key-file", &key, &image, "-"]) == plaintext,
                "{offset} {at} {len}"
            );
            must(words!["luksDump", &image]);
            must(words!["isLuks", &image]);
            assert!(
                std::fs::read(&image).unwrap() == bytes,
                "{offset} {at} {len}: the image changed"
            );
        }
    }
}
