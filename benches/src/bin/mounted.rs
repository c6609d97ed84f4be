//! A file of `lucarne serve --fuse` beside the same FUSE server over the plain file, by fio.
//!
//! ```text
//! cargo run --release -p lucarne-benches --bin mounted -- [--size 2G] [--rounds 3] [--seconds 2] [--dir DIR] [--only JOB] [--uncached]
//! ```
//!
//! Both images are in the page cache (as far as they fit), brought there in the same way before each job: what a write
//! of 4 KiB costs a file system depends on the size of the cache's folios, threefold on ext4. For the same reason the
//! file that is served as it is is a volume too, written in the same way. *Cached*: fio reads and writes through the kernel's cache of
//! the mounted file, which is emptied before each job; *direct*: past it (`O_DIRECT`), as a loop device with direct I/O
//! does. Every round runs each job on both, the one first and then the other. Printed are medians, and the median of
//! each round's ratio. Writes end with an fsync, which both pay. `--uncached` has both serve with `--direct-io`;
//! `--only 'write 1M'` runs the jobs whose line begins so.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use lucarne_serve::StorageExport;
use lucarne_serve::fuse::{Server, ServerOptions, Unmount};
use lucarne_storage::{Access, FileStorage};

const PASSPHRASE: &str = "not a secret, a benchmark";

/// fio's name for it, its block size, and how many threads.
const JOBS: [(&str, &str, u32); 6] = [
    ("read", "1M", 1),
    ("write", "1M", 1),
    ("randread", "4k", 1),
    ("randwrite", "4k", 1),
    ("randread", "4k", 4),
    ("randwrite", "4k", 4),
];

struct Arguments {
    size: String,
    rounds: usize,
    seconds: u32,
    dir: PathBuf,
    lucarne: PathBuf,
    only: String,
    is_uncached: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            report(&format!("mounted: {message}"));
            return ExitCode::FAILURE;
        }
    };
    let dir = arguments
        .dir
        .join(format!("lucarne-mounted-{}", std::process::id()));
    for name in ["ours", "plain"] {
        fs::create_dir_all(dir.join(name)).expect("a folder to work in");
    }
    fs::write(dir.join("key"), PASSPHRASE).expect("key file");
    shell(
        &dir,
        &format!(
            "head -c {} /dev/urandom > source && sync source",
            arguments.size
        ),
    );
    let lucarne = fs::canonicalize(&arguments.lucarne)
        .expect("the lucarne binary: build it with cargo build --release");
    for volume in ["volume", "bytes"] {
        shell(
            &dir,
            &format!(
                "{} encrypt -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 4096 -d key source {volume}",
                lucarne.display()
            ),
        );
    }
    fs::remove_file(dir.join("source")).expect("the source removed");
    measure(&arguments, &lucarne, &dir);
    fs::remove_dir_all(&dir).expect("the folder removed");
    ExitCode::SUCCESS
}

fn measure(arguments: &Arguments, lucarne: &Path, dir: &Path) {
    let mut ours = Ours::start(lucarne, dir, arguments.is_uncached);
    let bytes = FileStorage::open(dir.join("bytes"), Access::ReadWrite).expect("the plain file");
    let bytes = StorageExport::new(bytes).expect("its length");
    let options = ServerOptions {
        name: "bytes".into(),
        is_uncached: arguments.is_uncached,
        ..ServerOptions::default()
    };
    let server = Server::mount(&dir.join("plain"), bytes, &options)
        .expect("a FUSE mount, which root or fusermount3 can make");
    let stopper = server.stopper();
    let serving = std::thread::spawn(|| server.run());
    let plain = dir.join("plain/bytes");

    report("| fio | lucarne, MiB/s | plain, MiB/s | ratio |");
    report("|---|---|---|---|");
    for direct in [false, true] {
        for (kind, block, threads) in JOBS {
            let way = if direct { "direct" } else { "cached" };
            let job = format!("{kind} {block}, {threads} thread(s), {way}");
            if !job.starts_with(&arguments.only) {
                continue;
            }
            let mut rates = Vec::new();
            for _ in 0..arguments.rounds {
                let rate = |image: &str, path: &Path| {
                    shell(
                        dir,
                        &format!(
                            "sync {image} && dd if={image} of=/dev/null iflag=nocache count=0 status=none && cat {image} > /dev/null"
                        ),
                    );
                    fio(path, kind, block, threads, direct, arguments.seconds)
                };
                rates.push((rate("volume", &ours.path), rate("bytes", &plain)));
            }
            let (a, b): (Vec<f64>, Vec<f64>) = rates.iter().copied().unzip();
            let ratios = rates.iter().map(|(ours, plain)| ours / plain).collect();
            report(&format!(
                "| {job} | {:.0} | {:.0} | {:.2} |",
                median(a),
                median(b),
                median(ratios)
            ));
        }
    }
    stopper.stop(Unmount::IfUnused).expect("nobody uses it");
    serving
        .join()
        .expect("the server ends")
        .expect("the server ends well");
    ours.stop();
}

/// The server of the encrypted image.
struct Ours {
    child: Child,
    path: PathBuf,
}

impl Ours {
    fn start(lucarne: &Path, dir: &Path, is_uncached: bool) -> Self {
        let mut command = Command::new(lucarne);
        command
            .args(["serve", "volume", "--fuse", "ours", "-d", "key"])
            .current_dir(dir)
            .stdout(Stdio::piped());
        if is_uncached {
            command.arg("--direct-io");
        }
        let mut child = command.spawn().expect("lucarne serve");
        let mut path = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut path)
            .expect("the file's path");
        Self {
            child,
            path: path.trim_end().into(),
        }
    }

    fn stop(&mut self) {
        shell(Path::new("/"), &format!("kill -INT {}", self.child.id()));
        let status = self.child.wait().expect("the server ends");
        assert!(status.success(), "the server ends well");
    }
}

/// MiB a second.
fn fio(path: &Path, kind: &str, block: &str, threads: u32, direct: bool, seconds: u32) -> f64 {
    let output = Command::new("fio")
        .args([
            "--name=job",
            "--output-format=terse",
            "--terse-version=3",
            "--ioengine=psync",
            "--invalidate=1",
            "--time_based=1",
            "--end_fsync=1",
            "--norandommap=1",
            "--allow_file_create=0",
            "--group_reporting=1",
            "--thread=1",
        ])
        .arg(format!("--filename={}", path.display()))
        .arg(format!("--rw={kind}"))
        .arg(format!("--bs={block}"))
        .arg(format!("--numjobs={threads}"))
        .arg(format!("--direct={}", u8::from(direct)))
        .arg(format!("--runtime={seconds}"))
        .output()
        .expect("fio");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("3;"));
    // The total of a kind in KiB, and its time in milliseconds.
    let (total, time) = match kind.ends_with("read") {
        true => (5, 8),
        false => (46, 49),
    };
    let field = |index| {
        line.and_then(|line| line.split(';').nth(index)?.parse::<f64>().ok())
            .unwrap_or_else(|| {
                panic!(
                    "fio {kind}: {text} {}",
                    String::from_utf8_lossy(&output.stderr)
                )
            })
    };
    field(total) / 1024.0 / (field(time) / 1000.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn shell(dir: &Path, line: &str) {
    let status = Command::new("sh")
        .args(["-c", line])
        .current_dir(dir)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{line}");
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        size: "2G".into(),
        rounds: 3,
        seconds: 2,
        dir: std::env::temp_dir(),
        lucarne: "target/release/lucarne".into(),
        only: String::new(),
        is_uncached: false,
    };
    while let Some(word) = words.next() {
        if word == "--uncached" {
            arguments.is_uncached = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{word}: without a value"))?;
        let number = || value.parse().map_err(|_| format!("{word}: {value}"));
        match word.as_str() {
            "--size" => arguments.size = value,
            "--rounds" => {
                arguments.rounds = value.parse().map_err(|_| format!("{word}: {value}"))?
            }
            "--seconds" => arguments.seconds = number()?,
            "--only" => arguments.only = value,
            "--dir" => arguments.dir = value.into(),
            "--lucarne" => arguments.lucarne = value.into(),
            _ => return Err(format!("{word}: no such option")),
        }
    }
    Ok(arguments)
}

#[expect(clippy::print_stdout, reason = "the measurement is the output")]
fn report(line: &str) {
    println!("{line}");
}
