//! Volumes opened under a name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lucarne_testkit::peers;
use lucarne_testkit::process::Outcome;
use rustix::process::{Pid, Signal, kill_process};

use super::file_server::can_mount;
use super::{lucarne, words};

/// A name that no other test has; what is left of it is removed when it goes.
pub(crate) struct Name {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

impl Name {
    pub(crate) fn new(word: &str) -> Self {
        let run_directory = match rustix::process::geteuid().is_root() {
            true => PathBuf::from("/run"),
            false => std::env::var_os("XDG_RUNTIME_DIR").unwrap().into(),
        };
        let name = format!("lucarne-test-{}-{word}", std::process::id());
        Self {
            directory: run_directory.join("lucarne").join(&name),
            name,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    pub(crate) fn close(&self, options: &[&str]) -> Outcome {
        let mut arguments = words!["close", &self.name].to_vec();
        arguments.extend(options.iter().map(OsString::from));
        lucarne(arguments)
    }

    pub(crate) fn status(&self) -> Outcome {
        lucarne(["status", &self.name])
    }

    /// The server's process.
    fn server(&self) -> Pid {
        let text = lucarne(["status", "--json", &self.name]).text();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        Pid::from_raw(value["pid"].as_i64().unwrap() as i32).unwrap()
    }

    pub(crate) fn kill_server(&self) {
        kill_process(self.server(), Signal::KILL).unwrap();
        until(|| self.status().code == Some(4));
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Closed already, mostly.
        let _ = self.close(&["--deferred"]);
    }
}

pub(crate) fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn can_open(what: &str) -> bool {
    if !rustix::process::geteuid().is_root() && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        peers::not_run(what, "XDG_RUNTIME_DIR is not set");
        return false;
    }
    can_mount(what, false)
}

pub(crate) fn open(image: &Path, name: &Name, key: &Path, options: &[&str]) -> Outcome {
    let mut arguments = words!["open", image, &name.name, "--key-file", key].to_vec();
    arguments.extend(options.iter().map(OsString::from));
    lucarne(arguments)
}
