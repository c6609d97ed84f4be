//! `open`, `close` and `status`.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::FileExt;

use common::file_server::{Loop, can_mount};
use common::opened::{Name, can_open, open, until};
use common::programs::have;
use common::{assert_refused, decrypted, encrypted, key_file, lucarne, lucarne_with_stdin, words};
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

#[test]
fn a_name_is_opened_used_and_closed() {
    if !can_open("open") {
        return;
    }
    let scratch = Scratch::new();
    let plaintext = stream("opened", (3 << 20) + 77);
    let image = encrypted(&scratch, "image", &plaintext, &[]);
    let key = key_file(&scratch);
    let name = Name::new("used");
    let inactive = name.status();
    assert_eq!(inactive.code, Some(4));
    assert!(inactive.text().ends_with("is inactive.\n"));
    assert_refused("close before open", &name.close(&[]), 4, "is not active.");
    let opened = open(&image, &name, &key, &["--verbose"]);
    assert_eq!(opened.code, Some(0), "{}", opened.stderr);
    let said = opened.text();
    let path = name.path();
    assert!(
        said.starts_with(&format!("Key slot 0 unlocked.\n{}\n", path.display())),
        "{said}"
    );
    if rustix::process::geteuid().is_root() {
        assert!(
            said.contains("losetup --find --show --direct-io=on"),
            "{said}"
        );
    }
    assert!(std::fs::read(&path).unwrap() == plaintext);
    assert_refused(
        "a taken name",
        &open(&image, &name, &key, &[]),
        5,
        "already exists",
    );
    let other = Name::new("other");
    assert_refused(
        "an image in use",
        &open(&image, &other, &key, &[]),
        5,
        "in use",
    );
    let status = name.status();
    assert_eq!(status.code, Some(0));
    for line in [
        format!("{} is active.", path.display()),
        "  type:    LUKS2".into(),
        "  cipher:  aes-xts-plain64".into(),
        "  keysize: 512 bits".into(),
        format!("  device:  {}", image.display()),
        "  mode:    read/write".into(),
    ] {
        assert!(
            status.text().lines().any(|said| said == line),
            "{line}: {}",
            status.text()
        );
    }
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"here", 1000).unwrap();
    assert_refused("close in use", &name.close(&[]), 5, "still in use");
    drop(file);
    let closed = name.close(&[]);
    assert_eq!((closed.code, closed.stderr.as_str()), (Some(0), ""));
    // Gone is gone: nothing is mounted, nothing is left, nobody has the image.
    assert!(!name.directory.exists());
    assert_eq!(name.status().code, Some(4));
    assert_eq!(&decrypted(&scratch, &image, &[])[1000..1004], b"here");
    let again = open(&image, &name, &key, &["--readonly"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(name.status().text().contains("  mode:    readonly"));
    assert!(std::fs::File::options().write(true).open(&path).is_err());
    assert_eq!(name.close(&[]).code, Some(0));
}

#[test]
fn what_is_deferred_ends_with_its_last_user() {
    if !can_open("close --deferred") {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("deferred", 1 << 20), &[]);
    let name = Name::new("deferred");
    assert_eq!(open(&image, &name, &key_file(&scratch), &[]).code, Some(0));
    let file = std::fs::File::options()
        .write(true)
        .open(name.path())
        .unwrap();
    assert_eq!(name.close(&["--deferred"]).code, Some(0));
    assert!(!name.path().exists());
    file.write_all_at(b"late", 0).unwrap();
    assert_eq!(name.status().code, Some(0));
    drop(file);
    until(|| name.status().code == Some(4));
    assert_eq!(&decrypted(&scratch, &image, &[])[..4], b"late");
}

#[test]
fn a_killed_server_is_cleared_away_by_close_and_by_open() {
    if !can_open("a killed server") {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("killed", 1 << 20), &[]);
    let key = key_file(&scratch);
    let name = Name::new("killed");
    assert_eq!(open(&image, &name, &key, &[]).code, Some(0));
    let file = std::fs::File::options()
        .write(true)
        .open(name.path())
        .unwrap();
    file.write_all_at(b"kept", 500).unwrap();
    file.sync_all().unwrap();
    name.kill_server();
    assert!(
        file.write_all_at(b"lost", 600)
            .and_then(|()| file.sync_all())
            .is_err()
    );
    assert_eq!(&decrypted(&scratch, &image, &[])[500..504], b"kept");
    let again = open(&image, &name, &key, &[]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let mut back = [0; 4];
    std::fs::File::open(name.path())
        .unwrap()
        .read_exact_at(&mut back, 500)
        .unwrap();
    assert_eq!(&back, b"kept");
    name.kill_server();
    let closed = name.close(&[]);
    assert_eq!(closed.code, Some(0));
    assert!(closed.stderr.contains("was killed"), "{}", closed.stderr);
    assert!(!name.directory.exists());
    assert_refused("close once more", &name.close(&[]), 4, "is not active.");
}

#[test]
fn a_loop_device_keeps_it_open() {
    if !can_open("a loop device")
        || !can_mount("a loop device", true)
        || !have("a loop device", &["losetup"])
    {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("looped", 1 << 20), &[]);
    let name = Name::new("looped");
    let opened = open(&image, &name, &key_file(&scratch), &[]);
    assert_eq!(opened.code, Some(0), "{}", opened.stderr);
    let looped = Loop::on(&name.path(), &["--direct-io=on"]);
    assert_refused("close", &name.close(&[]), 5, "still in use");
    assert!(name.status().text().contains("is active and is in use."));
    let mut back = [0; 512];
    std::fs::File::open(&looped.device)
        .unwrap()
        .read_exact_at(&mut back, 0)
        .unwrap();
    assert_eq!(back[..], stream("looped", 512)[..]);
    looped.detach();
    assert_eq!(name.close(&[]).code, Some(0));
}

#[test]
fn what_cannot_be_opened_is_said_and_leaves_nothing() {
    if !can_open("a refused open") {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("refused", 1 << 20), &[]);
    let key = key_file(&scratch);
    let name = Name::new("refused");
    for bad in ["../x", ".x", "a/b", "a b", &"n".repeat(128)] {
        let outcome = lucarne(words!["open", &image, bad, "--key-file", &key]);
        assert_refused(bad, &outcome, 1, "a name");
        assert_refused(bad, &lucarne(["close", bad]), 1, "a name");
    }
    let no_name = lucarne(words!["open", &image, "--key-file", &key]);
    assert_refused("no name", &no_name, 1, "NAME is missing");
    let sized = open(&image, &name, &key, &["--size", "8"]);
    assert_refused("a size", &sized, 1, "--size");
    let missing = open(&scratch.path("missing"), &name, &key, &[]);
    assert_refused("no image", &missing, 4, "missing");
    assert_refused("no volume", &open(&key, &name, &key, &[]), 1, "LUKS");
    let wrong = lucarne_with_stdin(words!["open", &image, &name.name], b"another passphrase");
    assert_refused("a wrong passphrase", &wrong, 2, "no keyslot");
    assert!(!name.directory.exists());
    assert_eq!(name.status().code, Some(4));
    // The first line of standard input, as everywhere.
    let mut line = common::PASSPHRASE.to_vec();
    line.push(b'\n');
    let opened = lucarne_with_stdin(words!["luksOpen", &image, &name.name], &line);
    assert_eq!(opened.code, Some(0), "{}", opened.stderr);
    assert_eq!(lucarne(["luksClose", &name.name]).code, Some(0));
    if rustix::process::geteuid().is_root() && have("an unsafe run directory", &["unshare"]) {
        let script = r#"mount -t tmpfs none /run && mkdir -m 755 /run/lucarne && exec "$@""#;
        let mut arguments = words!["--mount", "sh", "-c", script, "sh"].to_vec();
        arguments.push(env!("CARGO_BIN_EXE_lucarne").into());
        arguments.extend(words!["open", &image, &name.name, "--key-file", &key]);
        let outcome = common::programs::peer("unshare", &arguments);
        assert_refused("others may look in", &outcome, 4, "mode 0700");
    }
}
