//! From the options to a header that is changed.

use std::{path::Path, time::Duration};

use anyhow::Context;
use lucarne::{FileStorage, HeaderEditor};

use crate::{args::CommonArgs, exit::shown};

/// How long another process that changes the header is waited for; `None`: no lock is taken.
pub(crate) fn patience(common: &CommonArgs) -> Option<Duration> {
    (!common.disable_locks).then(|| Duration::from_secs(common.lock_timeout.into()))
}

/// Reads the header that lies at `path`, to change it.
pub(crate) fn editor<'s>(
    path: &Path,
    storage: &'s FileStorage,
    common: &CommonArgs,
) -> anyhow::Result<HeaderEditor<'s>> {
    let editor = HeaderEditor::open(storage).with_context(|| shown(path))?;
    Ok(editor.with_patience(patience(common)))
}
