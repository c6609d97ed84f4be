//! Many processes change one header at once, ours and cryptsetup mixed: who loses is told so, and what was
//! told to be done is done.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::PathBuf;

use common::{lucarne, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;

const CHEAP: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const PROCESSES: u32 = 8;
const ROUNDS: usize = 12;

/// The volume that they change, and how they come by its key.
struct Volume {
    scratch: Scratch,
    first_slot: u32,
    /// The options of luksAddKey.
    existing_key: Vec<OsString>,
}

impl Volume {
    /// With a key in keyslot 0, which nobody touches.
    fn luks2() -> Self {
        let scratch = Scratch::new();
        let key = scratch.file("key", b"the first");
        let image = scratch.zeros("image", 8 << 20);
        let mut line = words!["luksFormat", "-q", "--key-file", &key].to_vec();
        line.extend(CHEAP.map(OsString::from));
        line.extend(words!["--luks2-keyslots-size", "6M", &image]);
        must(line);
        Self {
            scratch,
            first_slot: 1,
            existing_key: words!["--key-file", key].to_vec(),
        }
    }

    /// Without a key: all eight keyslots are theirs, and the volume key opens it.
    fn luks1() -> Self {
        let scratch = Scratch::new();
        let key = scratch.file("key", b"the first");
        let volume_key = scratch.file("volume-key", b"0123456789abcdefghijklmnopqrstuv");
        let image = scratch.zeros("image", 4 << 20);
        let mut line = words!["luksFormat", "-q", "--type", "luks1", "--key-file", key].to_vec();
        line.extend(CHEAP.map(OsString::from));
        line.extend(words![
            "--key-size",
            "256",
            "--volume-key-file",
            &volume_key,
            &image
        ]);
        must(line);
        must(words!["luksKillSlot", "-q", image, "0"]);
        Self {
            scratch,
            first_slot: 0,
            existing_key: words!["--key-size", "256", "--volume-key-file", volume_key].to_vec(),
        }
    }

    fn image(&self) -> PathBuf {
        self.scratch.path("image")
    }

    fn key_of(&self, slot: u32) -> PathBuf {
        self.scratch.path(&format!("key{slot}"))
    }
}

/// What one of them knows about its keyslot from the exit codes that it got.
#[derive(Debug, Default)]
struct Worker {
    slot: u32,
    has_key: bool,
    done: usize,
    lost: usize,
}

impl Worker {
    fn work(&mut self, run: impl Fn(Vec<OsString>) -> Outcome, volume: &Volume) {
        let slot = self.slot.to_string();
        let image = volume.image();
        for _ in 0..ROUNDS {
            let mut line: Vec<OsString> = Vec::new();
            match self.has_key {
                true => line.extend(words!["luksKillSlot", "-q", &image, &slot]),
                false => {
                    line.extend(words!["luksAddKey", "-q", "--new-key-slot", &slot]);
                    line.extend(CHEAP.map(OsString::from));
                    line.extend(volume.existing_key.iter().cloned());
                    line.extend(words![&image, volume.key_of(self.slot)]);
                }
            }
            let outcome = run(line);
            match outcome.code {
                Some(0) => {
                    self.has_key = !self.has_key;
                    self.done += 1;
                }
                // cryptsetup's code for a change that came in between is 1, ours 5.
                Some(1 | 5) => self.lost += 1,
                other => panic!("slot {slot}: {other:?}: {}", outcome.stderr),
            }
        }
    }
}

/// Lets eight processes work, every second one of cryptsetup if there is one. Whatever each was told holds.
fn together(volume: &Volume, cryptsetup: Option<&Cryptsetup>) {
    let slots = volume.first_slot..volume.first_slot + PROCESSES;
    for slot in slots.clone() {
        let name = format!("key{slot}");
        volume
            .scratch
            .file(&name, format!("of slot {slot}").as_bytes());
    }
    let mut workers: Vec<Worker> = slots
        .map(|slot| Worker {
            slot,
            ..Worker::default()
        })
        .collect();
    std::thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| match cryptsetup {
                Some(cryptsetup) if worker.slot % 2 == 0 => {
                    worker.work(|line| cryptsetup.run(line), volume);
                }
                _ => worker.work(lucarne, volume),
            });
        }
    });

    let done: usize = workers.iter().map(|worker| worker.done).sum();
    assert!(
        done >= PROCESSES as usize,
        "only {done} changes: {workers:?}"
    );
    let image = volume.image();
    for worker in &workers {
        let slot = worker.slot.to_string();
        let opens = |program: &dyn Fn(Vec<OsString>) -> Outcome| {
            let line = words![
                "open",
                "--test-passphrase",
                "--key-slot",
                &slot,
                "--key-file"
            ];
            let mut line = line.to_vec();
            line.extend(words![volume.key_of(worker.slot), &image]);
            program(line).code == Some(0)
        };
        assert_eq!(opens(&|line| lucarne(line)), worker.has_key, "{worker:?}");
        if let Some(cryptsetup) = cryptsetup {
            assert_eq!(
                opens(&|line| cryptsetup.run(line)),
                worker.has_key,
                "{worker:?}"
            );
        }
    }
}

/// [`together`], after which the header is whole in both copies, and the first key opens.
fn together_on_luks2(cryptsetup: Option<&Cryptsetup>) {
    let volume = Volume::luks2();
    together(&volume, cryptsetup);
    let bytes = std::fs::read(volume.image()).unwrap();
    let (first, second) = (luks2::json(&bytes, 0), luks2::json(&bytes, 16384));
    assert_eq!(first, second);
    let key = volume.scratch.path("key");
    must(words![
        "open",
        "--test-passphrase",
        "--key-file",
        key,
        volume.image()
    ]);
}

#[test]
fn eight_of_ours_lose_nothing() {
    together_on_luks2(None);
}

#[test]
fn ours_and_cryptsetups_lose_nothing() {
    let Some(cryptsetup) = Cryptsetup::or_skip("changes by several programs at once") else {
        return;
    };
    together_on_luks2(Some(&cryptsetup));
}

/// cryptsetup takes no lock for LUKS1, so that only ours among themselves are kept apart; what it finds in the end
/// is what we say.
#[test]
fn eight_of_ours_lose_nothing_on_luks1() {
    let volume = Volume::luks1();
    together(&volume, None);
    let header = lucarne::FileStorage::open(volume.image(), lucarne::Access::ReadOnly)
        .map(|image| lucarne::read_any_header(&image).unwrap())
        .unwrap();
    let Some(cryptsetup) = Cryptsetup::or_skip("LUKS1 after changes at once") else {
        return;
    };
    for slot in 0..PROCESSES {
        let mut line = words!["open", "--test-passphrase", "--key-slot", slot.to_string()].to_vec();
        line.extend(words!["--key-file", volume.key_of(slot), volume.image()]);
        let opens = cryptsetup.run(line).code == Some(0);
        assert_eq!(opens, header.as_ref().has_keyslot(slot), "keyslot {slot}");
    }
}

/// A lock that somebody holds for good is waited for, but not for ever.
#[test]
fn a_loser_says_who_is_in_the_way() {
    for volume in [Volume::luks2(), Volume::luks1()] {
        let image = volume.image();
        let before = std::fs::read(&image).unwrap();
        let holder = lucarne::FileStorage::open(&image, lucarne::Access::ReadWrite).unwrap();
        holder.try_lock(lucarne::LockKind::Exclusive).unwrap();
        let mut line = words!["luksAddKey", "-q", "--lock-timeout", "1"].to_vec();
        line.extend(CHEAP.map(OsString::from));
        line.extend(volume.existing_key.iter().cloned());
        line.extend(words![&image, volume.scratch.path("key")]);
        for line in [
            words!["luksErase", "-q", "--lock-timeout", "1", &image].to_vec(),
            line,
        ] {
            let outcome = lucarne(line);
            assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
            assert!(outcome.stderr.contains("lock"), "{}", outcome.stderr);
            assert!(before == std::fs::read(&image).unwrap());
        }
    }
}
