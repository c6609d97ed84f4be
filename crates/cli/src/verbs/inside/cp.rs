//! `cp IMAGE:/PATH OUT`

use anyhow::Context;
use lucarne::Output;
use lucarne_inside::Kind;

use super::{files, in_image, opened, path, to_stdout, to_storage, tree, volume};
use crate::{
    args::{CommonArgs, CpArgs},
    confirm, device,
    exit::{Failure, shown},
    report::Report,
    signals::Graceful,
};

pub(crate) fn run(args: &CpArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let target = &args.target;
    let path = path(target)?;
    let place = || format!("{}:{}", shown(&target.image), lucarne_inside::shown(path));
    let opened = opened(target, &args.inside)?;
    let is_streamed = args.output.as_os_str() == "-";
    if !is_streamed {
        device::refuse_same_file(&opened.data, &args.output)?;
        device::refuse_same_file(opened.header(), &args.output)?;
    }
    let volume = volume(target, &args.inside, &opened, common, report)?;
    let files = files(target, &args.inside, &volume)?;
    let node = files.node(path).map_err(|error| in_image(target, error))?;
    if node.kind == Kind::Directory {
        if !args.recursive || is_streamed {
            let advice = if is_streamed { "" } else { "; -r copies it" };
            return Err(Failure::Device(format!("{}: is a directory{advice}", place())).into());
        }
        return tree::copy(&files, &node, path, &args.output)
            .map_err(|error| not_made(error, &place(), &args.output));
    }
    let file = files
        .open_node(&node, path)
        .map_err(|error| in_image(target, error))?;
    if is_streamed {
        return to_stdout(&file).with_context(place);
    }
    let replace = confirm::replacement(common.batch_mode, &args.output)?;
    let _graceful = Graceful::begin()?;
    let output = Output::create(&args.output, replace).with_context(|| shown(&args.output))?;
    device::claim_output(
        &args.output,
        &output,
        Some(&opened.data),
        common.disable_locks,
    )?;
    to_storage(&file, output.storage(), output.is_device())
        .map_err(|error| not_made(error, &place(), &args.output))?;
    output.finish().with_context(|| shown(&args.output))
}

fn not_made(error: anyhow::Error, place: &str, output: &std::path::Path) -> anyhow::Error {
    let output = shown(output);
    match error.downcast_ref() {
        Some(Failure::Interrupted) => Failure::Parameters(format!(
            "{place} to {output}: interrupted; {output} is not made"
        ))
        .into(),
        _ => error.context(format!("{place} to {output}")),
    }
}
