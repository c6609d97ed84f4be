//! `--tls-cert`, `--tls-key`, `--tls-client-ca`

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use lucarne::SecretBytes;
use lucarne_serve::nbd::{Tls, TlsError};

use crate::{
    args::TlsArgs,
    exit::{Failure, shown},
};

/// The longest file of certificates that is read: every root that browsers know is a quarter of that.
const PEM_LEN_MAX: u64 = 1 << 20;

impl TlsArgs {
    /// TLS, if it is asked for.
    pub(crate) fn to_tls(&self) -> anyhow::Result<Option<Tls>> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let clients = self.tls_client_ca.as_deref();
        let authorities = clients.map(read).transpose()?;
        let tls = Tls::new(&read(cert)?, &read(key)?, authorities.as_deref());
        tls.map(Some).map_err(|error| {
            let path = match error {
                TlsError::Pem { what: "key", .. } => Some(key.as_path()),
                TlsError::Pem {
                    what: "client authority",
                    ..
                }
                | TlsError::ClientAuthority(_) => clients,
                TlsError::Pem { .. } | TlsError::Identity(_) => Some(cert.as_path()),
                _ => None,
            };
            let place = path.map(|path| format!("{}: ", shown(path)));
            Failure::parameters(format!("{}{error}", place.unwrap_or_default())).into()
        })
    }
}

/// A private key is among what is read.
fn read(path: &Path) -> anyhow::Result<SecretBytes> {
    let file = File::open(path).with_context(|| shown(path))?;
    let mut bytes = Vec::new();
    file.take(PEM_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| shown(path))?;
    let bytes = SecretBytes::from_vec(bytes);
    if bytes.len() as u64 > PEM_LEN_MAX {
        return Err(Failure::parameters(format!(
            "{}: longer than {PEM_LEN_MAX} bytes: no certificate is",
            shown(path)
        ))
        .into());
    }
    Ok(bytes)
}
