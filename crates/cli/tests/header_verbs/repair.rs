//! repair.

use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;

use crate::common::folder::{done, ours, read, words};
use crate::common::{for_each, key_file};
use crate::{dump, opening, with_volume, without_epoch};

/// Each damage that leaves one good copy, mended as cryptsetup mends it; nothing but the damaged copy changes.
#[test]
fn repair_writes_the_damaged_copy_anew() {
    let Some(cryptsetup) = Cryptsetup::or_skip("repair") else {
        return;
    };
    let sound = with_volume(&cryptsetup);
    let original = read(&sound, "image");
    cryptsetup.must(words(&sound, "config --label newer @image"));
    let newer = read(&sound, "image");
    const COPY: usize = 16 << 10;
    let damage = |at: usize| {
        let mut image = original.clone();
        image[at] ^= 1;
        image
    };
    let stale = |range: std::ops::Range<usize>| {
        let mut image = newer.clone();
        image[range.clone()].copy_from_slice(&original[range]);
        image
    };
    let cases = [
        ("the primary's magic", damage(0)),
        ("the primary's JSON", damage(4100)),
        ("the secondary's magic", damage(COPY)),
        ("the secondary's JSON", damage(COPY + 4100)),
        ("a stale primary", stale(0..COPY)),
        ("a stale secondary", stale(COPY..2 * COPY)),
        ("nothing", original.clone()),
    ];
    for_each(&cases, |(what, image), findings| {
        let scratch = Scratch::new();
        key_file(&scratch);
        scratch.file("key2", b"a second passphrase");
        scratch.file("key3", b"a third passphrase");
        scratch.file("image", image);
        scratch.file("theirs", image);
        let outcome = ours(&scratch, "-v repair @image");
        findings.equal(what, &outcome.code, &Some(0));
        let said = match *what {
            "nothing" => "No known problems detected for LUKS header.",
            _ => "header copy was repaired",
        };
        findings.check(outcome.text().contains(said), || {
            format!("{what}: {}", outcome.text())
        });
        cryptsetup.must(words(&scratch, "repair @theirs"));
        let (ours, theirs) = (read(&scratch, "image"), read(&scratch, "theirs"));
        findings.check((*what == "nothing") == (ours == *image), || {
            format!("{what}: the bytes")
        });
        findings.check(ours[2 * COPY..] == image[2 * COPY..], || {
            format!("{what}: the rest")
        });
        for copy in [0, COPY] {
            let same = luks2::json(&ours, copy) == luks2::json(&theirs, copy);
            findings.check(same, || format!("{what}: the JSON at {copy}"));
        }
        findings.check(
            without_epoch(&dump(&cryptsetup, &scratch, "image"))
                == without_epoch(&dump(&cryptsetup, &scratch, "theirs")),
            || format!("{what}: luksDump"),
        );
        let opening = opening(&cryptsetup, &scratch, "image");
        findings.equal(what, &opening, &vec!["key", "key2"]);
    });
}

/// Where something else begins to live on a device, no verb but `repair` takes it for a header that is damaged.
#[test]
fn a_foreign_signature_is_overwritten_by_repair_alone() {
    let Some(cryptsetup) = Cryptsetup::or_skip("repair over a partition table") else {
        return;
    };
    let scratch = with_volume(&cryptsetup);
    let mut image = read(&scratch, "image");
    image[..4096].fill(0);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image[446..462].copy_from_slice(&[
        0x80, 0, 2, 0, 0x83, 0xff, 0xff, 0xff, 0, 8, 0, 0, 0, 0x80, 0, 0,
    ]);
    scratch.file("image", &image);
    for line in [
        "config --label x @image",
        "token add --key-description d @image",
    ] {
        let outcome = ours(&scratch, line);
        assert_eq!(outcome.code, Some(1));
        assert!(
            outcome.stderr.contains("a partition table"),
            "{}",
            outcome.stderr
        );
        assert!(read(&scratch, "image") == image);
        // cryptsetup refuses to load it at all.
        scratch.copy(&scratch.path("image"), "copy");
        assert_eq!(
            cryptsetup
                .run(words(&scratch, &line.replace("@image", "@copy")))
                .code,
            Some(1)
        );
    }
    done(&scratch, "repair --batch-mode @image");
    assert_eq!(opening(&cryptsetup, &scratch, "image"), ["key", "key2"]);
    dump(&cryptsetup, &scratch, "image");
}
