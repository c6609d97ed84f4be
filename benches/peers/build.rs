//! Builds the newest OpenSSL from source, if that was asked for, and notes the compiler.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap();
    let version = Command::new(rustc).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    println!("cargo::rustc-env=PEERS_RUSTC={}", version.trim());
    #[cfg(feature = "openssl-newest")]
    openssl();
}

/// It takes minutes: one that is there already is taken.
#[cfg(feature = "openssl-newest")]
fn openssl() {
    let out_dir = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let folder = out_dir.join(format!("openssl-{}", openssl_src::version()));
    let libraries = folder.join("install").join("lib");
    if !libraries.join("libcrypto.a").exists() {
        openssl_src::Build::new().out_dir(&folder).build();
    }
    println!("cargo::rustc-link-search=native={}", libraries.display());
    println!("cargo::rustc-link-lib=static=crypto");
}
