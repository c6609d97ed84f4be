//! The header of a file that somebody else made.

use lucarne_storage::Storage;
use serde_json::{Map, Value};

use super::{Checkpoint, Tensor};
use crate::Error;

/// A longer header is refused: the format's own readers refuse it too.
pub const MAX_HEADER_LEN_BYTES: u64 = 100_000_000;

/// Reads where a safetensors file's tensors lie. `file` is its name, for messages.
///
/// # Errors
/// [`Error::Weights`] names the member, its value and the limit.
pub fn read(storage: &dyn Storage, file: &str) -> Result<Checkpoint, Error> {
    parse(storage).map_err(|fault| Error::Weights {
        file: file.to_owned(),
        fault,
    })
}

fn parse(storage: &dyn Storage) -> Result<Checkpoint, String> {
    let io = |error: std::io::Error| error.to_string();
    let len_bytes = storage.len().map_err(io)?;
    let mut first = [0; 8];
    if len_bytes < 8 {
        return Err(format!("not safetensors: {len_bytes} bytes are no header"));
    }
    storage.read_at(&mut first, 0).map_err(io)?;
    let text_len = u64::from_le_bytes(first);
    if text_len > MAX_HEADER_LEN_BYTES || text_len > len_bytes - 8 {
        return Err(format!(
            "not safetensors: its header would be {text_len} bytes, of a file of {len_bytes} bytes (at most {MAX_HEADER_LEN_BYTES})"
        ));
    }
    // Within the limit, so it fits.
    let mut header = vec![0; 8 + text_len as usize];
    storage.read_at(&mut header, 0).map_err(io)?;
    let object: Map<String, Value> =
        serde_json::from_slice(&header[8..]).map_err(|error| format!("header: {error}"))?;
    let data_len = len_bytes - 8 - text_len;
    let mut tensors = Vec::new();
    for (name, entry) in &object {
        if name == "__metadata__" {
            continue;
        }
        let bad = |member: &str| format!("tensor {:?}: no {member}", shortened(name));
        let offsets = entry["data_offsets"]
            .as_array()
            .ok_or_else(|| bad("data_offsets"))?;
        let number = |place: usize| offsets.get(place).and_then(Value::as_u64);
        let (Some(start), Some(end)) = (number(0), number(1)) else {
            return Err(bad("two data_offsets"));
        };
        if start > end || end > data_len {
            return Err(format!(
                "tensor {:?}: data_offsets {start} to {end} of {data_len} bytes of data",
                shortened(name)
            ));
        }
        let shape = entry["shape"].as_array().ok_or_else(|| bad("shape"))?;
        let shape: Option<Vec<u64>> = shape.iter().map(Value::as_u64).collect();
        tensors.push(Tensor {
            name: name.clone(),
            dtype: entry["dtype"]
                .as_str()
                .ok_or_else(|| bad("dtype"))?
                .to_owned(),
            shape: shape.ok_or_else(|| bad("shape of whole numbers"))?,
            // Both at most the file's length.
            range: 8 + text_len + start..8 + text_len + end,
        });
    }
    tensors.sort_by_key(|tensor| tensor.range.start);
    if let Some([one, other]) = tensors
        .array_windows()
        .find(|[one, other]| one.range.end > other.range.start)
    {
        return Err(format!(
            "tensors {:?} and {:?} share bytes",
            shortened(&one.name),
            shortened(&other.name)
        ));
    }
    Ok(Checkpoint {
        header,
        tensors,
        len_bytes,
    })
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use lucarne_storage::MemoryStorage;

    use super::*;

    fn fault(header: &str, data_len: usize) -> String {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data_len, 0);
        let storage = MemoryStorage::with_len(bytes.len());
        storage.write_at(&bytes, 0).unwrap();
        match read(&storage, "x") {
            Ok(_) => "none".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn lies_are_named() {
        let tensor = |offsets: &str| {
            format!(r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}}}"#)
        };
        assert_eq!(fault(&tensor("[0,4]"), 4), "none");
        assert!(fault(&tensor("[0,5]"), 4).contains("0 to 5 of 4"));
        assert!(fault(&tensor("[4,0]"), 4).contains("4 to 0"));
        assert!(fault(&tensor("[0]"), 4).contains("two data_offsets"));
        assert!(fault("[", 4).contains("header"));
        let two = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
        assert!(fault(two, 4).contains("share bytes"));
        let storage = MemoryStorage::with_len(16);
        storage.write_at(&u64::MAX.to_le_bytes(), 0).unwrap();
        assert!(
            read(&storage, "x")
                .unwrap_err()
                .to_string()
                .contains("of a file of 16 bytes")
        );
        assert!(
            read(&MemoryStorage::with_len(3), "x")
                .unwrap_err()
                .to_string()
                .contains("3 bytes")
        );
    }
}
