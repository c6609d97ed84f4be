//! The verbs that keep, put back, mend and name a header, beside cryptsetup: the same exit code, the same bytes or the
//! same luksDump, and after a mistake an image unchanged to the byte.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::folder::{done, ours, read, words};
use common::{CHEAP, Findings, PASSPHRASE, for_each, key_file};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::vectors;

/// A volume of cryptsetup's with two keys, `image`, with its header in 640 KiB and data from 1 MiB on; the keys `key` and
/// `key2`.
fn with_volume(cryptsetup: &Cryptsetup) -> Scratch {
    let scratch = Scratch::new();
    key_file(&scratch);
    scratch.file("key2", b"a second passphrase");
    scratch.file("key3", b"a third passphrase");
    scratch.zeros("image", 2 << 20);
    let cheap = CHEAP.join(" ");
    cryptsetup.must(words(
        &scratch,
        &format!(
            "luksFormat -q {cheap} --key-size 256 --luks2-keyslots-size 608k --offset 2048 --sector-size 512 @image @key"
        ),
    ));
    add_key(cryptsetup, &scratch, "image", "key2");
    scratch
}

fn add_key(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &str, key: &str) {
    let cheap = CHEAP.join(" ");
    let line = format!("luksAddKey -q {cheap} --key-file @key @{image} @{key}");
    cryptsetup.must(words(scratch, &line));
}

/// Which keys open an image, by cryptsetup on a copy and by us.
fn opening(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &str) -> Vec<&'static str> {
    let mut opening = Vec::new();
    for key in ["key", "key2", "key3"] {
        let line = format!("open --test-passphrase --key-file @{key} @");
        let by_us = ours(scratch, &format!("{line}{image}")).code;
        scratch.copy(&scratch.path(image), "opened-copy");
        let by_them = cryptsetup
            .run(words(scratch, &format!("{line}opened-copy")))
            .code;
        assert_eq!(by_us, by_them, "{key}");
        if by_us == Some(0) {
            opening.push(key);
        }
    }
    opening
}

/// luksDump, by us; the same as cryptsetup's of a copy.
fn dump(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &str) -> String {
    let by_us = ours(scratch, &format!("luksDump @{image}")).text();
    scratch.copy(&scratch.path(image), "dumped-copy");
    let by_them = cryptsetup.must(words(scratch, "luksDump @dumped-copy"));
    assert_eq!(by_us, by_them);
    by_us
}

/// The epoch counts commits, and where cryptsetup makes two of a change we make one.
fn without_epoch(dump: &str) -> String {
    let lines = dump.lines().filter(|line| !line.starts_with("Epoch:"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_backup_is_cryptsetups_to_the_byte() {
    let Some(cryptsetup) = Cryptsetup::or_skip("luksHeaderBackup of every image") else {
        return;
    };
    for_each(&vectors::all(), |vector, findings: &mut Findings| {
        let scratch = Scratch::new();
        let unpacked = vector.unpack(&scratch);
        let image = unpacked.header_device();
        let before = std::fs::read(image).unwrap();
        scratch.copy(image, "copy");
        let theirs = cryptsetup.run(words(
            &scratch,
            "luksHeaderBackup --header-backup-file @theirs @copy",
        ));
        scratch.copy(image, "original");
        let ours = ours(
            &scratch,
            "luksHeaderBackup --header-backup-file @ours @original",
        );
        let name = &vector.name;
        findings.check(read(&scratch, "original") == before, || {
            format!("{name}: the image was changed")
        });
        findings.equal(name, &ours.code, &theirs.code);
        if ours.code != Some(0) {
            findings.check(!scratch.path("ours").exists(), || {
                format!("{name}: a file is left")
            });
            return;
        }
        let (ours, theirs) = (read(&scratch, "ours"), read(&scratch, "theirs"));
        // A copy that was mended has salts of its own, in theirs as in ours.
        match name.starts_with("copies-") || name.ends_with("-secondary-only") {
            true => findings.check(ours.len() == theirs.len(), || format!("{name}: the length")),
            false => findings.check(ours == theirs, || format!("{name}: the bytes")),
        }
        let mode = std::fs::metadata(scratch.path("ours"))
            .unwrap()
            .permissions()
            .mode();
        findings.equal(name, &(mode & 0o777), &0o400);
    });
}

/// What happens to a volume between backup and restore.
type Since = fn(&Cryptsetup, &Scratch);

const SINCE: &[(&str, Since)] = &[
    ("nothing", |_, _| {}),
    ("a label", |c, s| {
        c.must(words(s, "config --label other @image"));
    }),
    ("another UUID", |c, s| {
        let line = "luksUUID -q --uuid 12345678-1234-1234-1234-123456789abc @image";
        c.must(words(s, line));
    }),
    ("a key more", |c, s| add_key(c, s, "image", "key3")),
    ("a key less", |c, s| {
        c.must(words(s, "luksKillSlot -q @image 1"));
    }),
    ("another key in the place of one", |c, s| {
        c.must(words(s, "luksKillSlot -q @image 1"));
        add_key(c, s, "image", "key3");
    }),
    ("no key", |c, s| {
        c.must(words(s, "luksErase -q @image"));
    }),
    ("no header", |_, s| {
        s.zeros("zeros", 2 << 20);
        s.copy(&s.path("zeros"), "image");
    }),
    ("a damaged primary copy", |_, s| {
        let mut image = read(s, "image");
        image[4100] ^= 1;
        s.file("image", &image);
    }),
    ("both copies damaged", |_, s| {
        let mut image = read(s, "image");
        image[4100] ^= 1;
        image[(16 << 10) + 4100] ^= 1;
        s.file("image", &image);
    }),
    ("another volume of the same size", |c, s| {
        let cheap = CHEAP.join(" ");
        let line = format!(
            "luksFormat -q {cheap} --key-size 256 --luks2-keyslots-size 608k --offset 2048 @image @key3"
        );
        c.must(words(s, &line));
    }),
];

#[test]
fn a_restore_is_cryptsetups_to_the_byte() {
    let Some(cryptsetup) = Cryptsetup::or_skip("luksHeaderRestore") else {
        return;
    };
    for_each(SINCE, |(what, since), findings| {
        let scratch = with_volume(&cryptsetup);
        // Crossing over: each restores the other's backup.
        done(
            &scratch,
            "luksHeaderBackup @image --header-backup-file @by-us",
        );
        let line = "luksHeaderBackup @image --header-backup-file @by-them";
        cryptsetup.must(words(&scratch, line));
        let original = read(&scratch, "image");
        since(&cryptsetup, &scratch);
        scratch.copy(&scratch.path("image"), "theirs");
        let restore = "luksHeaderRestore --batch-mode --header-backup-file";
        cryptsetup.must(words(&scratch, &format!("{restore} @by-us @theirs")));
        let outcome = ours(&scratch, &format!("{restore} @by-them @image"));
        findings.check(outcome.code == Some(0), || {
            format!("{what}: {}", outcome.stderr)
        });
        let image = read(&scratch, "image");
        findings.check(image == read(&scratch, "theirs"), || {
            format!("{what}: the bytes")
        });
        findings.check(image.len() == original.len(), || {
            format!("{what}: the length")
        });
        let opening = opening(&cryptsetup, &scratch, "image");
        findings.equal(what, &opening, &vec!["key", "key2"]);
        dump(&cryptsetup, &scratch, "image");
    });
}

/// A volume that was converted since gets its LUKS2 header back, as its data start where they did.
#[test]
fn a_luks1_header_is_replaced_where_the_data_start_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("a restore over LUKS1") else {
        return;
    };
    let scratch = Scratch::new();
    key_file(&scratch);
    scratch.zeros("image", 20 << 20);
    let cheap = CHEAP.join(" ");
    let format = format!("luksFormat -q {cheap} --sector-size 512 @image @key");
    cryptsetup.must(words(&scratch, &format));
    done(
        &scratch,
        "luksHeaderBackup @image --header-backup-file @backup",
    );
    let original = read(&scratch, "image");
    cryptsetup.must(words(&scratch, "convert -q --type luks1 @image"));
    assert!(read(&scratch, "image") != original);
    done(
        &scratch,
        "luksHeaderRestore -q @image --header-backup-file @backup",
    );
    assert!(read(&scratch, "image") == original);
}

#[test]
fn a_detached_header_is_kept_and_put_back() {
    let Some(cryptsetup) = Cryptsetup::or_skip("a detached header's backup") else {
        return;
    };
    let scratch = with_volume(&cryptsetup);
    done(
        &scratch,
        "luksHeaderBackup @image --header-backup-file @header",
    );
    // A backup is a detached header, though it must be made writable.
    std::fs::set_permissions(
        scratch.path("header"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    done(&scratch, "config --header @header --label detached @image");
    let line = "luksHeaderBackup --header @header --header-backup-file @again @image";
    done(&scratch, line);
    done(&scratch, "config --header @header --label more @image");
    let line = "luksHeaderRestore -q --header @header --header-backup-file @again @image";
    done(&scratch, line);
    let label = dump(&cryptsetup, &scratch, "header");
    assert!(label.contains("Label:         \tdetached"), "{label}");
}

/// A mistake, what is said about it, its exit code, and cryptsetup's where it is not the same.
struct Mistake {
    line: &'static str,
    says: &'static str,
    code: i32,
    theirs: Option<i32>,
}

const fn mistake(line: &'static str, says: &'static str, code: i32) -> Mistake {
    Mistake {
        line,
        says,
        code,
        theirs: None,
    }
}

/// As [`mistake`]; cryptsetup 2.6.1 ends with another code.
const fn unlike(line: &'static str, says: &'static str, code: i32, theirs: i32) -> Mistake {
    Mistake {
        line,
        says,
        code,
        theirs: Some(theirs),
    }
}

const MISTAKES: &[Mistake] = &[
    mistake("luksHeaderBackup @image", "--header-backup-file", 1),
    mistake("luksHeaderBackup --header-backup-file @new", "DEVICE", 1),
    mistake(
        "luksHeaderBackup @image --header-backup-file @key",
        "exists",
        1,
    ),
    mistake(
        "luksHeaderBackup @image --header-backup-file @image",
        "exists",
        1,
    ),
    mistake(
        "luksHeaderBackup @image --header-backup-file @missing/new",
        "missing/new",
        1,
    ),
    mistake(
        "luksHeaderBackup @missing --header-backup-file @new",
        "missing",
        4,
    ),
    mistake(
        "luksHeaderBackup @key --header-backup-file @new",
        "not a LUKS volume",
        1,
    ),
    mistake(
        "luksHeaderBackup @truncated --header-backup-file @new",
        "truncated",
        1,
    ),
    mistake(
        "luksHeaderBackup --header @missing @image --header-backup-file @new",
        "missing",
        4,
    ),
    // It has no use for one, and says nothing.
    unlike(
        "luksHeaderBackup --key-file @key @image --header-backup-file @new",
        "--key-file",
        1,
        0,
    ),
    unlike(
        "luksHeaderBackup --type luks1 @image --header-backup-file @new",
        "luks1",
        1,
        0,
    ),
    mistake("luksHeaderRestore -q @image", "--header-backup-file", 1),
    mistake(
        "luksHeaderRestore -q @image --header-backup-file @missing",
        "missing",
        1,
    ),
    mistake(
        "luksHeaderRestore -q @missing --header-backup-file @backup",
        "missing",
        4,
    ),
    mistake(
        "luksHeaderRestore -q @image --header-backup-file @key",
        "not a LUKS volume",
        1,
    ),
    mistake(
        "luksHeaderRestore -q @image --header-backup-file @truncated",
        "truncated",
        1,
    ),
    mistake(
        "luksHeaderRestore -q @image --header-backup-file @corrupt",
        "corrupt header",
        1,
    ),
    mistake(
        "luksHeaderRestore -q @image --header-backup-file @future",
        "future-feature",
        1,
    ),
    mistake(
        "luksHeaderRestore -q @elsewhere --header-backup-file @backup",
        "1048576",
        1,
    ),
    mistake(
        "luksHeaderRestore -q @larger --header-backup-file @backup",
        "655360",
        1,
    ),
    // A file would be lengthened, whatever lay behind the header.
    unlike(
        "luksHeaderRestore -q @short --header-backup-file @backup",
        "the device has 102400",
        4,
        0,
    ),
    // There the data would not be found again: they start elsewhere.
    unlike(
        "luksHeaderRestore -q @luks1 --header-backup-file @backup",
        "1048576",
        1,
        0,
    ),
    unlike(
        "luksHeaderRestore -q --token-id 1 @image --header-backup-file @backup",
        "--token-id",
        1,
        0,
    ),
    mistake("repair", "DEVICE", 1),
    mistake("repair @missing", "missing", 4),
    mistake("repair @key", "not a LUKS volume", 1),
    mistake("repair @empty", "not a LUKS volume", 1),
    mistake("repair @corrupt", "corrupt header", 1),
    mistake("repair @truncated", "truncated", 1),
    mistake("repair --type luks1 @image", "luks1", 1),
    mistake("repair --type plain @image", "--type", 1),
    mistake("repair --header @missing @image", "missing", 4),
    mistake("repair --label x @image", "--label", 1),
    mistake("repair -q @future-damaged", "future-feature", 1),
    mistake("config @image", "--label", 1),
    mistake("config --label x", "DEVICE", 1),
    mistake("config --priority prefer @image", "--key-slot", 1),
    mistake("config --priority high --key-slot 0 @image", "high", 1),
    mistake(
        "config --priority prefer --key-slot 5 @image",
        "keyslot 5",
        1,
    ),
    mistake(
        "config --priority prefer --key-slot 32 @image",
        "0 to 31",
        1,
    ),
    mistake("config --key-slot 0 @image", "--priority", 1),
    mistake("config --label x @missing", "missing", 4),
    mistake("config --label x @key", "not a LUKS volume", 1),
    mistake("config --label x @future", "future-feature", 1),
    mistake(
        "config --label x --uuid 12345678-1234-1234-1234-123456789abc @image",
        "--uuid",
        1,
    ),
    // cryptsetup cuts it.
    unlike(
        "config --label 012345678901234567890123456789012345678901234567 @image",
        "47",
        1,
        0,
    ),
    unlike(
        "config --priority prefer -S 0 --subsystem 012345678901234567890123456789012345678901234567 @image",
        "47",
        1,
        0,
    ),
    mistake("luksUUID --uuid xyz @image", "--uuid", 1),
    mistake("luksUUID --uuid= @image", "--uuid", 1),
    mistake(
        "luksUUID --uuid 12345678123412341234123456789abc @image",
        "--uuid",
        1,
    ),
    mistake(
        "luksUUID --uuid {12345678-1234-1234-1234-123456789abc} @image",
        "--uuid",
        1,
    ),
    mistake(
        "luksUUID --uuid 12345678-1234-1234-1234-123456789abg @image",
        "--uuid",
        1,
    ),
    mistake(
        "luksUUID --uuid 1234567-81234-1234-1234-123456789abc @image",
        "--uuid",
        1,
    ),
    mistake(
        "luksUUID --uuid 12345678-1234-1234-1234-123456789abc",
        "DEVICE",
        1,
    ),
    mistake(
        "luksUUID --uuid 12345678-1234-1234-1234-123456789abc @missing",
        "missing",
        4,
    ),
    mistake(
        "luksUUID --uuid 12345678-1234-1234-1234-123456789abc @key",
        "not a LUKS volume",
        1,
    ),
    mistake(
        "luksUUID --uuid 12345678-1234-1234-1234-123456789abc @future",
        "future-feature",
        1,
    ),
    mistake(
        "luksUUID --type luks1 --uuid 12345678-1234-1234-1234-123456789abc @image",
        "luks1",
        1,
    ),
];

/// All that the mistakes are made with.
fn with_files(cryptsetup: &Cryptsetup) -> Scratch {
    let scratch = with_volume(cryptsetup);
    done(
        &scratch,
        "luksHeaderBackup @image --header-backup-file @backup",
    );
    let image = read(&scratch, "image");
    scratch.file("truncated", &image[..600 << 10]);
    scratch.file("empty", b"");
    scratch.file("short", &vec![0; 100 << 10]);
    let mut corrupt = image.clone();
    corrupt[4100] ^= 1;
    corrupt[(16 << 10) + 4100] ^= 1;
    scratch.file("corrupt", &corrupt);
    let mut future = image.clone();
    luks2::edit_json(&mut future, |json| {
        json["config"]["requirements"] = serde_json::json!({"mandatory": ["future-feature"]});
    });
    scratch.file("future", &future);
    future[4100] ^= 1;
    scratch.file("future-damaged", &future);
    let cheap = CHEAP.join(" ");
    for (name, options) in [
        ("elsewhere", "--luks2-keyslots-size 608k --offset 4096"),
        ("larger", "--luks2-keyslots-size 800k --offset 2048"),
        ("luks1", "--type luks1 --offset 4096"),
    ] {
        scratch.zeros(name, 4 << 20);
        let line = format!("luksFormat -q {cheap} {options} @{name} @key");
        cryptsetup.must(words(&scratch, &line));
    }
    scratch
}

#[test]
fn a_mistake_is_named_and_changes_nothing() {
    let Some(cryptsetup) = Cryptsetup::or_skip("mistakes with header verbs") else {
        return;
    };
    let scratch = with_files(&cryptsetup);
    let names = scratch.names();
    let before: Vec<_> = names.iter().map(|name| read(&scratch, name)).collect();
    let mut findings = Findings::default();
    for mistake in MISTAKES {
        findings.case();
        let line = mistake.line;
        let outcome = ours(&scratch, line);
        findings.check(outcome.code == Some(mistake.code), || {
            format!("{line}: code {:?}: {}", outcome.code, outcome.stderr)
        });
        let says = outcome.stderr.contains(mistake.says) && outcome.stderr.lines().count() == 1;
        findings.check(says, || format!("{line}: says {:?}", outcome.stderr));
        findings.check(scratch.names() == names, || {
            format!("{line}: leaves a file")
        });
        for (name, before) in names.iter().zip(&before) {
            findings.check(read(&scratch, name) == *before, || {
                format!("{line}: changes {name}")
            });
        }
        // cryptsetup on copies: it mends what it loads.
        let theirs = Scratch::new();
        for name in &names {
            theirs.copy(&scratch.path(name), name);
        }
        let code = cryptsetup.run(words(&theirs, line)).code;
        findings.check(code == Some(mistake.theirs.unwrap_or(mistake.code)), || {
            format!("{line}: cryptsetup's code is {code:?}")
        });
    }
    findings.finish();
}

#[test]
fn a_read_only_image_is_named() {
    let Some(cryptsetup) = Cryptsetup::or_skip("a read-only image") else {
        return;
    };
    if rustix::process::getuid().is_root() {
        // Nothing is read-only to root; a directory cannot be written as a file by anybody.
        let scratch = with_volume(&cryptsetup);
        done(
            &scratch,
            "luksHeaderBackup @image --header-backup-file @backup",
        );
        for line in [
            "luksHeaderRestore -q --header-backup-file @backup",
            "repair",
            "config --label x",
            "luksUUID -q --uuid 12345678-1234-1234-1234-123456789abc",
            "token remove --token-id 0",
        ] {
            let outcome = ours(&scratch, &format!("{line} @"));
            assert_eq!(outcome.code, Some(4), "{line}: {}", outcome.stderr);
        }
        return;
    }
    let scratch = with_volume(&cryptsetup);
    done(
        &scratch,
        "luksHeaderBackup @image --header-backup-file @backup",
    );
    let image = scratch.path("image");
    std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o400)).unwrap();
    for line in [
        "repair",
        "config --label x",
        "luksHeaderRestore -q --header-backup-file @backup",
    ] {
        let outcome = ours(&scratch, &format!("{line} @image"));
        assert_eq!(outcome.code, Some(4), "{line}: {}", outcome.stderr);
    }
}

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

/// With a passphrase of its time, whatever became of the volume's own header.
#[test]
fn a_backup_opens_what_it_was_taken_of() {
    let Some(cryptsetup) = Cryptsetup::or_skip("a backup as a detached header") else {
        return;
    };
    let scratch = with_volume(&cryptsetup);
    done(
        &scratch,
        "luksHeaderBackup @image --header-backup-file @backup",
    );
    cryptsetup.must(words(&scratch, "luksErase -q @image"));
    done(
        &scratch,
        "open --test-passphrase --header @backup --key-file @key @image",
    );
    let backup = read(&scratch, "backup");
    assert!(
        !backup
            .windows(PASSPHRASE.len())
            .any(|window| window == PASSPHRASE)
    );
    assert!(Path::new(&scratch.path("backup")).metadata().unwrap().len() == 640 << 10);
}
