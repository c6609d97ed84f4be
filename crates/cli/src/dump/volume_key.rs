//! `luksDump --dump-volume-key` and `--unbound` in cryptsetup's words.
//!
//! The text holds the key itself, so it is built in a buffer of its own that is wiped.

use std::path::Path;

use lucarne::{HeaderRef, SecretBytes};

use super::printable;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What is shown before a volume key, or instead of it once it is in a file.
pub(crate) fn volume_key_text(
    device: &Path,
    header: HeaderRef<'_>,
    key: &SecretBytes,
    file: Option<&Path>,
) -> SecretBytes {
    let (cipher, data_offset) = header.data_cipher();
    let (name, mode) = cipher.split_once('-').unwrap_or((&cipher, ""));
    let text = format!(
        "LUKS header information for {}\n\
         Cipher name:   \t{}\n\
         Cipher mode:   \t{}\n\
         Payload offset:\t{}\n\
         UUID:          \t{}\n\
         MK bits:       \t{}\n",
        device.display(),
        printable(name),
        printable(mode),
        data_offset / 512,
        printable(header.uuid()),
        key.len() * 8,
    );
    with_key(text, "MK dump:\t", key, file)
}

/// The same for the key of a keyslot that belongs to no segment.
pub(crate) fn unbound_key_text(
    device: &Path,
    uuid: &str,
    keyslot: u32,
    key: &SecretBytes,
    file: Option<&Path>,
) -> SecretBytes {
    let text = format!(
        "LUKS header information for {}\n\
         UUID:    \t{}\n\
         Keyslot: \t{keyslot}\n\
         Key bits:\t{}\n",
        device.display(),
        printable(uuid),
        key.len() * 8,
    );
    with_key(text, "Unbound Key:\t", key, file)
}

fn with_key(mut text: String, label: &str, key: &SecretBytes, file: Option<&Path>) -> SecretBytes {
    if let Some(file) = file {
        text.push_str(&format!("Key stored to file {}.\n", file.display()));
        return SecretBytes::from_slice(text.as_bytes());
    }
    text.push_str(label);
    // Three characters a byte and "\n\t\t" between the lines of sixteen.
    let mut secret = SecretBytes::zeroed(text.len() + key.len() * 3 + key.len() / 16 * 3 + 1);
    let mut at = 0;
    let mut push = |bytes: &[u8]| {
        secret[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    push(text.as_bytes());
    for (index, byte) in key.iter().enumerate() {
        if index != 0 && index % 16 == 0 {
            push(b"\n\t\t");
        }
        let [high, low] = [byte >> 4, byte & 15].map(|nibble| HEX_DIGITS[usize::from(nibble)]);
        push(&[high, low, b' ']);
    }
    push(b"\n");
    secret.truncate(at);
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_sixteen_bytes_a_line() {
        let key = SecretBytes::from_slice(&[0xab; 32]);
        let text = with_key("x\n".into(), "MK dump:\t", &key, None);
        let line = "ab ".repeat(16);
        let expected = format!("x\nMK dump:\t{line}\n\t\t{line}\n");
        assert_eq!(text.as_slice(), expected.as_bytes());
    }

    #[test]
    fn a_key_in_a_file_is_not_shown() {
        let key = SecretBytes::from_slice(&[0xab; 32]);
        let text = with_key(String::new(), "MK dump:\t", &key, Some(Path::new("f")));
        assert_eq!(text.as_slice(), b"Key stored to file f.\n");
    }
}
