//! A directory with all that lies in it, out of a volume.
//!
//! All names come from a file system that may be hostile. They are made in a new directory that is this user's alone,
//! each by a call that fails where something has the name already and follows no link; only names of one component
//! are taken. So nothing is written outside, whatever the names are.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{DirBuilder, File, OpenOptions, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use lucarne::FileStorage;
use lucarne_inside::{FileSystem, Id, Kind, Node, ReadAt};
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};

use super::to_storage;
use crate::{
    exit::{Failure, shown},
    report::complain,
    signals::{self, Graceful},
};

/// How many files that are left out are named; the others are counted.
const MAX_NAMED: usize = 100;
/// Directories within each other: more than a path of Linux can name.
const MAX_DEPTH: usize = 2048;

/// Copies the directory `node` to the new directory `output`, which appears complete or not at all.
pub(super) fn copy<R: ReadAt>(
    files: &FileSystem<R>,
    node: &Node,
    path: &[u8],
    output: &Path,
) -> anyhow::Result<()> {
    if output.symlink_metadata().is_ok() {
        return Err(Failure::Exists(format!("{}: exists already", shown(output))).into());
    }
    let _graceful = Graceful::begin()?;
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let partial = Partial::new(parent)?;
    let mut copying = Copying {
        files,
        seen: HashSet::new(),
        left_out: 0,
    };
    let end = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |at| at + 1);
    copying.directory(node, &path[..end], &partial.0, 0)?;
    if copying.left_out > MAX_NAMED {
        complain(&format!("{} files are left out", copying.left_out));
    }
    // All of it at once: a flush for each of many files takes longer than the copy.
    syncfs(File::open(&partial.0)?).map_err(std::io::Error::from)?;
    renameat_with(CWD, &partial.0, CWD, output, RenameFlags::NOREPLACE).map_err(
        |error| match error {
            rustix::io::Errno::EXIST => {
                Failure::Exists(format!("{}: exists already", shown(output))).into()
            }
            error => anyhow::Error::new(std::io::Error::from(error)),
        },
    )?;
    partial.forget();
    Ok(File::open(parent)?.sync_all()?)
}

/// A directory in the making, which goes with all that lies in it unless it gets its name.
struct Partial(PathBuf);

impl Partial {
    fn new(parent: &Path) -> anyhow::Result<Self> {
        let clock = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
        let name = format!(".lucarne-{}-{clock:x}.partial", std::process::id());
        let path = parent.join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::Device(format!("{}: {error}", shown(parent))))?;
        Ok(Self(path))
    }

    fn forget(mut self) {
        self.0.clear();
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // Directories without permissions are in the way of what lies in them.
            let _ = remove(&self.0);
        }
    }
}

fn remove(directory: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove(&entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_dir(directory)
}

struct Copying<'f, R> {
    files: &'f FileSystem<R>,
    /// Directories that were copied: one that is there twice would never end.
    seen: HashSet<Id>,
    left_out: usize,
}

impl<R: ReadAt> Copying<'_, R> {
    fn leave_out(&mut self, path: &[u8], why: &str) {
        self.left_out += 1;
        if self.left_out <= MAX_NAMED {
            complain(&format!("{}: left out: {why}", lucarne_inside::shown(path)));
        }
    }

    /// Fills a directory that is there.
    fn directory(
        &mut self,
        node: &Node,
        path: &[u8],
        to: &Path,
        depth: usize,
    ) -> anyhow::Result<()> {
        if depth > MAX_DEPTH || !self.seen.insert(node.id) {
            return Err(anyhow::anyhow!(
                "damaged file system: {} is there twice, or too deep",
                lucarne_inside::shown(path)
            ));
        }
        for entry in self.files.list_node(node, path)? {
            if signals::stop_requested() {
                return Err(Failure::Interrupted.into());
            }
            let path = [path, b"/", &entry.name].concat();
            if !entry.is_plain() {
                self.leave_out(&path, "no name that a file can have");
                continue;
            }
            let node = self
                .files
                .entry_node(&entry)
                .with_context(|| lucarne_inside::shown(&path))?;
            let to = to.join(OsStr::from_bytes(&entry.name));
            self.entry(&node, &path, &to, depth)
                .with_context(|| lucarne_inside::shown(&path))?;
        }
        finish(&File::open(to)?, node)
    }

    fn entry(&mut self, node: &Node, path: &[u8], to: &Path, depth: usize) -> anyhow::Result<()> {
        match node.kind {
            Kind::Directory => {
                DirBuilder::new().mode(0o700).create(to)?;
                self.directory(node, path, to, depth + 1)
            }
            Kind::File => {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .mode(0o600)
                    .create_new(true)
                    .open(to)?;
                let storage = FileStorage::from_file(file)?;
                to_storage(&self.files.open_node(node, path)?, &storage, false)?;
                finish(storage.file(), node)
            }
            Kind::Link => {
                let target = self.files.link_target(node)?;
                match stays_inside(&target, depth) {
                    true => Ok(symlink(OsStr::from_bytes(&target), to)?),
                    false => {
                        let target = lucarne_inside::shown(&target);
                        self.leave_out(path, &format!("it could lead out of OUT, to {target}"));
                        Ok(())
                    }
                }
            }
            kind => {
                self.leave_out(path, &format!("a {kind}"));
                Ok(())
            }
        }
    }
}

/// Permissions and time, once nothing more is written there.
fn finish(file: &File, node: &Node) -> anyhow::Result<()> {
    // Never the set-user-ID bits: who copies would lend its own rights.
    file.set_permissions(Permissions::from_mode(u32::from(node.mode) & 0o777))?;
    let modified = node.modified.and_then(|seconds| {
        let since = Duration::from_secs(seconds.unsigned_abs());
        match seconds < 0 {
            true => UNIX_EPOCH.checked_sub(since),
            false => SystemTime::UNIX_EPOCH.checked_add(since),
        }
    });
    if let Some(modified) = modified {
        // A time that the system cannot keep is no reason to fail.
        let _ = file.set_modified(modified);
    }
    Ok(())
}

/// Whether a link that lies `depth` directories below OUT leads nowhere but into OUT, whatever other such links its
/// target goes through: up no further than OUT, and from there only down.
fn stays_inside(target: &[u8], depth: usize) -> bool {
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return false;
    }
    let names = || {
        target
            .split(|&byte| byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
    };
    let up = names().take_while(|name| *name == b"..").count();
    up <= depth && !names().skip(up).any(|name| name == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_could_lead_out_are_known() {
        for (target, depth, is_inside) in [
            ("file", 0, true),
            ("./sub//file", 0, true),
            ("..", 0, false),
            ("..", 1, true),
            ("../../x", 1, false),
            ("../../x", 2, true),
            ("/etc/passwd", 5, false),
            // Where `a` is a link, up from it may be anywhere.
            ("a/..", 3, false),
            ("../a/../b", 3, false),
            ("", 1, false),
            ("x\0", 1, false),
        ] {
            assert_eq!(
                stays_inside(target.as_bytes(), depth),
                is_inside,
                "{target:?} {depth}"
            );
        }
    }
}
