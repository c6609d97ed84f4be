//! The command line of nbdkit 1.32.

use std::path::PathBuf;

use super::{Content, Door, Request, Tls, Wanted, option_and_value};

/// Plugins whose disk is the same each time it is looked at, so that it can be copied.
const PLUGINS: [&str; 7] = [
    "data",
    "file",
    "memory",
    "null",
    "pattern",
    "random",
    "sparse-random",
];
/// Options that change nothing about a plain disk, alone and with a value.
const FLAGS: [&str; 10] = [
    "-v",
    "--verbose",
    "-n",
    "--newstyle",
    "--new-style",
    "-f",
    "--foreground",
    "--no-fork",
    "--exit-with-parent",
    "--no-mc",
];
const VALUES: [&str; 9] = [
    "-t",
    "--threads",
    "-D",
    "--debug",
    "-i",
    "--ipaddr",
    "--ip-addr",
    "--log",
    "--selinux-label",
];
/// What asks nbdkit about itself.
const QUESTIONS: [&str; 6] = [
    "--help",
    "--long-options",
    "--short-options",
    "--version",
    "--dump-config",
    "--dump-plugin",
];

pub(super) fn parse(arguments: &[String]) -> Request {
    match Parser::default().parse(arguments) {
        Ok(request) => request,
        Err(why) => Request::Decline(format!("nbdkit {why}")),
    }
}

#[derive(Default)]
struct Parser {
    wanted: Wanted,
    stays: bool,
    socket: Option<String>,
    port: Option<u16>,
    run: Option<String>,
    tls: Option<String>,
    certificates: Option<PathBuf>,
    asks_clients: bool,
    is_single: bool,
    /// The plugin and what it is told.
    plugin: Vec<String>,
}

impl Parser {
    fn parse(mut self, arguments: &[String]) -> Result<Request, String> {
        let is_question = |argument: &String| QUESTIONS.contains(&argument.as_str());
        if arguments.iter().any(is_question) {
            return Ok(Request::Real);
        }
        let mut words = single_letters(arguments).into_iter();
        while let Some(word) = words.next() {
            if !word.starts_with('-') || word == "-" {
                self.plugin.push(word);
                continue;
            }
            let (name, mut inline) = option_and_value(word);
            self.option(&name, || {
                let value = inline.take().or_else(|| words.next());
                value.ok_or_else(|| format!("{name} without a value"))
            })?;
        }
        self.finish()
    }

    fn option(
        &mut self,
        name: &str,
        mut value: impl FnMut() -> Result<String, String>,
    ) -> Result<(), String> {
        match name {
            "-r" | "--readonly" | "--read-only" => self.wanted.is_read_only = true,
            "-s" | "--single" | "--stdin" => self.is_single = true,
            "-U" | "--unix" => self.socket = Some(value()?),
            "-p" | "--port" => {
                let port = value()?;
                self.port = Some(port.parse().map_err(|_| format!("{name} {port}"))?);
            }
            "-P" | "--pidfile" | "--pid-file" => self.wanted.pid_file = Some(value()?.into()),
            "--run" => self.run = Some(value()?),
            "--tls" => self.tls = Some(value()?),
            "--tls-certificates" => self.certificates = Some(value()?.into()),
            "--tls-verify-peer" => self.asks_clients = true,
            _ if FLAGS.contains(&name) => {
                self.stays |= matches!(name, "-f" | "--foreground" | "--no-fork");
            }
            _ if VALUES.contains(&name) => drop(value()?),
            "--filter" => match value()?.as_str() {
                // What is written goes into a copy: so it does here.
                "cow" => {}
                other => return Err(format!("{name}={other}")),
            },
            _ => return Err(name.to_owned()),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Request, String> {
        let plugin = self.plugin.first().ok_or("without a plugin")?;
        if !PLUGINS.contains(&plugin.as_str()) {
            return Err(format!("plugin {plugin}"));
        }
        if self.plugin.iter().any(|word| word.starts_with("dir=")) {
            return Err("file dir=".to_owned());
        }
        self.wanted.tls = match (self.tls.as_deref(), self.certificates) {
            (None | Some("off"), _) => None,
            (Some("require"), Some(certificates)) => Some(Tls {
                certificates,
                asks_clients: self.asks_clients,
            }),
            (Some("require"), None) => return Err("TLS by pre-shared keys".to_owned()),
            (Some(other), _) => return Err(format!("--tls={other}")),
        };
        let is_activated = std::env::var_os("LISTEN_FDS").is_some();
        self.wanted.door = match (self.run, self.socket, self.port) {
            (Some(command), None, None) => Door::Captive(command),
            (Some(command), Some(socket), None) if socket == "-" => Door::Captive(command),
            (Some(_), ..) => return Err("--run on a socket of its own".to_owned()),
            _ if self.is_single || is_activated => Door::Inherited,
            (None, Some(socket), _) => Door::Unix(socket.into()),
            (None, None, port) => Door::Tcp("127.0.0.1".to_owned(), port.unwrap_or(10809)),
        };
        self.wanted.is_for_one_client = self.is_single;
        self.wanted.forks =
            !self.stays && matches!(self.wanted.door, Door::Unix(_) | Door::Tcp(..));
        self.wanted.content = Content::Plugin(self.plugin);
        Ok(Request::Serve(Box::new(self.wanted)))
    }
}

/// `-fv` as `-f -v`, and `-Usocket` as `-U socket`.
fn single_letters(arguments: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for argument in arguments {
        let is_short = argument.starts_with('-') && !argument.starts_with("--");
        if !is_short || argument.len() <= 2 || !argument.is_ascii() {
            words.push(argument.clone());
            continue;
        }
        for (at, letter) in argument.char_indices().skip(1) {
            words.push(format!("-{letter}"));
            if "DeghipPtuU".contains(letter) {
                if at + 1 < argument.len() {
                    words.push(argument[at + 1..].to_owned());
                }
                break;
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Request {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words)
    }

    fn wanted(line: &str) -> Wanted {
        match parsed(line) {
            Request::Serve(wanted) => *wanted,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn plain_disks() {
        let one = wanted("-s --exit-with-parent -v memory size=1M");
        assert_eq!(one.door, Door::Inherited);
        assert!(one.is_for_one_client && !one.forks);
        assert_eq!(
            one.content,
            Content::Plugin(vec!["memory".into(), "size=1M".into()])
        );
        let unix = wanted("-fv -r -P pid -U sock --tls=require --tls-certificates=pki pattern 5M");
        assert_eq!(unix.door, Door::Unix("sock".into()));
        assert!(unix.is_read_only && !unix.forks);
        assert_eq!(unix.pid_file, Some("pid".into()));
        assert_eq!(
            unix.tls,
            Some(Tls {
                certificates: "pki".into(),
                asks_clients: false
            })
        );
        assert!(wanted("-p 1234 null").forks);
        assert_eq!(
            wanted("-U - null --run true").door,
            Door::Captive("true".into())
        );
    }

    #[test]
    fn what_is_no_plain_disk() {
        for (line, why) in [
            ("-U - sh -", "nbdkit plugin sh"),
            ("--filter=error null", "nbdkit --filter=error"),
            ("--oldstyle null", "nbdkit --oldstyle"),
            ("--tls=require --tls-psk=keys null", "nbdkit --tls-psk"),
            ("--tls=on --tls-certificates=pki null", "nbdkit --tls=on"),
        ] {
            assert_eq!(parsed(line), Request::Decline(why.to_owned()), "{line}");
        }
        assert_eq!(parsed("sh --version"), Request::Real);
    }
}
