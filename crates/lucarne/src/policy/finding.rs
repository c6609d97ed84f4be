//! What a judge says.

use std::fmt;

use crate::Error;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; the policy holds all the same.
    Warning,
    /// The policy does not hold.
    Violation,
}

impl Severity {
    /// `warning` or `violation`, as in policy files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Violation => "violation",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing in a header that a rule or a pin does not allow.
///
/// All texts are short and safe to print: what the header says is quoted, escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The name of the [rule](super::Rule), or of the [pin](super::Pins).
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where in the header: a field of the binary header, or the JSON's path, `keyslots.3.kdf.memory`.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// What may stand there.
    pub limit: String,
}

impl Finding {
    /// What is said of a LUKS1 header.
    pub(super) fn not_luks2() -> Self {
        Self {
            rule: "version",
            severity: Severity::Violation,
            field: "version".into(),
            value: "1".into(),
            limit: "2".into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            field,
            value,
            limit,
            ..
        } = self;
        write!(f, "{field} is {value}, allowed is: {limit} ({rule})")
    }
}

/// At most so many findings of one rule are kept: a header can be made to break one 60,000 times.
const FINDINGS_PER_RULE_MAX: usize = 64;

/// All that a policy and pins found in a header.
///
/// ```
/// use lucarne::policy::{DataDevice, Policy};
/// # let image = lucarne::MemoryStorage::with_len(4 << 20);
/// # lucarne::format(&image, None, b"an example", &lucarne::FormatOptions {
/// #     kdf: lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() },
/// #     keyslots_size: Some(1 << 20), ..Default::default() })?;
/// let header = lucarne::read_header(&image)?;
/// let judgement = Policy::default().judge(&header, DataDevice::Unknown);
/// assert!(judgement.holds());
/// for finding in judgement.findings() {
///     println!("{}: {finding}", finding.severity);
/// }
/// judgement.into_result()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    policy: String,
    findings: Vec<Finding>,
    left_out: usize,
    violations: usize,
}

impl Judgement {
    pub(super) fn new(policy: &str) -> Self {
        Self {
            policy: policy.to_owned(),
            findings: Vec::new(),
            left_out: 0,
            violations: 0,
        }
    }

    pub(super) fn push(&mut self, finding: Finding) {
        if finding.severity == Severity::Violation {
            self.violations += 1;
        }
        let same_rule = self.findings.iter().rev();
        let count = same_rule.filter(|other| other.rule == finding.rule).count();
        if count < FINDINGS_PER_RULE_MAX {
            self.findings.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    /// The policy's name.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// What was found, in the order of the rules, pins last; of one rule at most 64.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings are not in [`Self::findings`].
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// How many violations there are, those left out included.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.violations
    }

    /// Whether there is no violation. Warnings do not matter.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations == 0
    }

    /// The judgement itself if it [holds](Self::holds).
    ///
    /// # Errors
    /// [`Error::Policy`] with all that was found.
    pub fn into_result(self) -> Result<Self, Error> {
        match self.holds() {
            true => Ok(self),
            false => Err(Error::Policy(self)),
        }
    }
}

/// The first violation, and how many more there are.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {}", self.policy)?;
        let mut violations = self.findings.iter();
        match violations.find(|finding| finding.severity == Severity::Violation) {
            Some(first) => write!(f, ": {first}")?,
            None => f.write_str(" holds")?,
        }
        match self.violations.saturating_sub(1) {
            0 => Ok(()),
            1 => f.write_str(", and 1 violation more"),
            more => write!(f, ", and {more} violations more"),
        }
    }
}

/// Bytes of a header's text that a finding shows.
const SHOWN_CHARS_MAX: usize = 64;

/// A header's text as a finding shows it: quoted, control characters escaped, cut.
pub(super) fn quoted(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    match start.len() == text.len() {
        true => format!("{start:?}"),
        false => format!("{start:?}..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: &'static str, severity: Severity) -> Finding {
        Finding {
            rule,
            severity,
            field: "label".into(),
            value: quoted("a"),
            limit: "none".into(),
        }
    }

    #[test]
    fn findings_are_bounded_and_all_are_counted() {
        let mut judgement = Judgement::new("p");
        for _ in 0..1000 {
            judgement.push(finding("flags", Severity::Warning));
        }
        assert!(judgement.holds());
        judgement.push(finding("label-text", Severity::Violation));
        for _ in 0..100 {
            judgement.push(finding("flags", Severity::Violation));
        }
        assert_eq!(judgement.findings().len(), 65);
        assert_eq!(judgement.left_out(), 1036);
        assert_eq!(judgement.violations(), 101);
        assert_eq!(
            judgement.into_result().unwrap_err().to_string(),
            "refused: policy p: label is \"a\", allowed is: none (label-text), and 100 violations more"
        );
    }

    #[test]
    fn what_a_header_says_is_quoted_and_cut() {
        assert_eq!(quoted("a\u{1b}[2J\u{202e}"), r#""a\u{1b}[2J\u{202e}""#);
        let long = quoted(&"x".repeat(100_000));
        assert_eq!(long.len(), 64 + 5);
    }
}
