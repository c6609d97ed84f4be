//! Many processes change one header at once, ours and cryptsetup mixed: who loses is told so, and what was
//! told to be done is done.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::Path;

use common::{lucarne, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;

const CHEAP: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const PROCESSES: u32 = 8;
const ROUNDS: usize = 12;

/// What one of them knows about its keyslot from the exit codes that it got.
#[derive(Debug, Default)]
struct Worker {
    slot: u32,
    has_key: bool,
    done: usize,
    lost: usize,
}

impl Worker {
    fn work(&mut self, run: impl Fn(Vec<OsString>) -> Outcome, image: &Path, keys: &Scratch) {
        let slot = self.slot.to_string();
        for _ in 0..ROUNDS {
            let mut line: Vec<OsString> = Vec::new();
            match self.has_key {
                true => line.extend(words!["luksKillSlot", "-q", image, &slot]),
                false => {
                    line.extend(words!["luksAddKey", "-q", "--new-key-slot", &slot]);
                    line.extend(CHEAP.map(OsString::from));
                    line.extend(words!["--key-file", keys.path("key"), image]);
                    line.push(keys.path(&format!("key{slot}")).into());
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

fn together(cryptsetup: Option<&Cryptsetup>) {
    let scratch = Scratch::new();
    let image = scratch.zeros("image", 8 << 20);
    let key = scratch.file("key", b"the first");
    let mut line = words!["luksFormat", "-q", "--key-file", &key].to_vec();
    line.extend(CHEAP.map(OsString::from));
    line.extend(words!["--luks2-keyslots-size", "6M", &image]);
    must(line);
    for slot in 1..=PROCESSES {
        scratch.file(&format!("key{slot}"), format!("of slot {slot}").as_bytes());
    }
    let mut workers: Vec<Worker> = (1..=PROCESSES)
        .map(|slot| Worker {
            slot,
            ..Worker::default()
        })
        .collect();
    std::thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| match cryptsetup {
                Some(cryptsetup) if worker.slot % 2 == 0 => {
                    worker.work(|line| cryptsetup.run(line), &image, &scratch);
                }
                _ => worker.work(lucarne, &image, &scratch),
            });
        }
    });

    let done: usize = workers.iter().map(|worker| worker.done).sum();
    assert!(
        done >= PROCESSES as usize,
        "only {done} changes: {workers:?}"
    );
    // The header is whole, in both copies.
    let bytes = std::fs::read(&image).unwrap();
    let (first, second) = (luks2::json(&bytes, 0), luks2::json(&bytes, 16384));
    assert_eq!(first, second);
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
            line.extend(words![scratch.path(&format!("key{slot}")), &image]);
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
    must(words![
        "open",
        "--test-passphrase",
        "--key-file",
        &key,
        &image
    ]);
}

#[test]
fn eight_of_ours_lose_nothing() {
    together(None);
}

#[test]
fn ours_and_cryptsetups_lose_nothing() {
    let Some(cryptsetup) = Cryptsetup::or_skip("changes by several programs at once") else {
        return;
    };
    together(Some(&cryptsetup));
}

/// A lock that somebody holds for good is waited for, but not for ever.
#[test]
fn a_loser_says_who_is_in_the_way() {
    let scratch = Scratch::new();
    let image = scratch.zeros("image", 8 << 20);
    let key = scratch.file("key", b"the first");
    let mut line = words!["luksFormat", "-q", "--key-file", &key].to_vec();
    line.extend(CHEAP.map(OsString::from));
    line.extend(words!["--luks2-keyslots-size", "6M", &image]);
    must(line);
    let before = std::fs::read(&image).unwrap();
    let holder = lucarne::FileStorage::open(&image, lucarne::Access::ReadWrite).unwrap();
    holder.try_lock(lucarne::LockKind::Exclusive).unwrap();
    let outcome = lucarne(words!["luksErase", "-q", "--lock-timeout", "1", &image]);
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("lock"), "{}", outcome.stderr);
    assert!(before == std::fs::read(&image).unwrap());
}
