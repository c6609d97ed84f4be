//! Our server, started for somebody who thinks it is another.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::relay::{self, Listener};
use super::volume::Volume;
use super::{Door, Options, Wanted};

/// Said on standard output in the background.
pub(super) const READY: &str = "ready";

/// The folder, among those of volumes, with a file for each that runs in the background.
pub(crate) const IN_BACKGROUND: &str = "background";

pub(super) fn serve(options: &Options, wanted: &Wanted, volume: &Volume) -> Result<ExitCode> {
    let own_socket = volume.dir.path().join("s");
    if options.background {
        let folder = options.scratch.join(IN_BACKGROUND);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(std::process::id().to_string()), "")?;
    }
    let listener = match &wanted.door {
        Door::Unix(path) if wanted.is_for_one_client => Listener::Unix(UnixListener::bind(path)?),
        Door::Tcp(host, port) if wanted.is_for_one_client => {
            Listener::Tcp(TcpListener::bind((host.as_str(), *port))?)
        }
        Door::Unix(path) => {
            let address = format!("unix:{}", path.display());
            return serve_there(options, wanted, volume, &address);
        }
        Door::Tcp(host, port) => {
            let address = format!("tcp:{host}:{port}");
            return serve_there(options, wanted, volume, &address);
        }
        Door::Inherited if std::env::var_os("LISTEN_FDS").is_some() => Listener::inherited()?,
        Door::Inherited => {
            let mut server = start(options, wanted, volume, &at(&own_socket))?;
            write_pid(wanted, std::process::id())?;
            let relayed = relay::one(&own_socket);
            stop(&mut server)?;
            relayed?;
            return Ok(ExitCode::SUCCESS);
        }
        Door::Captive(command) => {
            let mut server = start(options, wanted, volume, &at(&own_socket))?;
            write_pid(wanted, std::process::id())?;
            let status = captive(wanted, command, &own_socket)?.wait()?;
            stop(&mut server)?;
            return Ok(exit_code(status));
        }
    };
    let mut server = start(options, wanted, volume, &at(&own_socket))?;
    write_pid(wanted, std::process::id())?;
    say_ready(options)?;
    let relayed = listener.relay(&own_socket, wanted.is_for_one_client);
    stop(&mut server)?;
    if let Door::Unix(path) = &wanted.door {
        // The test may have removed it.
        let _ = std::fs::remove_file(path);
    }
    relayed?;
    Ok(ExitCode::SUCCESS)
}

/// Clients come to it themselves.
fn serve_there(
    options: &Options,
    wanted: &Wanted,
    volume: &Volume,
    address: &str,
) -> Result<ExitCode> {
    let mut server = start(options, wanted, volume, address)?;
    // Who ends a server ends it by this number.
    write_pid(wanted, server.id())?;
    say_ready(options)?;
    Ok(exit_code(server.wait()?))
}

fn at(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

fn say_ready(options: &Options) -> Result<()> {
    if options.background {
        println!("{READY}");
        std::io::stdout().flush()?;
    }
    Ok(())
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
