//! `completions SHELL` and `man [DIR]`

use anyhow::Context;
use clap::CommandFactory;

use crate::{
    args::{Cli, CompletionsArgs, ManArgs},
    exit::shown,
    report,
};

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lucarne", &mut script);
    Ok(report::print(&script)?)
}

pub(crate) fn manual(args: &ManArgs) -> anyhow::Result<()> {
    match &args.dir {
        Some(dir) => std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .with_context(|| shown(dir)),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            Ok(report::print(&page)?)
        }
    }
}
