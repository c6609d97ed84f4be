//! The binary header, `config`, tokens, and the marks of a re-encryption.

use lucarne_format::luks2::{Header, Keyslot, Metadata, Repair};

use super::super::finding::quoted;
use super::{Judge, Rule, is_flag_of_reencryption, is_of_reencryption};
use crate::LengthToken;

impl Judge<'_> {
    pub(super) fn binary_header(&mut self, header: &Header, repair: Option<&Repair>) {
        for (copy, defect) in repair.into_iter().flat_map(|repair| {
            [
                ("primary", &repair.primary),
                ("secondary", &repair.secondary),
            ]
        }) {
            if let Some(defect) = defect {
                let field = format!("{copy} copy");
                let value = defect.to_string();
                self.broken(Rule::BothCopies, field, value, "as good as the other one");
            }
        }
        let checksum = header.checksum_algorithm().to_string();
        self.name(Rule::HeaderChecksum, || "csum_alg".into(), &checksum);
        self.number(
            Rule::HeaderBytes,
            || "hdr_size".into(),
            header.header_size(),
        );
        if !is_uuid(header.uuid()) {
            let value = quoted(header.uuid());
            self.broken(Rule::UuidForm, "uuid", value, "a UUID");
        }
        for (field, text) in [("label", header.label()), ("subsystem", header.subsystem())] {
            self.number(Rule::LabelBytes, || field.into(), text.len() as u64);
            // Bytes that are no text were replaced when the header was read.
            if text.chars().any(|c| c.is_control() || c == '\u{fffd}') {
                self.broken(Rule::LabelText, field, quoted(text), "text");
            }
        }
    }

    pub(super) fn config(&mut self, metadata: &Metadata) {
        if self.is_on(Rule::JsonBytes) {
            let len = metadata.json_text_len() as u64;
            self.number(Rule::JsonBytes, || "the JSON".into(), len);
        }
        let size = metadata.keyslots_size();
        self.number(
            Rule::KeyslotsAreaBytes,
            || "config.keyslots_size".into(),
            size,
        );
        for flag in metadata.flags() {
            self.name(Rule::Flags, || "config.flags".into(), flag);
        }
        for requirement in metadata.requirements() {
            self.name(
                Rule::Requirements,
                || "config.requirements.mandatory".into(),
                requirement.as_str(),
            );
        }
    }

    /// One finding for each part that speaks of a re-encryption: an attacker may forge any of them.
    pub(super) fn reencryption(&mut self, metadata: &Metadata) {
        let mut mark = |field: String, value: &str| {
            self.broken(Rule::Reencryption, field, quoted(value), "none");
        };
        for requirement in metadata.requirements() {
            if is_of_reencryption(requirement) {
                mark("config.requirements.mandatory".into(), requirement.as_str());
            }
        }
        for (id, keyslot) in metadata.keyslots() {
            if let Keyslot::Reencrypt(_) = keyslot {
                mark(format!("keyslots.{id}.type"), keyslot.kind());
            }
        }
        for (id, segment) in metadata.segments() {
            let mut flags = segment.flags().iter();
            if let Some(flag) = flags.find(|flag| is_flag_of_reencryption(flag)) {
                mark(format!("segments.{id}.flags"), flag);
            }
        }
    }

    pub(super) fn tokens(&mut self, metadata: &Metadata) {
        let tokens = metadata.tokens();
        self.number(Rule::Tokens, || "tokens".into(), tokens.len() as u64);
        for (id, token) in tokens {
            let field = || format!("tokens.{id}.type");
            self.name(Rule::TokenType, field, &token.kind);
            if self.is_on(Rule::TokenBytes) {
                let json = serde_json::to_string(&token.json).unwrap_or_default();
                let field = || format!("tokens.{id}");
                self.number(Rule::TokenBytes, field, json.len() as u64);
            }
        }
        if LengthToken::find(metadata).is_some_and(|token| token.sparse) {
            self.broken(Rule::SparseToken, "tokens", "sparse".into(), "not sparse");
        }
    }
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
