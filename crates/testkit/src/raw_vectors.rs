//! Sectors written through the kernel's dm-crypt with no header, where a file of them is at hand:
//! `raw-vectors.json`, beside the images of [`crate::ground_truth`].

use serde_json::Value;

use crate::{ground_truth, payload};

const FILE: &str = "raw-vectors.json";
/// All that one table of 32 sectors maps.
const PLAINTEXT_BYTES: usize = 32 * 512;

/// A table's ciphertext, as its hash and its ends.
#[derive(Debug, Clone)]
pub struct RawVector {
    entry: Value,
    key: Vec<u8>,
}

/// The vectors, or nothing with a line on standard error that says so.
///
/// # Panics
/// If the file is there and cannot be read, or [`ground_truth::FOLDER_VARIABLE`] names a folder without it.
pub fn all_or_skip(what: &str) -> Vec<RawVector> {
    let Some(path) = ground_truth::file_or_skip(FILE, what) else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let value: Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let entries = value["vectors"].as_array().expect("the file lists vectors");
    entries.iter().map(RawVector::new).collect()
}

/// The plaintext of all of them.
pub fn plaintext() -> Vec<u8> {
    payload::stream("rawplain", PLAINTEXT_BYTES)
}

impl RawVector {
    fn new(entry: &Value) -> Self {
        let key_bytes = entry["key_bytes"]
            .as_u64()
            .expect("a vector has a key's length");
        let key_bytes = usize::try_from(key_bytes).expect("a key's length");
        Self {
            entry: entry.clone(),
            key: payload::stream("rawkey", key_bytes),
        }
    }

    fn text(&self, field: &str) -> &str {
        self.entry[field]
            .as_str()
            .unwrap_or_else(|| panic!("a vector has {field}"))
    }

    /// Its number in the file.
    pub fn id(&self) -> u64 {
        self.entry["id"].as_u64().expect("a vector has a number")
    }

    /// The sector cipher in dm-crypt's notation.
    pub fn cipher(&self) -> &str {
        self.text("cipher")
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What is added to the number of each sector.
    pub fn iv_offset(&self) -> u64 {
        self.entry["iv_offset"]
            .as_u64()
            .expect("a vector has an IV offset")
    }

    /// The sector size in bytes.
    pub fn sector_bytes(&self) -> u32 {
        self.text("options")
            .split(' ')
            .find_map(|option| option.strip_prefix("sector_size:"))
            .map_or(512, |bytes| bytes.parse().expect("a sector size"))
    }

    /// Whether IVs count sectors whatever their size, rather than 512-byte units.
    pub fn counts_sectors(&self) -> bool {
        self.text("options")
            .split(' ')
            .any(|option| option == "iv_large_sectors")
    }

    /// Compares a ciphertext with the vector.
    ///
    /// # Errors
    /// What differs, in words.
    pub fn check(&self, ciphertext: &[u8]) -> Result<(), String> {
        let first = payload::hex(ciphertext.first_chunk::<64>().ok_or("too short")?);
        let last = payload::hex(ciphertext.last_chunk::<64>().ok_or("too short")?);
        for (what, actual, field) in [
            ("the first 64 bytes", first, "ct_first64"),
            ("the last 64 bytes", last, "ct_last64"),
            ("the hash", payload::sha256_hex(ciphertext), "ct_sha256"),
        ] {
            if actual != self.text(field) {
                return Err(format!("{what}: {actual}, not {}", self.text(field)));
            }
        }
        Ok(())
    }
}
