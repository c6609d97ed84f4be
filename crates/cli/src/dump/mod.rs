//! A header as text and as JSON.

mod luks1;
mod machine;
mod pretty;
mod text;
mod volume_key;

pub(crate) use pretty::metadata_json;
pub(crate) use volume_key::{unbound_key_text, volume_key_text};

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use lucarne::HeaderRef;
use lucarne::luks2::{Metadata, Priority};
use serde_json::Value;

/// The whole header in cryptsetup's words; LUKS1's begins with the device's name.
pub(crate) fn header_text(device: &Path, header: HeaderRef<'_>) -> String {
    match header {
        HeaderRef::Luks1(header) => luks1::header_text(device, header),
        HeaderRef::Luks2(header) => text::header_text(header),
    }
}

/// The header as a JSON value.
pub(crate) fn header_json(header: HeaderRef<'_>) -> Value {
    match header {
        HeaderRef::Luks1(header) => luks1::header_json(header),
        HeaderRef::Luks2(header) => machine::header_json(header),
    }
}

/// Sixteen bytes a line, each followed by a space, as cryptsetup shows salts and keys.
fn hex_lines(bytes: &[u8], next_line: &str) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if index != 0 && index % 16 == 0 {
            text.push_str(next_line);
        }
        // OK to ignore: writing to a String cannot fail.
        let _ = write!(text, "{byte:02x} ");
    }
    text
}

/// Text from a header, which anybody may have written, without what could steer a terminal.
fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.chars()
            .flat_map(|c| {
                let escaped = c.is_control().then(|| c.escape_default());
                escaped
                    .into_iter()
                    .flatten()
                    .chain((!c.is_control()).then_some(c))
            })
            .collect::<String>()
            .into()
    } else {
        text.into()
    }
}

/// Whether the keyslot's key decrypts a segment that is in use, not just kept for a re-encryption.
fn is_bound(metadata: &Metadata, keyslot: u32) -> bool {
    let mut digests = metadata.digest_links();
    let digest = digests.find(|digest| digest.keyslots.contains(&keyslot));
    digest.is_some_and(|digest| {
        digest.segments.iter().any(|id| {
            metadata
                .segments()
                .get(id)
                .is_some_and(|segment| !segment.is_backup())
        })
    })
}

/// The number of the digest that the keyslot belongs to.
fn digest_id(metadata: &Metadata, keyslot: u32) -> Option<u32> {
    let mut digests = metadata.digest_links();
    let digest = digests.find(|digest| digest.keyslots.contains(&keyslot))?;
    Some(digest.id)
}

fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Ignore => "ignored",
        Priority::Normal => "normal",
        Priority::Prefer => "preferred",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_sixteen_bytes_a_line() {
        assert_eq!(hex_lines(&[0, 0xff], "\n"), "00 ff ");
        let lines = hex_lines(&[1; 33], "\n\t");
        let lens: Vec<_> = lines.split("\n\t").map(str::len).collect();
        assert_eq!(lens, [48, 48, 3]);
        assert_eq!(hex_lines(&[], "\n"), "");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("étiquette"), "étiquette");
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
