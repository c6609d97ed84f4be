//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

use lucarne_testkit::peers;
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;

/// A small file system in memory, for as long as it lives; `None` where this process may not mount.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `len` as mount(8) takes it, `6m`.
    pub(crate) fn mount(scratch: &Scratch, len: &str) -> Option<Self> {
        let path = scratch.path("disk");
        std::fs::create_dir(&path).unwrap();
        let options = format!("size={len}");
        let mounted = run(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "lucarne-test"])
                .arg(&path),
            b"",
        );
        match mounted.code {
            Some(0) => Some(Self(path)),
            _ => {
                peers::not_run("a full disk", "this user may not mount a tmpfs");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it more room.
    pub(crate) fn grow(&self, len: &str) {
        self.remount(&format!("size={len}"));
    }

    /// From now on nobody writes there.
    pub(crate) fn make_read_only(&self) {
        self.remount("ro");
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mounted = run(
            Command::new("mount").args(["-o", &options]).arg(&self.0),
            b"",
        );
        assert_eq!(mounted.code, Some(0), "{}", mounted.stderr);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0), b"");
    }
}
