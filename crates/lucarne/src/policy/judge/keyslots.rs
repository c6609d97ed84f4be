//! Keyslots and digests: ciphers, hashes, costs.

use std::collections::BTreeSet;

use lucarne_format::luks2::{Area, Kdf, Keyslot, Luks2Keyslot, Metadata};

use super::{Judge, Rule};

/// The specification's grid for areas.
const AREA_ALIGNMENT_BYTES: u64 = 4096;

impl Judge<'_> {
    pub(super) fn keyslots(&mut self, metadata: &Metadata) {
        let keyslots = metadata.keyslots();
        self.number(Rule::Keyslots, || "keyslots".into(), keyslots.len() as u64);
        let named_by_tokens: BTreeSet<u32> = metadata
            .tokens()
            .values()
            .flat_map(|token| token.keyslots.iter().copied())
            .collect();
        for (&id, keyslot) in keyslots {
            let field = |name: &str| format!("keyslots.{id}.{name}");
            // That of a re-encryption has a rule of its own.
            if !matches!(keyslot, Keyslot::Reencrypt(_)) {
                self.name(Rule::KeyslotType, || field("type"), keyslot.kind());
                self.area_of(id, keyslot);
            }
            match keyslot {
                Keyslot::Unusable(unusable) => {
                    let defect = unusable.defect.to_string();
                    let field = format!("keyslots.{id}");
                    self.broken(Rule::UnusableParts, field, defect, "usable");
                }
                Keyslot::Luks2(luks2) => {
                    self.luks2_keyslot(metadata, id, luks2);
                    self.kdf(id, &luks2.kdf, named_by_tokens.contains(&id));
                }
                _ => {}
            }
        }
    }

    fn area_of(&mut self, id: u32, keyslot: &Keyslot) {
        let range = keyslot.area_range();
        let size = range.end.saturating_sub(range.start);
        let field = |name: &str| format!("keyslots.{id}.area.{name}");
        self.number(Rule::KeyslotAreaBytes, || field("size"), size);
        for (name, value) in [("offset", range.start), ("size", size)] {
            if !value.is_multiple_of(AREA_ALIGNMENT_BYTES) {
                self.broken(
                    Rule::KeyslotAreaGrid,
                    field(name),
                    value.to_string(),
                    "a multiple of 4096",
                );
            }
        }
    }

    fn luks2_keyslot(&mut self, metadata: &Metadata, id: u32, keyslot: &Luks2Keyslot) {
        let field = |name: &str| format!("keyslots.{id}.{name}");
        let mut digests = metadata.digest_links();
        let digest = digests.find(|digest| digest.keyslots.contains(&id));
        if digest.is_none_or(|digest| digest.segments.is_empty()) {
            self.broken(
                Rule::UnboundKeyslots,
                format!("keyslots.{id}"),
                "unbound".into(),
                "the key of a segment",
            );
        } else {
            let bits = u64::from(keyslot.key_size) * 8;
            let field = || format!("keyslots.{id}.key_size in bits");
            self.number(Rule::KeyBits, field, bits);
        }
        let Area {
            encryption,
            key_size,
            ..
        } = &keyslot.area;
        self.name(Rule::KeyslotCipher, || field("area.encryption"), encryption);
        self.number(
            Rule::KeyslotCipherBits,
            || field("area.key_size in bits"),
            u64::from(*key_size) * 8,
        );
        self.name(Rule::AfHash, || field("af.hash"), &keyslot.af.hash);
    }

    fn kdf(&mut self, id: u32, kdf: &Kdf, named_by_token: bool) {
        let field = |name: &str| format!("keyslots.{id}.kdf.{name}");
        self.name(Rule::Kdf, || field("type"), kdf.kind());
        match kdf {
            Kdf::Pbkdf2 {
                hash, iterations, ..
            } => {
                let iterations = u64::from(*iterations);
                self.name(Rule::Pbkdf2Hash, || field("hash"), hash);
                self.number(Rule::Pbkdf2Iterations, || field("iterations"), iterations);
                if !named_by_token {
                    let rule = Rule::PassphrasePbkdf2Iterations;
                    self.number(rule, || field("iterations"), iterations);
                }
            }
            Kdf::Argon2 {
                time,
                memory_kib,
                lanes,
                ..
            } => {
                let memory = u64::from(*memory_kib);
                let work = memory * u64::from(*time);
                self.number(Rule::Argon2MemoryKib, || field("memory"), memory);
                self.number(Rule::Argon2WorkKib, || field("memory times time"), work);
                self.number(Rule::Argon2Lanes, || field("cpus"), u64::from(*lanes));
                if !named_by_token {
                    let rule = Rule::PassphraseArgon2MemoryKib;
                    self.number(rule, || field("memory"), memory);
                    let rule = Rule::PassphraseArgon2WorkKib;
                    self.number(rule, || field("memory times time"), work);
                }
            }
            _ => {}
        }
    }

    /// What trying all keyslots costs. Each has its digest verified once.
    pub(super) fn costs(&mut self, metadata: &Metadata) {
        let mut argon2_work_kib = 0_u64;
        let mut iterations = 0_u64;
        for (&id, keyslot) in metadata.keyslots() {
            let Keyslot::Luks2(keyslot) = keyslot else {
                continue;
            };
            match &keyslot.kdf {
                Kdf::Pbkdf2 { iterations: n, .. } => {
                    iterations = iterations.saturating_add(u64::from(*n));
                }
                Kdf::Argon2 {
                    time, memory_kib, ..
                } => {
                    let work = u64::from(*memory_kib) * u64::from(*time);
                    argon2_work_kib = argon2_work_kib.saturating_add(work);
                }
                _ => {}
            }
            if let Some((_, digest)) = metadata.digest_of_keyslot(id) {
                iterations = iterations.saturating_add(u64::from(digest.iterations));
            }
        }
        let field = || "keyslots".to_owned();
        self.number(Rule::Argon2TotalWorkKib, field, argon2_work_kib);
        self.number(Rule::Pbkdf2TotalIterations, field, iterations);
    }

    pub(super) fn digests(&mut self, metadata: &Metadata) {
        for (id, digest) in metadata.digests() {
            let field = |name: &str| format!("digests.{id}.{name}");
            self.name(Rule::DigestHash, || field("hash"), &digest.hash);
            let iterations = u64::from(digest.iterations);
            self.number(Rule::DigestIterations, || field("iterations"), iterations);
        }
        for (id, digest) in metadata.unusable_digests() {
            let defect = digest.defect.to_string();
            self.broken(
                Rule::UnusableParts,
                format!("digests.{id}"),
                defect,
                "usable",
            );
        }
    }
}
