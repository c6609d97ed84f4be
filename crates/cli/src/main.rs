//! The command `lucarne`: translates a command line into calls of the library, and decides nothing.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod argv;
mod confirm;
mod device;
mod dump;
mod exit;
mod header;
mod keyfile;
mod options;
mod passphrase;
mod policy;
mod progress;
mod report;
mod running;
mod served;
mod signals;
mod size;
mod stream;
mod terminal;
mod tls;
mod unlock;
mod verbs;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};

use crate::{
    args::{Cli, Verb},
    argv::Request,
    exit::{Code, Failure},
    report::Report,
};

fn main() -> ExitCode {
    // Failure leaves the process as it was; nothing else depends on it.
    let undumpable = lucarne::make_process_undumpable();
    let (report, result) = match parse() {
        Ok(Some(cli)) => {
            if cli.common.debug {
                show_debug_messages();
            }
            if let Err(error) = undumpable {
                tracing::debug!(%error, "this process may be dumped");
            }
            // As in cryptsetup, who asks for debug messages hears how it ended too.
            let verbose = cli.common.verbose || cli.common.debug;
            let report = Report::new(verbose, data_on_stdout(&cli.verb));
            let result = verbs::run(&cli.verb, &cli.common, &report);
            match &cli.verb {
                // Whoever started it says how it ended.
                Verb::Open(args) if args.in_background => (Report::new(false, false), result),
                _ => (report, result),
            }
        }
        Ok(None) => (Report::new(false, false), Ok(())),
        Err(error) => (Report::new(false, false), Err(error)),
    };
    let code = match &result {
        Ok(()) => Code::Done,
        Err(error) => {
            if let Some(line) = exit::line(error) {
                report::complain(&line);
            }
            exit::code(error)
        }
    };
    report.end(code);
    ExitCode::from(code as u8)
}

/// The parsed command line; `None` if showing something (help, say) was all there was to do.
fn parse() -> anyhow::Result<Option<Cli>> {
    let mut command = Cli::command();
    let arguments =
        argv::normalise(&command, std::env::args_os().skip(1)).map_err(Failure::Parameters)?;
    let arguments = match arguments {
        Request::Run(arguments) => arguments,
        Request::Usage(verb) => {
            command.build();
            let named = verb.and_then(|verb| command.find_subcommand(&verb).cloned());
            let usage = named.unwrap_or(command).render_usage();
            report::print(format!("{usage}\n").as_bytes())?;
            return Ok(None);
        }
    };
    let verb = arguments
        .get(1)
        .map(|verb| verb.to_string_lossy().into_owned());
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) if cli.common.test_args => {
            report::print(b"No action taken. Invoked with --test-args option.\n")?;
            Ok(None)
        }
        Ok(cli) => Ok(Some(cli)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            report::print(error.to_string().as_bytes())?;
            Ok(None)
        }
        Err(error) => {
            let mut message = in_one_line(&error);
            if let (Some(verb), true) = (verb, is_about_operands(&error)) {
                message.push_str(&format!("; see lucarne {verb} --help"));
            }
            Err(Failure::Parameters(message).into())
        }
    }
}

fn is_about_operands(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument
    )
}

/// clap's message without its label, its usage and its line breaks.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information", "\n\n  tip:"]
        .iter()
        .filter_map(|part| text.find(part))
        .min()
        .unwrap_or(text.len());
    let words: Vec<_> = text[..end].split_whitespace().collect();
    words.join(" ")
}

fn show_debug_messages() {
    tracing_subscriber::fmt()
        .with_env_filter(
            "lucarne=debug,lucarne_format=debug,lucarne_keyslot=debug,lucarne_storage=debug",
        )
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}

/// Whether standard output is the result's bytes.
fn data_on_stdout(verb: &Verb) -> bool {
    match verb {
        Verb::Decrypt(args) => args.output.as_os_str() == "-",
        Verb::Read(_) | Verb::Ls(_) | Verb::Cat(_) | Verb::Tensors(_) => true,
        Verb::Completions(_) | Verb::Man(_) => true,
        Verb::Cp(args) => args.output.as_os_str() == "-",
        Verb::Tensor(args) => args.output.as_os_str() == "-",
        Verb::Token(args) => args.action == args::TokenAction::Export,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(arguments: &[&str]) -> String {
        let mut command = Cli::command();
        in_one_line(&command.try_get_matches_from_mut(arguments).unwrap_err())
    }

    #[test]
    fn claps_messages_become_one_line() {
        let missing = message(&["lucarne", "encrypt", "--", "a"]);
        assert!(
            missing.contains("required") && missing.contains("<OUT>"),
            "{missing}"
        );
        let value = message(&["lucarne", "luksFormat", "--key-size=100", "--", "a"]);
        assert!(
            value.contains("--key-size") && value.contains("multiple of 8"),
            "{value}"
        );
        for line in [missing, value] {
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
    }

    #[test]
    fn clap_finds_no_fault_in_the_grammar() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Example"), "{}", verb.get_name());
        }
    }
}
