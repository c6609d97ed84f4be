//! `serve IMAGE --fuse DIR`, and what `open` has in common with it

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lucarne::FileStorage;
use lucarne_serve::{
    VolumeExport,
    fuse::{MountError, Server, ServerOptions, Stopper, Unmount, UnmountError, check_mount_point},
};

use crate::{
    args::{CommonArgs, ServeArgs},
    device::Opened,
    exit::{Failure, shown},
    report::{self, Report, complain},
    served::Served,
    signals::{self, Graceful},
};

/// How often it is looked whether a signal came.
const SIGNAL_PERIOD: Duration = Duration::from_millis(50);

pub(super) type FileServer = Server<VolumeExport<&'static FileStorage>>;

pub(super) fn run(args: &ServeArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    // clap demands one of both.
    let (Some(directory), [image]) = (&args.fuse, &args.images[..]) else {
        return Err(Failure::parameters(
            "--fuse: the directory has one file in it, and several images are given",
        )
        .into());
    };
    check_mount_point(directory).map_err(|error| not_mounted(&error, directory))?;
    let served = Served {
        opening: &args.opening,
        is_read_only: args.read_only,
        allows_discards: args.allow_discards,
    };
    let opened = leaked(served.open(image)?);
    let _lock = served.lock(image, opened, common)?;
    let export = served.file_export(image, opened, common, report)?;
    let options = ServerOptions {
        name: file_name(image),
        source: image.as_os_str().to_owned(),
        others_may: args.allow_other,
        is_uncached: args.direct_io,
        ..ServerOptions::default()
    };
    let _graceful = Graceful::begin()?;
    let server = Server::mount(directory, export, &options)
        .map_err(|error| not_mounted(&error, directory))?;
    let path = server.mounted().point.join(&options.name);
    // Whatever becomes of the printing, what is mounted must be unmounted.
    let printed = report::print(format!("{}\n", shown(&path)).as_bytes());
    if printed.is_err() {
        let _ = server.stopper().stop(Unmount::Lazily);
    }
    until_stopped(server, directory)?;
    Ok(printed?)
}

/// The kernel's requests come from threads that may outlive any borrow; the process does not outlive its only image.
pub(super) fn leaked(opened: Opened) -> &'static Opened {
    Box::leak(Box::new(opened))
}

/// The image's name without its last ending: `model.safetensors` of `model.safetensors.luks`.
fn file_name(image: &Path) -> OsString {
    let name = image.file_stem().unwrap_or(OsStr::new("plaintext"));
    name.to_owned()
}

/// Serves until a signal, or until somebody else unmounts it.
pub(super) fn until_stopped(server: FileServer, place: &Path) -> anyhow::Result<()> {
    let stopper = server.stopper();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                if signals::stop_requested() {
                    return stop(&stopper, place);
                }
                std::thread::sleep(SIGNAL_PERIOD);
            }
        });
        let served = server.run();
        is_done.store(true, Ordering::SeqCst);
        served
    })
    .map_err(|error| anyhow::Error::new(error).context(shown(place)))
}

/// Nobody new gets in; who is in may finish.
fn stop(stopper: &Stopper, place: &Path) {
    let stopped = match stopper.stop(Unmount::IfUnused) {
        Err(UnmountError::Busy) => {
            complain(&format!(
                "{}: in use: it ends when the last file or loop device on it is closed; a second signal ends it at once, and what was not flushed there is lost",
                shown(place)
            ));
            stopper.stop(Unmount::Lazily)
        }
        other => other,
    };
    if let Err(error) = stopped {
        complain(&format!("{}: {error}", shown(place)));
    }
}

pub(super) fn not_mounted(error: &MountError, place: &Path) -> Failure {
    let message = format!("{}: {error}", shown(place));
    match error {
        MountError::Taken(_) | MountError::NotEmpty => Failure::Exists(message),
        _ => Failure::Device(message),
    }
}
