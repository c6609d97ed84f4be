//! The command line of qemu-nbd 7.2 to 10.0.

use std::path::PathBuf;

use super::{Content, Door, Request, Tls, Wanted, option_and_value};

/// Options that change nothing about a plain disk, alone and with a value.
const FLAGS: [&str; 4] = ["-v", "--verbose", "-n", "--nocache"];
const VALUES: [&str; 8] = [
    "-e",
    "--shared",
    "--cache",
    "--aio",
    "--discard",
    "--detect-zeroes",
    "--handshake-limit",
    "--selinux-label",
];
/// What serves nothing: questions, and the client's part.
const OTHERS: [&str; 9] = [
    "-h",
    "--help",
    "-V",
    "--version",
    "-L",
    "--list",
    "-c",
    "-d",
    "--disconnect",
];

pub(super) fn parse(arguments: &[String]) -> Request {
    match Parser::default().parse(arguments) {
        Ok(request) => request,
        Err(why) => Request::Decline(format!("qemu-nbd {why}")),
    }
}

#[derive(Default)]
struct Parser {
    wanted: Wanted,
    is_persistent: bool,
    socket: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    format: Option<String>,
    credentials: Option<Tls>,
    has_tls: bool,
    image: Option<String>,
}

impl Parser {
    fn parse(mut self, arguments: &[String]) -> Result<Request, String> {
        if arguments
            .iter()
            .any(|argument| OTHERS.contains(&argument.as_str()))
        {
            return Ok(Request::Real);
        }
        let mut words = arguments.iter().cloned();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                if self.image.replace(word).is_some() {
                    return Err("with two images".to_owned());
                }
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
            "-r" | "--read-only" => self.wanted.is_read_only = true,
            "-t" | "--persistent" => self.is_persistent = true,
            "-f" | "--format" => self.format = Some(value()?),
            "-k" | "--socket" => self.socket = Some(value()?),
            "-b" | "--bind" => self.host = Some(value()?),
            "-p" | "--port" => {
                let port = value()?;
                self.port = Some(port.parse().map_err(|_| format!("{name} {port}"))?);
            }
            "-x" | "--export-name" => {
                self.wanted.export_name = Some(value()?).filter(|name| !name.is_empty());
            }
            "--pid-file" => self.wanted.pid_file = Some(value()?.into()),
            "--fork" => self.wanted.forks = true,
            "--tls-creds" => {
                self.has_tls = true;
                value()?;
            }
            "--object" => {
                let object = value()?;
                self.credentials = Some(credentials(&object)?);
            }
            _ if FLAGS.contains(&name) => {}
            _ if VALUES.contains(&name) => drop(value()?),
            _ => return Err(name.to_owned()),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Request, String> {
        // A question by what it complains of.
        let Some(image) = self.image else {
            return Ok(Request::Real);
        };
        if let Some(name) = &self.wanted.export_name
            && (name.contains('/') || name.len() > 200)
        {
            return Err(format!("-x {name}, which no file is called"));
        }
        self.wanted.tls = match (self.has_tls, self.credentials) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls),
            (true, None) => return Err("--tls-creds of nothing".to_owned()),
        };
        let is_activated = std::env::var_os("LISTEN_FDS").is_some();
        self.wanted.door = match (self.socket, self.port) {
            _ if is_activated => Door::Inherited,
            (Some(socket), _) => Door::Unix(socket.into()),
            (None, port) => {
                let host = self.host.unwrap_or_else(|| "127.0.0.1".to_owned());
                Door::Tcp(host, port.unwrap_or(10809))
            }
        };
        self.wanted.is_for_one_client = !self.is_persistent;
        self.wanted.content = Content::Image(PathBuf::from(image), self.format);
        Ok(Request::Serve(Box::new(self.wanted)))
    }
}

/// `tls-creds-x509,id=tls0,endpoint=server,dir=DIR,verify-peer=yes`
fn credentials(object: &str) -> Result<Tls, String> {
    let mut members = object.split(',');
    let kind = members.next().unwrap_or_default();
    if kind != "tls-creds-x509" {
        return Err(format!("--object {kind}"));
    }
    let mut tls = Tls {
        certificates: PathBuf::new(),
        // As qemu-nbd has it.
        asks_clients: true,
    };
    for member in members {
        match member.split_once('=') {
            Some(("dir", dir)) => tls.certificates = dir.into(),
            Some(("verify-peer", value)) => tls.asks_clients = matches!(value, "on" | "yes"),
            Some(("id" | "endpoint", _)) => {}
            _ => return Err(format!("--object {kind},{member}")),
        }
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Request {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn plain_disks() {
        let line = "--pid-file=pid -v -t -k sock -f raw -e 42 t.raw";
        let Request::Serve(wanted) = parsed(line) else {
            panic!("{line}");
        };
        assert_eq!(wanted.door, Door::Unix("sock".into()));
        assert!(!wanted.is_for_one_client && !wanted.forks);
        assert_eq!(
            wanted.content,
            Content::Image("t.raw".into(), Some("raw".into()))
        );
        let line = "--object tls-creds-x509,id=tls0,endpoint=server,dir=pki --tls-creds tls0 --fork -x disk -p 1 t.raw";
        let Request::Serve(wanted) = parsed(line) else {
            panic!("{line}");
        };
        assert!(wanted.tls.is_some_and(|tls| tls.asks_clients));
        assert_eq!(wanted.export_name.as_deref(), Some("disk"));
        assert!(wanted.forks && wanted.is_for_one_client);
    }

    #[test]
    fn what_is_no_plain_disk() {
        for (line, why) in [
            ("-B bitmap t.qcow2", "qemu-nbd -B"),
            ("--image-opts driver=null-co", "qemu-nbd --image-opts"),
            ("-x / t.raw", "qemu-nbd -x /, which no file is called"),
            (
                "--object tls-creds-psk,id=tls0 t.raw",
                "qemu-nbd --object tls-creds-psk",
            ),
        ] {
            assert_eq!(parsed(line), Request::Decline(why.to_owned()), "{line}");
        }
        assert_eq!(parsed("-L -k sock"), Request::Real);
    }
}
