//! The judge: walks a header and compares each field with its rule.

mod fields;
mod keyslots;
mod members;
mod segments;

use lucarne_format::luks2::{Header, IN_REENCRYPTION, Metadata, Repair, Requirement};

use super::finding::quoted;
use super::{DataDevice, Finding, Judged, Judgement, Limit, Policy, Rule, Severity};

pub(super) fn judge(policy: &Policy, judged: Judged<'_>, device: DataDevice) -> Judgement {
    let mut judge = Judge {
        policy,
        judgement: Judgement::new(policy.name()),
    };
    match judged {
        Judged::Luks2 { header, repair } => judge.luks2(header, repair, device),
        Judged::Luks1(_) => judge.judgement.push(Finding::not_luks2()),
    }
    judge.judgement
}

/// A policy, and what it found so far.
struct Judge<'a> {
    policy: &'a Policy,
    judgement: Judgement,
}

impl Judge<'_> {
    fn luks2(&mut self, header: &Header, repair: Option<&Repair>, device: DataDevice) {
        let metadata = header.metadata();
        let reencrypting = is_reencrypting(metadata);
        self.binary_header(header, repair);
        self.config(metadata);
        self.members(metadata);
        self.reencryption(metadata);
        self.segments(metadata, device, reencrypting);
        self.keyslots(metadata);
        self.costs(metadata);
        self.digests(metadata);
        self.tokens(metadata);
    }

    /// The limit and severity of a rule that is on.
    fn setting(&self, rule: Rule) -> Option<(&Limit, Severity)> {
        let setting = self.policy.rules.get(&rule)?;
        Some((&setting.limit, setting.severity))
    }

    fn is_on(&self, rule: Rule) -> bool {
        self.policy.rules.contains_key(&rule)
    }

    /// One of the rule's texts.
    fn name(&mut self, rule: Rule, field: impl FnOnce() -> String, value: &str) {
        let Some((Limit::Names(names), severity)) = self.setting(rule) else {
            return;
        };
        let is_it = |name: &String| match rule.ignores_case() {
            true => name.eq_ignore_ascii_case(value),
            false => name == value,
        };
        if !names.iter().any(is_it) {
            let limit = self.limit_text(rule);
            self.found(rule, severity, field(), quoted(value), limit);
        }
    }

    /// A number within the rule's range, or one of its numbers.
    fn number(&mut self, rule: Rule, field: impl FnOnce() -> String, value: u64) {
        let Some((limit, severity)) = self.setting(rule) else {
            return;
        };
        let allowed = match limit {
            Limit::Numbers(numbers) => numbers.contains(&value),
            Limit::Range { min, max } => (*min..=*max).contains(&value),
            Limit::Names(_) | Limit::Holds => true,
        };
        if !allowed {
            let limit = self.limit_text(rule);
            self.found(rule, severity, field(), value.to_string(), limit);
        }
    }

    /// Something that breaks a rule which holds or does not.
    fn broken(&mut self, rule: Rule, field: impl Into<String>, value: String, limit: &str) {
        if let Some((_, severity)) = self.setting(rule) {
            self.found(rule, severity, field.into(), value, limit.to_owned());
        }
    }

    fn limit_text(&self, rule: Rule) -> String {
        self.policy
            .limit(rule)
            .map(Limit::to_string)
            .unwrap_or_default()
    }

    fn found(
        &mut self,
        rule: Rule,
        severity: Severity,
        field: String,
        value: String,
        limit: String,
    ) {
        self.judgement.push(Finding {
            rule: rule.name(),
            severity,
            field,
            value,
            limit,
        });
    }
}

/// Whether any part of the header speaks of a re-encryption.
fn is_reencrypting(metadata: &Metadata) -> bool {
    let mut requirements = metadata.requirements().iter();
    requirements.any(is_of_reencryption)
}

fn is_of_reencryption(requirement: &Requirement) -> bool {
    matches!(
        requirement,
        Requirement::OfflineReencrypt | Requirement::OnlineReencrypt { .. }
    )
}

/// Whether a segment has the flag because a re-encryption is under way.
fn is_flag_of_reencryption(flag: &str) -> bool {
    flag == IN_REENCRYPTION || flag.starts_with("backup-")
}

#[cfg(test)]
mod tests;
