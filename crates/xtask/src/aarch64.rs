//! The tests of the sector ciphers on the other architecture that has a kernel, under emulation.
//!
//! What is missing is taken from the distribution's packages, unpacked into the cache and used from there: nothing is
//! installed, no architecture is added, and it takes no root.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use lucarne_testkit::peers;

use crate::command::{cargo, command, output, run as run_command, run_quietly};
use crate::packages;

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The compiler of the distribution, and what it needs to make programs for the target.
const COMPILER: &str = "rustc-web";
const TARGET_LIBRARY: &str = "libstd-rust-web-dev:arm64";
const LINKER: [&str; 2] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
const EMULATOR: &str = "qemu-user-static";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Download nothing: use what is there
    #[arg(long)]
    no_install: bool,
    /// Use the distribution's compiler even if this one has the target
    #[arg(long)]
    distribution: bool,
}

/// Builds and runs the tests, or says why that cannot be.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: the tests for aarch64 (the emulation is made for Linux on x86-64)");
        return Ok(());
    }
    let unpacked = Unpacked(packages::cache("aarch64")?);
    let tools = match Tools::find(&unpacked, options) {
        Ok(tools) => tools,
        Err(error) => {
            println!("skipped: the tests for aarch64 ({error:#})");
            return Ok(());
        }
    };
    let mut tests = cargo(["test", "-p", "lucarne-cipher", "--target", TARGET]);
    tests.args(["--target-dir", "target/aarch64", "--no-fail-fast"]);
    // Documentation tests, which say nothing of the architecture, would take rustdoc its own way to link.
    tests.args(["--lib", "--tests"]);
    // It runs itself once more, which takes an emulator known to the kernel.
    tests.args(["--", "--skip", "one_byte_too_far_is_fatal"]);
    tools.apply(&mut tests);
    tests.env("LUCARNE_EXPECT_KERNELS", "armv8,portable");
    run_command(&mut tests)
}

/// What it takes.
struct Tools {
    /// None: the compiler that builds everything else has the target.
    compiler: Option<PathBuf>,
    linker: PathBuf,
    /// Where the linker finds C's start-up code.
    sysroot: Option<PathBuf>,
    emulator: PathBuf,
    /// Where the emulator finds the dynamic linker.
    libraries: PathBuf,
    unpacked: PathBuf,
}

impl Tools {
    fn find(unpacked: &Unpacked, options: &Options) -> Result<Self> {
        let compiler_has_target = !options.distribution
            && output(&mut command(
                "rustc",
                ["--print", "target-libdir", "--target", TARGET],
            ))
            .is_ok_and(|folder| Path::new(folder.trim()).is_dir());
        let linker = peers::locate("aarch64-linux-gnu-gcc");
        let emulator =
            peers::locate("qemu-aarch64-static").or_else(|| peers::locate("qemu-aarch64"));

        let mut wanted = Vec::new();
        if !compiler_has_target {
            wanted.push(COMPILER);
        }
        if linker.is_none() {
            wanted.extend(LINKER);
        }
        if emulator.is_none() {
            wanted.push(EMULATOR);
        }
        let target_library = (!compiler_has_target).then_some(TARGET_LIBRARY);
        unpacked.fetch(&wanted, target_library, !options.no_install)?;

        let usr = unpacked.0.join("root/usr");
        let compiler = usr.join("bin/rustc");
        let sysroot = linker.is_none().then(|| unpacked.0.join("root"));
        Ok(Self {
            compiler: (!compiler_has_target).then_some(compiler),
            libraries: match linker {
                Some(_) => "/usr/aarch64-linux-gnu".into(),
                None => usr.join("aarch64-linux-gnu"),
            },
            linker: linker.unwrap_or_else(|| usr.join("bin/aarch64-linux-gnu-gcc")),
            sysroot,
            emulator: emulator.unwrap_or_else(|| usr.join("bin/qemu-aarch64-static")),
            unpacked: usr,
        })
    }

    /// Has cargo use them.
    fn apply(&self, cargo: &mut Command) {
        let variable = |name: &str| {
            format!(
                "CARGO_TARGET_{}_{name}",
                TARGET.to_uppercase().replace('-', "_")
            )
        };
        if let Some(compiler) = &self.compiler {
            cargo.env("RUSTC", compiler);
            cargo.env("RUSTDOC", compiler.with_file_name("rustdoc"));
        }
        cargo.env(variable("LINKER"), &self.linker);
        if let Some(sysroot) = &self.sysroot {
            // Would be taken instead of the target's own.
            cargo.env_remove("RUSTFLAGS");
            let flag = format!("-Clink-arg=--sysroot={}", sysroot.display());
            cargo.env(variable("RUSTFLAGS"), flag);
        }
        // "max" has the AES instructions.
        let runner = format!(
            "{} -cpu max -L {}",
            self.emulator.display(),
            self.libraries.display()
        );
        cargo.env(variable("RUNNER"), runner);
        // Last, so that the machine's own programs and libraries come first.
        cargo.env("PATH", with_last("PATH", &self.unpacked.join("bin")));
        let libraries = self.unpacked.join("lib/x86_64-linux-gnu");
        cargo.env("LD_LIBRARY_PATH", with_last("LD_LIBRARY_PATH", &libraries));
    }
}

/// A search path from the environment, and one folder more.
fn with_last(variable: &str, folder: &Path) -> OsString {
    let mut path = std::env::var_os(variable).unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(folder);
    path
}

/// A folder for packages that are unpacked and not installed, with a package list of its own.
struct Unpacked(PathBuf);

impl Unpacked {
    /// Gets packages with all that they need and the machine lacks, and unpacks them into `root`.
    fn fetch(&self, wanted: &[&str], foreign: Option<&str>, may_download: bool) -> Result<()> {
        let names: Vec<&str> = wanted.iter().copied().chain(foreign).collect();
        let done = self.0.join("done");
        let line = names.join(" ");
        if names.is_empty() || std::fs::read_to_string(&done).is_ok_and(|text| text == line) {
            return Ok(());
        }
        if !may_download {
            bail!("{line} missing: downloading was not wanted");
        }
        if peers::locate("apt-get").is_none() {
            bail!("{line} missing: there is no apt-get here to get them with");
        }
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(self.0.join(folder))?;
        }
        let root = self.0.join("root");
        if root.exists() {
            std::fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
        }
        let settings = self.0.join("apt.conf");
        std::fs::write(&settings, self.settings())
            .with_context(|| settings.display().to_string())?;
        let archives = self.0.join("cache/archives");
        let apt_get = |arguments: &[&str]| {
            let mut apt_get = command("apt-get", arguments);
            apt_get.env("APT_CONFIG", &settings).current_dir(&archives);
            apt_get
        };
        run_command(&mut apt_get(&["update", "-q"]))?;
        if !wanted.is_empty() {
            // Only downloaded: that some of them would replace what is installed does not matter.
            let download = [
                "install",
                "-qy",
                "--download-only",
                "--no-install-recommends",
            ];
            run_command(apt_get(&download).args(wanted))?;
        }
        if let Some(foreign) = foreign {
            run_command(&mut apt_get(&["download", "-q", foreign]))?;
        }
        for entry in std::fs::read_dir(&archives)? {
            let package = entry?.path();
            if package
                .extension()
                .is_some_and(|extension| extension == "deb")
            {
                run_quietly(command("dpkg", ["-x"]).arg(&package).arg(&root))?;
                // The bulk of it is not needed again.
                std::fs::remove_file(&package)?;
            }
        }
        std::fs::write(&done, line)?;
        Ok(())
    }

    /// Lists and downloads here, both architectures; sources, keys and proxies are the machine's.
    fn settings(&self) -> String {
        let folder = self.0.display();
        format!(
            "APT::Architectures {{ \"amd64\"; \"arm64\"; }};\n\
             Dir::State \"{folder}/state\";\n\
             Dir::State::status \"/var/lib/dpkg/status\";\n\
             Dir::Cache \"{folder}/cache\";\n\
             APT::Sandbox::User \"\";\n\
             Debug::NoLocking \"true\";\n"
        )
    }
}
