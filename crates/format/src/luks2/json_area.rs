//! The JSON area: text, a zero byte, zeros to the end (specification 3).
//!
//! The parser is stricter than the JSON grammar, so that every reader sees the same document: no
//! member twice, no zero byte in a string, bounded depth and number of values.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{CorruptKind, Quoted};

/// Nested values at most, the document itself counted: json-c's limit.
pub(super) const DEPTH_MAX: u32 = 32;

/// Values and member names at most, all of them together: 32 keyslots and 32 tokens need about a
/// thousand. Bounds memory: an area of 4 MiB could hold two million.
pub(super) const VALUES_MAX: u32 = 65_536;

/// The object in a JSON area.
pub(super) fn parse(area: &[u8]) -> Result<Map<String, Value>, CorruptKind> {
    match area.first() {
        Some(b'{') => {}
        Some(&other) => return Err(CorruptKind::JsonStart(other)),
        None => return Err(CorruptKind::JsonUnterminated(0)),
    }
    let end = area
        .iter()
        .position(|&byte| byte == 0)
        .ok_or(CorruptKind::JsonUnterminated(area.len()))?;
    let (text, rest) = area.split_at(end);
    if let Some(after) = first_not_zero(rest) {
        return Err(CorruptKind::JsonTrailing {
            byte: rest.get(after).copied().unwrap_or_default(),
            at: end.saturating_add(after),
        });
    }
    parse_text(text)
}

/// An area without the zeros at its end, but for the first of them: all that there is to know of it.
pub(super) fn without_zeros(area: &[u8]) -> &[u8] {
    let steps_of_zeros = area.rchunks(STEP).take_while(|step| !has_more(step));
    let zeros = steps_of_zeros.map(<[u8]>::len).sum();
    let rest = area.get(..area.len().saturating_sub(zeros));
    let last = rest.unwrap_or(area).iter().rposition(|&byte| byte != 0);
    let end = last.map_or(0, |last| last.saturating_add(1));
    area.get(..=end).unwrap_or(area)
}

fn first_not_zero(bytes: &[u8]) -> Option<usize> {
    let start = bytes.chunks(STEP).position(has_more)?.saturating_mul(STEP);
    let within = bytes.get(start..)?.iter().position(|&byte| byte != 0)?;
    Some(start.saturating_add(within))
}

/// Up to 4 MiB of zeros follow the text: so many bytes at a time are looked at.
const STEP: usize = 256;

fn has_more(step: &[u8]) -> bool {
    step.iter().fold(0, |all, &byte| all | byte) != 0
}

/// The object that `text` spells.
pub(super) fn parse_text(text: &[u8]) -> Result<Map<String, Value>, CorruptKind> {
    let budget = Cell::new(VALUES_MAX);
    let seed = Strict {
        depth: 1,
        budget: &budget,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| CorruptKind::Json(error.to_string()))?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(CorruptKind::Json("the document is no object".to_owned())),
    }
}

/// Compact JSON, as cryptsetup writes it: no spaces, no escaped slashes.
pub(super) fn serialize(json: &Map<String, Value>) -> Vec<u8> {
    // OK to unwrap: writing a map with string keys to memory has no way to fail.
    #[allow(clippy::unwrap_used)]
    serde_json::to_vec(json).unwrap()
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    /// Of the value that comes next; the document's is 1.
    depth: u32,
    budget: &'a Cell<u32>,
}

impl Strict<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_add(1) {
            Some(depth) if depth <= DEPTH_MAX => Ok(Self { depth, ..self }),
            _ => Err(E::custom(format_args!(
                "values nested more than {DEPTH_MAX} deep"
            ))),
        }
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(E::custom(format_args!("more than {VALUES_MAX} values"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A value inside of `.0`: an empty array at the greatest depth is fine, one with an element is not.
struct Element<'a>(Strict<'a>);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.inner::<D::Error>()?.deserialize(deserializer)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.count()?;
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.count()?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.count()?;
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.count()?;
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.count()?;
        // An integer past 64 bits arrives here, its last digits lost: a rewrite would change it.
        if value.fract() == 0.0 && value.abs() >= 9_007_199_254_740_992.0 {
            return Err(E::custom(
                "an integer past 64 bits, or past 53 with a fraction or exponent",
            ));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.count()?;
        no_zero_byte(&value)?;
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.count()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Element(self))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.count()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.count()?;
            no_zero_byte(&name)?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "member {} given twice",
                    Quoted::new(&name)
                )));
            }
            let value = members.next_value_seed(Element(self))?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// A reader in C would see the string end there, and so two readers two documents.
fn no_zero_byte<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') {
        return Err(E::custom("a string holds a zero byte"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(area: &[u8]) -> String {
        parse(area).unwrap_err().to_string()
    }

    #[test]
    fn the_area_is_text_zero_and_zeros() {
        assert_eq!(parse(b"{}\0").unwrap(), Map::new());
        assert_eq!(parse(b"{ \"a\": 1 } \n\0\0\0").unwrap().len(), 1);
        assert_eq!(
            error(b""),
            "JSON area of 0 bytes has no terminating zero byte"
        );
        assert_eq!(
            error(b"{}"),
            "JSON area of 2 bytes has no terminating zero byte"
        );
        assert_eq!(
            error(b" {}\0"),
            "JSON area starts with byte 0x20, must be '{'"
        );
        assert_eq!(
            error(b"\0\0"),
            "JSON area starts with byte 0x00, must be '{'"
        );
        assert_eq!(
            error(b"{}\0\0x\0"),
            "JSON area has byte 0x78 at 4, after the JSON's end"
        );
        for at in [3, 257, 258, 259, 511, 600, 999] {
            let mut area = b"{}".to_vec();
            area.resize(1000, 0);
            area[at] = b'x';
            let expected = format!("JSON area has byte 0x78 at {at}, after the JSON's end");
            assert_eq!(error(&area), expected);
        }
        assert!(error(b"{}x\0").contains("trailing characters"));
        assert!(error(b"{\0").contains("EOF"));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        assert_eq!(
            error(b"{\"a\":{\"b\":1,\"b\":1}}\0"),
            "JSON: member \"b\" given twice at line 1 column 15"
        );
        assert!(error(br#"{"a":1,"\u0061":1}"#.to_vec().as_zero_terminated()).contains("twice"));
        for text in [
            r#"{"a\u0000":1}"#,
            r#"{"a":"\u0000"}"#,
            r#"{"a":["x\u0000y"]}"#,
        ] {
            assert!(error(text.as_bytes().to_vec().as_zero_terminated()).contains("zero byte"));
        }
        for text in [
            "{'a':1}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":1}/**/",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\ud800\"}",
        ] {
            parse(text.as_bytes().to_vec().as_zero_terminated()).unwrap_err();
        }
        parse(b"{\"a\":\"\xff\"}\0").unwrap_err();
    }

    #[test]
    fn zeros_at_the_end_say_nothing() {
        let mut long = vec![0; 2 * STEP + 100];
        assert_eq!(without_zeros(&long), [0]);
        assert_eq!(without_zeros(b""), b"");
        for last in [0, 1, 99, 100, STEP - 1, STEP, STEP + 100, 2 * STEP + 98] {
            long.fill(0);
            long[last] = b'}';
            assert_eq!(without_zeros(&long), &long[..last + 2], "{last}");
        }
        // Nothing ends it, and that must be seen.
        *long.last_mut().unwrap() = b'}';
        assert_eq!(without_zeros(&long), long);
    }

    #[test]
    fn numbers_that_a_rewrite_would_change_are_refused() {
        for text in [
            "{\"a\":18446744073709551616}",
            "{\"a\":-9223372036854775809}",
            "{\"a\":1e400}",
            "{\"a\":123456789012345678901234567890}",
        ] {
            parse(text.as_bytes().to_vec().as_zero_terminated()).unwrap_err();
        }
        for text in [
            "{\"a\":18446744073709551615}",
            "{\"a\":-9223372036854775808}",
            "{\"a\":0.1}",
            "{\"a\":1.7976931348623157e-300}",
        ] {
            let map = parse(text.as_bytes().to_vec().as_zero_terminated()).unwrap();
            assert_eq!(parse_text(&serialize(&map)).unwrap(), map, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        // The document is 1 deep; the innermost of n arrays is n + 1 deep.
        let nested = |arrays: usize, inner: &str| {
            format!(
                "{{\"a\":{}{inner}{}}}",
                "[".repeat(arrays),
                "]".repeat(arrays)
            )
        };
        for (arrays, inner, fine) in [
            (31, "", true),
            (30, "1", true),
            (31, "1", false),
            (32, "", false),
        ] {
            let text = nested(arrays, inner);
            let parsed = parse_text(text.as_bytes());
            assert_eq!(parsed.is_ok(), fine, "{arrays} arrays round {inner:?}");
        }
        let bomb = format!("{{\"a\":{}", "[".repeat(1_000_000));
        assert!(
            parse_text(bomb.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("32 deep")
        );
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        // The document, the member's name and the array are three.
        let list = |len: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(len - 1));
        let limit = VALUES_MAX as usize;
        parse_text(list(limit - 3).as_bytes()).unwrap();
        let error = parse_text(list(limit - 2).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 65536 values"));
    }

    #[test]
    fn text_is_written_as_cryptsetup_writes_it() {
        let text = br#"{"b":{"slash":"a/b","quote":"\"","control":"\u001f\n"},"a":[1,true,null],"c":"\u007f"}"#;
        let map = parse_text(text).unwrap();
        assert_eq!(
            String::from_utf8(serialize(&map)).unwrap(),
            String::from_utf8(text.to_vec())
                .unwrap()
                .replace("\\u007f", "\u{7f}")
        );
    }

    trait ZeroTerminated {
        fn as_zero_terminated(&mut self) -> &[u8];
    }

    impl ZeroTerminated for Vec<u8> {
        fn as_zero_terminated(&mut self) -> &[u8] {
            self.push(0);
            self
        }
    }
}
