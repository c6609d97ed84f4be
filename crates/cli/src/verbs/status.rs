//! `status NAME`

use std::path::Path;

use anyhow::Context;

use crate::{
    args::StatusArgs,
    exit::{Code, Failure, shown},
    report,
    running::{Found, Named, State},
};

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let named = Named::new(&args.name)?;
    let path = shown(&named.path());
    let state = match named.find()? {
        Found::Alive(_, Some(state)) => state,
        _ => {
            if !args.json {
                report::print(format!("{path} is inactive.\n").as_bytes())?;
            }
            return Err(Failure::Said(Code::Device).into());
        }
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&state).context("the state")? + "\n",
        false => text(&state),
    };
    report::print(text.as_bytes())?;
    Ok(())
}

/// As cryptsetup lays it out.
fn text(state: &State) -> String {
    let path = shown(&state.path);
    let in_use = match has_loop_device(&state.path) {
        true => " and is in use",
        false => "",
    };
    let mode = match state.read_only {
        true => "readonly",
        false => "read/write",
    };
    let mut text = format!(
        "{path} is active{in_use}.\n  type:    {}\n  cipher:  {}\n  keysize: {} bits\n  key location: process {}\n  device:  {}\n",
        state.r#type,
        state.cipher,
        state.key_bits,
        state.pid,
        shown(&state.image),
    );
    if let Some(header) = &state.header {
        text.push_str(&format!("  header:  {}\n", shown(header)));
    }
    text.push_str(&format!(
        "  sector size:  {}\n  offset:  {} sectors\n  size:    {} bytes\n  mode:    {mode}\n",
        state.sector_bytes,
        state.offset_bytes / 512,
        state.size_bytes,
    ));
    if state.discards {
        text.push_str("  flags:   discards\n");
    }
    text
}

/// Whether a loop device lies on the file, as far as this machine tells.
fn has_loop_device(path: &Path) -> bool {
    let Ok(devices) = std::fs::read_dir("/sys/block") else {
        return false;
    };
    devices.flatten().any(|device| {
        std::fs::read(device.path().join("loop/backing_file"))
            .is_ok_and(|name| Path::new(String::from_utf8_lossy(&name).trim_end()) == path)
    })
}
