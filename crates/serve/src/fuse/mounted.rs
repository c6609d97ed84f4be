//! What is mounted where: `/proc/self/mountinfo`, which asks no file system anything and so never waits for one
//! that does not answer.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A mount, as proc(5) describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub point: PathBuf,
    /// The file system's device number: major, minor. No two file systems that are there have the same.
    pub device: (u32, u32),
    /// The file system's type: `fuse.lucarne`, say.
    pub kind: String,
}

/// What lies on top at a mount point, whose path has no links and no `..` in it; `None` if nothing is mounted there.
///
/// ```
/// let root = lucarne_serve::fuse::mounted_at("/".as_ref())?.expect("something is there");
/// assert!(!root.kind.is_empty());
/// assert_eq!(lucarne_serve::fuse::mounted_at("/proc/no such directory".as_ref())?, None);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When the list cannot be read.
pub fn mounted_at(point: &Path) -> io::Result<Option<Mounted>> {
    let list = std::fs::read(MOUNTINFO)?;
    // A later one hides those before it.
    Ok(list
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .rfind(|mounted| mounted.point == point))
}

/// `36 35 98:0 /root /mnt/x rw,noatime master:1 - ext3 /dev/root rw`
fn parse(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (major, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
    let point = PathBuf::from(unescaped(fields.nth(1)?));
    // As many optional fields as there are, up to the dash.
    fields.find(|field| *field == b"-")?;
    Some(Mounted {
        point,
        device: (major.parse().ok()?, minor.parse().ok()?),
        kind: String::from_utf8_lossy(fields.next()?).into_owned(),
    })
}

/// Blanks and backslashes are written as three octal digits.
fn unescaped(field: &[u8]) -> OsString {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        let code = match (byte, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        text.push(code.unwrap_or(byte));
        rest = match code {
            Some(_) => &behind[3..],
            None => behind,
        };
    }
    OsString::from_vec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mounted = parse(
            br"36 35 0:98 / /mnt/a\040b\134c rw,noatime master:1 shared:7 - fuse.lucarne /x\040y rw,user_id=0",
        );
        let expected = Mounted {
            point: r"/mnt/a b\c".into(),
            device: (0, 98),
            kind: "fuse.lucarne".into(),
        };
        assert_eq!(mounted, Some(expected));
        for broken in [
            "",
            "1 2 3 4 5 6",
            "1 2 0:x / / - a b c",
            "1 2 0:1 / / rw",
            "1 2 0:1 / / rw -",
        ] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(unescaped(br"\04"), r"\04");
        assert_eq!(unescaped(br"\477\101"), r"\477A");
    }
}
