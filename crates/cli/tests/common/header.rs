//! Command lines about one header, and what they left of it.

use std::ffi::OsString;
use std::path::Path;

use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;
use serde_json::Value;

/// The words, in which `@` alone is the image and `@name` a file of the folder.
pub(crate) fn in_folder(words: &str, scratch: &Scratch, image: &Path) -> Vec<OsString> {
    words
        .split_whitespace()
        .map(|word| match word.strip_prefix('@') {
            Some("") => image.into(),
            Some(name) => scratch.path(name).into(),
            None => word.into(),
        })
        .collect()
}

/// The header without what is random: LUKS2's JSON, LUKS1's bytes.
pub(crate) fn shape(image: &Path) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for random in ["salt", "digest"] {
                    if members.get(random).is_some_and(Value::is_string) {
                        members.insert(random.into(), "random".into());
                    }
                }
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let bytes = std::fs::read(image).unwrap();
    if bytes.starts_with(b"LUKS\xba\xbe\x00\x01") {
        return luks1_shape(&bytes);
    }
    let mut json = luks2::json(&bytes, 0);
    strip(&mut json);
    json
}

/// What stands before the keyslots, and each keyslot (48 bytes from byte 208 on) without its salt, unless it
/// is zeros.
fn luks1_shape(image: &[u8]) -> Value {
    let keyslots = image[208..592].chunks(48).map(|keyslot| {
        let salt = &keyslot[8..40];
        let salt = if salt.iter().all(|&byte| byte == 0) {
            "none"
        } else {
            "random"
        };
        serde_json::json!([keyslot[..8], salt, keyslot[40..]])
    });
    serde_json::json!([image[..208], keyslots.collect::<Vec<_>>()])
}
