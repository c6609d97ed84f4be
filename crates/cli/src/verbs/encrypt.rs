//! `encrypt IN OUT`

use std::os::unix::fs::FileExt;

use anyhow::Context;
use lucarne::{Access, Control, EncryptOptions, FileStorage, Output, Source, Storage};

use super::format_options;
use crate::{
    args::{CommonArgs, EncryptArgs},
    confirm, device,
    exit::{Failure, shown},
    passphrase::{self, StdinRole},
    progress::{Lines, Watcher},
    report::Report,
    signals::Graceful,
    stream::Interruptible,
};

pub(crate) fn run(args: &EncryptArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    if args.output.as_os_str() == "-" {
        return Err(Failure::parameters(
            "OUT: a volume is written in any order, so it cannot be standard output; name a file",
        )
        .into());
    }
    let streamed = args.input.as_os_str() == "-";
    let no_holes = || Failure::parameters("--sparse: a stream has no holes to keep");
    if streamed && args.sparse {
        return Err(no_holes().into());
    }
    let options = EncryptOptions {
        format: format_options::translate(&args.format, common)?,
        sparse: args.sparse,
        omit_length: args.no_length,
        parallelism: args.progress.parallelism(),
    };
    // All that can be refused is refused before the passphrase is asked for.
    let input = match streamed {
        true => None,
        false => Some(device::open(&args.input, Access::ReadOnly)?),
    };
    if let Some(input) = &input {
        device::refuse_same_file(input, &args.output)?;
        if let Some(header) = &args.format.header {
            device::refuse_same_file(input, header)?;
        }
    }
    let tells_no_length = match &input {
        Some(input) => tells_no_length(input).with_context(|| shown(&args.input))?,
        None => false,
    };
    if tells_no_length && args.sparse {
        return Err(no_holes().into());
    }
    let input_len = match &input {
        Some(input) if !tells_no_length => Some(input.len().with_context(|| shown(&args.input))?),
        _ => None,
    };
    options
        .check(input_len, args.format.header.is_some())
        .with_context(|| shown(&args.output))?;
    if let Some(header) = &args.format.header {
        device::refuse_same_place(header, &args.output)?;
    }
    let replace = confirm::replacement(common.batch_mode, &args.output)?;
    let header = match &args.format.header {
        Some(path) => {
            let replace = confirm::replacement(common.batch_mode, path)?;
            Some((path, replace))
        }
        None => None,
    };
    let stdin = if streamed {
        StdinRole::Data
    } else {
        StdinRole::Free
    };
    let passphrase = passphrase::Source::new(&args.format.key, &args.output, stdin)
        .new_one(common.batch_mode)?;
    // luksFormat takes one, as cryptsetup does; here it would be a volume that anybody opens.
    if passphrase.is_empty() && !args.format.force_password {
        return Err(Failure::Permission(
            "the passphrase is empty; --force-password allows that".into(),
        )
        .into());
    }

    let _graceful = Graceful::begin()?;
    let output = match header {
        // Ciphertext alone.
        Some(_) => Output::create(&args.output, replace),
        None => Output::create_private(&args.output, replace),
    }
    .with_context(|| shown(&args.output))?;
    device::claim_output(&args.output, &output, input.as_ref(), common.disable_locks)?;
    let header = match header {
        Some((path, replace)) => {
            let output = Output::create_private(path, replace).with_context(|| shown(path))?;
            device::claim_output(path, &output, input.as_ref(), common.disable_locks)?;
            Some((path, output))
        }
        None => None,
    };
    let control = Control::default();
    let watcher = Watcher::new(
        &args.progress,
        common.batch_mode,
        &args.input,
        Lines::Stdout,
    );
    watcher
        .watch(&control, || {
            let mut stdin = Interruptible::stdin();
            let mut file = input.as_ref().map(|input| Interruptible(input.file()));
            let source = match (&input, &mut file) {
                (Some(storage), _) if !tells_no_length => Source::Storage(storage),
                (_, Some(file)) => Source::Stream(file),
                (_, None) => Source::Stream(&mut stdin),
            };
            lucarne::encrypt(
                source,
                output.storage(),
                header
                    .as_ref()
                    .map(|(_, header)| header.storage() as &dyn Storage),
                &passphrase,
                &options,
                &control,
            )
        })
        .map_err(|error| super::not_made(error, &args.input, &args.output))?;
    // The header first: ciphertext without the header that opens it is lost, the reverse is not.
    if let Some((path, header)) = header {
        header.finish().with_context(|| shown(path))?;
    }
    output.finish().with_context(|| shown(&args.output))?;
    report.say(&format!("Key slot {} created.", options.format.keyslot));
    Ok(())
}

/// Whether a file says that it is empty and is not: the kernel's own files (`/proc`) are made while they
/// are read, to their end, like streams.
fn tells_no_length(input: &FileStorage) -> anyhow::Result<bool> {
    Ok(input.len()? == 0 && input.file().read_at(&mut [0], 0)? != 0)
}
