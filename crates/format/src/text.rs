//! Text fields of fixed length, as both versions of the binary header have them.

use crate::Error;
use crate::error::{Quoted, RefusedKind};

/// Bytes of a UUID field.
pub(crate) const UUID_LEN: usize = 40;

/// A text field of a header: its raw bytes are the truth, its text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<const N: usize> {
    raw: [u8; N],
    text: String,
}

impl<const N: usize> Text<N> {
    pub(crate) fn from_raw(raw: [u8; N]) -> Self {
        let text = zero_terminated(&raw).into_owned();
        Self { raw, text }
    }

    /// `None` if `text` and its terminator do not fit, or a zero byte is inside.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut raw = [0; N];
        if text.len() >= N || text.contains('\0') {
            return None;
        }
        raw.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self {
            raw,
            text: text.to_owned(),
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn raw(&self) -> &[u8; N] {
        &self.raw
    }
}

/// The text up to the first zero byte or the field's last byte, which cryptsetup takes for one.
pub(crate) fn zero_terminated(raw: &[u8]) -> std::borrow::Cow<'_, str> {
    let within = raw.split_last().map_or(raw, |(_, within)| within);
    let text = within.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text)
}

/// The field of a text that somebody chose; `field` is its name.
pub(crate) fn text_field<const N: usize>(
    field: &'static str,
    text: &str,
) -> Result<Text<N>, Error> {
    if let Some(at) = text.bytes().position(|byte| byte == 0) {
        return Err(RefusedKind::ZeroByte { field, at }.into());
    }
    Text::new(text).ok_or_else(|| {
        RefusedKind::TooLong {
            field,
            len: text.len(),
            limit: N.saturating_sub(1),
        }
        .into()
    })
}

/// The field of a UUID that somebody chose, in lower case.
pub(crate) fn uuid_field(text: &str) -> Result<Text<UUID_LEN>, Error> {
    let groups = text.split('-').map(str::len);
    let well_formed = groups.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    well_formed
        .then(|| Text::new(&text.to_ascii_lowercase()))
        .flatten()
        .ok_or_else(|| RefusedKind::Uuid(Quoted::new(text)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_its_first_zero_and_keeps_its_bytes() {
        let mut raw = [b'x'; 48];
        assert_eq!(Text::from_raw(raw).as_str().len(), 48 - 1);
        raw[2..5].copy_from_slice(b"\xff\0y");
        let text = Text::from_raw(raw);
        assert_eq!(text.as_str(), "xx\u{fffd}");
        assert_eq!(text.raw(), &raw);
        assert!(Text::<4>::new("abc").is_some());
        assert!(Text::<4>::new("abcd").is_none());
        assert!(Text::<4>::new("a\0").is_none());
    }
}
