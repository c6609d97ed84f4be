//! The installed cryptsetup, run on plain files: no root, no device-mapper.
//!
//! cryptsetup rewrites a stale or corrupt header copy at any load: give it copies of what must stay.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::luks2;
use crate::peers;
use crate::process::{Outcome, run};
use crate::scratch::Scratch;

/// cryptsetup, found on this machine.
#[derive(Debug, Clone)]
pub struct Cryptsetup {
    program: PathBuf,
    version: String,
}

impl Cryptsetup {
    /// The installed one; where there is none, says that `what` is skipped.
    ///
    /// # Panics
    /// If there is none and [`peers::REQUIRE_PEERS`] is set.
    pub fn or_skip(what: &str) -> Option<Self> {
        let found = Self::locate();
        if found.is_none() {
            peers::skipped(what, "cryptsetup");
        }
        found
    }

    /// The installed one.
    pub fn locate() -> Option<Self> {
        let program = peers::locate("cryptsetup")?;
        let outcome = run(Command::new(&program).arg("--version"), b"");
        // "cryptsetup 2.6.1 flags: UDEV BLKID KEYRING KERNEL_CAPI"
        let version = outcome.text().split_whitespace().nth(1)?.to_owned();
        Some(Self { program, version })
    }

    /// Where it lies, to be run in ways of one's own.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its version, `2.6.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs it with these arguments and nothing on its standard input.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        self.run_with_stdin(arguments, b"")
    }

    /// Runs it with these arguments and this standard input.
    pub fn run_with_stdin<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        stdin: &[u8],
    ) -> Outcome {
        run(
            Command::new(&self.program)
                .env("LC_ALL", "C")
                .args(arguments),
            stdin,
        )
    }

    /// Runs it, and fails the test unless it succeeds. Returns its standard output.
    ///
    /// # Panics
    /// If its exit code is not 0.
    pub fn must<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let arguments: Vec<_> = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        let outcome = self.run(&arguments);
        assert!(
            outcome.code == Some(0),
            "cryptsetup {arguments:?} ended with {:?}: {}{}",
            outcome.code,
            outcome.text(),
            outcome.stderr
        );
        outcome.text()
    }

    /// The plaintext of a volume, by `reencrypt --decrypt` on a copy: the image stays as it is.
    ///
    /// `header` is the detached header of `image`, if it has one.
    ///
    /// # Panics
    /// If cryptsetup refuses.
    pub fn plaintext(&self, image: &Path, header: Option<&Path>, key_file: &Path) -> Vec<u8> {
        let scratch = Scratch::new();
        let mut data = std::fs::read(image).expect("the image is readable");
        let mut arguments: Vec<&OsStr> = ["reencrypt", "--decrypt", "--batch-mode"]
            .map(OsStr::new)
            .into();
        arguments.push(OsStr::new("--force-offline-reencrypt"));
        let (header, plaintext_len) = match header {
            // cryptsetup moves an attached header to a file that must not exist yet. The image keeps its length: past
            // the plaintext it holds what lay there.
            None => (
                scratch.path("header.img"),
                data.len() - luks2::data_offset(&data),
            ),
            // With a detached one it decrypts only data that start at 0.
            Some(header) => {
                let mut header = std::fs::read(header).expect("the header is readable");
                data.drain(..luks2::data_offset(&header));
                luks2::edit_json(&mut header, |json| {
                    json["segments"]["0"]["offset"] = "0".into()
                });
                arguments.extend(["--resilience", "none"].map(OsStr::new));
                (scratch.file("header.img", &header), data.len())
            }
        };
        let copy = scratch.file("copy.img", &data);
        arguments.extend([OsStr::new("--key-file"), key_file.as_os_str()]);
        arguments.extend([OsStr::new("--header"), header.as_os_str(), copy.as_os_str()]);
        self.must(arguments);
        let mut plaintext = std::fs::read(&copy).expect("the decrypted copy is readable");
        plaintext.truncate(plaintext_len);
        plaintext
    }

    /// The ciphertext of `plaintext` under `volume_key`, as it stands at the data offset of a volume.
    ///
    /// Made by `reencrypt --encrypt` under a detached header. `plaintext` is whole sectors of `sector_size` bytes.
    ///
    /// # Panics
    /// If cryptsetup refuses.
    pub fn ciphertext(
        &self,
        plaintext: &[u8],
        volume_key: &[u8],
        cipher: &str,
        sector_size: usize,
    ) -> Vec<u8> {
        let scratch = Scratch::new();
        let image = scratch.file("data.img", plaintext);
        let header = scratch.path("header.img");
        let key_file = scratch.file("key", b"any");
        let volume_key_file = scratch.file("volume-key", volume_key);
        let key_size = (volume_key.len() * 8).to_string();
        let sector_size = sector_size.to_string();
        let mut arguments: Vec<&OsStr> =
            ["reencrypt", "--encrypt", "--batch-mode", "--type", "luks2"]
                .map(OsStr::new)
                .into();
        arguments.extend(["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"].map(OsStr::new));
        arguments.extend(["--cipher", cipher, "--key-size", &key_size].map(OsStr::new));
        arguments.extend(["--sector-size", &sector_size, "--resilience", "none"].map(OsStr::new));
        arguments.extend([OsStr::new("--volume-key-file"), volume_key_file.as_os_str()]);
        arguments.extend([OsStr::new("--key-file"), key_file.as_os_str()]);
        arguments.extend([
            OsStr::new("--header"),
            header.as_os_str(),
            image.as_os_str(),
        ]);
        self.must(arguments);
        std::fs::read(&image).expect("the encrypted file is readable")
    }
}
