//! Our server, started for somebody who thinks it is another.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::volume::Volume;
use super::{Door, Options, Wanted, relay};

/// Said on standard output in the background.
pub(super) const READY: &str = "ready";

pub(super) fn serve(options: &Options, wanted: &Wanted, volume: &Volume) -> Result<ExitCode> {
    let own_socket = volume.dir.path().join("s");
    let address = match &wanted.door {
        Door::Unix(path) => format!("unix:{}", path.display()),
        Door::Tcp(host, port) => format!("tcp:{host}:{port}"),
        Door::Inherited | Door::Captive(_) => format!("unix:{}", own_socket.display()),
    };
    let mut server = start(options, wanted, volume, &address)?;
    let own_pid = std::process::id();
    match &wanted.door {
        Door::Unix(_) | Door::Tcp(..) => {
            // Who ends a server ends it by this number.
            write_pid(wanted, server.id())?;
            if options.background {
                println!("{READY}");
                std::io::stdout().flush()?;
            }
            let status = server.wait()?;
            Ok(ExitCode::from(status.code().map_or(1, |code| code as u8)))
        }
        Door::Inherited => {
            write_pid(wanted, own_pid)?;
            let relayed = match std::env::var_os("LISTEN_FDS") {
                Some(_) => relay::all(&own_socket, wanted.is_for_one_client),
                None => relay::one(&own_socket),
            };
            stop(&mut server)?;
            relayed?;
            Ok(ExitCode::SUCCESS)
        }
        Door::Captive(command) => {
            write_pid(wanted, own_pid)?;
            let status = captive(wanted, command, &own_socket)?.wait()?;
            stop(&mut server)?;
            Ok(ExitCode::from(status.code().map_or(1, |code| code as u8)))
        }
    }
}

/// Starts it; it dies with this process.
fn start(options: &Options, wanted: &Wanted, volume: &Volume, address: &str) -> Result<Child> {
    let mut serve = Command::new("setpriv");
    serve.args(["--pdeathsig", "TERM"]).arg(&options.lucarne);
    serve.args(["serve", "--allow-discards", "--key-file"]);
    serve.arg(&volume.key).args(["--nbd", address]);
    if wanted.is_read_only {
        serve.arg("--read-only");
    }
    if let Some(tls) = &wanted.tls {
        let pem = |name: &str| tls.certificates.join(name);
        serve.arg("--tls-cert").arg(pem("server-cert.pem"));
        serve.arg("--tls-key").arg(pem("server-key.pem"));
        if tls.asks_clients {
            serve.arg("--tls-client-ca").arg(pem("ca-cert.pem"));
        }
    }
    serve.arg(&volume.image).args(&volume.other);
    serve.env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    serve.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = serve.spawn().context("setpriv")?;
    let mut uri = String::new();
    let stdout = server.stdout.take().context("no standard output")?;
    BufReader::new(stdout).read_line(&mut uri)?;
    if !uri.starts_with("nbd") {
        bail!("lucarne serve ended: {}", server.wait()?);
    }
    Ok(server)
}

fn stop(server: &mut Child) -> Result<()> {
    // It may have ended by itself, which its status then tells.
    let _ = kill_process(Pid::from_child(server), Signal::TERM);
    let status = server.wait()?;
    if !status.success() {
        bail!("lucarne serve: {status}");
    }
    Ok(())
}

/// The shell command, with what nbdkit would have told it.
fn captive(wanted: &Wanted, command: &str, socket: &Path) -> Result<Child> {
    let scheme = match wanted.tls {
        Some(_) => "nbds+unix",
        None => "nbd+unix",
    };
    let socket = socket.display();
    let uri = format!("{scheme}://?socket={socket}");
    let script = format!(
        "uri='{uri}'; nbd='nbd:unix:{socket}'; unixsocket='{socket}'; port=; exportname=\n{command}"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    shell.env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    shell.spawn().context("sh")
}

fn write_pid(wanted: &Wanted, pid: u32) -> Result<()> {
    if let Some(path) = &wanted.pid_file {
        // Whoever waits for it sees it whole.
        let new = path.with_extension("new");
        std::fs::write(&new, format!("{pid}\n"))?;
        std::fs::rename(&new, path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
