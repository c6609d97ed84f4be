//! [`CipherSpec`]: dm-crypt's notation `cipher[:keycount]-chainmode-ivmode[:ivopts]`.

use std::{fmt, str::FromStr};

use crate::{CipherError, iv::Iv};

/// A cipher with its chaining mode. A further one gets its name in [`CipherSpec::supported`], its code
/// in [`crate::SectorCipher`]'s mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// XTS-AES.
    Xts,
    /// AES-CBC.
    Cbc,
    /// AES-CBC whose IVs are encrypted under the key's SHA-256.
    CbcEssivSha256,
}

impl Algorithm {
    /// The lengths that its key may have, in bytes.
    pub(crate) const fn key_lens(self) -> &'static [usize] {
        match self {
            Self::Xts => &[32, 64],
            Self::Cbc | Self::CbcEssivSha256 => &[16, 24, 32],
        }
    }
}

/// Longer than any name that dm-crypt can resolve.
const MAX_LEN: usize = 128;

/// A cipher in dm-crypt's notation: `aes-xts-plain64`, `aes-cbc-essiv:sha256`,
/// `cipher_null-ecb`, `capi:xts(aes)-plain64`.
///
/// It says what a header or a person asked for, not that it can be had:
/// [`crate::SectorCipher::new`] refuses what is not supported.
///
/// ```
/// use lucarne_cipher::CipherSpec;
///
/// let spec: CipherSpec = "aes-cbc-essiv:sha256".parse()?;
/// assert_eq!(spec.cipher(), "aes");
/// assert_eq!(spec.chain_mode(), Some("cbc"));
/// assert_eq!(spec.iv_mode(), Some("essiv"));
/// assert_eq!(spec.iv_option(), Some("sha256"));
/// assert_eq!(spec.to_string(), "aes-cbc-essiv:sha256");
/// # Ok::<(), lucarne_cipher::CipherError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CipherSpec {
    cipher: String,
    chain_mode: Option<String>,
    iv_mode: Option<String>,
    iv_option: Option<String>,
}

impl CipherSpec {
    /// What [`crate::SectorCipher`] accepts.
    pub const SUPPORTED: [&str; 5] = [
        "aes-xts-plain64",
        "aes-xts-plain",
        "aes-cbc-essiv:sha256",
        "aes-cbc-plain64",
        "aes-cbc-plain",
    ];

    /// The cipher: `aes`, `cipher_null`, `aes:64` (with a key count), or all of the kernel crypto
    /// API's name (`capi:xts(aes)`).
    #[must_use]
    pub fn cipher(&self) -> &str {
        &self.cipher
    }

    /// The chaining mode: `xts`, `cbc`. `None` for a bare cipher and for `capi:`, which includes it.
    #[must_use]
    pub fn chain_mode(&self) -> Option<&str> {
        self.chain_mode.as_deref()
    }

    /// The IV generator: `plain64`, `essiv`.
    #[must_use]
    pub fn iv_mode(&self) -> Option<&str> {
        self.iv_mode.as_deref()
    }

    /// What follows the IV generator's colon: `sha256`.
    #[must_use]
    pub fn iv_option(&self) -> Option<&str> {
        self.iv_option.as_deref()
    }

    /// That [`crate::SectorCipher`] can do this cipher with a key of `bytes` bytes.
    ///
    /// # Errors
    /// [`CipherError::Unsupported`] and [`CipherError::KeySize`].
    pub fn check_key_len(&self, bytes: usize) -> Result<(), CipherError> {
        let (algorithm, _) = self.supported()?;
        if !algorithm.key_lens().contains(&bytes) {
            return Err(CipherError::KeySize {
                spec: self.to_string(),
                bytes,
                takes: algorithm.key_lens(),
            });
        }
        Ok(())
    }

    /// Whether this cipher can be had at all, whatever the key.
    ///
    /// # Errors
    /// [`CipherError::Unsupported`].
    pub fn check_supported(&self) -> Result<(), CipherError> {
        self.supported().map(|_| ())
    }

    /// Whether a key of `bytes` bytes can be this cipher's: `true` also for a cipher that is not
    /// supported, of which nothing is known here.
    #[must_use]
    pub fn takes_key_len(&self, bytes: usize) -> bool {
        !matches!(self.check_key_len(bytes), Err(CipherError::KeySize { .. }))
    }

    /// The algorithm and how its IVs are made of numbers, if all of the cipher is supported.
    pub(crate) fn supported(&self) -> Result<(Algorithm, Iv), CipherError> {
        let parts = (
            self.cipher(),
            self.chain_mode(),
            self.iv_mode(),
            self.iv_option(),
        );
        match parts {
            ("aes", Some("xts"), Some(iv_mode), None) => {
                Iv::by_name(iv_mode).map(|iv| (Algorithm::Xts, iv))
            }
            ("aes", Some("cbc"), Some(iv_mode), None) => {
                Iv::by_name(iv_mode).map(|iv| (Algorithm::Cbc, iv))
            }
            // What is encrypted is the number as plain64 writes it.
            ("aes", Some("cbc"), Some("essiv"), Some("sha256")) => {
                Some((Algorithm::CbcEssivSha256, Iv::Plain64))
            }
            _ => None,
        }
        .ok_or_else(|| CipherError::Unsupported {
            spec: self.to_string(),
        })
    }
}

impl FromStr for CipherSpec {
    type Err = CipherError;

    fn from_str(spec: &str) -> Result<Self, CipherError> {
        let invalid = |problem| CipherError::InvalidSpec {
            spec: spec.chars().take(MAX_LEN).collect(),
            problem,
        };
        if spec.is_empty() {
            return Err(invalid("is empty"));
        }
        if spec.len() > MAX_LEN {
            return Err(invalid("is longer than 128 bytes"));
        }
        if !spec.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("has characters other than visible ASCII"));
        }

        let (cipher, chain_mode, iv) = if spec.starts_with("capi:") {
            // The crypto API's names may hold hyphens: only the last one separates.
            match spec.rsplit_once('-') {
                Some((name, iv)) => (name, None, Some(iv)),
                None => (spec, None, None),
            }
        } else {
            let mut parts = spec.splitn(3, '-');
            (parts.next().unwrap_or_default(), parts.next(), parts.next())
        };
        let (iv_mode, iv_option) = match iv.map(|iv| iv.split_once(':')) {
            Some(Some((mode, option))) => (Some(mode), Some(option)),
            Some(None) => (iv, None),
            None => (None, None),
        };
        if [Some(cipher), chain_mode, iv_mode, iv_option].contains(&Some("")) {
            return Err(invalid("has an empty part"));
        }

        let owned = |part: Option<&str>| part.map(str::to_owned);
        Ok(Self {
            cipher: cipher.to_owned(),
            chain_mode: owned(chain_mode),
            iv_mode: owned(iv_mode),
            iv_option: owned(iv_option),
        })
    }
}

impl fmt::Display for CipherSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cipher)?;
        for part in [&self.chain_mode, &self.iv_mode].into_iter().flatten() {
            write!(f, "-{part}")?;
        }
        if let Some(option) = &self.iv_option {
            write!(f, ":{option}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

    fn parts(spec: &CipherSpec) -> Parts<'_> {
        (
            spec.cipher(),
            spec.chain_mode(),
            spec.iv_mode(),
            spec.iv_option(),
        )
    }

    #[test]
    fn the_notation_is_taken_apart() {
        let cases: [(&str, Parts<'_>); 8] = [
            ("aes", ("aes", None, None, None)),
            ("cipher_null-ecb", ("cipher_null", Some("ecb"), None, None)),
            (
                "aes-xts-plain64",
                ("aes", Some("xts"), Some("plain64"), None),
            ),
            (
                "aes-cbc-essiv:sha256",
                ("aes", Some("cbc"), Some("essiv"), Some("sha256")),
            ),
            ("aes:64-cbc-lmk", ("aes:64", Some("cbc"), Some("lmk"), None)),
            (
                "xchacha12,aes-adiantum-plain64",
                ("xchacha12,aes", Some("adiantum"), Some("plain64"), None),
            ),
            (
                "capi:xts(aes)-plain64",
                ("capi:xts(aes)", None, Some("plain64"), None),
            ),
            (
                "capi:authenc(hmac(sha256),xts(aes))-essiv:sha256",
                (
                    "capi:authenc(hmac(sha256),xts(aes))",
                    None,
                    Some("essiv"),
                    Some("sha256"),
                ),
            ),
        ];
        for (text, expected) in cases {
            let spec: CipherSpec = text.parse().unwrap();
            assert_eq!(parts(&spec), expected);
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_specification_is_refused() {
        let long = "a".repeat(129);
        for text in [
            "",
            "-",
            "aes-",
            "-xts",
            "aes--plain64",
            "aes-xts-",
            "aes-xts-:x",
            "aes-cbc-essiv:",
            "aes xts",
            "aes-xts-plain64\0",
            "aés-xts-plain64",
            "capi:xts(aes)-",
            &long,
        ] {
            let parsed = text.parse::<CipherSpec>();
            assert!(
                matches!(parsed, Err(CipherError::InvalidSpec { .. })),
                "{text:?}: {parsed:?}"
            );
        }
    }

    #[test]
    fn key_lengths_are_known_for_supported_ciphers_only() {
        let xts: CipherSpec = "aes-xts-plain64".parse().unwrap();
        for bytes in [0, 16, 31, 33, 48, 128] {
            assert!(!xts.takes_key_len(bytes));
            assert!(matches!(
                xts.check_key_len(bytes),
                Err(CipherError::KeySize { .. })
            ));
        }
        for bytes in [32, 64] {
            assert!(xts.takes_key_len(bytes));
            assert_eq!(xts.check_key_len(bytes), Ok(()));
        }
        let cbc: CipherSpec = "aes-cbc-essiv:sha256".parse().unwrap();
        for bytes in [16, 24, 32] {
            assert_eq!(cbc.check_key_len(bytes), Ok(()));
        }
        for bytes in [0, 15, 48, 64] {
            let error = cbc.check_key_len(bytes).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("key of {bytes} bytes for aes-cbc-essiv:sha256 (takes 16, 24 or 32)")
            );
        }
        let other: CipherSpec = "serpent-xts-plain64".parse().unwrap();
        assert!(other.takes_key_len(48));
        assert!(matches!(
            other.check_key_len(64),
            Err(CipherError::Unsupported { .. })
        ));
    }

    #[test]
    fn what_is_said_to_be_supported_is() {
        for text in CipherSpec::SUPPORTED {
            let spec: CipherSpec = text.parse().unwrap();
            assert_eq!(spec.check_supported(), Ok(()), "{text}");
        }
        for text in [
            "aes-cbc",
            "aes-cbc-essiv",
            "aes-cbc-essiv:sha1",
            "aes-cbc-plain64:sha256",
            "aes-cbc-plain64be",
            "aes-xts-essiv:sha256",
            "aes-ecb",
            "AES-cbc-plain64",
        ] {
            let spec: CipherSpec = text.parse().unwrap();
            let error = spec.check_supported().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_to_itself_or_is_refused(text in "\\PC{0,140}") {
            if let Ok(spec) = text.parse::<CipherSpec>() {
                prop_assert_eq!(spec.to_string(), text);
            }
        }

        #[test]
        fn any_four_parts_survive(
            cipher in "[a-z0-9_,]{1,16}",
            chain in proptest::option::of("[a-z]{1,8}"),
            iv in "[a-z0-9]{1,8}",
            option in proptest::option::of("[a-z0-9-]{1,8}"),
        ) {
            let mut text = cipher.clone();
            if let Some(chain) = &chain {
                text += &format!("-{chain}-{iv}");
                if let Some(option) = &option {
                    text += &format!(":{option}");
                }
            }
            let spec: CipherSpec = text.parse().unwrap();
            prop_assert_eq!(spec.cipher(), &cipher);
            prop_assert_eq!(spec.chain_mode(), chain.as_deref());
            if chain.is_some() {
                prop_assert_eq!(spec.iv_mode(), Some(iv.as_str()));
                prop_assert_eq!(spec.iv_option(), option.as_deref());
            }
            prop_assert_eq!(spec.to_string(), text);
        }
    }
}
