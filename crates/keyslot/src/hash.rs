//! Hashes by the names that headers use.

use std::{fmt, str::FromStr};

use ::digest::{FixedOutput, KeyInit, Update};
use hmac::Hmac;
#[cfg(feature = "rare-hashes")]
use hmac::SimpleHmac;

use crate::Error;

macro_rules! hashes {
    ($($(#[$cfg:meta])? $variant:ident, $hmac:ident<$type:ty>, $len:literal, $weight:literal, $name:literal $(or $alias:literal)*;)*) => {
        /// A hash, for PBKDF2's HMAC and for the anti-forensic splitter.
        ///
        /// The rare ones are there with the feature `rare-hashes`.
        ///
        /// ```
        /// use lucarne_keyslot::Hash;
        ///
        /// let hash: Hash = "sha256".parse()?;
        /// assert_eq!(hash.output_len(), 32);
        /// assert_eq!(hash.to_string(), "sha256");
        /// # Ok::<(), lucarne_keyslot::Error>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Hash {
            $($(#[$cfg])? #[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl Hash {
            /// All that this build includes.
            pub const ALL: &[Self] = &[$($(#[$cfg])? Self::$variant,)*];

            /// The name in a header.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($(#[$cfg])? Self::$variant => $name,)* }
            }

            /// Length of the hash in bytes.
            #[must_use]
            pub const fn output_len(self) -> usize {
                match self { $($(#[$cfg])? Self::$variant => $len,)* }
            }

            /// How many times as long as SHA-256's an iteration of PBKDF2 takes for a key of 64 bytes,
            /// rounded: as measured with this crate on a processor with SHA instructions.
            pub(crate) const fn pbkdf2_weight(self) -> u32 {
                match self { $($(#[$cfg])? Self::$variant => $weight,)* }
            }

            /// The hash of `bytes`, cut to the length of `out`; more of `out` than
            /// [`Self::output_len`] stays as it is.
            ///
            /// ```
            /// let mut hash = [0; 32];
            /// lucarne_keyslot::Hash::Sha256.hash_into(b"abc", &mut hash);
            /// assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
            /// ```
            pub fn hash_into(self, bytes: &[u8], out: &mut [u8]) {
                let len = out.len().min(self.output_len());
                self.digest([bytes, &[]], &mut out[..len]);
            }

            /// The hash of `parts`, one after the other, cut to the length of `out`.
            pub(crate) fn digest(self, parts: [&[u8]; 2], out: &mut [u8]) {
                match self { $($(#[$cfg])? Self::$variant => digest::<$type>(parts, out),)* }
            }

            /// PBKDF2 (RFC 8018) over HMAC with this hash.
            pub(crate) fn pbkdf2(self, secret: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) {
                match self { $($(#[$cfg])? Self::$variant => pbkdf2::<$hmac<$type>>(secret, salt, iterations, out),)* }
            }
        }

        impl FromStr for Hash {
            type Err = Error;

            /// By name, in any case, as cryptsetup's backends do.
            fn from_str(name: &str) -> Result<Self, Error> {
                match name.to_ascii_lowercase().as_str() {
                    $($(#[$cfg])? $name $(| $alias)* => Ok(Self::$variant),)*
                    _ => Err(Error::UnsupportedHash { name: name.chars().take(64).collect() }),
                }
            }
        }
    };
}

hashes! {
    Sha1, Hmac<sha1::Sha1>, 20, 2, "sha1";
    Sha224, Hmac<sha2::Sha224>, 28, 2, "sha224";
    Sha256, Hmac<sha2::Sha256>, 32, 1, "sha256";
    Sha384, Hmac<sha2::Sha384>, 48, 4, "sha384";
    Sha512, Hmac<sha2::Sha512>, 64, 2, "sha512";
    #[cfg(feature = "rare-hashes")] Sha3_224, Hmac<sha3::Sha3_224>, 28, 15, "sha3-224";
    #[cfg(feature = "rare-hashes")] Sha3_256, Hmac<sha3::Sha3_256>, 32, 10, "sha3-256";
    #[cfg(feature = "rare-hashes")] Sha3_384, Hmac<sha3::Sha3_384>, 48, 10, "sha3-384";
    #[cfg(feature = "rare-hashes")] Sha3_512, Hmac<sha3::Sha3_512>, 64, 5, "sha3-512";
    #[cfg(feature = "rare-hashes")] Blake2b512, SimpleHmac<blake2::Blake2b512>, 64, 2, "blake2b-512";
    #[cfg(feature = "rare-hashes")] Blake2s256, SimpleHmac<blake2::Blake2s256>, 32, 3, "blake2s-256";
    #[cfg(feature = "rare-hashes")] Ripemd160, Hmac<ripemd::Ripemd160>, 20, 6, "ripemd160" or "rmd160";
    #[cfg(feature = "rare-hashes")] Whirlpool, Hmac<whirlpool::Whirlpool>, 64, 6, "whirlpool" or "wp512";
    #[cfg(feature = "rare-hashes")] Streebog256, Hmac<streebog::Streebog256>, 32, 20, "stribog256" or "streebog256";
    #[cfg(feature = "rare-hashes")] Streebog512, Hmac<streebog::Streebog512>, 64, 13, "stribog512" or "streebog512";
    #[cfg(feature = "rare-hashes")] Sm3, Hmac<sm3::Sm3>, 32, 3, "sm3";
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names of all hashes of this build.
pub(crate) fn supported() -> String {
    Hash::ALL
        .iter()
        .map(|hash| hash.name())
        .collect::<Vec<_>>()
        .join(", ")
}

fn digest<D: ::digest::Digest>(parts: [&[u8]; 2], out: &mut [u8]) {
    let mut hasher = D::new();
    for part in parts {
        hasher.update(part);
    }
    out.copy_from_slice(&hasher.finalize()[..out.len()]);
}

fn pbkdf2<H>(secret: &[u8], salt: &[u8], iterations: u32, out: &mut [u8])
where
    H: KeyInit + Update + FixedOutput + Clone,
{
    // OK to expect: the only error is a key length, and HMAC takes any (RFC 2104, section 3).
    ::pbkdf2::pbkdf2::<H>(secret, salt, iterations, out).expect("HMAC takes keys of any length");
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    fn pbkdf2_of<const N: usize>(hash: Hash, secret: &str, salt: &str, iterations: u32) -> [u8; N] {
        let mut out = [0; N];
        hash.pbkdf2(secret.as_bytes(), salt.as_bytes(), iterations, &mut out);
        out
    }

    #[test]
    fn rfc_6070_vectors() {
        assert_eq!(
            pbkdf2_of(Hash::Sha1, "password", "salt", 4096),
            hex!("4b007901b765489abead49d926f721d065a429c1"),
        );
        assert_eq!(
            pbkdf2_of(
                Hash::Sha1,
                "passwordPASSWORDpassword",
                "saltSALTsaltSALTsaltSALTsaltSALTsalt",
                4096
            ),
            hex!("3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038"),
        );
    }

    /// RFC 7914, section 11.
    #[test]
    fn rfc_7914_vector() {
        assert_eq!(
            pbkdf2_of(Hash::Sha256, "passwd", "salt", 1),
            hex!("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
        );
    }

    #[test]
    fn names_lead_back_to_their_hash() {
        for &hash in Hash::ALL {
            assert_eq!(hash.name().parse::<Hash>().unwrap(), hash);
            assert_eq!(hash.name().to_uppercase().parse::<Hash>().unwrap(), hash);
            let mut out = vec![0; hash.output_len()];
            hash.digest([b"", b""], &mut out);
            assert_ne!(out, vec![0; hash.output_len()]);
        }
    }

    #[test]
    fn unknown_hashes_are_refused_with_what_is_known() {
        for name in ["", "md5", "sha256 ", "sha-256", "hmac(sha256)"] {
            let message = name.parse::<Hash>().unwrap_err().to_string();
            assert!(message.contains(&format!("{name:?}")), "{message}");
            assert!(
                message.contains("sha1, sha224, sha256, sha384, sha512"),
                "{message}"
            );
        }
    }
}
