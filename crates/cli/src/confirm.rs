//! Asking before something is lost.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use lucarne::Replace;

use crate::exit::{Failure, shown};

/// Asks for an uppercase yes in cryptsetup's words; any other answer is an error.
///
/// As there, nobody is asked with `--batch-mode` or where standard input is no terminal.
pub(crate) fn confirm(batch_mode: bool, warning: &str) -> anyhow::Result<()> {
    if batch_mode || !io::stdin().is_terminal() {
        return Ok(());
    }
    ask(&mut io::stdin().lock(), &mut io::stdout().lock(), warning)
}

/// What may happen to a file that already has the output's name.
///
/// A new file needs no question. An existing one is replaced with `--batch-mode` or after a yes; where
/// nobody can be asked it stays.
pub(crate) fn replacement(batch_mode: bool, path: &Path) -> anyhow::Result<Replace> {
    if path.symlink_metadata().is_err() {
        // If it is there but cannot be looked at, creating it will say why.
        return Ok(Replace::Never);
    }
    if path.is_dir() {
        return Err(Failure::Device(format!("{}: is a directory", shown(path))).into());
    }
    if !batch_mode {
        if !io::stdin().is_terminal() {
            return Err(Failure::Exists(format!(
                "{}: exists already; --batch-mode replaces it",
                shown(path)
            ))
            .into());
        }
        confirm(
            batch_mode,
            &format!("This will overwrite data on {} irrevocably.", shown(path)),
        )?;
    }
    Ok(Replace::Allowed)
}

fn ask(input: &mut impl BufRead, output: &mut impl Write, warning: &str) -> anyhow::Result<()> {
    write!(
        output,
        "\nWARNING!\n========\n{warning}\n\nAre you sure? (Type 'yes' in capital letters): "
    )?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if answer == "YES\n" {
        Ok(())
    } else {
        Err(Failure::Parameters("operation aborted".into()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_uppercase_yes_is_a_yes() {
        let answer = |text: &str| ask(&mut text.as_bytes(), &mut io::sink(), "gone").is_ok();
        assert!(answer("YES\n"));
        for text in ["yes\n", "YES", "Y\n", "\n", "", "YES please\n"] {
            assert!(!answer(text), "{text:?}");
        }
    }

    #[test]
    fn the_question_names_what_is_lost() {
        let mut shown = Vec::new();
        let warning = "This will overwrite data on f irrevocably.";
        assert!(ask(&mut "\n".as_bytes(), &mut shown, warning).is_err());
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.starts_with("\nWARNING!\n========\nThis will overwrite data on f"));
    }
}
