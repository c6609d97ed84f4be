//! luksHeaderBackup and luksHeaderRestore.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::vectors;

use crate::common::folder::{done, ours, read, words};
use crate::common::{CHEAP, Findings, PASSPHRASE, for_each, key_file};
use crate::{add_key, dump, opening, with_volume};

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
