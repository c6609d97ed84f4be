//! The headers of LUKS1 kept, put back and mended, as cryptsetup does it.
#![allow(clippy::unwrap_used)]

mod common;

use common::folder::{done, ours, read, words};
use common::{for_each, key_file};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::scratch::Scratch;

const CHEAP: &str = "--pbkdf-force-iterations 1000";
const LEN: u64 = 4 << 20;
/// With keys of 32 bytes.
const KEYSLOTS_END: usize = 2050 * 512;

/// A volume of cryptsetup's, `image`, with the keys `key` in keyslot 0 and `key2` in keyslot 6.
fn with_volume(cryptsetup: &Cryptsetup, options: &str) -> Scratch {
    let scratch = Scratch::new();
    key_file(&scratch);
    scratch.file("key2", b"a second passphrase");
    scratch.file("key3", b"a third passphrase");
    scratch.zeros("image", LEN);
    for line in [
        format!("luksFormat -q --type luks1 {CHEAP} {options} @image @key"),
        format!("luksAddKey -q {CHEAP} --key-file @key --key-slot 6 @image @key2"),
    ] {
        cryptsetup.must(words(&scratch, &line));
    }
    scratch
}

/// Which keys open an image, by cryptsetup and by us.
fn opening(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &str) -> Vec<&'static str> {
    let mut opening = Vec::new();
    for key in ["key", "key2", "key3"] {
        let line = format!("open --test-passphrase --key-file @{key} @{image}");
        let by_us = ours(scratch, &line).code;
        let by_them = cryptsetup.run(words(scratch, &line)).code;
        assert_eq!(by_us, by_them, "{key}");
        if by_us == Some(0) {
            opening.push(key);
        }
    }
    opening
}

/// What happens to a volume between backup and restore.
type Since = fn(&Cryptsetup, &Scratch);

const SINCE: &[(&str, Since)] = &[
    ("nothing", |_, _| {}),
    ("another UUID", |c, s| {
        let line = "luksUUID -q --uuid 12345678-1234-1234-1234-123456789abc @image";
        c.must(words(s, line));
    }),
    ("a key more", |c, s| {
        let line = format!("luksAddKey -q {CHEAP} --key-file @key @image @key3");
        c.must(words(s, &line));
    }),
    ("a key less", |c, s| {
        c.must(words(s, "luksKillSlot -q @image 6"));
    }),
    ("another key in the place of one", |c, s| {
        c.must(words(s, "luksKillSlot -q @image 6"));
        let line = format!("luksAddKey -q {CHEAP} -S 6 --key-file @key @image @key3");
        c.must(words(s, &line));
    }),
    ("no key", |c, s| {
        c.must(words(s, "luksErase -q @image"));
    }),
    ("no header", |_, s| {
        s.file("image", &vec![0; LEN as usize]);
    }),
    ("a damaged header", |_, s| {
        let mut image = read(s, "image");
        image[72..100].fill(0xff);
        s.file("image", &image);
    }),
    ("another volume of the same size", |c, s| {
        let line = format!("luksFormat -q --type luks1 {CHEAP} --key-size 256 @image @key3");
        c.must(words(s, &line));
    }),
    ("a LUKS2 volume whose data start there", |c, s| {
        c.must(words(s, "convert -q --type luks2 @image"));
    }),
];

#[test]
fn backup_and_restore_are_cryptsetups_to_the_byte() {
    let Some(cryptsetup) = Cryptsetup::or_skip("luksHeaderRestore of LUKS1") else {
        return;
    };
    for_each(SINCE, |(what, since), findings| {
        let scratch = with_volume(&cryptsetup, "--key-size 256");
        // Between header and first keyslot lies nothing, and no backup holds what was there.
        let mut image = read(&scratch, "image");
        image[600..4096].fill(0x5a);
        scratch.file("image", &image);
        let line = "luksHeaderBackup @image --header-backup-file @by-us";
        done(&scratch, line);
        let line = "luksHeaderBackup @image --header-backup-file @by-them";
        cryptsetup.must(words(&scratch, line));
        assert!(read(&scratch, "image") == image);
        findings.check(read(&scratch, "by-us") == read(&scratch, "by-them"), || {
            format!("{what}: the backups")
        });
        since(&cryptsetup, &scratch);
        scratch.copy(&scratch.path("image"), "theirs");
        // Crossing over: each restores the other's backup.
        let restore = "luksHeaderRestore --batch-mode --header-backup-file";
        cryptsetup.must(words(&scratch, &format!("{restore} @by-us @theirs")));
        let outcome = ours(&scratch, &format!("{restore} @by-them @image"));
        findings.check(outcome.code == Some(0), || {
            format!("{what}: {}", outcome.stderr)
        });
        let (image, backup) = (read(&scratch, "image"), read(&scratch, "by-us"));
        findings.check(image.starts_with(&backup), || format!("{what}: the backup"));
        let mut theirs = read(&scratch, "theirs");
        if what.starts_with("a LUKS2 volume") {
            // cryptsetup leaves there what its backup has behind the last area.
            theirs[KEYSLOTS_END..backup.len()].copy_from_slice(&backup[KEYSLOTS_END..]);
        }
        findings.check(image == theirs, || format!("{what}: the bytes"));
        let opening = opening(&cryptsetup, &scratch, "image");
        findings.equal(what, &opening, &vec!["key", "key2"]);
    });
}

#[test]
fn repair_is_cryptsetups_to_the_byte() {
    let Some(cryptsetup) = Cryptsetup::or_skip("repair of LUKS1") else {
        return;
    };
    type Damage = fn(&mut [u8]);
    let damages: &[(&str, Damage)] = &[
        ("nothing", |_| {}),
        ("a partition table", |image| {
            image[446..510].fill(0);
            image[510..512].copy_from_slice(&[0x55, 0xaa]);
        }),
        ("a place", |image| image[208 + 48 * 7 + 40] = 0xff),
        ("stripes", |image| image[208 + 48 * 3 + 47] = 0),
        ("stripes of an active one", |image| image[208 + 47] = 0),
        ("hash in upper case", |image| {
            image[72..78].make_ascii_uppercase()
        }),
        ("a hash that is none", |image| image[72..78].fill(b'x')),
        ("a cipher that is none", |image| {
            image[8..11].fill(b'x');
            image[208 + 48 * 3 + 47] = 0;
        }),
        ("an odd key size", |image| {
            image[111] = 24;
            image[208 + 48 * 3 + 47] = 0;
        }),
        ("no magic", |image| image[0] = 0),
    ];
    for_each(damages, |(what, damage), findings| {
        let scratch = with_volume(&cryptsetup, "");
        let mut image = read(&scratch, "image");
        damage(&mut image);
        scratch.file("image", &image);
        scratch.file("theirs", &image);
        let outcome = ours(&scratch, "repair -q @image");
        let theirs = cryptsetup.run(words(&scratch, "repair -q @theirs"));
        findings.equal(what, &outcome.code, &theirs.code);
        findings.check(read(&scratch, "image") == read(&scratch, "theirs"), || {
            format!("{what}: the bytes ({})", outcome.stderr)
        });
        if outcome.code == Some(0) {
            done(&scratch, "repair -q @image");
            findings.check(read(&scratch, "image") == read(&scratch, "theirs"), || {
                format!("{what}: a second repair changes something")
            });
        }
    });
}

/// A line, what is said about it, and the exit code; what it would have changed is as it was.
#[test]
fn mistakes_leave_the_image_as_it_was() {
    let Some(cryptsetup) = Cryptsetup::or_skip("mistakes with LUKS1 headers") else {
        return;
    };
    let scratch = with_volume(&cryptsetup, "");
    done(
        &scratch,
        "luksHeaderBackup @image --header-backup-file @backup",
    );
    let whole = read(&scratch, "backup");
    scratch.file("cut", &whole[..whole.len() - 5000]);
    scratch.file("short", &read(&scratch, "image")[..1 << 20]);
    for (name, options) in [
        ("elsewhere", "--type luks1 --offset 6144"),
        ("smaller-key", "--type luks1 --key-size 256 --offset 4096"),
        (
            "luks2",
            "--type luks2 --offset 6144 --luks2-keyslots-size 1M",
        ),
    ] {
        scratch.zeros(name, LEN);
        let pbkdf = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000";
        let line = format!("luksFormat -q {pbkdf} {options} @{name} @key");
        cryptsetup.must(words(&scratch, &line));
    }
    for (line, image, says, code) in [
        (
            "luksHeaderBackup --type luks2 @image --header-backup-file @new",
            "image",
            "LUKS1",
            1,
        ),
        (
            "luksHeaderBackup @image --header-backup-file @backup",
            "image",
            "exists",
            1,
        ),
        (
            "luksHeaderBackup @short --header-backup-file @new",
            "short",
            "corrupt",
            1,
        ),
        (
            "luksHeaderRestore -q @image --header-backup-file @cut",
            "image",
            "corrupt",
            1,
        ),
        (
            "luksHeaderRestore -q @elsewhere --header-backup-file @backup",
            "elsewhere",
            "3145728",
            1,
        ),
        (
            "luksHeaderRestore -q @smaller-key --header-backup-file @backup",
            "smaller-key",
            "key",
            1,
        ),
        (
            "luksHeaderRestore -q @luks2 --header-backup-file @backup",
            "luks2",
            "3145728",
            1,
        ),
        (
            "luksHeaderRestore -q --type luks2 @image --header-backup-file @backup",
            "image",
            "LUKS1",
            1,
        ),
        (
            "luksHeaderRestore -q @short --header-backup-file @backup",
            "short",
            "the device has",
            4,
        ),
        ("repair -q --type luks2 @image", "image", "LUKS1", 1),
    ] {
        let before = read(&scratch, image);
        let outcome = ours(&scratch, line);
        assert_eq!(outcome.code, Some(code), "{line}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{line}: {}", outcome.stderr);
        assert!(read(&scratch, image) == before, "{line}");
        assert!(!scratch.path("new").exists(), "{line}");
    }
}
