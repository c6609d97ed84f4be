//! Values that several members have: numbers as text, base64, names of ciphers and hashes.

use serde_json::{Value, json};

use super::{Base, Corpus, member, set};

/// Salts and digests of other lengths are these bytes.
const FILLER: u8 = 0x5a;

/// Spellings of a 64-bit number that are none, or not quite, with the sound one at hand.
pub(super) fn spellings(sound: &str) -> Vec<Value> {
    let mut spellings: Vec<Value> = [
        format!("+{sound}"),
        format!("-{sound}"),
        format!(" {sound}"),
        format!("{sound} "),
        format!("0{sound}"),
        format!("{sound}x"),
        format!("{sound}.0"),
        "0x8000".to_owned(),
        "-1".to_owned(),
        "1e5".to_owned(),
        "18446744073709551615".to_owned(),
        "18446744073709551616".to_owned(),
    ]
    .into_iter()
    .map(Value::from)
    .collect();
    spellings.push(json!(sound.parse::<u64>().unwrap()));
    spellings
}

/// dm-crypt's notation and what comes near it.
pub(super) fn encryptions() -> impl Iterator<Item = String> {
    [
        "aes-xts-plain",
        "aes-xts-plain64be",
        "aes-xts-essiv:sha256",
        "aes-xts-benbi",
        "aes-xts-null",
        "aes-xts-random",
        "aes-xts-later",
        "aes-xts-",
        "aes-xts",
        "aes",
        "aes-",
        "-xts-plain64",
        "aes-cbc-plain64",
        "aes-cbc-essiv:sha256",
        "aes-cbc-essiv:sha257",
        "aes-cbc-essiv",
        "aes-ctr-plain64",
        "aes-ecb",
        "aes-ecb-null",
        "aes-later-plain64",
        "later-xts-plain64",
        "serpent-xts-plain64",
        "twofish-xts-plain64",
        "AES-XTS-PLAIN64",
        "aes-xts-plain64 ",
        " aes-xts-plain64",
        "aes-xts-plain64-later",
        "aes-xts-plain64:sha256",
        "aes:2-xts-plain64",
        "capi:xts(aes)-plain64",
        "cipher_null-ecb",
        "cipher_null-ecb-null",
        "cipher_null",
        "null",
        "aes-gcm-random",
        "aegis128-random",
        "xchacha12,aes-adiantum-plain64",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([31, 32, 100].map(|len| format!("{}-xts-plain64", "a".repeat(len))))
}

fn base64(len: usize) -> String {
    // The filler's base64: three bytes of it are `Wlpa`.
    let bytes = vec![FILLER; len];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, &byte| (word << 8) | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for index in 0..4 {
            text.push(if index <= chunk.len() {
                char::from(alphabet[(word >> (18 - 6 * index)) as usize & 63])
            } else {
                '='
            });
        }
    }
    text
}

/// Ways to spell bytes wrongly; the sound text is changed.
pub(super) fn base64_cases(corpus: &mut Corpus, path: &'static str, lens: &[usize]) {
    for &len in lens {
        corpus.json(Base::Plain, format!("{path} of {len} bytes"), move |json| {
            set(json, path, json!(base64(len)))
        });
    }
    type Spelling = fn(&str) -> String;
    let spellings: [(&str, Spelling); 7] = [
        ("without padding", |text| {
            text.trim_end_matches('=').to_owned()
        }),
        ("with more padding", |text| format!("{text}=")),
        ("with a line break", |text| {
            format!("{}\n{}", &text[..20], &text[20..])
        }),
        ("with a space at its end", |text| format!("{text} ")),
        ("with a byte of no alphabet", |text| {
            format!("{}!{}", &text[..20], &text[21..])
        }),
        ("in the alphabet for addresses", |text| {
            format!("{}-_{}", &text[..20], &text[22..])
        }),
        ("with bits set past its end", |text| {
            // 32 bytes leave 2 bits of the last letter unused.
            let (head, tail) = text.split_at(text.len() - 2);
            let last = char::from(tail.as_bytes()[0] + 1);
            format!("{head}{last}=")
        }),
    ];
    for (what, spelling) in spellings {
        corpus.json(Base::Plain, format!("{path} {what}"), move |json| {
            let text = member(json, path).as_str().unwrap().to_owned();
            *member(json, path) = json!(spelling(&text));
        });
    }
    corpus.set(Base::Plain, path, json!("!!!!"));
    corpus.set(Base::Plain, path, json!("===="));
}

pub(super) fn hashes() -> impl Iterator<Item = Value> {
    [
        "SHA256",
        "sha1",
        "sha512",
        "sha3-256",
        "blake2b-512",
        "sha256 ",
        "sha-256",
        "md5",
        "crc32",
        "plain",
        "sha257",
    ]
    .into_iter()
    .map(Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_filler() {
        assert_eq!(base64(3), "Wlpa");
        assert_eq!(base64(4), "WlpaWg==");
        assert_eq!(base64(5), "WlpaWlo=");
    }
}
