//! Typed views of JSON members: every access checks presence, type and range, and names the path.

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value};

use crate::error::{CorruptKind, Quoted};

/// The largest number of a keyslot, token, digest or segment.
pub(super) const ID_MAX: u32 = 31;

/// A JSON object and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    pub(super) fn root(map: &'a Map<String, Value>) -> Self {
        Self {
            map,
            path: String::new(),
        }
    }

    fn new(value: &'a Value, path: String) -> Result<Self, CorruptKind> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            other => Err(wrong_type(path, other, "an object")),
        }
    }

    /// The path of a member, `keyslots.3.area.offset`.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn own_path(&self) -> String {
        self.path.clone()
    }

    pub(super) fn map(&self) -> &'a Map<String, Value> {
        self.map
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    fn required(&self, name: &str) -> Result<&'a Value, CorruptKind> {
        self.map
            .get(name)
            .ok_or_else(|| CorruptKind::Missing(self.path(name)))
    }

    pub(super) fn object(&self, name: &str) -> Result<Self, CorruptKind> {
        Self::new(self.required(name)?, self.path(name))
    }

    pub(super) fn optional_object(&self, name: &str) -> Result<Option<Self>, CorruptKind> {
        self.map
            .get(name)
            .map(|value| Self::new(value, self.path(name)))
            .transpose()
    }

    /// A string that is not empty.
    pub(super) fn string(&self, name: &str) -> Result<&'a str, CorruptKind> {
        match self.required(name)? {
            Value::String(text) if text.is_empty() => Err(CorruptKind::Value {
                path: self.path(name),
                value: "\"\"".to_owned(),
                expected: "a string that is not empty",
            }),
            Value::String(text) => Ok(text),
            other => Err(wrong_type(self.path(name), other, "a string")),
        }
    }

    /// That a member is a JSON integer, whatever its value.
    pub(super) fn check_integer(&self, name: &str) -> Result<(), CorruptKind> {
        match self.required(name)? {
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(()),
            other => Err(wrong_type(self.path(name), other, "an integer")),
        }
    }

    /// A JSON integer of 32 bits.
    pub(super) fn u32(&self, name: &str) -> Result<u32, CorruptKind> {
        let value = self.required(name)?;
        let Value::Number(number) = value else {
            return Err(wrong_type(self.path(name), value, "an integer"));
        };
        number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| CorruptKind::Value {
                path: self.path(name),
                value: number.to_string(),
                expected: "an integer from 0 to 4294967295",
            })
    }

    /// A JSON integer of 32 bits that is not 0.
    pub(super) fn positive_u32(&self, name: &str) -> Result<u32, CorruptKind> {
        match self.u32(name)? {
            0 => Err(CorruptKind::TooSmall {
                path: self.path(name),
                value: 0,
                limit: 1,
            }),
            number => Ok(number),
        }
    }

    /// A 64-bit number, which LUKS2 writes as a decimal string.
    pub(super) fn u64(&self, name: &str) -> Result<u64, CorruptKind> {
        let text = self.string(name)?;
        decimal(text).ok_or_else(|| CorruptKind::Value {
            path: self.path(name),
            value: Quoted::new(text).to_string(),
            expected: "a decimal string of at most 64 bits",
        })
    }

    /// Bytes in base64.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, CorruptKind> {
        let text = self.string(name)?;
        Base64::decode_vec(text).map_err(|_| CorruptKind::Value {
            path: self.path(name),
            value: Quoted::new(text).to_string(),
            expected: "padded base64",
        })
    }

    /// Bytes in base64, `min` to `max` of them.
    pub(super) fn bytes_within(
        &self,
        name: &str,
        min: usize,
        max: usize,
    ) -> Result<Vec<u8>, CorruptKind> {
        let bytes = self.bytes(name)?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let path = || format!("{} length", self.path(name));
        if bytes.len() < min {
            return Err(CorruptKind::TooSmall {
                path: path(),
                value: len,
                limit: u64::try_from(min).unwrap_or(u64::MAX),
            });
        }
        if bytes.len() > max {
            return Err(CorruptKind::TooLarge {
                path: path(),
                value: len,
                limit: u64::try_from(max).unwrap_or(u64::MAX),
            });
        }
        Ok(bytes)
    }

    /// An optional array of strings; absent is empty.
    pub(super) fn optional_strings(&self, name: &str) -> Result<Vec<String>, CorruptKind> {
        match self.map.get(name) {
            None => Ok(Vec::new()),
            Some(_) => Ok(self
                .string_array(name)?
                .into_iter()
                .map(str::to_owned)
                .collect()),
        }
    }

    fn string_array(&self, name: &str) -> Result<Vec<&'a str>, CorruptKind> {
        let value = self.required(name)?;
        let Value::Array(items) = value else {
            return Err(wrong_type(self.path(name), value, "an array"));
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::String(text) => Ok(text.as_str()),
                other => Err(wrong_type(
                    format!("{}[{index}]", self.path(name)),
                    other,
                    "a string",
                )),
            })
            .collect()
    }

    /// An array of ids, each a decimal string.
    pub(super) fn ids(&self, name: &str) -> Result<BTreeSet<u32>, CorruptKind> {
        self.string_array(name)?
            .into_iter()
            .enumerate()
            .map(|(index, text)| {
                id(text).ok_or_else(|| CorruptKind::Value {
                    path: format!("{}[{index}]", self.path(name)),
                    value: Quoted::new(text).to_string(),
                    expected: "a number from 0 to 31",
                })
            })
            .collect()
    }

    /// The members of an object whose keys are ids: keyslots, digests, segments, tokens.
    pub(super) fn numbered(&self) -> impl Iterator<Item = Result<(u32, Self), CorruptKind>> {
        self.map.iter().map(|(key, value)| {
            let id = id(key).ok_or_else(|| CorruptKind::Value {
                path: format!("{} number", self.path),
                value: Quoted::new(key).to_string(),
                expected: "a number from 0 to 31",
            })?;
            Ok((id, Self::new(value, self.path(key))?))
        })
    }
}

fn wrong_type(path: String, value: &Value, expected: &'static str) -> CorruptKind {
    CorruptKind::Type {
        path,
        found: match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        },
        expected,
    }
}

/// Decimal digits only: no sign, no space, not empty.
fn decimal(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// A canonical id: two spellings of one number would be two keyslots to one reader and one to the next.
fn id(text: &str) -> Option<u32> {
    let number = u32::try_from(decimal(text)?).ok()?;
    (number <= ID_MAX && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with<T>(value: Value, check: impl FnOnce(Object<'_>) -> T) -> T {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        check(Object::root(&map))
    }

    #[test]
    fn numbers_are_strict() {
        for good in ["0", "18446744073709551615", "00012"] {
            with(json!({"n": good}), |object| object.u64("n").unwrap());
        }
        for bad in [
            json!(""),
            json!("-1"),
            json!("+1"),
            json!(" 1"),
            json!("1 "),
            json!("0x10"),
            json!("18446744073709551616"),
            json!("١"),
            json!(5),
            json!(null),
        ] {
            with(json!({"n": bad}), |object| object.u64("n").unwrap_err());
        }
        with(json!({"n": 4_294_967_295_u64}), |object| {
            assert_eq!(object.u32("n").unwrap(), u32::MAX);
        });
        for bad in [
            json!(4_294_967_296_u64),
            json!(-1),
            json!(1.0),
            json!("1"),
            json!(true),
        ] {
            with(json!({"n": bad}), |object| object.u32("n").unwrap_err());
        }
    }

    #[test]
    fn ids_are_canonical() {
        for bad in ["", "05", "32", "-1", "a", "4294967296", " 1"] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
        assert_eq!(id("0"), Some(0));
        assert_eq!(id("31"), Some(31));
    }

    #[test]
    fn errors_name_path_value_and_limit() {
        with(json!({"area": {"offset": "x"}}), |object| {
            assert_eq!(
                object
                    .object("area")
                    .unwrap()
                    .u64("offset")
                    .unwrap_err()
                    .to_string(),
                "area.offset is \"x\", must be a decimal string of at most 64 bits"
            );
            assert_eq!(
                object
                    .object("area")
                    .unwrap()
                    .u64("size")
                    .unwrap_err()
                    .to_string(),
                "area.size is missing"
            );
        });
        with(json!({"keyslots": ["0", 1]}), |object| {
            assert_eq!(
                object.ids("keyslots").unwrap_err().to_string(),
                "keyslots[1] is a number, must be a string"
            );
        });
        with(json!({"salt": "AAAA"}), |object| {
            assert_eq!(
                object.bytes_within("salt", 32, 32).unwrap_err().to_string(),
                "salt length is 3, the least is 32"
            );
        });
    }
}
