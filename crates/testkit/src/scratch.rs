//! Temporary files, sparse where they are zero.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A folder that goes when it is dropped.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A new folder in the system's place for temporary files.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("lucarne-test-")
                .tempdir()
                .expect("a temporary folder can be made"),
        )
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// The path of `name` in it, whether it exists or not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of these bytes.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        write_sparse(&mut &bytes[..], &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// A file of `len` zero bytes, none of them on the disk.
    pub fn zeros(&self, name: &str, len: u64) -> PathBuf {
        let path = self.path(name);
        File::create(&path)
            .and_then(|file| file.set_len(len))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// A copy of a file under another name.
    pub fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        File::open(from)
            .and_then(|mut source| write_sparse(&mut source, &path))
            .unwrap_or_else(|e| panic!("{} to {}: {e}", from.display(), path.display()));
        path
    }

    /// The names in the folder, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir())
            .expect("the folder is there")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

/// Writes all that `source` gives into a new file at `path`; zeros become holes. Returns the length in bytes.
///
/// # Errors
/// Those of reading and writing.
pub fn write_sparse(source: &mut dyn Read, path: &Path) -> io::Result<u64> {
    const CHUNK_LEN: usize = 64 * 1024;
    let mut file = File::create(path)?;
    let mut chunk = vec![0_u8; CHUNK_LEN];
    let mut len = 0_u64;
    loop {
        let filled = fill(source, &mut chunk)?;
        if filled == 0 {
            break;
        }
        let bytes = &chunk[..filled];
        if bytes.iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start(len))?;
            file.write_all(bytes)?;
        }
        len += filled as u64;
    }
    file.set_len(len)?;
    Ok(len)
}

/// Reads until `buffer` is full or the source ends.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_become_holes_and_read_back() {
        use std::os::unix::fs::MetadataExt as _;
        let scratch = Scratch::new();
        let mut bytes = vec![0_u8; 3 << 20];
        bytes[1 << 20] = 7;
        bytes.extend_from_slice(&[0; 100]);
        let path = scratch.file("sparse", &bytes);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(path.metadata().unwrap().blocks() * 512 < 1 << 20);
        assert_eq!(scratch.names(), ["sparse"]);
    }
}
