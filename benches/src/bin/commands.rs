//! Whole commands against their peers, as ratios in one run.
//!
//! ```text
//! cargo run --release -p lucarne-benches --bin commands -- [--size 4G] [--rounds 5] [--dir DIR] [--only WORDS]
//! ```
//!
//! `--only encrypt,rekey,dd` leaves out the commands whose names hold none of these words.
//!
//! Every round runs each command once, in rotating order, on the same random file, so that a slow
//! minute of the machine slows all of them. The source is in the page cache (as far as it fits), every
//! result is flushed to disk, and the key derivation costs next to nothing (PBKDF2, 1000 iterations).
//! Printed are medians, their spread, ratios to the first command, and the peak memory of each process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use lucarne_benches::whole::{
    is_installed, median, memory_kib, parse, report, run_to_end, shell, warm,
};

const PASSPHRASE: &str = "not a secret, a benchmark";

/// One command line and what must be there before it runs.
struct Contestant {
    name: &'static str,
    prepare: fn(&Workplace),
    command: fn(&Workplace) -> Command,
    /// Files to remove afterwards.
    leaves: &'static [&'static str],
}

struct Workplace {
    dir: PathBuf,
    lucarne: PathBuf,
    size_bytes: u64,
}

struct Outcome {
    seconds: Vec<f64>,
    peak_kib: u64,
    failures: usize,
}

const KDF: [&str; 5] = [
    "-q",
    "--pbkdf",
    "pbkdf2",
    "--pbkdf-force-iterations",
    "1000",
];

const CONTESTANTS: &[Contestant] = &[
    Contestant {
        name: "lucarne encrypt",
        prepare: |_| {},
        command: |place| place.lucarne(&["encrypt", "-d", "key", "source", "out"]),
        leaves: &["out"],
    },
    Contestant {
        name: "lucarne decrypt",
        prepare: |_| {},
        command: |place| {
            let mut command = Command::new(&place.lucarne);
            command.args(["decrypt", "-q", "-d", "key", "volume", "out"]);
            command
        },
        leaves: &["out"],
    },
    Contestant {
        name: "lucarne rekey",
        prepare: |place| warm(&place.dir.join("volume")),
        command: |place| place.lucarne(&["rekey", "-d", "key", "volume", "out"]),
        leaves: &["out"],
    },
    Contestant {
        name: "cp, sync",
        prepare: |_| {},
        command: |_| shell("cp source out && sync out"),
        leaves: &["out"],
    },
    Contestant {
        name: "dd bs=4M oflag=direct conv=fsync",
        prepare: |_| {},
        command: |_| shell("dd if=source of=out bs=4M oflag=direct conv=fsync status=none"),
        leaves: &["out"],
    },
    Contestant {
        name: "cryptsetup reencrypt --encrypt",
        prepare: |place| {
            fs::copy(place.dir.join("source"), place.dir.join("inplace"))
                .expect("copy of the source");
            run_to_end(&mut shell("sync inplace"), &place.dir);
        },
        command: |_| {
            let mut command = Command::new("cryptsetup");
            command.args([
                "reencrypt",
                "--encrypt",
                "--type",
                "luks2",
                "--header",
                "header",
            ]);
            command
                .args(KDF)
                .args(["--sector-size", "4096", "-d", "key", "inplace"]);
            command
        },
        leaves: &["inplace", "header"],
    },
    Contestant {
        name: "qemu-img convert to LUKS1",
        prepare: |_| {},
        command: |_| {
            shell(
                "qemu-img convert -f raw -O luks --object secret,id=s,file=key \
                 -o key-secret=s,iter-time=200 source out && sync out",
            )
        },
        leaves: &["out"],
    },
    Contestant {
        name: "lucarne reencrypt, checksum",
        prepare: again,
        command: |place| reencrypt(place.lucarne(&["reencrypt"]), "checksum"),
        leaves: &[],
    },
    Contestant {
        name: "lucarne reencrypt, journal",
        prepare: again,
        command: |place| reencrypt(place.lucarne(&["reencrypt"]), "journal"),
        leaves: &[],
    },
    Contestant {
        name: "lucarne reencrypt, none",
        prepare: again,
        command: |place| reencrypt(place.lucarne(&["reencrypt"]), "none"),
        leaves: &[],
    },
    Contestant {
        name: "cryptsetup reencrypt, checksum",
        prepare: again,
        command: |_| reencrypt(cryptsetup_reencrypt(), "checksum"),
        leaves: &[],
    },
    Contestant {
        name: "cryptsetup reencrypt, journal",
        prepare: again,
        command: |_| reencrypt(cryptsetup_reencrypt(), "journal"),
        leaves: &[],
    },
    Contestant {
        name: "cryptsetup reencrypt, none",
        prepare: again,
        command: |_| reencrypt(cryptsetup_reencrypt(), "none"),
        leaves: &[],
    },
    Contestant {
        name: "dd reencrypt's zones in place, with its flushes",
        prepare: again,
        command: |place| shell(&in_zones(place.size_bytes)),
        leaves: &[],
    },
    Contestant {
        name: "lucarne reencrypt --encrypt, data shift",
        prepare: plain_in_place,
        command: |place| shifted(place.lucarne(&["reencrypt"])),
        leaves: &["inplace"],
    },
    Contestant {
        name: "cryptsetup reencrypt --encrypt, data shift",
        prepare: plain_in_place,
        command: |_| shifted(cryptsetup_reencrypt()),
        leaves: &["inplace"],
    },
];

/// A zone of `lucarne reencrypt`.
const ZONE_MIB: u64 = 64;

/// The reads, writes and flushes of a re-encryption and no work in between: what the disk alone takes for them. As in
/// `lucarne`, two threads write past the page cache what they read from it, and each zone costs four flushes.
fn in_zones(size_bytes: u64) -> String {
    let zones = (size_bytes >> 20) / ZONE_MIB;
    let half = ZONE_MIB / 2;
    let dd = |start: &str| {
        format!(
            "dd if=again of=again bs=1M count={half} skip=$(({start})) seek=$(({start})) oflag=direct conv=notrunc status=none"
        )
    };
    format!(
        "zone=0; while [ $zone -lt {zones} ]; do \
         {first} & {second}; wait; sync -d again; \
         for commit in 1 2 3; do dd if=key of=header-of-again bs=16k seek=$commit conv=notrunc,fsync status=none; done; \
         zone=$((zone + 1)); done",
        first = dd(&format!("zone * {ZONE_MIB}")),
        second = dd(&format!("zone * {ZONE_MIB} + {half}")),
    )
}

/// A volume that is re-encrypted as often as is asked for.
fn again(place: &Workplace) {
    let path = place.dir.join("again");
    if !path.exists() {
        run_to_end(&mut shell("cp volume again && sync again"), &place.dir);
    }
    warm(&path);
}

/// The source, and room behind it.
fn plain_in_place(place: &Workplace) {
    let line = "cp source inplace && truncate -s +32M inplace && sync inplace";
    run_to_end(&mut shell(line), &place.dir);
    warm(&place.dir.join("inplace"));
}

fn cryptsetup_reencrypt() -> Command {
    let mut command = Command::new("cryptsetup");
    command.arg("reencrypt").args(KDF);
    // It cannot tell whether a file is in use.
    command.arg("--force-offline-reencrypt");
    command
}

fn reencrypt(mut command: Command, resilience: &str) -> Command {
    command.args(["--resilience", resilience, "-d", "key", "again"]);
    command
}

fn shifted(mut command: Command) -> Command {
    command.args([
        "--encrypt",
        "--type",
        "luks2",
        "--reduce-device-size",
        "32M",
    ]);
    command.args(["--sector-size", "4096", "-d", "key", "inplace"]);
    command
}

impl Workplace {
    fn lucarne(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.lucarne);
        command.arg(arguments[0]).args(KDF).args(&arguments[1..]);
        command
    }
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1), 4 << 30) {
        Ok(arguments) => arguments,
        Err(message) => {
            report(&format!("commands: {message}"));
            return ExitCode::FAILURE;
        }
    };
    let dir = arguments
        .dir
        .join(format!("lucarne-commands-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder to work in");
    let place = Workplace {
        dir: dir.clone(),
        lucarne: fs::canonicalize(&arguments.lucarne)
            .expect("the lucarne binary: build it with cargo build --release"),
        size_bytes: arguments.size_bytes,
    };
    let outcomes = compare(&place, arguments.rounds, &arguments.only);
    print_table(&place, &outcomes);
    fs::remove_dir_all(&dir).expect("the folder removed");
    ExitCode::SUCCESS
}

fn compare(place: &Workplace, rounds: usize, only: &[String]) -> Vec<(&'static str, Outcome)> {
    fs::write(place.dir.join("key"), PASSPHRASE).expect("key file");
    let blocks = place.size_bytes >> 20;
    let noise = format!(
        "head -c {} /dev/urandom > source && sync source",
        blocks << 20
    );
    run_to_end(&mut shell(&noise), &place.dir);
    run_to_end(
        &mut place.lucarne(&["encrypt", "-d", "key", "source", "volume"]),
        &place.dir,
    );

    let present: Vec<&Contestant> = CONTESTANTS
        .iter()
        .filter(|contestant| {
            is_installed((contestant.command)(place).get_program().to_str())
                && peer_of(contestant.name)
                && (only.is_empty() || only.iter().any(|word| contestant.name.contains(word)))
        })
        .collect();
    let mut outcomes: Vec<_> = present
        .iter()
        .map(|contestant| {
            let outcome = Outcome {
                seconds: Vec::new(),
                peak_kib: 0,
                failures: 0,
            };
            (contestant.name, outcome)
        })
        .collect();
    for round in 0..rounds {
        for turn in 0..present.len() {
            let index = (turn + round) % present.len();
            let contestant = present[index];
            (contestant.prepare)(place);
            warm(&place.dir.join("source"));
            let outcome = &mut outcomes[index].1;
            match timed(&mut (contestant.command)(place), &place.dir) {
                Some((elapsed, peak_kib)) => {
                    outcome.seconds.push(elapsed.as_secs_f64());
                    outcome.peak_kib = outcome.peak_kib.max(peak_kib);
                }
                None => outcome.failures += 1,
            }
            for file in contestant.leaves {
                // What a failed command did not make cannot be removed.
                let _ = fs::remove_file(place.dir.join(file));
            }
        }
    }
    outcomes
}

fn peer_of(name: &str) -> bool {
    name != "qemu-img convert to LUKS1" || is_installed(Some("qemu-img"))
}

/// How long the command took, and the most memory it held (polled); `None` if it failed.
fn timed(command: &mut Command, dir: &Path) -> Option<(Duration, u64)> {
    let start = Instant::now();
    let mut child = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut peak_kib = 0;
    loop {
        if let Some(status) = child.try_wait().expect("the child's status") {
            let elapsed = start.elapsed();
            return status.success().then_some((elapsed, peak_kib));
        }
        peak_kib = peak_kib.max(memory_kib(child.id(), "VmHWM"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn print_table(place: &Workplace, outcomes: &[(&str, Outcome)]) {
    let reference = median(&outcomes[0].1.seconds);
    let mib = place.size_bytes as f64 / f64::from(1 << 20);
    report(
        "| command | median MiB/s | fastest to slowest, s | time of the first / its time | peak MiB |",
    );
    report("|---|---|---|---|---|");
    for (name, outcome) in outcomes {
        if outcome.failures > 0 {
            report(&format!(
                "{name} failed {} times; these runs do not count",
                outcome.failures
            ));
        }
        if outcome.seconds.is_empty() {
            continue;
        }
        let middle = median(&outcome.seconds);
        let fastest = outcome
            .seconds
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let slowest = outcome.seconds.iter().copied().fold(0.0, f64::max);
        report(&format!(
            "| {name} | {:.0} | {fastest:.2} to {slowest:.2} | {:.2} | {} |",
            mib / middle,
            reference / middle,
            outcome.peak_kib >> 10,
        ));
    }
}
