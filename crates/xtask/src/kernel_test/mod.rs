//! The real kernel's opinion: dm-crypt of a distribution's kernel, booted under emulation, opens what we wrote, and
//! we read what it wrote.

mod cpio;
mod doors;
mod machine;
mod modules;
pub(crate) mod validity;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use lucarne_testkit::payload;
use lucarne_testkit::scratch::Scratch;

use crate::command::{build_executable, command, run_quietly};
use crate::packages::{self, Program};
use machine::{Drive, Machine};

/// What the machine is made of.
const PROGRAMS: [Program; 5] = [
    Program {
        name: "qemu-system-x86_64",
        package: "qemu-system-x86",
    },
    Program {
        name: "busybox",
        package: "busybox-static",
    },
    Program {
        name: "cryptsetup",
        package: "cryptsetup-bin",
    },
    Program {
        name: "dmsetup",
        package: "dmsetup",
    },
    Program {
        name: "mkfs.ext4",
        package: "e2fsprogs",
    },
];
const KEY: &[u8] = b"kernel test";
const SECTOR_SIZES: [&str; 4] = ["512", "1024", "2048", "4096"];
const KEY_SIZES_BITS: [&str; 2] = ["256", "512"];
/// Room for an ext4 file system with a journal and the files of [`file_tree`].
const PLAINTEXT_LEN: u64 = 12 << 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install nothing
    #[arg(long)]
    no_install: bool,
    /// The command to test, instead of the one built here
    #[arg(long)]
    lucarne: Option<PathBuf>,
}

/// Why the test did not run.
pub(crate) struct Skipped {
    pub(crate) text: String,
    pub(crate) online: bool,
}

/// Runs the test; not to be able to is an error.
pub(crate) fn run(options: &Options) -> Result<()> {
    match run_or_skip(!options.no_install, options.lucarne.clone())? {
        None => Ok(()),
        Some(skipped) => bail!("could not run: {}", skipped.text),
    }
}

/// Runs the test where the machine can be made, and tells why where not.
pub(crate) fn run_or_skip(may_install: bool, lucarne: Option<PathBuf>) -> Result<Option<Skipped>> {
    let machine = match prepared(may_install)? {
        Ok(machine) => machine,
        Err(skipped) => return Ok(Some(skipped)),
    };
    let lucarne = lucarne.map_or_else(Lucarne::build, |path| Ok(Lucarne(path)))?;
    dm_crypt_opens_ours(&machine, &lucarne)?;
    we_open_theirs(&machine, &lucarne)?;
    Ok(None)
}

/// The machine, or why there is none.
fn prepared(may_install: bool) -> Result<Result<Machine, Skipped>> {
    let skipped = |text, online| Ok(Err(Skipped { text, online }));
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return skipped("it is made for Linux on x86-64".to_owned(), false);
    }
    let outcome = packages::require(&PROGRAMS, may_install)?;
    if !outcome.missing.is_empty() {
        let names: Vec<&str> = outcome.missing.iter().map(|program| program.name).collect();
        let text = format!("{} missing: {}", names.join(", "), outcome.why);
        return skipped(text, outcome.online);
    }
    let cache = packages::cache("kernel-test")?;
    match Machine::prepare(&cache) {
        Ok(machine) => Ok(Ok(machine)),
        Err(error) => skipped(
            format!("no kernel for the test machine: {error:#}"),
            outcome.online,
        ),
    }
}

/// The command under test.
struct Lucarne(PathBuf);

impl Lucarne {
    fn build() -> Result<Self> {
        build_executable("lucarne-cli", "lucarne", "suite").map(Self)
    }

    /// Runs it; words that are paths come last.
    fn run(&self, words: &[&str], paths: &[&Path]) -> Result<()> {
        let program = self.0.to_str().context("a path of the build is text")?;
        run_quietly(command(program, words).args(paths))
    }

    /// The hash of a volume's plaintext.
    fn plaintext_sha256(&self, scratch: &Scratch, image: &Path, key: &Path) -> Result<String> {
        let plaintext = scratch.path("plaintext");
        self.run(
            &["decrypt", "--batch-mode", "--whole", "--key-file"],
            &[key, image, &plaintext],
        )?;
        let hash = payload::sha256_hex_of_file(&plaintext);
        std::fs::remove_file(&plaintext)?;
        Ok(hash)
    }
}

/// `encrypt` of a file system with files, `luksFormat` and `write`, and a file system made through a loop device on our
/// file: dm-crypt sees the same bytes, finds no fault in the file systems, and what it writes we see.
fn dm_crypt_opens_ours(machine: &Machine, lucarne: &Lucarne) -> Result<()> {
    let scratch = Scratch::new();
    let key = scratch.file("key", KEY);
    let (file_system, sums) = file_system(&scratch)?;
    let mut drives = Vec::new();
    for sector_size in SECTOR_SIZES {
        for key_size in KEY_SIZES_BITS {
            let name = format!("ext4-{sector_size}-{key_size}");
            let image = scratch.path(&name);
            let kdf = [
                "--pbkdf",
                "argon2id",
                "--pbkdf-memory",
                "32",
                "--pbkdf-force-iterations",
                "4",
            ];
            let mut words = vec![
                "encrypt",
                "--batch-mode",
                "--sector-size",
                sector_size,
                "--key-size",
                key_size,
            ];
            words.extend(kdf);
            words.extend(["--pbkdf-parallel", "1", "--key-file"]);
            lucarne.run(&words, &[&key, &file_system, &image])?;
            drives.push(Drive { name, image });
        }
    }
    let formatted = |name: &str| {
        let image = scratch.zeros(name, 32 << 20);
        let kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let mut words = vec!["luksFormat", "--batch-mode"];
        words.extend(kdf);
        words.push("--key-file");
        lucarne.run(&words, &[&key, &image])?;
        anyhow::Ok(image)
    };
    let written = formatted("written")?;
    // From within a sector, over many, into the middle of one.
    let bytes = payload::stream("written", 1_000_001);
    let stdin = scratch.file("bytes", &bytes);
    let mut write = std::process::Command::new(&lucarne.0);
    write
        .args(["write", "--offset", "4242", "--key-file"])
        .arg(&key)
        .arg(&written);
    run_quietly(write.stdin(std::fs::File::open(stdin)?))?;
    drives.push(Drive {
        name: "written-4096-512".to_owned(),
        image: written,
    });
    if doors::can_mount() {
        let image = formatted("looped")?;
        doors::fill(lucarne, &image, &key, &scratch.path("tree"))?;
        drives.push(Drive {
            name: "ext4-looped-4096-512".to_owned(),
            image,
        });
    }
    let hashes = (drives.iter())
        .map(|drive| lucarne.plaintext_sha256(&scratch, &drive.image, &key))
        .collect::<Result<Vec<_>>>()?;

    let printed = machine.run(
        include_str!("../../guest/open-ours.sh"),
        &[("/key", KEY), ("/sums", sums.as_bytes())],
        &drives,
    )?;
    let plain_sha256 = payload::sha256_hex_of_file(&file_system);
    let file_count = sums.lines().count();
    for (drive, hash) in drives.iter().zip(&hashes) {
        let parts: Vec<&str> = drive.name.rsplitn(3, '-').collect();
        let [key_size, sector_size, kind] = parts[..] else {
            bail!("a drive's name has a kind and two parameters");
        };
        let key_bytes = key_size.parse::<usize>()? / 8;
        expect_line(
            &printed,
            &format!("opened {} {hash} {sector_size} {key_bytes}", drive.name),
        )?;
        if kind == "ext4" {
            ensure!(*hash == plain_sha256, "{}: not what went in", drive.name);
        }
        if kind.starts_with("ext4") {
            expect_line(&printed, &format!("files {} {file_count}", drive.name))?;
            let after = lucarne.plaintext_sha256(&scratch, &drive.image, &key)?;
            ensure!(
                after != *hash,
                "{}: the kernel's file did not reach the image",
                drive.name
            );
            expect_line(&printed, &format!("written {} {after}", drive.name))?;
        }
    }
    println!(
        "dm-crypt opened {} volumes of ours, {file_count} files in each ext4; we read what it wrote",
        drives.len()
    );
    Ok(())
}

/// Volumes that cryptsetup formatted and the kernel wrote: we read the same bytes, and every door shows their files.
fn we_open_theirs(machine: &Machine, lucarne: &Lucarne) -> Result<()> {
    let scratch = Scratch::new();
    let key = scratch.file("key", KEY);
    let mut drives = Vec::new();
    for sector_size in SECTOR_SIZES {
        for key_size in KEY_SIZES_BITS {
            let name = format!("{sector_size}-{key_size}");
            let image = scratch.zeros(&name, (1 << 20) + PLAINTEXT_LEN);
            drives.push(Drive { name, image });
        }
    }
    let bytes = payload::stream("theirs", 3_000_000);
    let script = include_str!("../../guest/make-theirs.sh");
    let printed = machine.run(script, &[("/key", KEY), ("/payload", &bytes)], &drives)?;
    for drive in &drives {
        let hash = lucarne.plaintext_sha256(&scratch, &drive.image, &key)?;
        expect_line(&printed, &format!("made {} {hash}", drive.name))?;
    }
    let expected = payload::sha256_hex(&bytes);
    let mounts = doors::can_mount();
    for Drive { name, image } in &drives {
        let path = format!("folder/{name}");
        let copy = scratch.path("copy");
        let mut inside = image.clone().into_os_string();
        inside.push(format!(":/{path}"));
        lucarne.run(
            &["cp", "--batch-mode", "--key-file"],
            &[&key, Path::new(&inside), &copy],
        )?;
        let by_cp = payload::sha256_hex_of_file(&copy);
        ensure!(by_cp == expected, "{name}: cp gives another {path}");
        std::fs::remove_file(&copy)?;
        if mounts {
            let by_loop = doors::file_sha256(lucarne, image, &key, &path)?;
            ensure!(by_loop == expected, "{name}: another {path} is mounted");
        }
    }
    println!(
        "we read {} volumes that dm-crypt wrote, {} of them mounted through our file",
        drives.len(),
        if mounts { drives.len() } else { 0 }
    );
    Ok(())
}

fn expect_line(printed: &str, line: &str) -> Result<()> {
    ensure!(
        printed.lines().any(|printed| printed == line),
        "expected `{line}` of the test machine, got:\n{printed}"
    );
    Ok(())
}

/// An ext4 image with files in it, and their checksums as `sha256sum -c` takes them.
fn file_system(scratch: &Scratch) -> Result<(PathBuf, String)> {
    let tree = scratch.path("tree");
    let sums = file_tree(&tree)?;
    let image = scratch.zeros("ext4.img", PLAINTEXT_LEN);
    // Blocks as large as the largest sector: a file system of smaller ones is not mounted from it.
    run_quietly(
        command("mkfs.ext4", ["-q", "-F", "-b", "4096", "-d"])
            .arg(&tree)
            .arg(&image),
    )?;
    Ok((image, sums))
}

fn file_tree(tree: &Path) -> Result<String> {
    let mut sums = String::new();
    for (path, len) in [
        ("empty", 0),
        ("small", 17),
        ("folder/page", 4096),
        ("folder/deep/large", 3_000_001),
    ] {
        let bytes = payload::stream(path, len);
        let file = tree.join(path);
        std::fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
        std::fs::write(&file, &bytes)?;
        sums.push_str(&format!("{}  {path}\n", payload::sha256_hex(&bytes)));
    }
    Ok(sums)
}
