//! Walks `options.tsv`: every option of cryptsetup 2.8 is in it, what is done is accepted, and what is
//! not is answered by name.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

/// The long options that `cryptsetup --help` of version 2.8 shows, help options included.
const CRYPTSETUP_2_8: &str = "\
    active-name align-payload allow-discards batch-mode block-size cancel-deferred cipher debug \
    debug-json decrypt deferred device-size disable-blkid disable-external-tokens disable-keyring \
    disable-locks disable-veracrypt dump-json-metadata dump-master-key dump-volume-key encrypt \
    external-tokens-path force-no-keyslots force-offline-reencrypt force-password hash header \
    header-backup-file help hotzone-size hw-opal hw-opal-factory-reset hw-opal-only init-only \
    integrity integrity-inline integrity-key-size integrity-legacy-padding integrity-no-journal \
    integrity-no-wipe iter-time iv-large-sectors json-file keep-key key-description key-file \
    key-size key-slot keyfile-offset keyfile-size keyslot-cipher keyslot-key-size label \
    link-vk-to-keyring luks2-keyslots-size luks2-metadata-size master-key-file new \
    new-key-description new-key-size new-key-slot new-keyfile new-keyfile-offset new-keyfile-size \
    new-token-id new-volume-key-file new-volume-key-keyring offset pbkdf pbkdf-force-iterations \
    pbkdf-memory pbkdf-parallel perf-high_priority perf-no_read_workqueue perf-no_write_workqueue \
    perf-same_cpu_crypt perf-submit_from_crypt_cpus persistent priority progress-frequency \
    progress-json readonly reduce-device-size refresh resilience resilience-hash resume-only \
    sector-size serialize-memory-hard-pbkdf shared size skip subsystem tcrypt-backup tcrypt-hidden \
    tcrypt-system test-args test-passphrase timeout token-id token-only token-replace token-type \
    tries type unbound usage use-directio use-fsync use-random use-urandom uuid veracrypt \
    veracrypt-pim veracrypt-query-pim verbose verify-passphrase version volume-key-file \
    volume-key-keyring write-log";

const VERBS: &[&str] = &[
    "encrypt",
    "decrypt",
    "rekey",
    "reencrypt",
    "wipe",
    "read",
    "write",
    "serve",
    "ls",
    "cat",
    "cp",
    "tensors",
    "tensor",
    "check",
    "luksFormat",
    "luksDump",
    "isLuks",
    "luksUUID",
    "open",
    "close",
    "status",
    "benchmark",
    "overhead",
    "luksAddKey",
    "luksChangeKey",
    "luksConvertKey",
    "luksRemoveKey",
    "luksKillSlot",
    "luksErase",
    "luksHeaderBackup",
    "luksHeaderRestore",
    "repair",
    "config",
    "token",
    "convert",
];

struct Row {
    long: &'static str,
    short: Option<&'static str>,
    takes_value: bool,
    state: &'static str,
    verbs: Vec<&'static str>,
    reason: &'static str,
}

fn table() -> Vec<Row> {
    let text = include_str!("../options.tsv");
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("long\tshort\targument\tstate\tverbs\treason")
    );
    lines
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [long, short, argument, state, verbs, reason] = columns[..] else {
                panic!("not six columns: {line:?}");
            };
            Row {
                long,
                short: (short != "-").then_some(short),
                takes_value: argument != "-",
                state,
                verbs: verbs.split(' ').filter(|verb| *verb != "-").collect(),
                reason,
            }
        })
        .collect()
}

fn lucarne(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lucarne"))
        .args(arguments)
        .output()
        .unwrap()
}

/// The verb with the operands it needs.
fn with_operands(verb: &'static str) -> Vec<&'static str> {
    match verb {
        "encrypt" | "decrypt" | "rekey" | "cp" => vec![verb, "in", "out"],
        "tensor" => vec![verb, "image", "name", "out"],
        "benchmark" | "overhead" => vec![verb],
        "luksKillSlot" => vec![verb, "image", "1"],
        "luksHeaderBackup" | "luksHeaderRestore" => {
            vec![verb, "image", "--header-backup-file", "backup"]
        }
        "token" => vec![verb, "add", "image"],
        "serve" => vec![verb, "image", "--nbd", "unix:socket"],
        verb => vec![verb, "image"],
    }
}

/// A value that the option takes.
fn value_of(long: &str) -> &'static str {
    match long {
        "type" => "luks2",
        "pbkdf" => "argon2id",
        "cipher" | "keyslot-cipher" => "aes-xts-plain64",
        "hash" => "sha256",
        "uuid" => "00000000-0000-4000-8000-000000000000",
        "key-size" | "keyslot-key-size" => "512",
        "sector-size" => "4096",
        "priority" => "prefer",
        "resilience" => "journal",
        "resilience-hash" => "sha256",
        "luks2-metadata-size" => "16k",
        "luks2-keyslots-size" => "16m",
        _ => "8",
    }
}

/// Other options that this one needs.
fn company_of(long: &str, verb: &str) -> &'static [&'static str] {
    match long {
        // There it is not the length of a cipher's key.
        "key-size" if verb == "luksAddKey" => &[],
        "key-size" => &["--cipher", "aes-xts-plain64"],
        "keyslot-cipher" => &["--keyslot-key-size", "512"],
        "priority" => &["--key-slot", "1"],
        "new-keyfile-offset" | "new-keyfile-size" if verb == "rekey" => &["--new-keyfile", "8"],
        _ if verb == "luksErase"
            && (long.starts_with("key") || ["timeout", "verify-passphrase"].contains(&long)) =>
        {
            &["--evidence", "record", "--try-passphrase"]
        }
        "keyslot-key-size" => &["--keyslot-cipher", "aes-xts-plain64"],
        "decrypt" => &["--header", "header"],
        "reduce-device-size" => &["--encrypt"],
        "volume-key-file" | "master-key-file" if verb == "reencrypt" => &["--encrypt"],
        _ => &[],
    }
}

#[test]
fn every_option_of_cryptsetup_is_in_the_table_once() {
    let listed: Vec<_> = table().iter().map(|row| row.long).collect();
    let distinct: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(distinct.len(), listed.len());
    let expected: BTreeSet<_> = CRYPTSETUP_2_8.split_whitespace().collect();
    assert_eq!(distinct, expected);
    assert_eq!(expected.len(), 121);
    for row in table() {
        assert!(
            ["done", "to come", "refused"].contains(&row.state),
            "{}",
            row.long
        );
        assert!(!row.reason.is_empty(), "{}", row.long);
        assert!(
            row.verbs.iter().all(|verb| VERBS.contains(verb)),
            "{}",
            row.long
        );
    }
}

#[test]
fn what_is_done_is_accepted_by_its_verbs() {
    for row in table().iter().filter(|row| row.state == "done") {
        assert!(!row.verbs.is_empty(), "--{} is done for no verb", row.long);
        for verb in &row.verbs {
            let mut arguments = with_operands(verb);
            let long = format!("--{}", row.long);
            arguments.push(&long);
            if row.takes_value {
                arguments.push(value_of(row.long));
            }
            arguments.extend(company_of(row.long, verb));
            if row.long == "unbound" && *verb != "token" {
                arguments.extend(["--key-slot", "1"]);
                match *verb {
                    "open" => arguments.push("--test-passphrase"),
                    "luksAddKey" => arguments.extend(["--key-size", "256"]),
                    _ => {}
                }
            }
            arguments.push("--test-args");
            let output = lucarne(&arguments);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
            if !["help", "usage", "version"].contains(&row.long) {
                assert_eq!(
                    output.stdout, b"No action taken. Invoked with --test-args option.\n",
                    "{arguments:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_done_is_not_taken_by_other_verbs() {
    for row in table().iter().filter(|row| row.state == "done") {
        for verb in VERBS.iter().filter(|verb| !row.verbs.contains(verb)) {
            // There it is in bytes, an option of the verb's own.
            let is_other_meaning = match row.long {
                "offset" => ["read", "write", "wipe"].contains(verb),
                "size" => *verb == "overhead",
                _ => false,
            };
            if is_other_meaning {
                continue;
            }
            let long = format!("--{}", row.long);
            let mut arguments = with_operands(verb);
            arguments.push(&long);
            if row.takes_value {
                arguments.push(value_of(row.long));
            }
            arguments.push("--test-args");
            let output = lucarne(&arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(stderr.contains(&long), "{stderr}");
        }
    }
}

#[test]
fn what_is_not_done_is_answered_by_name() {
    let mut count = 0;
    for row in table().iter().filter(|row| row.state != "done") {
        let long = format!("--{}", row.long);
        let short = row.short.map(|short| format!("-{short}"));
        for option in [Some(&long), short.as_ref()].into_iter().flatten() {
            for verb in VERBS {
                // Before the verb and after it.
                let operands = with_operands(verb);
                let mut before = vec![option.as_str()];
                before.extend(row.takes_value.then_some("8"));
                let after: Vec<_> = operands.iter().chain(&before).copied().collect();
                before.extend(&operands);
                for arguments in [before, after] {
                    let output = lucarne(&arguments);
                    let stderr = String::from_utf8(output.stderr).unwrap();
                    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
                    assert!(output.stdout.is_empty(), "{arguments:?}");
                    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
                    assert!(stderr.contains(&long), "{arguments:?}: {stderr}");
                    assert!(stderr.contains(row.reason), "{arguments:?}: {stderr}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 500, "only {count} refusals were seen");
}
