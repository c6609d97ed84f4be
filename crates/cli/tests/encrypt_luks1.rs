//! `encrypt --type luks1`: what it makes, cryptsetup and QEMU open, and what LUKS1 has no place for is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::folder::{self, done, ours, read};
use common::{CHEAP, assert_refused, decrypted, for_each, key_file, lucarne_with_stdin};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks1;
use lucarne_testkit::payload::stream;
use lucarne_testkit::peers;
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;

fn encrypt(options: &str) -> String {
    format!(
        "encrypt -q --type luks1 {} --key-file @key {options}",
        CHEAP.join(" ")
    )
}

/// The plaintext that QEMU's own implementation reads.
fn by_qemu(scratch: &Scratch, image: &str) -> Option<Vec<u8>> {
    let program = peers::locate("qemu-img");
    if program.is_none() {
        peers::skipped("a LUKS1 volume of ours", "qemu-img");
    }
    let secret = format!("secret,id=key,file={}", scratch.path("key").display());
    let source = format!(
        "driver=luks,key-secret=key,file.filename={}",
        scratch.path(image).display()
    );
    let mut command = Command::new(program?);
    command.args([
        "convert",
        "--object",
        &secret,
        "--image-opts",
        &source,
        "-O",
        "raw",
    ]);
    let outcome = run(command.arg(scratch.path("by-qemu")), b"");
    assert_eq!(outcome.code, Some(0), "{image}: {}", outcome.stderr);
    Some(read(scratch, "by-qemu"))
}

#[test]
fn what_is_made_others_open() {
    let cryptsetup = Cryptsetup::or_skip("LUKS1 volumes that encrypt made");
    // Options, and whether QEMU has the cipher and the hash.
    let cases = [
        ("", true),
        ("--key-size 256 --hash sha1", true),
        (
            "--cipher aes-cbc-essiv:sha256 --key-size 256 --hash sha512",
            true,
        ),
        ("--cipher aes-cbc-plain64 --key-size 128 --key-slot 7", true),
        ("--hash whirlpool --align-payload 8", false),
        (
            "--offset 8192 --uuid 12345678-1234-4234-8234-123456789abc",
            true,
        ),
    ];
    for_each(&cases, |&(options, is_qemus), findings| {
        let scratch = Scratch::new();
        key_file(&scratch);
        // More than a piece of the pipeline, and not whole 4096-byte sectors.
        let plaintext = stream("encrypt-luks1", (3 << 20) + 512);
        scratch.file("in", &plaintext);
        done(&scratch, &format!("{} @in @image", encrypt(options)));
        let image = scratch.path("image");
        let bytes = read(&scratch, "image");
        findings.check(luks1::is_luks1(&bytes), || format!("{options}: no LUKS1"));
        let end = luks1::data_offset(&bytes) + plaintext.len();
        findings.equal(&format!("{options}: length"), &bytes.len(), &end);
        let back = decrypted(&scratch, &image, &[]);
        findings.check(back == plaintext, || {
            format!("{options}: decrypt gives something else")
        });
        if is_qemus && let Some(back) = by_qemu(&scratch, "image") {
            findings.check(back == plaintext, || {
                format!("{options}: QEMU reads something else")
            });
        }
        if let Some(cryptsetup) = &cryptsetup {
            cryptsetup.must(folder::words(&scratch, "isLuks --type luks1 @image"));
            cryptsetup.must(folder::words(
                &scratch,
                "open --test-passphrase --key-file @key @image",
            ));
            let dump = cryptsetup.must(folder::words(&scratch, "luksDump @image"));
            findings.equal(options, &done(&scratch, "luksDump @image"), &dump);
            findings.check(read(&scratch, "image") == bytes, || {
                format!("{options}: repaired")
            });
        }
    });
}

#[test]
fn a_detached_header_and_a_stream() {
    let scratch = Scratch::new();
    key_file(&scratch);
    let plaintext = stream("encrypt-luks1-stream", (1 << 20) + 512);
    let words = folder::words(&scratch, &encrypt("--header @header - @data"));
    let outcome = lucarne_with_stdin(words, &plaintext);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(read(&scratch, "data").len(), plaintext.len());
    let header = scratch.path("header");
    let options = ["--header", header.to_str().unwrap()];
    assert!(decrypted(&scratch, &scratch.path("data"), &options) == plaintext);
    if let Some(cryptsetup) = Cryptsetup::or_skip("a detached LUKS1 header of ours") {
        let line = "open --test-passphrase --key-file @key --header @header @data";
        cryptsetup.must(folder::words(&scratch, line));
        let line = "luksAddKey -q --pbkdf-force-iterations 1000 --key-file @key @header @header";
        cryptsetup.must(folder::words(&scratch, line));
    }
}

#[test]
fn what_luks1_has_no_place_for_is_refused_before_anything_is_made() {
    let scratch = Scratch::new();
    key_file(&scratch);
    scratch.file("in", &stream("encrypt-luks1-refused", 1000));
    scratch.file("whole", &stream("encrypt-luks1-refused", 1024));
    for (options, says) in [
        ("@in @out", "1000 bytes would be read back as 1024"),
        ("--sparse @whole @out", "sparse"),
        ("--label models @whole @out", "label"),
        ("--subsystem models @whole @out", "subsystem"),
        ("--sector-size 4096 @whole @out", "512 bytes"),
        ("--pbkdf argon2id @whole @out", "pbkdf2"),
        (
            "--luks2-metadata-size 32k @whole @out",
            "--luks2-metadata-size",
        ),
        ("--key-slot 8 @whole @out", "the limit is 7"),
        (
            "--keyslot-cipher aes-xts-plain64 --keyslot-key-size 512 @whole @out",
            "cipher",
        ),
        ("--cipher serpent-xts-plain64 @whole @out", "serpent"),
    ] {
        let line = encrypt(options);
        // No passphrase is read for it: there is none.
        let line = line.replace("@key", "@none");
        assert_refused(&line, &ours(&scratch, &line), 1, says);
        assert_eq!(scratch.names(), ["in", "key", "whole"], "{line}");
    }
    let words = folder::words(&scratch, &encrypt("- @out"));
    let outcome = lucarne_with_stdin(words, &stream("encrypt-luks1-refused", 1000));
    assert_refused(
        "a stream",
        &outcome,
        1,
        "1000 bytes would be read back as 1024",
    );
    assert_eq!(scratch.names(), ["in", "key", "whole"]);
    // Whoever does without the exact length gets whole sectors.
    done(&scratch, &encrypt("--no-length @in @out"));
    let back = decrypted(&scratch, &scratch.path("out"), &[]);
    assert_eq!(back[..1000], read(&scratch, "in"));
    assert_eq!(back[1000..], [0; 24]);
}
