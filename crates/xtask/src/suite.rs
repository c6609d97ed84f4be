//! The whole test suite in one command.

use anyhow::{Result, bail};
use lucarne_testkit::peers;

use crate::command::{cargo, run as run_command};
use crate::kernel_test;
use crate::packages::{self, Program};
use crate::python;

/// Programs that tests compare with.
const PEERS: [Program; 15] = [
    Program {
        name: "chromium",
        package: "chromium",
    },
    // With pdftoppm.
    Program {
        name: "pdftotext",
        package: "poppler-utils",
    },
    Program {
        name: "cryptsetup",
        package: "cryptsetup-bin",
    },
    Program {
        name: "nbdcopy",
        package: "libnbd-bin",
    },
    Program {
        name: "nbdsh",
        package: "python3-libnbd",
    },
    Program {
        name: "qemu-img",
        package: "qemu-utils",
    },
    Program {
        name: "fio",
        package: "fio",
    },
    Program {
        name: "fusermount3",
        package: "fuse3",
    },
    Program {
        name: "mkfs.ext4",
        package: "e2fsprogs",
    },
    Program {
        name: "mkfs.xfs",
        package: "xfsprogs",
    },
    Program {
        name: "mkfs.btrfs",
        package: "btrfs-progs",
    },
    Program {
        name: "mkfs.vfat",
        package: "dosfstools",
    },
    Program {
        name: "mcopy",
        package: "mtools",
    },
    Program {
        name: "sfdisk",
        package: "fdisk",
    },
    // losetup; fstrim is in util-linux, which is everywhere.
    Program {
        name: "losetup",
        package: "mount",
    },
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave out the test that boots a kernel
    #[arg(long)]
    no_kernel: bool,
    /// Install nothing: what is missing is skipped
    #[arg(long)]
    no_install: bool,
}

/// Installs what is missing, runs all tests, and says at the end what was skipped.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut skipped = Vec::new();
    let outcome = packages::require(&PEERS, !options.no_install)?;
    let mut tests = cargo([
        "test",
        "--workspace",
        "--profile",
        "suite",
        "--no-fail-fast",
    ]);
    if outcome.missing.is_empty() {
        // A test that finds no peer now has a fault: let it say so.
        tests.env(peers::REQUIRE_PEERS, "1");
    } else {
        let names: Vec<&str> = outcome.missing.iter().map(|program| program.name).collect();
        let line = format!("comparisons with {} ({})", names.join(", "), outcome.why);
        if is_ci() && outcome.online {
            bail!("could not run the {line}");
        }
        println!("skipping the {line}");
        skipped.push(line);
    }
    match python::with_safetensors(!options.no_install) {
        Ok(python) => {
            tests.env(python::VARIABLE, python);
        }
        Err(error) => {
            let line = format!("the comparison with Python's safetensors ({error:#})");
            println!("skipping {line}");
            skipped.push(line);
        }
    }
    run_command(&mut tests)?;

    if options.no_kernel {
        skipped.push("the test with a real kernel (--no-kernel)".to_owned());
    } else if let Some(why) = kernel_test::run_or_skip(!options.no_install, None)? {
        if is_ci() && why.online {
            bail!("could not run the test with a real kernel: {}", why.text);
        }
        skipped.push(format!("the test with a real kernel ({})", why.text));
    }
    for line in &skipped {
        println!("skipped: {line}");
    }
    println!("all tests that ran have passed; {} skipped", skipped.len());
    Ok(())
}

/// Whether this runs unattended, where a missing peer is a fault of the set-up and not of the machine.
fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
