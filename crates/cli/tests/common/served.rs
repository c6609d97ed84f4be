//! A running `serve`, and the programs that come to it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lucarne_testkit::peers;
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};

use super::{command, key_file, words};

/// A server that is running; it is killed when this goes.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) uri: String,
}

impl Served {
    pub(crate) fn start(scratch: &Scratch, arguments: &[OsString]) -> Self {
        Self::start_with_key(arguments, &key_file(scratch))
    }

    pub(crate) fn start_with_key(arguments: &[OsString], key: &Path) -> Self {
        let mut child = command()
            .arg("serve")
            .args(arguments)
            .arg("--key-file")
            .arg(key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut uri = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut uri)
            .unwrap();
        let uri = uri.trim_end().to_owned();
        assert!(uri.starts_with("nbd"), "{uri:?}");
        Self { child, uri }
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

impl Drop for Served {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn at_socket(scratch: &Scratch, image: &Path, options: &[&str]) -> Vec<OsString> {
    let mut address = OsString::from("unix:");
    address.push(scratch.path("socket"));
    let mut arguments = words!["--nbd", address, image].to_vec();
    arguments.extend(options.iter().map(OsString::from));
    arguments
}

/// Runs a script of libnbd's shell, which connects to `URI` and knows the server's process as `SERVER`.
pub(crate) fn nbdsh(script: &str, served: &Served) {
    let outcome = run(
        Command::new(peers::locate("nbdsh").unwrap())
            .args(["-c", script])
            // The distribution's Python has libnbd, and not any other.
            .env("PATH", "/usr/bin:/bin")
            .env("URI", &served.uri)
            .env("SERVER", served.child.id().to_string()),
        b"",
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}
