//! The test machine: a distribution's kernel, an archive of a few programs, an emulator.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lucarne_testkit::peers;
use lucarne_testkit::scratch::Scratch;

use super::cpio::Archive;
use super::modules::Modules;
use crate::command::{command, output, run_quietly};

/// Modules that the scripts need; what they need comes with them.
const MODULES: [&str; 25] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_rng",
    "crc32c_generic",
    "ext4",
    "dm-mod",
    "dm-crypt",
    "xts",
    "ecb",
    "cbc",
    "ctr",
    "essiv",
    "authenc",
    "gcm",
    "serpent_generic",
    "twofish_generic",
    "camellia_generic",
    "adiantum",
    "chacha_generic",
    "aes_generic",
    "sha256_generic",
    "af_alg",
    "algif_skcipher",
    "algif_hash",
    "cryptd",
];
/// Programs that the scripts run besides busybox's.
const PROGRAMS: [&str; 4] = ["cryptsetup", "dmsetup", "mkfs.ext4", "e2fsck"];
/// Far more than any script takes under emulation.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// A drive of the machine.
pub(super) struct Drive {
    /// Its serial number, by which scripts know it: at most 20 characters.
    pub(super) name: String,
    pub(super) image: PathBuf,
}

/// A kernel and its programs, ready to be booted.
pub(super) struct Machine {
    kernel: PathBuf,
    base: Vec<u8>,
}

impl Machine {
    /// Downloads the distribution's kernel (kept in the cache) and gathers the programs.
    pub(super) fn prepare(cache: &Path) -> Result<Self> {
        let unpacked = kernel(cache)?;
        let modules = only_entry(&unpacked.join("lib/modules"))?;
        let kernel = std::fs::read_dir(unpacked.join("boot"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
            })
            .context("the kernel's package has no vmlinuz")?;
        Ok(Self {
            kernel,
            base: base_archive(&modules)?,
        })
    }

    /// The kernel's version, `6.1.0-1-amd64`.
    pub(super) fn kernel_version(&self) -> String {
        let name = self
            .kernel
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        name.trim_start_matches("vmlinuz-").to_owned()
    }

    /// Boots, runs `script` with `files` in the root folder, and returns what it printed.
    pub(super) fn run(
        &self,
        script: &str,
        files: &[(&str, &[u8])],
        drives: &[Drive],
    ) -> Result<String> {
        let scratch = Scratch::new();
        let mut archive = Archive::default();
        archive.file("/init", include_bytes!("../../guest/init"));
        archive.file("/script", script.as_bytes());
        archive.file("/drives", drives.len().to_string().as_bytes());
        for (path, bytes) in files {
            archive.file(path, bytes);
        }
        // The kernel unpacks archives that follow each other, one over the other.
        let mut initrd = self.base.clone();
        initrd.extend_from_slice(&archive.finish());
        let initrd = scratch.file("initrd", &initrd);

        let mut emulator = command("qemu-system-x86_64", ["-machine", "q35", "-cpu", "max"]);
        emulator.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024"]);
        emulator.args([
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-serial",
            "stdio",
        ]);
        emulator
            .args(["-device", "virtio-rng-pci", "-kernel"])
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&initrd);
        let line = "console=ttyS0 quiet loglevel=1 mitigations=off random.trust_cpu=on panic=-1";
        emulator.args(["-append", line]);
        for (index, drive) in drives.iter().enumerate() {
            ensure!(
                drive.name.len() <= 20,
                "a serial number is too long: {}",
                drive.name
            );
            let image = drive.image.to_str().context("a path of the test is text")?;
            emulator.args([
                "-drive",
                &format!("file={image},format=raw,if=none,id=d{index},cache=unsafe"),
            ]);
            emulator.args([
                "-device",
                &format!("virtio-blk-pci,drive=d{index},serial={}", drive.name),
            ]);
        }
        let console = scratch.path("console");
        let errors = scratch.path("errors");
        let mut child = emulator
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&console)?)
            .stderr(std::fs::File::create(&errors)?)
            .spawn()
            .context("qemu-system-x86_64")?;
        let started = Instant::now();
        while child.try_wait()?.is_none() {
            if started.elapsed() > TIME_LIMIT {
                child.kill()?;
                child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let console = String::from_utf8_lossy(&std::fs::read(&console)?).replace('\r', "");
        let said = console.split_once("@@UP\n").map_or("", |(_, said)| said);
        match said.split_once("@@STATUS 0\n") {
            Some((printed, _)) => Ok(printed.to_owned()),
            None => bail!(
                "the test machine did not finish its script after {} s\n{console}{}",
                started.elapsed().as_secs(),
                std::fs::read_to_string(&errors)?
            ),
        }
    }
}

/// The distribution's kernel, unpacked in the cache; downloaded the first time.
fn kernel(cache: &Path) -> Result<PathBuf> {
    let depends = output(&mut command("apt-cache", ["depends", "linux-image-amd64"]))?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .context("linux-image-amd64 names no kernel")?;
    let unpacked = cache.join(package);
    if unpacked.join("boot").exists() {
        return Ok(unpacked);
    }
    println!("downloading {package} into {}", cache.display());
    let download = tempfile::tempdir_in(cache)?;
    run_quietly(
        Command::new("apt-get")
            .args(["download", "-q", package])
            .current_dir(download.path()),
    )?;
    let archive = only_entry(download.path())?;
    let half = download.path().join("unpacked");
    run_quietly(Command::new("dpkg").arg("-x").arg(&archive).arg(&half))?;
    std::fs::rename(&half, &unpacked)?;
    Ok(unpacked)
}

/// busybox, the programs with their libraries, the modules.
fn base_archive(modules: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in [
        "/bin", "/dev", "/etc", "/mnt", "/proc", "/run", "/sys", "/tmp",
    ] {
        archive.folder(folder);
    }
    let mut libraries = std::collections::BTreeSet::new();
    let busybox = peers::locate("busybox").context("busybox is not installed")?;
    ensure!(
        libraries_of(&busybox)?.is_empty(),
        "busybox is not a static one: install busybox-static"
    );
    archive.file("/bin/busybox", &std::fs::read(busybox)?);
    for name in PROGRAMS {
        let program = peers::locate(name).with_context(|| format!("{name} is not installed"))?;
        archive.file(&format!("/bin/{name}"), &std::fs::read(&program)?);
        libraries.extend(libraries_of(&program)?);
    }
    for library in libraries {
        archive.file(&library, &std::fs::read(&library)?);
    }
    for (index, (name, bytes)) in Modules::find(modules)?
        .in_load_order(&MODULES)?
        .iter()
        .enumerate()
    {
        archive.file(&format!("/modules/{index:03}-{name}.ko"), bytes);
    }
    Ok(archive.finish())
}

/// The libraries that a program loads, by path; none for a static one.
fn libraries_of(program: &Path) -> Result<Vec<String>> {
    let listed = Command::new("ldd").arg(program).output().context("ldd")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    // "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", "\t/lib64/ld-linux-x86-64.so.2 (0x…)"
    Ok(listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect())
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let mut entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let entry = entries
        .next()
        .with_context(|| format!("{} is empty", folder.display()))??;
    Ok(entry.path())
}
