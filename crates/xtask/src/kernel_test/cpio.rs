//! The archive that the kernel unpacks as its first file system: the `newc` form, uncompressed
//! (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

/// An archive in the making.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds an empty folder, and those above it.
    pub(super) fn folder(&mut self, path: &str) {
        for (index, _) in path
            .match_indices('/')
            .filter(|(index, _)| *index > 0)
            .chain([(path.len(), "")])
        {
            let path = path[..index].trim_start_matches('/').to_owned();
            if self.folders.insert(path.clone()) {
                self.entry(&path, 0o040_755, &[]);
            }
        }
    }

    /// Adds a file that may be run, and the folders above it.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.entry(path.trim_start_matches('/'), 0o100_755, bytes);
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.entries += 1;
        let len = u32::try_from(bytes.len()).expect("a file of the archive is below 4 GiB");
        let name_len = u32::try_from(path.len() + 1).expect("a path is short");
        // inode, mode, uid, gid, links, time, length, device (2), special device (2), length of the name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_bring_their_folders_once() {
        let mut archive = Archive::default();
        archive.file("/a/b/one", b"1");
        archive.file("/a/b/two", b"22");
        let bytes = archive.finish();
        assert!(bytes.len().is_multiple_of(4));
        let count = |needle: &[u8]| {
            bytes
                .windows(needle.len())
                .filter(|window| *window == needle)
                .count()
        };
        assert_eq!(count(b"070701"), 5); // a, a/b, the two files, the trailer
        assert_eq!(count(b"a/b/two\0"), 1);
    }
}
