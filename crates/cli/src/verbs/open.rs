//! `open DEVICE NAME`, and `open --test-passphrase DEVICE`
//!
//! The command runs itself once more. That process asks for the passphrase on this one's terminal, mounts, leaves the
//! terminal, and serves; no key goes from one to the other. What it has to say in the meantime it says on its standard
//! output, which is a pipe that it closes when all is ready.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use lucarne::{Access, HeaderRef};
use lucarne_serve::{
    Export,
    fuse::{Server, ServerOptions, check_mount_point},
};

use super::fuse::{leaked, not_mounted, until_stopped};
use crate::{
    args::{CommonArgs, OpenArgs},
    device::Opened,
    exit::{Code, Failure, shown},
    passphrase::StdinRole,
    report::{self, Report},
    running::{Claim, Named, State},
    served::Served,
    signals::Graceful,
    unlock::{Unlocking, read_header},
};

/// The last line that the server says.
const READY: &str = "\u{1}ready";

pub(crate) fn run(args: &OpenArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    if args.test_passphrase {
        return test(args, common, report);
    }
    let Some(name) = &args.name else {
        return Err(Failure::parameters(
            "open: NAME is missing, under which the plaintext is found; see lucarne open --help",
        )
        .into());
    };
    args.rest.complain();
    let named = Named::new(name)?;
    args.activation
        .refuse_what_has_no_effect()
        .map_err(Failure::parameters)?;
    match args.in_background {
        true => serve(args, common, report, &named),
        false => start(),
    }
}

fn test(args: &OpenArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    args.rest.complain();
    let opened = Opened::open(
        &args.device,
        args.opening.unlock.header.as_deref(),
        Access::ReadOnly,
    )?;
    let unlocking = Unlocking::new(&args.device, &args.opening, StdinRole::Free, common);
    let header = unlocking.read_judged(&opened)?;
    let keyslot = args.opening.unlock.key_slot;
    unlocking.vouched_key(&header, opened.header(), keyslot, args.unbound, report)?;
    Ok(())
}

/// Runs the server and waits until it is ready, or has failed and said why.
fn start() -> anyhow::Result<()> {
    // The server sees the terminal's signals too and puts the terminal right first.
    let _graceful = Graceful::begin()?;
    let mut child = Command::new("/proc/self/exe")
        .arg(concat!("--", "in-background"))
        .args(std::env::args_os().skip(1))
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run this program once more")?;
    let mut is_ready = false;
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines())
    {
        match line.context("the server")? {
            line if line == READY => is_ready = true,
            line => report::print(format!("{line}\n").as_bytes())?,
        }
    }
    if is_ready {
        return Ok(());
    }
    let status = child.wait().context("the server")?;
    match status.code() {
        Some(code) => Err(Failure::Said(Code::of_number(code)).into()),
        None => Err(Failure::Device(format!(
            "the server was killed by signal {}",
            status.signal().unwrap_or_default()
        ))
        .into()),
    }
}

fn serve(
    args: &OpenArgs,
    common: &CommonArgs,
    report: &Report,
    named: &Named,
) -> anyhow::Result<()> {
    let is_read_only = args.activation.readonly;
    let served = Served {
        opening: &args.opening,
        is_read_only,
        allows_discards: args.activation.allow_discards,
    };
    // All that can be refused is refused before a passphrase is asked for.
    let opened = leaked(served.open(&args.device)?);
    let claim = named.claim()?;
    let place = named.mount_point();
    check_mount_point(&place).map_err(|error| not_mounted(&error, &place))?;
    let _lock = served.lock(&args.device, opened, common)?;
    let export = served.file_export(&args.device, opened, common, report)?;
    let state = state(args, common, opened, &export, named)?;
    let options = ServerOptions {
        name: named.name.clone().into(),
        source: state.image.clone().into(),
        ..ServerOptions::default()
    };
    let _graceful = Graceful::begin()?;
    let server =
        Server::mount(&place, export, &options).map_err(|error| not_mounted(&error, &place))?;
    let stopper = server.stopper();
    let announced = claim
        .publish(&state)
        .and_then(|()| announce(&state))
        .and_then(|()| Ok(leave_terminal()?));
    if let Err(error) = announced {
        // Nobody knows of it yet.
        let _ = stopper.stop(lucarne_serve::fuse::Unmount::Lazily);
        return Err(error);
    }
    finish(until_stopped(server, &place), &claim, state)?;
    claim.release()
}

/// Whoever closes it reads how it ended.
fn finish(ended: anyhow::Result<()>, claim: &Claim, state: State) -> anyhow::Result<()> {
    let Err(error) = ended else {
        return Ok(());
    };
    let state = State {
        failure: crate::exit::line(&error),
        ..state
    };
    claim.publish(&state)?;
    Err(error)
}

fn announce(state: &State) -> anyhow::Result<()> {
    let path = shown(&state.path);
    let mut text = format!("{path}\n");
    // Only root can set up a loop device, and look into the directory.
    if rustix::process::geteuid().is_root() {
        let read_only = match state.read_only {
            true => " --read-only",
            false => "",
        };
        text.push_str(&format!(
            "mount \"$(losetup --find --show --direct-io=on{read_only} {path})\" DIRECTORY\n"
        ));
    }
    report::print(format!("{text}{READY}\n").as_bytes())?;
    Ok(())
}

/// From here on nothing of the session that began it matters: neither its terminal, nor its directory.
fn leave_terminal() -> std::io::Result<()> {
    // It leads no group of processes, so it can lead a session.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // Closes the pipe: whoever waits knows.
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

fn state(
    args: &OpenArgs,
    common: &CommonArgs,
    opened: &Opened,
    export: &lucarne_serve::VolumeExport<&'static lucarne::FileStorage>,
    named: &Named,
) -> anyhow::Result<State> {
    let limits = &args.opening.unlock.limits;
    let header = read_header(&args.device, opened.header(), common.volume_type, limits)?;
    let header = HeaderRef::from(&header);
    let absolute = |path: &Path| -> anyhow::Result<PathBuf> {
        std::path::absolute(path).with_context(|| shown(path))
    };
    let volume = export.volume();
    Ok(State {
        version: 1,
        path: named.path(),
        image: absolute(&args.device)?,
        header: (args.opening.unlock.header.as_deref())
            .map(absolute)
            .transpose()?,
        uuid: volume.identity().uuid.clone(),
        r#type: match header.version() {
            lucarne::LuksVersion::Luks1 => "LUKS1",
            lucarne::LuksVersion::Luks2 => "LUKS2",
        }
        .to_owned(),
        cipher: header.data_cipher().0,
        key_bits: header.volume_key_len().map_or(0, |len| len as u64 * 8),
        sector_bytes: volume.sector_len() as u64,
        offset_bytes: volume.data_offset(),
        size_bytes: export.len(),
        read_only: export.is_read_only(),
        discards: export.can_trim() && volume.reads_holes_as_zeros(),
        pid: std::process::id(),
        failure: None,
    })
}
