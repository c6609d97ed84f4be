//! stub
use crate::args::FormatArgs;
use lucarne::FormatOptions;
pub(super) fn translate(args: &FormatArgs) -> anyhow::Result<FormatOptions> {
    Ok(FormatOptions::default())
}
