//! `benchmark` as a script meets it; the transcripts have what a person sees.
#![allow(clippy::unwrap_used)]

use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Key derivations that take next to no time.
const CHEAP: [&str; 6] = [
    "--iter-time",
    "1",
    "--pbkdf-memory",
    "32",
    "--pbkdf-parallel",
    "1",
];

fn benchmark(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lucarne"))
        .arg("benchmark")
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = benchmark(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The members of each object in a list, which must all have the same.
fn members<'a>(list: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut all: Vec<Vec<_>> = list
        .map(|object| {
            let object = object.as_object().unwrap();
            object.keys().map(String::as_str).collect()
        })
        .collect();
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn positive(value: &Value) {
    assert!(value.as_f64().unwrap() > 0.0, "{value}");
}

#[test]
fn json_has_the_members_that_the_help_lists() {
    let object = json(&[&CHEAP[..], &["--kernel", "portable"]].concat());
    assert_eq!(
        members([&object].into_iter()),
        [
            "version",
            "cpus",
            "key_derivations",
            "ciphers",
            "kernels",
            "memory"
        ]
    );
    assert_eq!(object["version"], 1);
    positive(&object["cpus"]);

    let kdfs = object["key_derivations"].as_array().unwrap();
    let (pbkdf2, argon2): (Vec<_>, Vec<_>) = kdfs.iter().partition(|kdf| kdf["pbkdf"] == "pbkdf2");
    assert_eq!((pbkdf2.len(), argon2.len()), (5, 2));
    assert_eq!(
        members(pbkdf2.iter().copied()),
        ["pbkdf", "key_bits", "hash", "iterations_per_second"]
    );
    assert_eq!(
        members(argon2.iter().copied()),
        [
            "pbkdf",
            "key_bits",
            "iterations",
            "memory_kib",
            "lanes",
            "requested_ms"
        ]
    );
    for kdf in pbkdf2 {
        positive(&kdf["iterations_per_second"]);
    }
    for kdf in argon2 {
        assert_eq!((&kdf["memory_kib"], &kdf["lanes"]), (&32.into(), &1.into()));
    }

    let ciphers = object["ciphers"].as_array().unwrap();
    assert_eq!(ciphers.len(), 12);
    assert_eq!(
        members(ciphers.iter()),
        [
            "cipher",
            "key_bits",
            "kernel",
            "sector_bytes",
            "encryption",
            "decryption"
        ]
    );
    for cipher in ciphers {
        let is_xts = cipher["cipher"] == "aes-xts";
        if is_xts || cipher["cipher"] == "aes-cbc" {
            positive(&cipher["encryption"]);
            positive(&cipher["decryption"]);
        } else {
            assert!(cipher["encryption"].is_null());
        }
        let kernel = if is_xts {
            "portable".into()
        } else {
            Value::Null
        };
        assert_eq!(cipher["kernel"], kernel);
    }

    let kernels = object["kernels"].as_array().unwrap();
    assert_eq!(
        members(kernels.iter()),
        [
            "kernel",
            "preferred",
            "key_bits",
            "sector_bytes",
            "encryption",
            "decryption",
            "limit",
            "encryption_share",
            "decryption_share"
        ]
    );
    let shapes: Vec<_> = kernels
        .iter()
        .map(|kernel| (kernel["key_bits"].as_u64(), kernel["sector_bytes"].as_u64()))
        .collect();
    assert_eq!(
        shapes,
        [(256, 512), (256, 4096), (512, 512), (512, 4096)]
            .map(|(bits, bytes)| (Some(bits), Some(bytes)))
    );

    let memory = object["memory"].as_array().unwrap();
    assert_eq!(
        members(memory.iter()),
        ["threads", "buffer_bytes", "xor", "copy"]
    );
    for row in memory {
        positive(&row["xor"]);
        positive(&row["copy"]);
    }
}

#[test]
fn json_of_one_row_has_the_other_lists_empty() {
    let object = json(&["--hash", "sha1"]);
    assert_eq!(object["key_derivations"][0]["hash"], "sha1");
    for list in ["ciphers", "kernels", "memory"] {
        assert_eq!(object[list], Value::Array(Vec::new()), "{list}");
    }
}

#[test]
fn a_refusal_prints_no_half_of_an_object() {
    let output = benchmark(&["--json", "-c", "serpent-xts"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lucarne"))
        .args(["benchmark", "--pbkdf", "argon2id", "--iter-time", "600000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun when the first line is there.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{status}");
}
