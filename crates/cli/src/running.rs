//! Volumes that `open` has opened, by name: the run directory.
//!
//! ```text
//! /run/lucarne, or $XDG_RUNTIME_DIR/lucarne      for its owner alone
//!   NAME/                                         the mount point
//!     NAME                                        the plaintext
//!   .NAME.json                                    the state: locked as long as the server lives
//! ```
//!
//! Whether a server lives is what the lock on its state says, and not whether a process has the number that the state
//! tells. Nobody sends it a signal: `close` unmounts the directory, which ends it, and waits.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use lucarne_serve::fuse::{Unmount, mounted_at, unmount};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, shown};

/// A name is a file's name.
const NAME_LEN_MAX: usize = 127;
const CLAIM_TRIES: u32 = 10;
const CLAIM_PAUSE: Duration = Duration::from_millis(10);
/// A state is a few hundred bytes.
const STATE_LEN_MAX: u64 = 64 << 10;

/// What `status` tells. A member keeps its name and meaning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) path: PathBuf,
    pub(crate) image: PathBuf,
    pub(crate) header: Option<PathBuf>,
    pub(crate) uuid: String,
    pub(crate) r#type: String,
    pub(crate) cipher: String,
    pub(crate) key_bits: u64,
    pub(crate) sector_bytes: u64,
    pub(crate) offset_bytes: u64,
    pub(crate) size_bytes: u64,
    pub(crate) read_only: bool,
    pub(crate) discards: bool,
    pub(crate) pid: u32,
    /// Why the server ended, where it ended badly.
    pub(crate) failure: Option<String>,
}

/// The places that belong to a name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    directory: PathBuf,
}

/// What became of a name.
pub(crate) enum Found {
    /// Nobody has it.
    Nothing,
    /// A server that was killed; what it left is still there.
    Dead,
    /// A server; without a state it has not begun to serve.
    Alive(File, Option<Box<State>>),
}

impl Named {
    /// Checks the name, and finds the run directory.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        check(name).map_err(|why| Failure::Parameters(format!("{name:?}: {why}")))?;
        Ok(Self {
            name: name.to_owned(),
            directory: run_directory()?,
        })
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.mount_point().join(&self.name)
    }

    pub(crate) fn mount_point(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    fn state_path(&self) -> PathBuf {
        self.directory.join(format!(".{}.json", self.name))
    }

    /// Who has the name.
    pub(crate) fn find(&self) -> anyhow::Result<Found> {
        let path = self.state_path();
        loop {
            let mut file = match open_options().open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
                file => file.with_context(|| shown(&path))?,
            };
            let is_locked = !try_lock(&file).with_context(|| shown(&path))?;
            if !is_there(&file, &path)? {
                // Removed by whoever held it, just now.
                continue;
            }
            if is_locked {
                let state = read_state(&mut file).with_context(|| shown(&path))?;
                return Ok(Found::Alive(file, state));
            }
            return Ok(Found::Dead);
        }
    }

    /// Takes the name for this process, and clears away what a killed server left of it.
    pub(crate) fn claim(&self) -> anyhow::Result<Claim> {
        make_private(&self.directory)?;
        let path = self.state_path();
        let claim = loop {
            let file = open_options()
                .create(true)
                .open(&path)
                .with_context(|| shown(&path))?;
            let mut is_free = try_lock(&file).with_context(|| shown(&path))?;
            // Who only looks holds it for a moment.
            for _ in 0..CLAIM_TRIES {
                if is_free {
                    break;
                }
                std::thread::sleep(CLAIM_PAUSE);
                is_free = try_lock(&file).with_context(|| shown(&path))?;
            }
            if !is_free {
                return Err(Failure::Exists(format!(
                    "Device {} already exists: {}",
                    self.name,
                    shown(&self.path())
                ))
                .into());
            }
            if is_there(&file, &path)? {
                break Claim {
                    named: self.clone(),
                    file,
                };
            }
        };
        claim.clear()?;
        DirBuilder::new()
            .mode(0o700)
            .create(self.mount_point())
            .with_context(|| shown(&self.mount_point()))?;
        Ok(claim)
    }
}

/// A name that is this process's own until this is dropped.
pub(crate) struct Claim {
    named: Named,
    file: File,
}

impl Claim {
    /// Tells others what is served.
    pub(crate) fn publish(&self, state: &State) -> anyhow::Result<()> {
        let text = serde_json::to_vec(state).context("the state")?;
        let mut file = &self.file;
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(&text))
            .with_context(|| shown(&self.named.state_path()))
    }

    /// Unmounts what is mounted at the name's place, and removes the place. Whoever still uses it gets errors.
    fn clear(&self) -> anyhow::Result<()> {
        let point = self.named.mount_point();
        while let Some(mounted) = mounted_at(&point)? {
            unmount(&mounted, Unmount::Lazily).with_context(|| shown(&point))?;
        }
        match std::fs::remove_dir(&point) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| shown(&point))
            }
            _ => Ok(()),
        }
    }

    /// Gives the name back.
    pub(crate) fn release(self) -> anyhow::Result<()> {
        self.clear()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The directory is empty and nobody's, or somebody is still looking at it; the next one clears it away.
        let _ = std::fs::remove_dir(self.named.mount_point());
        // Whoever waits for the lock looks whether the file is still there.
        let _ = std::fs::remove_file(self.named.state_path());
    }
}

/// What a server wrote last.
pub(crate) fn read_state(file: &mut File) -> io::Result<Option<Box<State>>> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file)
        .take(STATE_LEN_MAX)
        .read_to_end(&mut text)?;
    match text.is_empty() {
        true => Ok(None),
        false => Ok(Some(serde_json::from_slice(&text)?)),
    }
}

fn check(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        return Err(format!("a name has 1 to {NAME_LEN_MAX} characters"));
    }
    let is_taken = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if !name.as_bytes().iter().all(is_taken) {
        return Err("a name is made of letters, digits, '.', '_' and '-'".to_owned());
    }
    if name.starts_with(['.', '-']) {
        return Err("a name begins with a letter, a digit or '_'".to_owned());
    }
    Ok(())
}

fn run_directory() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/run/lucarne".into());
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(directory) if directory.is_absolute() => Ok(directory.join("lucarne")),
        _ => Err(Failure::Device(
            "XDG_RUNTIME_DIR names no directory for what runs: a login session sets it; serve --fuse DIR needs none"
                .to_owned(),
        )
        .into()),
    }
}

/// The directory is made, or is this user's and nobody else's already.
fn make_private(directory: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Failure::Device(format!("{}: {error}", shown(directory))).into());
        }
        _ => {}
    }
    let there = directory
        .symlink_metadata()
        .with_context(|| shown(directory))?;
    let is_ours = there.is_dir() && there.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || there.mode() & 0o077 != 0 {
        return Err(Failure::Device(format!(
            "{}: it must be a directory of yours that others may not look into (mode 0700)",
            shown(directory)
        ))
        .into());
    }
    Ok(())
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_there(file: &File, path: &Path) -> anyhow::Result<bool> {
    let ours = file.metadata().with_context(|| shown(path))?;
    let there = path
        .symlink_metadata()
        .map(|there| (there.dev(), there.ino()));
    Ok(there.is_ok_and(|there| there == (ours.dev(), ours.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files_names() {
        for good in ["a", "disk-1", "model.safetensors", "_x", &"n".repeat(127)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "-r",
            "a/b",
            "a b",
            "a\n",
            "ä",
            &"n".repeat(128),
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_has_one_owner_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let named = Named {
            name: "x".into(),
            directory: dir.path().join("lucarne"),
        };
        assert!(matches!(named.find().unwrap(), Found::Nothing));
        let claim = named.claim().unwrap();
        assert!(named.claim().is_err());
        assert!(matches!(named.find().unwrap(), Found::Alive(_, None)));
        claim.release().unwrap();
        assert!(matches!(named.find().unwrap(), Found::Nothing));
        assert_eq!(std::fs::read_dir(&named.directory).unwrap().count(), 0);
        // What a killed server leaves.
        std::fs::write(named.state_path(), "{").unwrap();
        std::fs::create_dir(named.mount_point()).unwrap();
        assert!(matches!(named.find().unwrap(), Found::Dead));
        drop(named.claim().unwrap());
        assert_eq!(std::fs::read_dir(&named.directory).unwrap().count(), 0);
    }

    #[test]
    fn others_may_not_look_into_the_run_directory() {
        let dir = tempfile::tempdir().unwrap();
        let open_to_all = dir.path().join("lucarne");
        DirBuilder::new().mode(0o755).create(&open_to_all).unwrap();
        assert!(make_private(&open_to_all).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(make_private(&link).is_err());
    }
}
