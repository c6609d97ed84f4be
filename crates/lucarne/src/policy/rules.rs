//! The rules: their names, what each judges, and the shape of its limit.

use std::fmt;

/// The shape of a rule's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A list of texts.
    Names,
    /// A list of numbers.
    Numbers,
    /// The least and the greatest number.
    Range,
    /// Nothing: it holds or it does not.
    Holds,
}

macro_rules! rules {
    ($($variant:ident, $name:literal, $shape:ident, $judges:literal;)*) => {
        /// What a policy can say something about.
        ///
        /// Its name is what a policy file and a finding call it, and keeps its meaning.
        ///
        /// ```
        /// use lucarne::policy::Rule;
        ///
        /// assert_eq!(Rule::SegmentCipher.name(), "segment-cipher");
        /// assert_eq!(Rule::from_name("segment-cipher"), Some(Rule::SegmentCipher));
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $judges] $variant,)*
        }

        impl Rule {
            /// All of them, in the order in which a header is judged.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in policy files and findings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What is judged, in one sentence without a full stop.
            #[must_use]
            pub const fn judges(self) -> &'static str {
                match self { $(Self::$variant => $judges,)* }
            }

            pub(super) const fn shape(self) -> Shape {
                match self { $(Self::$variant => Shape::$shape,)* }
            }
        }
    };
}

rules! {
    BothCopies, "both-copies", Holds, "both copies of the header are good and say the same";
    HeaderChecksum, "header-checksum", Names, "the hash that guards the header";
    HeaderBytes, "header-bytes", Range, "bytes of one header copy";
    JsonBytes, "json-bytes", Range, "bytes of the JSON's text";
    KeyslotsAreaBytes, "keyslots-area-bytes", Range, "bytes of the keyslots area";
    UuidForm, "uuid-form", Holds, "the UUID is 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12";
    LabelBytes, "label-bytes", Range, "bytes of the label and of the subsystem";
    LabelText, "label-text", Holds, "label and subsystem are text that a terminal can show";
    Flags, "flags", Names, "activation flags that the header sets (`config.flags`)";
    Requirements, "requirements", Names, "what a reader must know (`config.requirements`)";
    UnknownMembers, "unknown-members", Holds, "no JSON member that the format does not name, but for tokens";
    Reencryption, "reencryption", Holds, "no re-encryption is under way: no keyslot, requirement, flag or backup segment of one";
    Segments, "segments", Range, "number of segments, outside a re-encryption";
    SegmentType, "segment-type", Names, "types of segments; `linear` passes plaintext through";
    SegmentCipher, "segment-cipher", Names, "ciphers of the data; a null cipher is in no preset";
    SegmentIntegrity, "segment-integrity", Names, "integrity of the data, where there is one";
    SegmentSize, "segment-size", Names, "how long a segment is: `dynamic` (to the device's end) or `fixed`";
    SegmentBounds, "segment-bounds", Holds, "segments lie behind the header and within the device";
    SegmentFlags, "segment-flags", Names, "flags of segments, but for those of a re-encryption";
    SectorBytes, "sector-bytes", Numbers, "bytes of a sector";
    IvTweak, "iv-tweak", Range, "the number of the first sector's IV, outside a re-encryption";
    DigestsPerSegment, "digests-per-segment", Range, "digests, and so volume keys, that open an encrypted segment";
    KeyBits, "key-bits", Numbers, "bits of the keys of data, as their keyslots say";
    Keyslots, "keyslots", Range, "number of keyslots";
    KeyslotType, "keyslot-type", Names, "types of keyslots, but for that of a re-encryption";
    UnusableParts, "unusable-parts", Holds, "every keyslot and digest makes sense";
    UnboundKeyslots, "unbound-keyslots", Holds, "every keyslot's key belongs to a segment";
    KeyslotCipher, "keyslot-cipher", Names, "ciphers of the keyslots' areas; a null cipher opens with any passphrase";
    KeyslotCipherBits, "keyslot-cipher-bits", Numbers, "bits of the key of a keyslot's area";
    KeyslotAreaBytes, "keyslot-area-bytes", Range, "bytes of a keyslot's area";
    KeyslotAreaGrid, "keyslot-area-grid", Holds, "keyslots' areas begin and end on multiples of 4096 bytes";
    AfHash, "af-hash", Names, "hashes of the anti-forensic splitter, in any case";
    Kdf, "kdf", Names, "key derivations of keyslots";
    Argon2MemoryKib, "argon2-memory-kib", Range, "memory of an Argon2 keyslot in KiB";
    Argon2WorkKib, "argon2-work-kib", Range, "memory times passes of an Argon2 keyslot in KiB";
    Argon2Lanes, "argon2-lanes", Range, "lanes of an Argon2 keyslot";
    Argon2TotalWorkKib, "argon2-total-work-kib", Range, "memory times passes in KiB of all Argon2 keyslots together";
    Pbkdf2Hash, "pbkdf2-hash", Names, "hashes of PBKDF2 keyslots, in any case";
    Pbkdf2Iterations, "pbkdf2-iterations", Range, "iterations of a PBKDF2 keyslot";
    Pbkdf2TotalIterations, "pbkdf2-total-iterations", Range, "iterations of all PBKDF2 keyslots and digests together";
    PassphraseArgon2MemoryKib, "passphrase-argon2-memory-kib", Range, "memory in KiB of an Argon2 keyslot that no token names";
    PassphraseArgon2WorkKib, "passphrase-argon2-work-kib", Range, "memory times passes in KiB of an Argon2 keyslot that no token names";
    PassphrasePbkdf2Iterations, "passphrase-pbkdf2-iterations", Range, "iterations of a PBKDF2 keyslot that no token names";
    DigestHash, "digest-hash", Names, "hashes of digests, in any case";
    DigestIterations, "digest-iterations", Range, "iterations of a digest";
    Tokens, "tokens", Range, "number of tokens";
    TokenType, "token-type", Names, "types of tokens";
    TokenBytes, "token-bytes", Range, "bytes of a token's JSON";
    SparseToken, "sparse-token", Holds, "no `lucarne-length` token lets all-zero ciphertext stand for zeros";
}

impl Rule {
    /// The rule of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }

    /// Whether names are compared in any case, as readers of them do.
    pub(super) fn ignores_case(self) -> bool {
        matches!(self, Self::AfHash | Self::Pbkdf2Hash | Self::DigestHash)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a rule allows.
///
/// ```
/// use lucarne::policy::Limit;
///
/// assert_eq!(Limit::names(["sha256", "sha512"]).to_string(), "sha256, sha512");
/// assert_eq!(Limit::at_least(1000).to_string(), "at least 1000");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// One of these texts.
    Names(Vec<String>),
    /// One of these numbers.
    Numbers(Vec<u64>),
    /// A number within these two, which are included.
    Range {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// What the rule says must hold.
    Holds,
}

impl Limit {
    /// One of these texts.
    pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Names(names.into_iter().map(str::to_owned).collect())
    }

    /// One of these numbers.
    pub fn numbers(numbers: impl IntoIterator<Item = u64>) -> Self {
        Self::Numbers(numbers.into_iter().collect())
    }

    /// A number of at least `min`.
    #[must_use]
    pub const fn at_least(min: u64) -> Self {
        Self::Range { min, max: u64::MAX }
    }

    /// A number of at most `max`.
    #[must_use]
    pub const fn at_most(max: u64) -> Self {
        Self::Range { min: 0, max }
    }

    /// A number within the two, which are included.
    #[must_use]
    pub const fn between(min: u64, max: u64) -> Self {
        Self::Range { min, max }
    }

    pub(super) const fn shape(&self) -> Shape {
        match self {
            Self::Names(_) => Shape::Names,
            Self::Numbers(_) => Shape::Numbers,
            Self::Range { .. } => Shape::Range,
            Self::Holds => Shape::Holds,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) if names.is_empty() => f.write_str("none"),
            Self::Names(names) => f.write_str(&names.join(", ")),
            Self::Numbers(numbers) if numbers.is_empty() => f.write_str("none"),
            Self::Numbers(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                f.write_str(&numbers.join(", "))
            }
            Self::Range { min, max } if min == max => write!(f, "{min}"),
            Self::Range { min: 0, max } => write!(f, "at most {max}"),
            Self::Range { min, max: u64::MAX } => write!(f, "at least {min}"),
            Self::Range { min, max } => write!(f, "{min} to {max}"),
            Self::Holds => f.write_str("must hold"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_lead_back() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_name(rule.name()), Some(*rule));
            assert!(!rule.judges().ends_with('.'), "{rule}");
        }
        assert_eq!(Rule::from_name("segment_cipher"), None);
    }

    #[test]
    fn limits_read_as_sentences() {
        assert_eq!(Limit::names([]).to_string(), "none");
        assert_eq!(Limit::numbers([256, 512]).to_string(), "256, 512");
        assert_eq!(Limit::at_most(1).to_string(), "at most 1");
        assert_eq!(Limit::between(1, 1).to_string(), "1");
        assert_eq!(Limit::between(1, 2).to_string(), "1 to 2");
        assert_eq!(Limit::Holds.to_string(), "must hold");
    }
}
