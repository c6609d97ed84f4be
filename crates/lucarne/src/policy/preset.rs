//! The presets. A version that was released never changes: a new one stands beside it.

use std::collections::BTreeMap;

use super::{Limit, Policy, Rule, Setting, Severity};
use Severity::{Violation, Warning};

const MIB: u64 = 1 << 20;
const GIB_IN_KIB: u64 = 1 << 20;

/// Ciphers of dm-crypt whose IVs do not repeat, and that leave no pattern of the plaintext.
const MODERN_CIPHERS: [&str; 6] = [
    "aes-xts-plain64",
    "serpent-xts-plain64",
    "twofish-xts-plain64",
    "camellia-xts-plain64",
    "xchacha12,aes-adiantum-plain64",
    "xchacha20,aes-adiantum-plain64",
];

/// Those that come with integrity, whose tags have room for IVs.
const INTEGRITY_CIPHERS: [&str; 4] = [
    "aes-xts-random",
    "aes-gcm-random",
    "aegis128-random",
    "chacha20-random",
];

/// What cryptsetup wrote by default, or by option, before XTS with 64-bit IVs.
const OLD_CIPHERS: [&str; 17] = [
    "aes-xts-plain",
    "serpent-xts-plain",
    "twofish-xts-plain",
    "camellia-xts-plain",
    "aes-cbc-essiv:sha256",
    "serpent-cbc-essiv:sha256",
    "twofish-cbc-essiv:sha256",
    "camellia-cbc-essiv:sha256",
    "aes-cbc-plain64",
    "serpent-cbc-plain64",
    "twofish-cbc-plain64",
    "camellia-cbc-plain64",
    "aes-cbc-plain",
    "serpent-cbc-plain",
    "twofish-cbc-plain",
    "aes-lrw-benbi",
    "twofish-lrw-benbi",
];

const MODERN_HASHES: [&str; 15] = [
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3-224",
    "sha3-256",
    "sha3-384",
    "sha3-512",
    "blake2b-512",
    "blake2s-256",
    "whirlpool",
    "stribog256",
    "stribog512",
    "streebog512",
    "sm3",
];

const OLD_HASHES: [&str; 3] = ["sha1", "ripemd160", "rmd160"];

const REENCRYPTION_REQUIREMENTS: [&str; 4] = [
    "offline-reencrypt",
    "online-reencrypt",
    "online-reencrypt-v2",
    "online-reencrypt-v3",
];

const FLAGS_WITHOUT_EFFECT_ON_SECURITY: [&str; 5] = [
    "same-cpu-crypt",
    "submit-from-crypt-cpus",
    "no-read-workqueue",
    "no-write-workqueue",
    "high-priority",
];

const TOKEN_TYPES: [&str; 7] = [
    "luks2-keyring",
    "systemd-tpm2",
    "systemd-fido2",
    "systemd-pkcs11",
    "systemd-recovery",
    "clevis",
    crate::length_token::LENGTH_TOKEN_KIND,
];

pub(super) fn preset(name: &str) -> Option<Policy> {
    match name {
        "default" | "default-1" => Some(default_1()),
        "strict-1" => Some(strict_1()),
        "legacy" | "legacy-1" => Some(legacy_1()),
        _ => None,
    }
}

/// Builds a preset: each rule is of its kind, as a test of all presets shows.
struct Preset(Policy);

impl Preset {
    fn new(name: &str) -> Self {
        Self(Policy {
            name: name.to_owned(),
            rules: BTreeMap::new(),
        })
    }

    fn named(policy: Policy, name: &str) -> Self {
        Self(policy.named(name))
    }

    fn rule(mut self, rule: Rule, severity: Severity, limit: Limit) -> Self {
        debug_assert_eq!(rule.shape(), limit.shape(), "{rule}");
        self.0.rules.insert(rule, Setting { limit, severity });
        self
    }

    fn must(self, rule: Rule, limit: Limit) -> Self {
        self.rule(rule, Violation, limit)
    }

    fn should(self, rule: Rule, limit: Limit) -> Self {
        self.rule(rule, Warning, limit)
    }

    fn off(mut self, rule: Rule) -> Self {
        self.0.rules.remove(&rule);
        self
    }
}

pub(super) fn default_1() -> Policy {
    let segment_ciphers = MODERN_CIPHERS.into_iter().chain(INTEGRITY_CIPHERS);
    let requirements = REENCRYPTION_REQUIREMENTS
        .into_iter()
        .chain(["inline-hw-tags"]);
    let flags = FLAGS_WITHOUT_EFFECT_ON_SECURITY
        .into_iter()
        .chain(["allow-discards", "no-journal"]);
    Preset::new("default-1")
        .should(Rule::BothCopies, Limit::Holds)
        .must(
            Rule::HeaderChecksum,
            Limit::names(["sha256", "sha384", "sha512"]),
        )
        .must(Rule::HeaderBytes, Limit::at_most(4 * MIB))
        .must(Rule::JsonBytes, Limit::at_most(4 * MIB))
        .must(Rule::KeyslotsAreaBytes, Limit::at_most(128 * MIB))
        .should(Rule::UuidForm, Limit::Holds)
        .must(Rule::LabelBytes, Limit::at_most(47))
        .should(Rule::LabelText, Limit::Holds)
        .should(Rule::Flags, Limit::names(flags))
        .must(Rule::Requirements, Limit::names(requirements))
        .should(Rule::Reencryption, Limit::Holds)
        .must(Rule::Segments, Limit::between(1, 1))
        .must(Rule::SegmentType, Limit::names(["crypt"]))
        .must(Rule::SegmentCipher, Limit::names(segment_ciphers))
        .must(
            Rule::SegmentIntegrity,
            Limit::names(["hmac(sha256)", "hmac(sha512)", "aead", "poly1305"]),
        )
        .must(Rule::SegmentSize, Limit::names(["dynamic", "fixed"]))
        .must(Rule::SegmentBounds, Limit::Holds)
        .should(Rule::SegmentFlags, Limit::names([]))
        .must(Rule::SectorBytes, Limit::numbers([512, 1024, 2048, 4096]))
        .should(Rule::IvTweak, Limit::at_most(0))
        .must(Rule::DigestsPerSegment, Limit::between(1, 1))
        .must(
            Rule::KeyBits,
            Limit::numbers([128, 256, 384, 512, 768, 1024]),
        )
        .must(Rule::Keyslots, Limit::at_most(32))
        .must(Rule::KeyslotType, Limit::names(["luks2"]))
        .should(Rule::UnusableParts, Limit::Holds)
        .should(Rule::UnboundKeyslots, Limit::Holds)
        .must(Rule::KeyslotCipher, Limit::names(MODERN_CIPHERS))
        .must(Rule::KeyslotCipherBits, Limit::numbers([256, 384, 512]))
        .must(Rule::KeyslotAreaBytes, Limit::at_most(4 * MIB))
        .should(Rule::KeyslotAreaGrid, Limit::Holds)
        .must(Rule::AfHash, Limit::names(MODERN_HASHES))
        .must(Rule::Kdf, Limit::names(["argon2id", "argon2i", "pbkdf2"]))
        .must(Rule::Argon2MemoryKib, Limit::between(32, 4 * GIB_IN_KIB))
        .must(Rule::Argon2WorkKib, Limit::between(32, 64 * GIB_IN_KIB))
        .must(Rule::Argon2Lanes, Limit::between(1, 64))
        .should(Rule::Argon2TotalWorkKib, Limit::at_most(128 * GIB_IN_KIB))
        .must(Rule::Pbkdf2Hash, Limit::names(MODERN_HASHES))
        .must(Rule::Pbkdf2Iterations, Limit::between(1000, 50_000_000))
        .should(Rule::Pbkdf2TotalIterations, Limit::at_most(200_000_000))
        .should(Rule::PassphraseArgon2MemoryKib, Limit::at_least(64 << 10))
        .should(Rule::PassphraseArgon2WorkKib, Limit::at_least(192 << 10))
        .should(Rule::PassphrasePbkdf2Iterations, Limit::at_least(100_000))
        .must(Rule::DigestHash, Limit::names(MODERN_HASHES))
        .must(Rule::DigestIterations, Limit::between(1000, 50_000_000))
        .must(Rule::Tokens, Limit::at_most(32))
        .must(Rule::TokenBytes, Limit::at_most(MIB))
        .0
}

pub(super) fn strict_1() -> Policy {
    let strict_hashes = || Limit::names(["sha256", "sha384", "sha512"]);
    Preset::new("strict-1")
        .must(Rule::BothCopies, Limit::Holds)
        .must(Rule::HeaderChecksum, Limit::names(["sha256"]))
        .must(Rule::HeaderBytes, Limit::at_most(MIB))
        .must(Rule::JsonBytes, Limit::at_most(256 << 10))
        .must(Rule::KeyslotsAreaBytes, Limit::at_most(128 * MIB))
        .must(Rule::UuidForm, Limit::Holds)
        .must(Rule::LabelBytes, Limit::at_most(47))
        .must(Rule::LabelText, Limit::Holds)
        .must(Rule::Flags, Limit::names(FLAGS_WITHOUT_EFFECT_ON_SECURITY))
        .must(Rule::Requirements, Limit::names([]))
        .should(Rule::UnknownMembers, Limit::Holds)
        .must(Rule::Reencryption, Limit::Holds)
        .must(Rule::Segments, Limit::between(1, 1))
        .must(Rule::SegmentType, Limit::names(["crypt"]))
        .must(Rule::SegmentCipher, Limit::names(["aes-xts-plain64"]))
        .must(Rule::SegmentIntegrity, Limit::names([]))
        .must(Rule::SegmentSize, Limit::names(["dynamic"]))
        .must(Rule::SegmentBounds, Limit::Holds)
        .must(Rule::SegmentFlags, Limit::names([]))
        .must(Rule::SectorBytes, Limit::numbers([512, 1024, 2048, 4096]))
        .must(Rule::IvTweak, Limit::at_most(0))
        .must(Rule::DigestsPerSegment, Limit::between(1, 1))
        .must(Rule::KeyBits, Limit::numbers([512]))
        .must(Rule::Keyslots, Limit::at_most(32))
        .must(Rule::KeyslotType, Limit::names(["luks2"]))
        .must(Rule::UnusableParts, Limit::Holds)
        .must(Rule::UnboundKeyslots, Limit::Holds)
        .must(Rule::KeyslotCipher, Limit::names(["aes-xts-plain64"]))
        .must(Rule::KeyslotCipherBits, Limit::numbers([512]))
        .must(Rule::KeyslotAreaBytes, Limit::at_most(MIB))
        .must(Rule::KeyslotAreaGrid, Limit::Holds)
        .must(Rule::AfHash, strict_hashes())
        .must(Rule::Kdf, Limit::names(["argon2id", "pbkdf2"]))
        .must(Rule::Argon2MemoryKib, Limit::between(32, 2 * GIB_IN_KIB))
        .must(Rule::Argon2WorkKib, Limit::between(32, 32 * GIB_IN_KIB))
        .must(Rule::Argon2Lanes, Limit::between(1, 16))
        .must(Rule::Argon2TotalWorkKib, Limit::at_most(128 * GIB_IN_KIB))
        .must(Rule::Pbkdf2Hash, strict_hashes())
        .must(Rule::Pbkdf2Iterations, Limit::between(1000, 50_000_000))
        .must(Rule::Pbkdf2TotalIterations, Limit::at_most(200_000_000))
        .must(Rule::PassphraseArgon2MemoryKib, Limit::at_least(64 << 10))
        .must(Rule::PassphraseArgon2WorkKib, Limit::at_least(192 << 10))
        .must(Rule::PassphrasePbkdf2Iterations, Limit::at_least(100_000))
        .must(Rule::DigestHash, strict_hashes())
        .must(Rule::DigestIterations, Limit::between(1000, 10_000_000))
        .must(Rule::Tokens, Limit::at_most(32))
        .must(Rule::TokenType, Limit::names(TOKEN_TYPES))
        .must(Rule::TokenBytes, Limit::at_most(64 << 10))
        .must(Rule::SparseToken, Limit::Holds)
        .0
}

pub(super) fn legacy_1() -> Policy {
    let keyslot_ciphers = MODERN_CIPHERS.into_iter().chain(OLD_CIPHERS);
    let segment_ciphers = keyslot_ciphers.clone().chain(INTEGRITY_CIPHERS);
    let hashes = || Limit::names(MODERN_HASHES.into_iter().chain(OLD_HASHES));
    Preset::named(default_1(), "legacy-1")
        .must(
            Rule::HeaderChecksum,
            Limit::names(["sha1", "sha224", "sha256", "sha384", "sha512"]),
        )
        .off(Rule::IvTweak)
        .must(Rule::SegmentCipher, Limit::names(segment_ciphers))
        .must(
            Rule::KeyBits,
            Limit::numbers([128, 192, 256, 320, 384, 448, 512, 768, 1024]),
        )
        .must(Rule::KeyslotCipher, Limit::names(keyslot_ciphers))
        .must(
            Rule::KeyslotCipherBits,
            Limit::numbers([128, 192, 256, 320, 384, 448, 512]),
        )
        .must(Rule::AfHash, hashes())
        .must(Rule::Pbkdf2Hash, hashes())
        .must(Rule::DigestHash, hashes())
        .off(Rule::PassphraseArgon2MemoryKib)
        .off(Rule::PassphraseArgon2WorkKib)
        .off(Rule::PassphrasePbkdf2Iterations)
        .0
}

/// The table of all presets, as [`super`]'s documentation has it.
#[cfg(test)]
fn table() -> String {
    let cell = |policy: &Policy, rule| match policy.rules.get(&rule) {
        None => "-".to_owned(),
        Some(Setting { limit, severity }) => {
            let limit = match limit {
                Limit::Holds => "yes".to_owned(),
                limit => limit.to_string(),
            };
            match severity {
                Violation => limit,
                Warning => format!("{limit} *(warning)*"),
            }
        }
    };
    let mut table = String::from(
        "# The presets, rule by rule\n\n\
         What is not allowed is a violation, or where it says so a warning; `-`: not judged.\n\n\
         | rule | judges | `default-1` | `strict-1` | `legacy-1` |\n|---|---|---|---|---|\n",
    );
    for &rule in Rule::ALL {
        let judges = rule.judges();
        let cells: Vec<_> = [default_1(), strict_1(), legacy_1()]
            .iter()
            .map(|policy| cell(policy, rule))
            .collect();
        table.push_str(&format!(
            "| `{rule}` | {judges} | {} |\n",
            cells.join(" | ")
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_of_their_rules_kinds() {
        for name in Policy::PRESETS {
            let policy = preset(name).unwrap();
            assert_eq!(policy.name(), *name);
            for (rule, setting) in &policy.rules {
                let again = policy
                    .clone()
                    .with(*rule, setting.limit.clone(), setting.severity);
                assert_eq!(again.unwrap(), policy, "{name} {rule}");
            }
        }
        assert_eq!(preset("default").unwrap(), default_1());
        assert_eq!(preset("legacy").unwrap(), legacy_1());
        assert_eq!(preset("strict"), None);
        assert_eq!(preset(""), None);
    }

    #[test]
    fn no_preset_allows_a_null_cipher_or_plaintext() {
        for policy in [default_1(), strict_1(), legacy_1()] {
            for rule in [Rule::SegmentCipher, Rule::KeyslotCipher] {
                let Some(Limit::Names(ciphers)) = policy.limit(rule) else {
                    panic!("{rule} is off");
                };
                assert!(ciphers.iter().all(|cipher| !cipher.contains("null")));
            }
            assert_eq!(
                policy.limit(Rule::SegmentType),
                Some(&Limit::names(["crypt"]))
            );
        }
    }

    /// What the strictest takes, the others take: rule by rule.
    #[test]
    fn each_preset_lies_within_the_next() {
        let within = |inner: &Limit, outer: &Limit| match (inner, outer) {
            (Limit::Names(inner), Limit::Names(outer)) => {
                inner.iter().all(|name| outer.contains(name))
            }
            (Limit::Numbers(inner), Limit::Numbers(outer)) => {
                inner.iter().all(|number| outer.contains(number))
            }
            (
                Limit::Range { min, max },
                Limit::Range {
                    min: least,
                    max: greatest,
                },
            ) => least <= min && max <= greatest,
            (inner, outer) => inner == outer,
        };
        for (inner, outer) in [(strict_1(), default_1()), (default_1(), legacy_1())] {
            let violations = outer.rules.iter();
            for (rule, setting) in violations.filter(|(_, it)| it.severity == Violation) {
                let of_inner = &inner.rules[rule];
                assert_eq!(of_inner.severity, Violation, "{} {rule}", inner.name());
                assert!(within(&of_inner.limit, &setting.limit), "{rule}");
            }
        }
    }

    /// `LUCARNE_BLESS=1` writes the table anew.
    #[test]
    fn the_documented_table_is_what_the_presets_are() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy/presets.md");
        if std::env::var_os("LUCARNE_BLESS").is_some() {
            std::fs::write(&path, table()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), table());
    }
}
