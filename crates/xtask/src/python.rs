//! A Python with the module `safetensors`, which distributions do not have: an environment of its own under `target`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{output, run};
use crate::packages::{self, Program};

/// Where the tests look for the interpreter.
pub(crate) const VARIABLE: &str = "LUCARNE_PYTHON";
/// In the version that the comparison was made with, and what its tensors are in Python.
const MODULES: [&str; 2] = ["safetensors==0.8.0", "numpy"];

const PYTHON: Program = Program {
    name: "python3",
    package: "python3-venv",
};

/// The interpreter; the environment is made if it is not there and may be.
pub(crate) fn with_safetensors(may_install: bool) -> Result<PathBuf> {
    let dir = lucarne_testkit::workspace_root().join("target/python");
    let python = dir.join("bin/python");
    let has_it = || {
        let asked = output(Command::new(&python).args(["-c", "import numpy, safetensors"]));
        asked.is_ok()
    };
    if has_it() {
        return Ok(python);
    }
    ensure!(may_install, "installing was not wanted");
    let outcome = packages::require(&[PYTHON], true)?;
    ensure!(
        outcome.missing.is_empty(),
        "python3 is missing: {}",
        outcome.why
    );
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir)).context("no environment")?;
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet"])
        .args(MODULES);
    run(&mut install).with_context(|| format!("{MODULES:?} cannot be installed"))?;
    ensure!(has_it(), "{MODULES:?} are installed and cannot be imported");
    Ok(python)
}
