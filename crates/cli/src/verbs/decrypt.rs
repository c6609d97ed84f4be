//! `decrypt IN OUT`

use anyhow::Context;
use lucarne::{Access, Control, DecryptOptions, Destination, Output};

use crate::{
    args::{CommonArgs, DecryptArgs},
    confirm,
    device::{self, Opened},
    exit::shown,
    passphrase::StdinRole,
    progress::{Lines, Watcher},
    report::{Report, complain},
    signals::Graceful,
    unlock::Unlocking,
};

pub(crate) fn run(args: &DecryptArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let streamed = args.output.as_os_str() == "-";
    let opened = Opened::open(
        &args.input,
        args.opening.unlock.header.as_deref(),
        Access::ReadOnly,
    )?;
    let replace = match streamed {
        true => None,
        false => {
            device::refuse_same_file(&opened.data, &args.output)?;
            device::refuse_same_file(opened.header(), &args.output)?;
            Some(confirm::replacement(common.batch_mode, &args.output)?)
        }
    };
    let unlocking = Unlocking::new(&args.input, &args.opening, StdinRole::Free, common);
    let volume = unlocking.volume(&opened, report)?;

    // To standard output nothing is left behind, and a reader that stalls must not keep a signal
    // waiting: there it kills, as by default.
    let _graceful = match streamed {
        true => None,
        false => Some(Graceful::begin()?),
    };
    let output = match replace {
        Some(replace) => {
            let output =
                Output::create(&args.output, replace).with_context(|| shown(&args.output))?;
            device::claim_output(
                &args.output,
                &output,
                Some(&opened.data),
                common.disable_locks,
            )?;
            Some(output)
        }
        None => None,
    };
    let options = DecryptOptions {
        whole: args.whole,
        parallelism: args.progress.parallelism(),
    };
    let control = Control::default();
    let lines = if streamed {
        Lines::Stderr
    } else {
        Lines::Stdout
    };
    let watcher = Watcher::new(&args.progress, common.batch_mode, &args.input, lines);
    let decrypted = watcher
        .watch(&control, || {
            let mut stdout = std::io::stdout();
            let destination = match &output {
                Some(output) => Destination::Storage(output.storage()),
                None => Destination::Stream(&mut stdout),
            };
            lucarne::decrypt(&volume, destination, &options, &control)
        })
        .map_err(|error| super::not_made(error, &args.input, &args.output))?;
    if let Some(output) = output {
        output.finish().with_context(|| shown(&args.output))?;
    }
    if let Some(len) = decrypted.outdated_len {
        complain(&format!(
            "the recorded length of {len} bytes no longer holds, so all {} bytes are given",
            decrypted.plaintext_len
        ));
    }
    Ok(())
}
