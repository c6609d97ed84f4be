//! Volumes served as files, and loop devices on these.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lucarne_testkit::peers;
use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};

use super::programs::must_peer;

/// Whether this process can mount with FUSE, and if `for_root` set up loop devices and mount these; says so if not.
pub(crate) fn can_mount(what: &str, for_root: bool) -> bool {
    let fuse = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    if let Err(error) = fuse {
        peers::not_run(what, &format!("/dev/fuse: {error}"));
        return false;
    }
    !for_root || can_loop(what)
}

/// Whether this process can set up loop devices; says so if not.
pub(crate) fn can_loop(what: &str) -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        "only root sets up loop devices"
    } else if !Path::new("/dev/loop-control").exists() {
        "no loop devices here"
    } else {
        return true;
    };
    peers::not_run(what, missing);
    false
}

/// `serve --fuse` that is running; it is killed, and what is mounted unmounted, when this goes.
pub(crate) struct FileServed {
    pub(crate) child: Child,
    pub(crate) directory: PathBuf,
    /// The plaintext.
    pub(crate) path: PathBuf,
}

impl FileServed {
    pub(crate) fn start(scratch: &Scratch, image: &Path, options: &[&str]) -> Self {
        Self::start_with_key(scratch, image, options, &super::key_file(scratch))
    }

    pub(crate) fn start_with_key(
        scratch: &Scratch,
        image: &Path,
        options: &[&str],
        key: &Path,
    ) -> Self {
        let directory = scratch.path("mounted");
        if !directory.exists() {
            std::fs::create_dir(&directory).unwrap();
        }
        let mut child = super::command()
            .args(["serve", "--fuse"])
            .arg(&directory)
            .args(options)
            .arg("--key-file")
            .arg(key)
            .arg(image)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut path = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut path)
            .unwrap();
        let path = PathBuf::from(path.trim_end());
        assert!(path.starts_with(&directory), "{path:?}");
        Self {
            child,
            directory,
            path,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it as a person would; returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::INT);
        self.child.wait().unwrap().code()
    }
}

impl Drop for FileServed {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
        unmount(&self.directory);
    }
}

/// Unmounts what may be mounted there.
pub(crate) fn unmount(directory: &Path) {
    let umount = Command::new("umount").arg("-lq").arg(directory).output();
    let _ = umount.expect("umount is everywhere");
}

/// A loop device, perhaps mounted; both end with it.
pub(crate) struct Loop {
    pub(crate) device: String,
    mounted: Option<PathBuf>,
}

impl Loop {
    pub(crate) fn on(file: &Path, options: &[&str]) -> Self {
        let mut arguments: Vec<OsString> = ["--find", "--show"].map(OsString::from).to_vec();
        arguments.extend(options.iter().map(OsString::from));
        arguments.push(file.into());
        Self {
            device: must_peer("losetup", &arguments).trim().to_owned(),
            mounted: None,
        }
    }

    pub(crate) fn mount(&mut self, at: &Path, options: &str) {
        let _ = std::fs::create_dir(at);
        let arguments: [OsString; 4] = [
            "-o".into(),
            options.into(),
            self.device.clone().into(),
            at.into(),
        ];
        must_peer("mount", &arguments);
        self.mounted = Some(at.to_owned());
    }

    pub(crate) fn unmount(&mut self) {
        if let Some(at) = self.mounted.take() {
            must_peer("umount", &[at.into()]);
        }
    }

    /// Gives the device back, and waits until it has let go of its file.
    pub(crate) fn detach(mut self) {
        self.unmount();
        must_peer("losetup", &["--detach".into(), self.device.clone().into()]);
        let name = self.device.trim_start_matches("/dev/");
        let backing = PathBuf::from(format!("/sys/block/{name}/loop/backing_file"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while backing.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.device.clear();
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Some(at) = &self.mounted {
            unmount(at);
        }
        if !self.device.is_empty() {
            let _ = Command::new("losetup")
                .args(["--detach", &self.device])
                .output();
        }
    }
}
