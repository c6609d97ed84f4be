//! Requirements: what a reader must know to use the volume at all (specification 3.4, `config.requirements`).

use std::fmt;

/// One entry of `config.requirements.mandatory`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// `offline-reencrypt`: a re-encryption by an older tool is unfinished.
    OfflineReencrypt,
    /// `online-reencrypt`, `online-reencrypt-v2`, `online-reencrypt-v3`: a re-encryption is
    /// unfinished.
    OnlineReencrypt {
        /// 1, 2 or 3.
        version: u8,
    },
    /// `inline-hw-tags`: integrity tags live in the device's own metadata.
    InlineHwTags,
    /// `opal`: the drive encrypts too.
    Opal,
    /// One that we do not know: the volume may be looked at, not changed.
    Unknown(String),
}

impl Requirement {
    /// The string in the JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::OfflineReencrypt => "offline-reencrypt",
            Self::OnlineReencrypt { version: 3 } => "online-reencrypt-v3",
            Self::OnlineReencrypt { version: 2 } => "online-reencrypt-v2",
            Self::OnlineReencrypt { .. } => "online-reencrypt",
            Self::InlineHwTags => "inline-hw-tags",
            Self::Opal => "opal",
            Self::Unknown(name) => name,
        }
    }

    /// Whether it announces an online re-encryption of any version, known here or not.
    pub(super) fn announces_online_reencryption(&self) -> bool {
        match self {
            Self::OnlineReencrypt { .. } => true,
            Self::Unknown(name) => name
                .strip_prefix("online-reencrypt-v")
                .is_some_and(|version| {
                    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
                }),
            _ => false,
        }
    }
}

impl From<&str> for Requirement {
    fn from(name: &str) -> Self {
        match name {
            "offline-reencrypt" => Self::OfflineReencrypt,
            "online-reencrypt" => Self::OnlineReencrypt { version: 1 },
            "online-reencrypt-v2" => Self::OnlineReencrypt { version: 2 },
            "online-reencrypt-v3" => Self::OnlineReencrypt { version: 3 },
            "inline-hw-tags" => Self::InlineHwTags,
            "opal" => Self::Opal,
            unknown => Self::Unknown(unknown.to_owned()),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive() {
        for name in [
            "offline-reencrypt",
            "online-reencrypt",
            "online-reencrypt-v2",
            "online-reencrypt-v3",
            "online-reencrypt-v4",
            "inline-hw-tags",
            "opal",
            "opal-v2",
            "",
        ] {
            assert_eq!(Requirement::from(name).to_string(), name);
        }
        assert!(Requirement::from("online-reencrypt-v17").announces_online_reencryption());
        assert!(!Requirement::from("online-reencrypt-v").announces_online_reencryption());
        assert!(!Requirement::from("offline-reencrypt").announces_online_reencryption());
    }
}
