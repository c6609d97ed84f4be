//! The likeliest mistakes.

use std::os::unix::fs::PermissionsExt as _;

use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;

use crate::common::folder::{done, ours, read, words};
use crate::common::{CHEAP, Findings};
use crate::with_volume;

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
