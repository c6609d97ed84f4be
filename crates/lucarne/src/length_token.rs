//! The token `lucarne-length`: what the volume's size cannot say about the bytes that were put in.
//!
//! ```json
//! {"type": "lucarne-length", "keyslots": [], "length": "1000003", "sparse": true}
//! ```
//!
//! `length` (a decimal string, as all 64-bit numbers in LUKS2) is how many bytes of plaintext were put
//! in; the rest of the last sector is zeros. It holds only while all bytes past it are zeros: whoever
//! writes there has made the volume longer, and the token says nothing any more. `sparse` says that an
//! all-zero ciphertext sector was never written and stands for zeros. cryptsetup keeps tokens of types
//! that it does not know.

use lucarne_format::luks2::{Metadata, Token};
use serde_json::{Map, Value};

pub(crate) const LENGTH_TOKEN_KIND: &str = "lucarne-length";

/// The token's content.
///
/// Nothing authenticates a header's tokens (nor XTS the data): whoever can write to the image can turn
/// sectors of a sparse volume into zeros, where on others they could only make noise of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LengthToken {
    /// Bytes of plaintext; `None` if they are whole sectors to the end, or not recorded.
    pub length: Option<u64>,
    /// Whether all-zero ciphertext sectors stand for zeros.
    pub sparse: bool,
}

impl LengthToken {
    /// The first such token of a header; a malformed one is as good as none.
    pub fn find(metadata: &Metadata) -> Option<Self> {
        metadata.tokens().values().find_map(Self::parse)
    }

    fn parse(token: &Token) -> Option<Self> {
        if token.kind != LENGTH_TOKEN_KIND {
            return None;
        }
        let length = match token.json.get("length") {
            None => None,
            Some(Value::String(digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        let sparse = match token.json.get("sparse") {
            None => false,
            Some(Value::Bool(sparse)) => *sparse,
            Some(_) => return None,
        };
        Some(Self { length, sparse })
    }

    /// Whether there is anything to record.
    pub(crate) fn is_needed(&self) -> bool {
        *self != Self::default()
    }

    pub(crate) fn to_json(self) -> Map<String, Value> {
        let mut json = Map::new();
        json.insert("type".into(), LENGTH_TOKEN_KIND.into());
        json.insert("keyslots".into(), Value::Array(Vec::new()));
        if let Some(length) = self.length {
            json.insert("length".into(), length.to_string().into());
        }
        if self.sparse {
            json.insert("sparse".into(), true.into());
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(json: &str) -> Token {
        let json: Map<String, Value> = serde_json::from_str(json).unwrap();
        Token {
            kind: json["type"].as_str().unwrap().to_owned(),
            keyslots: Default::default(),
            json,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [None, Some(0), Some(u64::MAX)] {
            for sparse in [false, true] {
                let written = LengthToken { length, sparse };
                let json = serde_json::to_string(&written.to_json()).unwrap();
                assert_eq!(LengthToken::parse(&token(&json)), Some(written));
            }
        }
    }

    #[test]
    fn malformed_tokens_say_nothing() {
        for json in [
            r#"{"type":"lucarne-length","length":5}"#,
            r#"{"type":"lucarne-length","length":"-5"}"#,
            r#"{"type":"lucarne-length","length":"+5"}"#,
            r#"{"type":"lucarne-length","length":"99999999999999999999"}"#,
            r#"{"type":"lucarne-length","length":""}"#,
            r#"{"type":"lucarne-length","sparse":"yes"}"#,
            r#"{"type":"other","length":"5"}"#,
        ] {
            assert_eq!(LengthToken::parse(&token(json)), None, "{json}");
        }
    }
}
