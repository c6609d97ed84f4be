//! libnbd's nbdfuse, which distributions do not all have: our export as a file of its mount.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::outcome::{Ended, Events, Findings, Ran};
use super::stand_in::SERVED;
use super::{Bench, libnbd};
use crate::command::{output, run as run_command, run_quietly};

const LEN_BYTES: usize = 64 << 20;
/// So long a mount may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let source = libnbd::built(bench)?;
    let events = Events::begin(bench.scratch.path())?;
    std::fs::write(events.path(), SERVED)?;
    let ended = match through_nbdfuse(bench, &source) {
        Ok(()) => Ended::Passed,
        Err(error) => {
            println!("nbdfuse: {error:#}");
            Ended::Failed
        }
    };
    findings.expect("nbdfuse", 1);
    let ran = Ran {
        ended,
        events,
        log: String::new(),
    };
    findings.add("nbdfuse", "read, write, compare, fio", ran, &[])
}

/// A process that is stopped when this goes.
struct Running(Child);

impl Running {
    fn end(mut self) -> Result<()> {
        run_quietly(Command::new("kill").arg(self.0.id().to_string()))?;
        let status = self.0.wait()?;
        ensure!(status.success(), "the server: {status}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn through_nbdfuse(bench: &Bench, source: &Path) -> Result<()> {
    let dir = tempfile::tempdir_in(bench.scratch.path())?;
    let path = |name: &str| dir.path().join(name);
    let (plain, image, key) = (path("plain"), path("image"), path("key"));
    let before = lucarne_testkit::payload::stream("by nbdfuse", LEN_BYTES);
    std::fs::write(&plain, &before)?;
    std::fs::write(&key, "a passphrase of tests")?;
    let mut encrypt = Command::new(&bench.lucarne);
    encrypt.args(["encrypt", "--batch-mode", "--pbkdf", "pbkdf2"]);
    encrypt.args(["--pbkdf-force-iterations", "1000", "--key-file"]);
    run_command(encrypt.arg(&key).arg(&plain).arg(&image))?;
    let mut serve = Command::new(&bench.lucarne);
    serve.arg("serve").arg("--key-file").arg(&key).arg(&image);
    serve
        .arg("--nbd")
        .arg(format!("unix:{}", path("s").display()));
    let server = Running(serve.stdout(Stdio::null()).spawn()?);
    wait_for(&path("s"))?;

    let mount = path("mount");
    std::fs::create_dir(&mount)?;
    let mut nbdfuse = Command::new(source.join("run"));
    nbdfuse
        .arg("nbdfuse")
        .arg(&mount)
        .arg("--unix")
        .arg(path("s"));
    let mut nbdfuse = Running(nbdfuse.spawn()?);
    let file = mount.join("nbd");
    wait_for(&file)?;
    ensure!(
        std::fs::read(&file)? == before,
        "what is read is not what was encrypted"
    );

    let mut fio = Command::new("fio");
    fio.args([
        "--name=verify",
        "--rw=randwrite",
        "--bs=512-256k",
        "--bsrange=512-256k",
    ]);
    fio.args([
        "--ioengine=psync",
        "--numjobs=1",
        "--verify=crc32c",
        "--do_verify=1",
    ]);
    fio.args(["--verify_fatal=1", "--end_fsync=1", "--allow_file_create=0"]);
    fio.arg(format!("--size={LEN_BYTES}"))
        .arg(format!("--filename={}", file.display()));
    output(&mut fio)?;

    let after = lucarne_testkit::payload::stream("by nbdfuse, anew", LEN_BYTES);
    std::fs::write(&plain, &after)?;
    let mut copy = Command::new("dd");
    copy.arg(format!("if={}", plain.display()))
        .arg(format!("of={}", file.display()));
    run_command(copy.args(["bs=100001", "conv=notrunc,fsync", "status=none"]))?;
    run_command(Command::new("cmp").arg(&plain).arg(&file))?;
    run_command(Command::new("fusermount3").arg("-u").arg(&mount))?;
    let status = nbdfuse.0.wait()?;
    ensure!(status.success(), "nbdfuse: {status}");
    server.end()?;
    let decrypted = path("decrypted");
    let mut decrypt = Command::new(&bench.lucarne);
    decrypt.args(["decrypt", "--batch-mode", "--key-file"]);
    run_command(decrypt.arg(&key).arg(&image).arg(&decrypted))?;
    ensure!(
        std::fs::read(&decrypted)? == after,
        "what was written is not in the volume"
    );
    Ok(())
}

fn wait_for(path: &Path) -> Result<()> {
    let started = Instant::now();
    while !path.exists() {
        if started.elapsed() > PATIENCE {
            bail!("{} does not appear", path.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    path.metadata().map(drop).context("it has gone")
}
