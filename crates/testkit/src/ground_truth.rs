//! Larger images made through the kernel's dm-crypt, where a folder of them is at hand.
//!
//! The folder is named by `LUCARNE_GROUND_TRUTH`, or is `../shared/images` beside the checkout. Its
//! `manifest.json` tells each image's passphrase and its plaintext's hash, whole and in pieces of 64 KiB.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::payload;
use crate::scratch::{Scratch, write_sparse};

/// Names the folder.
pub const FOLDER_VARIABLE: &str = "LUCARNE_GROUND_TRUTH";

/// An image made through dm-crypt.
#[derive(Debug, Clone)]
pub struct Truth {
    /// Its name, `xts512-ss4096`.
    pub name: String,
    folder: PathBuf,
    entry: Value,
}

/// The images, or nothing with a line on standard error that says so.
///
/// # Panics
/// If the folder is there and its manifest cannot be read, or the variable names a folder that is not there.
pub fn all_or_skip(what: &str) -> Vec<Truth> {
    let Some(manifest) = file_or_skip("manifest.json", what) else {
        return Vec::new();
    };
    let folder = manifest.parent().expect("a file lies in a folder");
    let file = File::open(&manifest).unwrap_or_else(|e| panic!("{}: {e}", manifest.display()));
    let value: Value = serde_json::from_reader(BufReader::new(file))
        .unwrap_or_else(|e| panic!("{}: {e}", manifest.display()));
    let images = value["images"]
        .as_array()
        .expect("the manifest lists images");
    images
        .iter()
        .map(|entry| Truth {
            name: entry["name"]
                .as_str()
                .expect("an image has a name")
                .to_owned(),
            folder: folder.to_owned(),
            entry: entry.clone(),
        })
        .collect()
}

/// The path of a file of the folder, or none with a line on standard error that says so.
pub(crate) fn file_or_skip(name: &str, what: &str) -> Option<PathBuf> {
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let folder = named
        .clone()
        .unwrap_or_else(|| crate::workspace_root().join("../shared/images"));
    let path = folder.join(name);
    if named.is_none() && !path.exists() {
        eprintln!(
            "skipped: {what}: no folder of images made through dm-crypt ({FOLDER_VARIABLE} is not set, {} is not there)",
            path.display()
        );
        return None;
    }
    Some(path)
}

impl Truth {
    /// `luks1` or `luks2`.
    pub fn kind(&self) -> &str {
        self.entry["type"].as_str().expect("an image has a type")
    }

    /// The options of luksFormat that it was made with.
    pub fn options(&self) -> &str {
        self.entry["luksFormat_options"]
            .as_str()
            .unwrap_or_default()
    }

    /// The sector cipher that dm-crypt ran, `aes-xts-plain64`.
    pub fn cipher(&self) -> &str {
        let table = self.entry["dm_table"]["crypt"]
            .as_str()
            .expect("the manifest has the table");
        table.split(' ').nth(3).expect("a crypt table has a cipher")
    }

    /// Whether it carries authentication tags.
    pub fn has_integrity(&self) -> bool {
        self.options().contains("--integrity")
    }

    /// The passphrase: the bytes of a key file.
    pub fn passphrase(&self) -> &[u8] {
        self.entry["passphrase"]
            .as_str()
            .expect("an image has a passphrase")
            .as_bytes()
    }

    /// The hash of its whole plaintext.
    pub fn plaintext_sha256(&self) -> &str {
        self.entry["payload_sha256"]
            .as_str()
            .expect("an image has a plaintext")
    }

    /// The files of the file system in it, each with its hash; none where it holds no file system.
    pub fn files(&self) -> Vec<(String, String)> {
        let files = self.entry["contents"]["files_sha256"].as_object();
        let hash = |hash: &Value| hash.as_str().expect("a file has a hash").to_owned();
        files
            .into_iter()
            .flatten()
            .map(|(path, sha256)| (path.clone(), hash(sha256)))
            .collect()
    }

    /// The manifest's entry, for what has no name here.
    pub fn entry(&self) -> &Value {
        &self.entry
    }

    /// Unpacks the image.
    ///
    /// # Panics
    /// If it is missing or damaged.
    pub fn unpack(&self, scratch: &Scratch) -> PathBuf {
        let packed = self
            .folder
            .join(self.entry["file"].as_str().expect("an image has a file"));
        let image = scratch.path(&format!("{}.img", self.name));
        let file = File::open(&packed).unwrap_or_else(|e| panic!("{}: {e}", packed.display()));
        let mut decoder = lzma_rust2::XzReader::new(BufReader::new(file), true);
        write_sparse(&mut decoder, &image).unwrap_or_else(|e| panic!("{}: {e}", packed.display()));
        image
    }

    /// Compares a plaintext with the manifest; the error names the first piece that differs.
    ///
    /// # Errors
    /// What differs first, in words.
    pub fn check_plaintext(&self, plaintext: &Path) -> Result<(), String> {
        let bytes =
            std::fs::read(plaintext).map_err(|e| format!("{}: {e}", plaintext.display()))?;
        if Some(bytes.len() as u64) != self.entry["payload_size"].as_u64() {
            return Err(format!(
                "{} bytes, not {}",
                bytes.len(),
                self.entry["payload_size"]
            ));
        }
        let chunk_len: usize = self.entry["payload_chunk_size"]
            .as_u64()
            .and_then(|len| len.try_into().ok())
            .ok_or("the manifest has no chunk size")?;
        let hashes = self.entry["payload_chunk_sha256_16"]
            .as_array()
            .ok_or("no chunk hashes")?;
        for (index, (chunk, hash)) in bytes.chunks(chunk_len).zip(hashes).enumerate() {
            if Some(&payload::sha256_hex(chunk)[..16]) != hash.as_str() {
                return Err(format!(
                    "the {chunk_len} bytes at {} differ",
                    index * chunk_len
                ));
            }
        }
        if Some(payload::sha256_hex(&bytes).as_str()) != self.entry["payload_sha256"].as_str() {
            return Err("the pieces agree and the whole does not".to_owned());
        }
        Ok(())
    }
}
