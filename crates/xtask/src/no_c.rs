//! No crate of the default build compiles C or links a C library other than the system's own.

use anyhow::{Result, ensure};

use crate::command::{cargo, output};

/// Crates that compile C or look for a C library.
const C_BUILDERS: [&str; 8] = [
    "cc",
    "cmake",
    "bindgen",
    "pkg-config",
    "vcpkg",
    "autotools",
    "nasm-rs",
    "openssl-src",
];
/// Named like bindings of a C library, and none: the kernel's own constants and structs.
const RAW_KERNEL_TYPES: &str = "linux-raw-sys";

/// Fails if the dependencies of the library or of the command hold one.
pub(crate) fn run() -> Result<()> {
    let mut checked = 0;
    for package in ["lucarne", "lucarne-cli"] {
        let arguments = [
            "tree",
            "--locked",
            "-p",
            package,
            "-e",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ];
        let tree = output(&mut cargo(arguments))?;
        let crates: Vec<&str> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        let offending: Vec<&&str> = crates.iter().filter(|name| brings_c(name)).collect();
        ensure!(
            offending.is_empty(),
            "{package} depends on C through {offending:?}"
        );
        checked += crates.len();
    }
    ensure!(checked > 0, "cargo tree listed nothing");
    println!("no C in the dependencies of lucarne and lucarne-cli ({checked} lines of cargo tree)");
    Ok(())
}

fn brings_c(name: &str) -> bool {
    C_BUILDERS.contains(&name) || (name.ends_with("-sys") && name != RAW_KERNEL_TYPES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_are_told_from_kernel_types() {
        assert!(brings_c("cc"));
        assert!(brings_c("zstd-sys"));
        assert!(!brings_c("linux-raw-sys"));
        assert!(!brings_c("sysinfo"));
    }
}
