//! The arguments of `serve`.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args};

use super::{KernelArgs, OpeningArgs};
use crate::size;

/// `serve`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("door").required(true))]
#[command(after_help = "\
Examples:
  lucarne serve model.safetensors.luks --fuse /mnt/model --readonly
  lucarne serve disk.luks --nbd unix:/run/disk.sock
  nbdcopy nbd+unix:///?socket=/run/disk.sock plain.img
  qemu-img info nbd+unix:///?socket=/run/disk.sock

The address, or the file's path, is printed once clients can come. SIGINT or SIGTERM ends it: what
clients have asked for is finished and made durable first, and a directory that is in use goes out
of sight at once and ends with its last user; a second signal ends it at once. Several images are
NBD exports by their file names; the first one is also the one without a name.

The one file below DIR has the image's name without its last ending. It cannot grow or be cut. Where
the kernel mounts a file system on it, loop devices with direct I/O keep one copy of it in memory
instead of two, and are 1.4 to 1.8 times as fast as mount -o loop:
  mount \"$(losetup --find --show --direct-io=on /mnt/model/model.safetensors)\" /mnt/files
A new file system that dm-crypt is to mount too needs blocks of at least the volume's sector size: then
add --sector-size 4096.")]
pub(crate) struct ServeArgs {
    /// The volumes
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<PathBuf>,

    /// Serve NBD on a unix socket (unix:PATH) or on TCP (tcp:127.0.0.1:10809); for other machines only with --tls-cert
    #[arg(long, value_name = "ADDRESS", value_parser = nbd_address, group = "door")]
    pub(crate) nbd: Option<NbdAddress>,

    /// Serve a file in this empty directory, through FUSE
    #[arg(long, value_name = "DIR", group = "door")]
    pub(crate) fuse: Option<PathBuf>,

    /// With --fuse, let other users read the file (for users other than root, user_allow_other in /etc/fuse.conf must allow it)
    #[arg(long, conflicts_with = "nbd")]
    pub(crate) allow_other: bool,

    /// With --fuse, keep the plaintext out of the kernel's cache
    #[arg(long, conflicts_with = "nbd")]
    pub(crate) direct_io: bool,

    /// Refuse to write
    #[arg(short = 'r', long = "readonly", visible_alias = "read-only")]
    pub(crate) read_only: bool,

    /// Give the space of what clients trim back to the file system: who sees the image can then tell which sectors are
    /// in use
    #[arg(long)]
    pub(crate) allow_discards: bool,

    /// Let this user, besides yourself, connect to the unix socket [default: nobody else]
    #[arg(long, value_name = "UID", value_parser = size::number_u32, conflicts_with = "fuse")]
    pub(crate) allowed_uid: Option<u32>,

    /// Connections at a time
    #[arg(long, value_name = "NUMBER", default_value = "128", value_parser = connections, conflicts_with = "fuse")]
    pub(crate) max_connections: u32,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) opening: OpeningArgs,
}

/// Who the server is, and whom it lets in.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// Require TLS of NBD clients, with this certificate and those of the authorities between it and the root (PEM)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "fuse"
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Require a certificate of clients too, signed by one of these authorities (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

/// Where NBD clients come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NbdAddress {
    Unix(PathBuf),
    Tcp(IpAddr, u16),
}

fn connections(text: &str) -> Result<u32, String> {
    match size::number_u32(text)? {
        0 => Err("nobody could connect".to_owned()),
        number => Ok(number),
    }
}

fn nbd_address(text: &str) -> Result<NbdAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err("unix: without a path".to_owned()),
            path => Ok(NbdAddress::Unix(path.into())),
        };
    }
    let Some((host, port)) = text
        .strip_prefix("tcp:")
        .and_then(|rest| rest.rsplit_once(':'))
    else {
        return Err("neither unix:PATH nor tcp:HOST:PORT".to_owned());
    };
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        "localhost" => "127.0.0.1",
        host => host,
    };
    let host: IpAddr = host
        .parse()
        .map_err(|_| format!("{host} is no IP address"))?;
    let port = port.parse().map_err(|_| format!("{port} is no port"))?;
    Ok(NbdAddress::Tcp(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_may_connect() {
        assert_eq!(connections("1"), Ok(1));
        assert!(connections("0").is_err());
    }

    #[test]
    fn addresses() {
        let local = |host: [u8; 4]| IpAddr::from(host);
        assert_eq!(
            nbd_address("unix:/run/x:y"),
            Ok(NbdAddress::Unix("/run/x:y".into()))
        );
        assert_eq!(
            nbd_address("tcp:localhost:10809"),
            Ok(NbdAddress::Tcp(local([127, 0, 0, 1]), 10809))
        );
        assert!(
            matches!(nbd_address("tcp:[::1]:0"), Ok(NbdAddress::Tcp(host, 0)) if host.is_ipv6())
        );
        for wrong in [
            "",
            "unix:",
            "/run/x",
            "tcp:127.0.0.1",
            "tcp:127.0.0.1:70000",
            "tcp:x:1",
        ] {
            assert!(nbd_address(wrong).is_err(), "{wrong}");
        }
    }
}
