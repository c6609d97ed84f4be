//! Policies: what a header may say before it is trusted.
//!
//! A header is the one part of a volume that anyone who can write to the device can rewrite: LUKS2
//! authenticates none of it. A [`Policy`] says what may stand in it, [`Pins`] say what must. Both judge a
//! header that was read once, and that copy is what is opened: with
//! [`OpenOptions::policy`](crate::OpenOptions::policy) and [`pins`](crate::OpenOptions::pins) nothing of
//! the header is read again after it was judged.
//!
//! Three presets exist; their versions never change:
//!
//! - `default` (now `default-1`): what cryptsetup 2.x makes unless told otherwise, and what it makes of
//!   today's options. It stands between a volume from somewhere and a machine that opens it.
//! - `strict-1`: for the disk of a confidential VM, whose host may rewrite the header. One segment to the
//!   device's end with aes-xts-plain64 and a 512-bit key, no requirement, no re-encryption, both copies
//!   alike, nothing that is not understood. It has no name without a version: what a machine must pass
//!   to boot should not change with the library.
//! - `legacy` (now `legacy-1`): `default`, and the ciphers and hashes that old versions of cryptsetup
//!   wrote.
//!
//! A policy cannot tell a header from another one with other keys. Against a host that swaps the whole
//! volume for one whose key it knows, pin the [volume key's digest](Pins::volume_key_digest) or
//! the [whole header](Pins::header_hash), or take the passphrase from where only the right volume's is.
//!
//! Floors on key derivations protect a passphrase that a person chose against whoever has the disk. A
//! keyslot that a token names has a secret that a machine made, for which systemd-cryptenroll writes PBKDF2
//! with 1000 iterations: the rules whose names begin with `passphrase` do not judge it.
//!
//! What no policy has to judge, as [loading](crate::read_header) already refused it, is listed in
//! [`strictness`](crate::luks2::strictness): AF stripes are always 4000, areas never overlap, a JSON has
//! at most 65,536 values, a header copy at most 4 MiB.
//!
//! # Policy files
//!
//! A policy of one's own is a preset and what differs from it, as JSON. Members and rules that do not
//! exist are refused.
//!
//! ```
//! use lucarne::policy::Policy;
//!
//! let policy = Policy::from_json(r#"{
//!     "name": "fleet-7",
//!     "base": "strict-1",
//!     "rules": {
//!         "key-bits": [256, 512],
//!         "argon2-memory-kib": {"max": 1048576},
//!         "token-type": {"limit": ["systemd-tpm2"], "severity": "warning"},
//!         "unbound-keyslots": "warning",
//!         "passphrase-pbkdf2-iterations": "off"
//!     }
//! }"#)?;
//! assert_eq!(policy.name(), "fleet-7");
//! # Ok::<(), lucarne::Error>(())
//! ```
//!
//! A rule's value is a limit (a list, or `min` and `max`, of which the base gives the one that is
//! missing), a severity (`warning`, `violation`, `off`), or both as `limit` and `severity`.
//! [`Policy::to_json`] writes one with every rule.
//!
#![doc = include_str!("presets.md")]

mod file;
mod finding;
mod judge;
mod pins;
mod preset;
mod rules;

use std::collections::BTreeMap;

use lucarne_format::luks1;
use lucarne_format::luks2::{Header, Repair, Selected};

use crate::{AnyHeader, Error, HeaderRef};

pub use finding::{Finding, Judgement, Severity};
pub(crate) use pins::to_hex;
pub use pins::{Pins, header_hash, volume_key_digest};
pub use rules::{Limit, Rule};

/// A header to be judged.
///
/// ```
/// use lucarne::policy::Judged;
///
/// fn of_a_header(header: &lucarne::luks2::Header) -> Judged<'_> {
///     header.into()
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Judged<'a> {
    /// LUKS2.
    Luks2 {
        /// The header that will be used.
        header: &'a Header,
        /// What is wrong with the copies it came from; `None`: not known, and not judged.
        repair: Option<&'a Repair>,
    },
    /// LUKS1: no policy and no pins hold for it, as all of their rules are about LUKS2.
    Luks1(&'a luks1::Header),
}

impl<'a> Judged<'a> {
    /// The header.
    #[must_use]
    pub fn header(self) -> HeaderRef<'a> {
        match self {
            Self::Luks1(header) => HeaderRef::Luks1(header),
            Self::Luks2 { header, .. } => HeaderRef::Luks2(header),
        }
    }
}

impl<'a> From<&'a Header> for Judged<'a> {
    fn from(header: &'a Header) -> Self {
        Self::Luks2 {
            header,
            repair: None,
        }
    }
}

impl<'a> From<&'a luks1::Header> for Judged<'a> {
    fn from(header: &'a luks1::Header) -> Self {
        Self::Luks1(header)
    }
}

impl<'a> From<&'a AnyHeader> for Judged<'a> {
    fn from(header: &'a AnyHeader) -> Self {
        match header {
            AnyHeader::Luks1(header) => header.into(),
            AnyHeader::Luks2(selected) => selected.into(),
        }
    }
}

impl<'a> From<&'a Selected> for Judged<'a> {
    fn from(selected: &'a Selected) -> Self {
        Self::Luks2 {
            header: &selected.header,
            repair: Some(&selected.repair),
        }
    }
}

/// The device that the segments are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataDevice {
    /// The one that the header is on.
    WithHeader {
        /// Its length in bytes.
        len_bytes: u64,
    },
    /// Another one: the header is detached.
    Apart {
        /// Its length in bytes.
        len_bytes: u64,
    },
    /// It is not at hand: where segments end is not judged.
    Unknown,
}

/// What a rule allows, and how bad anything else is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    limit: Limit,
    severity: Severity,
}

/// What a header may say. See the [module](self) for the presets.
///
/// ```
/// use lucarne::policy::{Limit, Policy, Rule, Severity};
///
/// let policy = Policy::preset("strict-1").expect("a preset")
///     .named("our machines")
///     .with(Rule::KeyBits, Limit::numbers([256, 512]), Severity::Violation)?
///     .without(Rule::PassphrasePbkdf2Iterations);
/// assert_eq!(policy.limit(Rule::KeyBits), Some(&Limit::numbers([256, 512])));
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    name: String,
    rules: BTreeMap<Rule, Setting>,
}

impl Policy {
    /// The names of the presets, the newest version of each.
    pub const PRESETS: &[&str] = &["default-1", "strict-1", "legacy-1"];

    /// The preset of this name. `default` and `legacy` are the newest of their kind.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        preset::preset(name)
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`Error::Refused`] says what is wrong, and with which rule.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        file::parse(json)
    }

    /// This policy as a policy file with every rule, indented.
    #[must_use]
    pub fn to_json(&self) -> String {
        file::write(self)
    }

    /// The name in findings and errors.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What a rule allows; `None` if it is off.
    #[must_use]
    pub fn limit(&self, rule: Rule) -> Option<&Limit> {
        self.rules.get(&rule).map(|setting| &setting.limit)
    }

    /// How bad it is to break a rule; `None` if it is off.
    #[must_use]
    pub fn severity(&self, rule: Rule) -> Option<Severity> {
        self.rules.get(&rule).map(|setting| setting.severity)
    }

    /// The same with another limit for a rule.
    ///
    /// # Errors
    /// [`Error::Refused`] if the limit is not of the rule's kind, or a range that holds no number.
    pub fn with(mut self, rule: Rule, limit: Limit, severity: Severity) -> Result<Self, Error> {
        if limit.shape() != rule.shape() {
            return Err(Error::refused(format!(
                "{rule}: a limit of another kind than the rule's"
            )));
        }
        if let Limit::Range { min, max } = limit
            && min > max
        {
            return Err(Error::refused(format!(
                "{rule}: min {min} is more than max {max}"
            )));
        }
        self.rules.insert(rule, Setting { limit, severity });
        Ok(self)
    }

    /// The same without a rule.
    #[must_use]
    pub fn without(mut self, rule: Rule) -> Self {
        self.rules.remove(&rule);
        self
    }

    /// Judges a header. Pure: it takes time with the header's size, and nothing else.
    #[must_use]
    pub fn judge<'a>(&self, header: impl Into<Judged<'a>>, device: DataDevice) -> Judgement {
        judge::judge(self, header.into(), device)
    }

    /// Judges a header by this policy and by pins.
    #[must_use]
    pub fn judge_pinned<'a>(
        &self,
        header: impl Into<Judged<'a>>,
        device: DataDevice,
        pins: &Pins,
    ) -> Judgement {
        let header = header.into();
        let mut judgement = judge::judge(self, header, device);
        pins.judge_into(header.header(), &mut judgement);
        judgement
    }
}

/// The preset `default`.
impl Default for Policy {
    fn default() -> Self {
        preset::default_1()
    }
}
