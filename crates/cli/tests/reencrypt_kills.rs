//! Re-encryptions by us and by cryptsetup, killed in turn at any moment, and finished by the one or the other.
//!
//! LUCARNE_TEST_KILLS=200 is the long form: so many rounds, on 256 MiB.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{CHEAP, command, decrypted, encrypted, key_file, must, words};
use lucarne::{Access, FileStorage, read_header};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

/// How far a killed one was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Ordinary,
    Between,
    Hot,
    /// All data done and the metadata not: where cryptsetup begins anew over data that are done.
    AllNew,
}

fn left(image: &Path) -> Left {
    let file = FileStorage::open(image, Access::ReadOnly).unwrap();
    let header = read_header(&file).unwrap().header;
    let metadata = header.metadata();
    let Some(reencryption) = metadata.reencryption() else {
        return Left::Ordinary;
    };
    let mut regular = metadata
        .segments()
        .iter()
        .filter(|(_, segment)| !segment.is_backup());
    let old = reencryption.old_digest.unwrap();
    let of_old = &metadata.digests()[&old].segments;
    if regular
        .clone()
        .any(|(_, segment)| segment.is_in_reencryption())
    {
        Left::Hot
    } else if regular.any(|(id, _)| of_old.contains(id)) {
        Left::Between
    } else {
        Left::AllNew
    }
}

#[test]
fn killed_in_turn_and_finished_in_turn() {
    let Some(cryptsetup) = Cryptsetup::or_skip("killing it in a re-encryption") else {
        return;
    };
    let rounds = std::env::var("LUCARNE_TEST_KILLS").ok();
    let len = if rounds.is_some() {
        256 << 20
    } else {
        16 << 20
    };
    let rounds: u32 = rounds.map_or(4, |rounds| rounds.parse().unwrap());
    let scratch = Scratch::new();
    let payload = stream("kills", len);
    let image = encrypted(&scratch, "image", &payload, &[]);
    let key = key_file(&scratch);
    let line = |options: &[&str]| {
        let mut line = words!["reencrypt", "-q", "--key-file", &key].to_vec();
        line.extend(CHEAP.iter().chain(options).map(OsString::from));
        line.extend(words!["--force-offline-reencrypt", &image]);
        line
    };
    let program = |is_ours: bool| match is_ours {
        true => command(),
        false => Command::new(cryptsetup.program()),
    };
    // How long one takes that nobody kills.
    let mut whole = [Duration::ZERO; 2];
    for (is_ours, whole) in [true, false].into_iter().zip(&mut whole) {
        let start = Instant::now();
        let status = program(is_ours)
            .args(line(&[]))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        *whole = start.elapsed();
    }
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    let mut random = 1_u64;
    for round in 0..rounds {
        let is_ours = round % 2 == 0;
        let resilience = ["checksum", "journal"][(round / 2 % 2) as usize];
        let mut child = program(is_ours)
            .args(line(&["--resilience", resilience, "--hotzone-size", "1M"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // One in four near the end.
        let part = (random >> 40) as f64 / f64::from(1 << 24);
        let part = if round % 8 >= 6 {
            0.9 + part * 0.2
        } else {
            part
        };
        std::thread::sleep(whole[usize::from(!is_ours)].mul_f64(part));
        child.kill().unwrap();
        child.wait().unwrap();
        let state = left(&image);
        // Whoever was killed, each finishes as often; where cryptsetup would lose data, we do.
        let by_us = round / 4 % 2 == 0 || state == Left::AllNew;
        if state != Left::Ordinary {
            if by_us {
                must(line(&["--resume-only"]));
            } else {
                cryptsetup.must(words!["repair", "-q", "--key-file", &key, &image]);
                if left(&image) != Left::Ordinary {
                    cryptsetup.must(line(&["--resume-only"]));
                }
            }
        }
        assert_eq!(left(&image), Left::Ordinary, "round {round}");
        let name = |is_ours: bool| if is_ours { "lucarne" } else { "cryptsetup" };
        let what = format!(
            "{} killed, {state:?}, finished by {}",
            name(is_ours),
            name(by_us)
        );
        assert!(
            decrypted(&scratch, &image, &[]) == payload,
            "round {round}: {what}"
        );
        *counts.entry(what).or_default() += 1;
    }
    for (what, count) in counts {
        println!("{count:5} {what}");
    }
}
