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

/// The header's JSON without what is random.
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
    let mut json = luks2::json(&std::fs::read(image).unwrap(), 0);
    strip(&mut json);
    json
}
