//! `cat IMAGE:/PATH`

use anyhow::Context;

use super::{files, in_image, opened, path, to_stdout, volume};
use crate::{
    args::{CatArgs, CommonArgs},
    exit::shown,
    report::Report,
};

pub(crate) fn run(args: &CatArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let target = &args.target;
    let path = path(target)?;
    let opened = opened(target, &args.inside)?;
    let volume = volume(target, &args.inside, &opened, common, report)?;
    let files = files(target, &args.inside, &volume)?;
    let file = files
        .open_file(path)
        .map_err(|error| in_image(target, error))?;
    to_stdout(&file)
        .with_context(|| format!("{}:{}", shown(&target.image), lucarne_inside::shown(path)))
}
