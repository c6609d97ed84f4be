//! Policy files: a preset, and what differs from it, as JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::rules::Shape;
use super::{Limit, Policy, Rule, Severity};
use crate::Error;

pub(super) fn parse(text: &str) -> Result<Policy, Error> {
    let refused = |message: String| Error::refused(format!("policy file: {message}"));
    let Unique(value) = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    build(&value).map_err(refused)
}

fn build(value: &Value) -> Result<Policy, String> {
    let file = value.as_object().ok_or("not a JSON object")?;
    only(file, &["name", "base", "rules"])?;
    let presets = Policy::PRESETS.join(", ");
    let base = match file.get("base") {
        Some(Value::String(name)) => Policy::preset(name)
            .ok_or_else(|| format!("base: {name:?} is no preset; there are {presets}"))?,
        Some(_) => return Err("base: not a text".into()),
        None => return Err(format!("base: missing; there are {presets}")),
    };
    let mut policy = match file.get("name") {
        Some(Value::String(name)) if !name.is_empty() => base.named(name),
        Some(_) => return Err("name: not a text of at least one character".into()),
        None => {
            let name = format!("based on {}", base.name());
            base.named(name)
        }
    };
    let rules = match file.get("rules") {
        Some(Value::Object(rules)) => rules,
        Some(_) => return Err("rules: not an object".into()),
        None => return Ok(policy),
    };
    for (name, value) in rules {
        let rule = Rule::from_name(name).ok_or_else(|| format!("{name:?} is no rule"))?;
        policy = apply(policy, rule, value).map_err(|message| format!("{rule}: {message}"))?;
    }
    Ok(policy)
}

fn apply(policy: Policy, rule: Rule, value: &Value) -> Result<Policy, String> {
    let (limit, severity) = match value {
        Value::String(word) => (None, Some(word.as_str())),
        Value::Object(members)
            if members.contains_key("limit") || members.contains_key("severity") =>
        {
            only(members, &["limit", "severity"])?;
            let severity = match members.get("severity") {
                None => None,
                Some(Value::String(word)) => Some(word.as_str()),
                Some(_) => return Err("severity: not a text".into()),
            };
            (members.get("limit"), severity)
        }
        limit => (Some(limit), None),
    };
    let severity = match severity {
        None => policy.severity(rule).unwrap_or(Severity::Violation),
        Some("warning") => Severity::Warning,
        Some("violation") => Severity::Violation,
        Some("off") if limit.is_none() => return Ok(policy.without(rule)),
        Some(word) => {
            return Err(format!(
                "{word:?} is no severity; there are \"warning\", \"violation\" and, without a limit, \"off\""
            ));
        }
    };
    let limit = match (limit, policy.limit(rule)) {
        (Some(limit), of_base) => parse_limit(rule, limit, of_base)?,
        (None, Some(of_base)) => of_base.clone(),
        (None, None) if rule.shape() == Shape::Holds => Limit::Holds,
        (None, None) => return Err("a limit is missing: the base has none".into()),
    };
    policy
        .with(rule, limit, severity)
        .map_err(|error| error.to_string())
}

fn parse_limit(rule: Rule, value: &Value, of_base: Option<&Limit>) -> Result<Limit, String> {
    match rule.shape() {
        Shape::Names => {
            let names = value
                .as_array()
                .and_then(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
            Ok(Limit::names(names.ok_or("the limit is a list of texts")?))
        }
        Shape::Numbers => {
            let numbers = value
                .as_array()
                .and_then(|items| items.iter().map(Value::as_u64).collect::<Option<Vec<_>>>());
            let numbers = numbers.ok_or("the limit is a list of numbers")?;
            Ok(Limit::Numbers(numbers))
        }
        Shape::Range => {
            let members = value.as_object().filter(|members| !members.is_empty());
            let members = members.ok_or("the limit has \"min\", \"max\" or both")?;
            only(members, &["min", "max"])?;
            let bound = |name: &str| match members.get(name) {
                None => Ok(None),
                Some(value) => value
                    .as_u64()
                    .map(Some)
                    .ok_or_else(|| format!("{name}: not a number from 0 to {}", u64::MAX)),
            };
            let (base_min, base_max) = match of_base {
                Some(Limit::Range { min, max }) => (*min, *max),
                _ => (0, u64::MAX),
            };
            Ok(Limit::Range {
                min: bound("min")?.unwrap_or(base_min),
                max: bound("max")?.unwrap_or(base_max),
            })
        }
        Shape::Holds => Err("the rule has no limit, only a severity".into()),
    }
}

fn only(members: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("unknown member {name:?}")),
        None => Ok(()),
    }
}

pub(super) fn write(policy: &Policy) -> String {
    let mut rules = Map::new();
    for &rule in Rule::ALL {
        let value = match (policy.limit(rule), policy.severity(rule)) {
            (Some(Limit::Holds), Some(severity)) => json!(severity.name()),
            (Some(limit), Some(severity)) => {
                json!({ "limit": limit_json(limit), "severity": severity.name() })
            }
            _ => json!("off"),
        };
        rules.insert(rule.name().to_owned(), value);
    }
    // All rules are given, so that the base does not matter.
    let file = json!({ "name": policy.name(), "base": "strict-1", "rules": rules });
    format!("{file:#}\n")
}

fn limit_json(limit: &Limit) -> Value {
    match limit {
        Limit::Names(names) => json!(names),
        Limit::Numbers(numbers) => json!(numbers),
        Limit::Range { min, max } => json!({ "min": min, "max": max }),
        Limit::Holds => Value::Null,
    }
}

/// JSON in which no object has a member twice: of two limits for a rule nobody knows which is meant.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unique(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, Unique>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "member {name:?} given twice"
                )));
            }
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn rule_error(rule: &str) -> String {
        error(&format!(r#"{{"base":"default-1","rules":{{{rule}}}}}"#))
    }

    #[test]
    fn what_is_written_is_read() {
        for name in Policy::PRESETS {
            let preset = Policy::preset(name).unwrap();
            assert_eq!(parse(&preset.to_json()).unwrap(), preset);
        }
    }

    #[test]
    fn a_file_changes_its_base_and_nothing_else() {
        let policy = parse(
            r#"{"base": "default", "rules": {
                "argon2-memory-kib": {"max": 1000},
                "argon2-lanes": {"limit": {"min": 2}, "severity": "warning"},
                "flags": {"severity": "violation"},
                "iv-tweak": "off",
                "sparse-token": "warning",
                "key-bits": [512],
                "passphrase-argon2-work-kib": {"max": 5000000}
            }}"#,
        )
        .unwrap();
        let base = Policy::default();
        assert_eq!(policy.name(), "based on default-1");
        let range = |min, max| Some(Limit::Range { min, max });
        assert_eq!(
            policy.limit(Rule::Argon2MemoryKib).cloned(),
            range(32, 1000)
        );
        assert_eq!(
            policy.severity(Rule::Argon2MemoryKib),
            Some(Severity::Violation)
        );
        assert_eq!(policy.limit(Rule::Argon2Lanes).cloned(), range(2, 64));
        assert_eq!(policy.severity(Rule::Argon2Lanes), Some(Severity::Warning));
        assert_eq!(policy.limit(Rule::Flags), base.limit(Rule::Flags));
        assert_eq!(policy.severity(Rule::Flags), Some(Severity::Violation));
        assert_eq!(policy.limit(Rule::IvTweak), None);
        assert_eq!(policy.severity(Rule::SparseToken), Some(Severity::Warning));
        assert_eq!(policy.limit(Rule::KeyBits), Some(&Limit::numbers([512])));
        // A warning in the base stays one.
        assert_eq!(
            policy.limit(Rule::PassphraseArgon2WorkKib).cloned(),
            range(192 << 10, 5_000_000)
        );
        assert_eq!(
            policy.severity(Rule::PassphraseArgon2WorkKib),
            Some(Severity::Warning)
        );
        let untouched = |rule: &Rule| policy.limit(*rule) == base.limit(*rule);
        assert_eq!(Rule::ALL.iter().filter(|rule| !untouched(rule)).count(), 6);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(error("").contains("EOF"));
        assert!(error("[]").ends_with("policy file: not a JSON object"));
        assert!(error("{}").contains("base: missing; there are default-1, strict-1, legacy-1"));
        assert!(error(r#"{"base":"strict"}"#).contains("\"strict\" is no preset"));
        assert!(error(r#"{"base":1}"#).contains("base: not a text"));
        assert!(error(r#"{"base":"strict-1","name":""}"#).contains("name: not a text"));
        assert!(error(r#"{"base":"strict-1","rule":{}}"#).contains("unknown member \"rule\""));
        assert!(error(r#"{"base":"strict-1","rules":[]}"#).contains("rules: not an object"));
        assert!(error(r#"{"base":"strict-1","base":"legacy-1"}"#).contains("given twice"));
        assert!(rule_error(r#""kdf":["a"],"kdf":["b"]"#).contains("\"kdf\" given twice"));
        assert!(rule_error(r#""kdfs":["a"]"#).contains("\"kdfs\" is no rule"));
        for (rule, message) in [
            (r#""kdf":"argon2id""#, "kdf: \"argon2id\" is no severity"),
            (r#""kdf":[1]"#, "kdf: the limit is a list of texts"),
            (r#""kdf":{"max":1}"#, "kdf: the limit is a list of texts"),
            (r#""kdf":null"#, "kdf: the limit is a list of texts"),
            (
                r#""kdf":{"limit":["a"],"level":1}"#,
                "kdf: unknown member \"level\"",
            ),
            (
                r#""kdf":{"limit":["a"],"severity":"off"}"#,
                "is no severity",
            ),
            (
                r#""kdf":{"limit":["a"],"severity":1}"#,
                "severity: not a text",
            ),
            (
                r#""key-bits":["512"]"#,
                "key-bits: the limit is a list of numbers",
            ),
            (
                r#""key-bits":[-1]"#,
                "key-bits: the limit is a list of numbers",
            ),
            (
                r#""tokens":{}"#,
                "tokens: the limit has \"min\", \"max\" or both",
            ),
            (r#""tokens":5"#, "tokens: the limit has"),
            (r#""tokens":{"max":1.5}"#, "max: not a number"),
            (r#""tokens":{"maximum":1}"#, "unknown member \"maximum\""),
            (r#""tokens":{"min":2,"max":1}"#, "min 2 is more than max 1"),
            (
                r#""both-copies":true"#,
                "both-copies: the rule has no limit",
            ),
            (
                r#""token-type":"violation""#,
                "token-type: a limit is missing",
            ),
        ] {
            let error = rule_error(rule);
            assert!(error.contains(message), "{rule}: {error}");
        }
    }
}
