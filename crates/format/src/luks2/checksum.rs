//! The header's checksum: a hash over the binary header, its checksum field zeroed, and the JSON area
//! (specification 2.1, `csum_alg`).

use std::fmt;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::Error;
use crate::error::{Quoted, UnsupportedKind};

/// A hash that may protect a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChecksumAlgorithm {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-224, 28 bytes.
    Sha224,
    /// SHA-256, 32 bytes: what cryptsetup writes.
    #[default]
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// The name in the header, `sha256`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Hashes the concatenation of `parts`.
    pub(super) fn digest(self, parts: [&[u8]; 2]) -> Vec<u8> {
        fn hash<D: sha2::Digest>(parts: [&[u8]; 2]) -> Vec<u8> {
            let mut hasher = D::new();
            for part in parts {
                hasher.update(part);
            }
            hasher.finalize().to_vec()
        }
        match self {
            Self::Sha1 => hash::<Sha1>(parts),
            Self::Sha224 => hash::<Sha224>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha384 => hash::<Sha384>(parts),
            Self::Sha512 => hash::<Sha512>(parts),
        }
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ChecksumAlgorithm {
    type Err = Error;

    /// # Errors
    ///
    /// `Unsupported`, with the name.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| UnsupportedKind::Checksum(Quoted::new(name)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn names_and_digests_are_the_standards() {
        // FIPS 180-4, "abc".
        let abc = |algorithm: ChecksumAlgorithm| algorithm.digest([b"a", b"bc"]);
        assert_eq!(
            abc(ChecksumAlgorithm::Sha1),
            hex!("a9993e364706816aba3e25717850c26c9cd0d89d")
        );
        assert_eq!(
            abc(ChecksumAlgorithm::Sha256),
            hex!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        for (algorithm, len) in ChecksumAlgorithm::ALL.into_iter().zip([20, 28, 32, 48, 64]) {
            assert_eq!(abc(algorithm).len(), len);
            assert_eq!(
                algorithm.to_string().parse::<ChecksumAlgorithm>().unwrap(),
                algorithm
            );
        }
        assert_eq!(
            "crc32"
                .parse::<ChecksumAlgorithm>()
                .unwrap_err()
                .to_string(),
            "not supported: header checksum \"crc32\""
        );
        "SHA256".parse::<ChecksumAlgorithm>().unwrap_err();
    }
}
