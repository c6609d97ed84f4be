//! Sequences of verbs.

use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;

use crate::common::folder::{done, ours, read, words};
use crate::common::for_each;
use crate::{dump, opening, with_volume, without_epoch};

/// The same random verbs on two copies of an image, each time another tool on each: both images stay the same.
#[test]
fn random_verbs_crossing_over_keep_two_images_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("random header verbs") else {
        return;
    };
    for_each(&[1, 2, 3, 4], |&seed, findings| {
        let scratch = with_volume(&cryptsetup);
        scratch.copy(&scratch.path("image"), "other");
        for name in ["image", "other"] {
            let line = format!("luksHeaderBackup @{name} --header-backup-file @{name}-backup");
            done(&scratch, &line);
        }
        scratch.file(
            "token",
            br#"{"type":"example","keyslots":["1"],"more":[1,"two"]}"#,
        );
        let mut random = Random(seed);
        for step in 0..40 {
            let line = random_line(&mut random);
            let (mine, his) = match random.below(2) {
                0 => ("image", "other"),
                _ => ("other", "image"),
            };
            let line_for = |image: &str| line.replace("@@", &format!("@{image}"));
            let by_us = ours(&scratch, &line_for(mine));
            let by_them = cryptsetup.run(words(&scratch, &line_for(his)));
            findings.check(by_us.code == by_them.code, || {
                format!("{seed}/{step} {line}: {:?} {:?}", by_us, by_them)
            });
            let (one, other) = (
                dump(&cryptsetup, &scratch, "image"),
                dump(&cryptsetup, &scratch, "other"),
            );
            findings.check(without_epoch(&one) == without_epoch(&other), || {
                format!("{seed}/{step} {line}: {one}\n{other}")
            });
            let json = |name: &str| luks2::json(&read(&scratch, name), 0);
            findings.check(json("image") == json("other"), || {
                format!("{seed}/{step} {line}: JSON")
            });
        }
        for image in ["image", "other"] {
            // One that is ignored opens only when it is named.
            for keyslot in [0, 1] {
                let line = format!("config --priority normal --key-slot {keyslot} @{image}");
                done(&scratch, &line);
            }
            findings.equal(
                "keys",
                &opening(&cryptsetup, &scratch, image),
                &vec!["key", "key2"],
            );
        }
    });
}

/// A small generator: what is drawn must be the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn random_line(random: &mut Random) -> String {
    let (a, b) = (random.below(3), random.below(10));
    let replace = ["", "--token-replace"][usize::try_from(random.below(2)).unwrap()];
    let priority = ["normal", "prefer", "ignore"][usize::try_from(a).unwrap()];
    match random.below(12) {
        0 => format!("config --label l{b} @@"),
        1 => format!("config --subsystem s{b} @@"),
        2 => format!("config --label l{b} --subsystem s{a} @@"),
        3 => format!(
            "config --priority {priority} --key-slot {} @@",
            random.below(3)
        ),
        4 => format!("luksUUID -q --uuid 12345678-1234-1234-1234-12345678900{b} @@"),
        5 => format!("token add --key-description d{b} @@"),
        6 => format!("token add --key-description d{b} --key-slot {a} --token-id {b} {replace} @@"),
        7 => format!("token remove --token-id {b} @@"),
        8 => format!("token import --json-file @token --token-id {b} {replace} @@"),
        9 => format!("token import --json-file @token --key-slot {a} @@"),
        10 => format!("token unassign --token-id {b} --key-slot {a} @@"),
        _ => "luksHeaderRestore -q --header-backup-file @image-backup @@".to_owned(),
    }
}
