//! Puts the verb first.
//!
//! cryptsetup's parser (popt) takes options before and after the verb and its operands; clap's
//! subcommands want them after. This pass knows which options take a value, finds the verb, spells
//! every option long, and answers what no verb has: options that are to come, refused or unknown.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use clap::Command;

use crate::options::{self, State};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Parse this with clap: program, verb, options and operands.
    Run(Vec<OsString>),
    /// Show the usage line, of a verb if one was named.
    Usage(Option<String>),
}

/// An option that clap knows.
struct Accepted {
    takes_value: bool,
    /// Empty for an option of every verb.
    verbs: Vec<String>,
}

/// All that clap knows: the verbs and their options by long name, and the short names.
struct Grammar {
    verbs: HashMap<String, String>,
    long: HashMap<String, Accepted>,
    short: HashMap<char, String>,
}

impl Grammar {
    fn new(command: &Command) -> Self {
        let mut grammar = Self {
            verbs: HashMap::new(),
            long: HashMap::new(),
            short: options::table()
                .iter()
                .filter_map(|known| Some((known.short?, known.long.to_owned())))
                .collect(),
        };
        grammar.add_options(command, None);
        for verb in command.get_subcommands() {
            for name in verb.get_name_and_visible_aliases() {
                grammar.verbs.insert(name.into(), verb.get_name().into());
            }
            for alias in verb.get_all_aliases() {
                grammar.verbs.insert(alias.into(), verb.get_name().into());
            }
            grammar.add_options(verb, Some(verb.get_name()));
        }
        grammar
    }

    fn add_options(&mut self, command: &Command, verb: Option<&str>) {
        for argument in command.get_arguments() {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            for name in argument.get_long().into_iter().chain(aliases) {
                let accepted = self.long.entry(name.into()).or_insert_with(|| Accepted {
                    takes_value: argument.get_action().takes_values(),
                    verbs: Vec::new(),
                });
                accepted.verbs.extend(verb.map(str::to_owned));
            }
        }
    }

    /// Whether an option takes a value; an error if it may not be used at all.
    fn takes_value(&self, name: &str) -> Result<bool, String> {
        let known = options::table().iter().find(|known| known.long == name);
        match (known, self.long.get(name)) {
            (Some(known), _) if known.state != State::Done => {
                Err(format!("--{name}: {}: {}", known.state, known.reason))
            }
            (_, Some(accepted)) => Ok(accepted.takes_value),
            _ => Err(format!("--{name}: unknown option; see lucarne --help")),
        }
    }
}

/// The letters that mean to this verb what they mean to its namesake everywhere, and not what they mean to cryptsetup.
fn own_letters(verb: &str) -> &'static [(char, &'static str)] {
    match verb {
        "ls" => &[('l', "long")],
        "cp" => &[('r', "recursive")],
        _ => &[],
    }
}

/// Sorts the command line (without the program's name) for clap.
///
/// # Errors
/// One line for the user: an option or verb that is to come, refused or unknown, an option that
/// the verb does not have, a missing verb.
pub(crate) fn normalise(
    command: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Request, String> {
    let grammar = Grammar::new(command);
    let mut options: Vec<(String, OsString)> = Vec::new();
    let mut operands: Vec<OsString> = Vec::new();
    let mut only_operands = false;

    let mut arguments = arguments.into_iter().peekable();
    // Only where the verb comes first is it known what the letters are.
    let first = arguments.peek().and_then(|word| word.to_str());
    let own_letters = own_letters(first.unwrap_or_default());
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_bytes();
        if only_operands || bytes == b"-" || !bytes.starts_with(b"-") {
            operands.push(argument);
        } else if bytes == b"--" {
            only_operands = true;
        } else if let Some(option) = bytes.strip_prefix(b"--") {
            let (name, value) = split_once(option, b'=');
            let name = String::from_utf8_lossy(name).into_owned();
            let value = match value {
                Some(value) => Some(OsStr::from_bytes(value).to_owned()),
                None => value_of(&grammar, &name, &mut arguments)?,
            };
            options.push(spelled_out(&grammar, name, value)?);
        } else {
            let cluster = String::from_utf8_lossy(&bytes[1..]).into_owned();
            for (index, letter) in cluster.char_indices() {
                let own = own_letters.iter().find(|(own, _)| *own == letter);
                let name = own
                    .map(|(_, name)| (*name).to_owned())
                    .or_else(|| grammar.short.get(&letter).cloned())
                    .ok_or_else(|| format!("-{letter}: unknown option; see lucarne --help"))?;
                let rest = &bytes[1 + index + letter.len_utf8()..];
                let inline = grammar.takes_value(&name)? && !rest.is_empty();
                let value = if inline {
                    let rest = rest.strip_prefix(b"=").unwrap_or(rest);
                    Some(OsStr::from_bytes(rest).to_owned())
                } else {
                    value_of(&grammar, &name, &mut arguments)?
                };
                options.push(spelled_out(&grammar, name, value)?);
                if inline {
                    break;
                }
            }
        }
    }
    arrange(&grammar, options, operands)
}

/// The next argument, for an option that needs one.
fn value_of(
    grammar: &Grammar,
    name: &str,
    arguments: &mut impl Iterator<Item = OsString>,
) -> Result<Option<OsString>, String> {
    if !grammar.takes_value(name)? {
        return Ok(None);
    }
    let value = arguments.next();
    value
        .map(Some)
        .ok_or_else(|| format!("--{name}: a value is missing"))
}

/// `--name=value`, which no parser takes for something else, whatever the value starts with.
fn spelled_out(
    grammar: &Grammar,
    name: String,
    value: Option<OsString>,
) -> Result<(String, OsString), String> {
    let mut spelled = OsString::from(format!("--{name}"));
    if let Some(value) = value {
        if !grammar.takes_value(&name)? {
            return Err(format!("--{name}: takes no value"));
        }
        spelled.push("=");
        spelled.push(value);
    }
    Ok((name, spelled))
}

/// Program, verb, options, operands.
fn arrange(
    grammar: &Grammar,
    options: Vec<(String, OsString)>,
    operands: Vec<OsString>,
) -> Result<Request, String> {
    let asked = |wanted: &str| options.iter().any(|(name, _)| name == wanted);
    let mut operands = operands.into_iter();
    let mut arranged = vec![OsString::from("lucarne")];
    let Some(word) = operands.next() else {
        return match options.into_iter().find(|(name, _)| is_question(name)) {
            Some((name, _)) if name == "usage" => Ok(Request::Usage(None)),
            Some((_, option)) => {
                arranged.push(option);
                Ok(Request::Run(arranged))
            }
            None => Err("a verb is missing; see lucarne --help".into()),
        };
    };
    if asked("version") {
        arranged.push("--version".into());
        return Ok(Request::Run(arranged));
    }
    let word = word.to_string_lossy();
    let Some(verb) = grammar.verbs.get(word.as_ref()) else {
        return Err(unknown_verb(&word));
    };
    if asked("usage") {
        return Ok(Request::Usage(Some(verb.clone())));
    }
    if options
        .iter()
        .filter(|(name, _)| name == "key-file")
        .count()
        > 1
    {
        return Err("--key-file: only one is allowed".into());
    }
    arranged.push(verb.into());
    for (name, option) in options {
        let verbs = &grammar.long[&name].verbs;
        if !verbs.is_empty() && !verbs.contains(verb) {
            return Err(not_allowed(&name, verb));
        }
        arranged.push(option);
    }
    arranged.push("--".into());
    arranged.extend(operands);
    Ok(Request::Run(arranged))
}

fn is_question(name: &str) -> bool {
    matches!(name, "help" | "usage" | "version")
}

fn unknown_verb(word: &str) -> String {
    match options::VERBS_NOT_DONE
        .iter()
        .find(|(name, _, _)| *name == word)
    {
        Some((_, state, reason)) => format!("{word}: {state}: {reason}"),
        None => format!("{word}: unknown verb; see lucarne --help"),
    }
}

fn not_allowed(name: &str, verb: &str) -> String {
    format!("--{name}: not allowed with {verb}; see lucarne {verb} --help")
}

fn split_once(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|byte| *byte == separator) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn normalised(line: &str) -> Result<Vec<String>, String> {
        let arguments = line
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(OsString::from);
        match normalise(&Cli::command(), arguments)? {
            Request::Run(words) => Ok(words
                .into_iter()
                .skip(1)
                .map(|word| word.into_string().unwrap())
                .collect()),
            Request::Usage(verb) => Ok(vec![format!("usage {verb:?}")]),
        }
    }

    fn joined(line: &str) -> String {
        normalised(line).unwrap().join(" ")
    }

    #[test]
    fn the_verb_comes_first_wherever_it_stood() {
        for line in [
            "-q --type luks2 luksFormat -c aes-xts-plain64 f k",
            "luksFormat f k -q -M luks2 -caes-xts-plain64",
            "-qMluks2 luksFormat f --cipher=aes-xts-plain64 k",
        ] {
            let expected = "luksFormat --batch-mode --type=luks2 --cipher=aes-xts-plain64 -- f k";
            assert_eq!(joined(line), expected);
        }
    }

    #[test]
    fn a_value_is_never_taken_for_a_verb() {
        assert_eq!(
            joined("--key-file luksDump open --test-passphrase f"),
            "open --key-file=luksDump --test-passphrase -- f"
        );
        assert_eq!(
            joined("-d luksDump luksOpen f"),
            "open --key-file=luksDump -- f"
        );
    }

    #[test]
    fn values_may_start_with_a_hyphen_and_clusters_end_in_a_value() {
        assert_eq!(
            joined("open -qd - f"),
            "open --batch-mode --key-file=- -- f"
        );
        assert_eq!(joined("open -qd- f"), "open --batch-mode --key-file=- -- f");
        assert_eq!(joined("open -S=3 f"), "open --key-slot=3 -- f");
        assert_eq!(
            joined("luksFormat --label -x f"),
            "luksFormat --label=-x -- f"
        );
        assert_eq!(joined("decrypt f -"), "decrypt -- f -");
    }

    #[test]
    fn after_two_hyphens_there_are_operands_only() {
        assert_eq!(joined("luksDump -- --json"), "luksDump -- --json");
        assert_eq!(joined("-q -- luksDump -f"), "luksDump --batch-mode -- -f");
    }

    #[test]
    fn bytes_that_are_not_utf8_pass_through() {
        let path = OsString::from_vec(vec![
            b'-', b'-', b'h', b'e', b'a', b'd', b'e', b'r', b'=', 0xff,
        ]);
        let request = normalise(
            &Cli::command(),
            ["luksDump".into(), path.clone(), "f".into()],
        );
        let Ok(Request::Run(words)) = request else {
            panic!()
        };
        assert_eq!(words[2], path);
    }

    #[test]
    fn questions_need_no_verb() {
        assert_eq!(joined("--help"), "--help");
        assert_eq!(joined("-V"), "--version");
        assert_eq!(joined("luksDump -V f"), "--version");
        assert_eq!(joined("--usage open"), "usage Some(\"open\")");
        assert_eq!(joined("-? luksDump"), "luksDump --help --");
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (line, part) in [
            (
                "luksFormat --integrity hmac-sha256 f",
                "--integrity: not done yet",
            ),
            ("-I hmac-sha256 luksFormat f", "--integrity: not done yet"),
            ("open --persistent f", "--persistent: refused"),
            ("open --persistent=1 f", "--persistent: refused"),
            ("luksDump --token-only f", "--token-only: not allowed"),
            ("--frobnicate luksDump f", "--frobnicate: unknown option"),
            ("-Z luksDump f", "-Z: unknown option"),
            (
                "isLuks --key-file x f",
                "--key-file: not allowed with isLuks",
            ),
            ("resize f", "resize: not done yet"),
            ("tcryptOpen f", "tcryptOpen: refused"),
            ("frobnicate f", "frobnicate: unknown verb"),
            ("", "a verb is missing"),
            ("-q", "a verb is missing"),
            ("luksDump f --header", "--header: a value is missing"),
            ("luksDump f -d", "--key-file: a value is missing"),
            ("luksDump --json=1 f", "--json: takes no value"),
            ("open -d a -d b f", "--key-file: only one is allowed"),
        ] {
            let error = normalised(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn an_option_takes_a_value_with_every_verb_or_with_none() {
        let command = Cli::command();
        let grammar = Grammar::new(&command);
        for verb in command.get_subcommands() {
            for argument in verb.get_arguments() {
                let Some(name) = argument.get_long() else {
                    continue;
                };
                assert_eq!(
                    grammar.long[name].takes_value,
                    argument.get_action().takes_values(),
                    "{} --{name}",
                    verb.get_name()
                );
            }
        }
        for known in options::table() {
            if let Some(accepted) = grammar.long.get(known.long) {
                assert_eq!(accepted.takes_value, known.takes_value, "--{}", known.long);
            }
        }
    }

    #[test]
    fn every_short_option_of_clap_is_in_the_table() {
        let command = Cli::command();
        for verb in command.get_subcommands().chain([&command]) {
            for argument in verb.get_arguments() {
                if let (Some(short), Some(long)) = (argument.get_short(), argument.get_long()) {
                    if own_letters(verb.get_name()).contains(&(short, long)) {
                        continue;
                    }
                    let known = options::table()
                        .iter()
                        .find(|known| known.short == Some(short));
                    assert_eq!(known.map(|known| known.long), Some(long), "-{short}");
                }
            }
        }
    }

    #[test]
    fn the_table_and_clap_agree_on_the_verbs() {
        let command = Cli::command();
        let grammar = Grammar::new(&command);
        let generators = ["completions", "man"];
        for known in options::table() {
            let Some(accepted) = grammar.long.get(known.long) else {
                assert_ne!(known.state, State::Done, "--{}", known.long);
                continue;
            };
            assert_eq!(known.state, State::Done, "--{}", known.long);
            let mut table = known.verbs.clone();
            let mut clap: Vec<_> = if accepted.verbs.is_empty() {
                command.get_subcommands().map(Command::get_name).collect()
            } else {
                accepted.verbs.iter().map(String::as_str).collect()
            };
            // Under its other meaning, in bytes, it is the command's own.
            clap.retain(|verb| {
                let is_other_meaning = match known.long {
                    "offset" => ["read", "write", "wipe"].contains(verb),
                    "size" => *verb == "overhead",
                    _ => false,
                };
                !is_other_meaning && !generators.contains(verb)
            });
            table.sort_unstable();
            clap.sort_unstable();
            assert_eq!(table, clap, "--{}", known.long);
        }
    }
}
