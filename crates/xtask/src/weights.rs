//! A small safetensors file for the quick start: two layers of made-up weights.
//!
//! The format is a little-endian 64-bit length, that many bytes of JSON (padded with spaces to a multiple of
//! eight), and the tensors' bytes at the offsets that the JSON tells.

use anyhow::Result;
use serde_json::{Map, Value, json};

/// Name, shape, and data type of each tensor; F16 and BF16 take two bytes an element, F32 four.
const TENSORS: [(&str, &str, [usize; 2]); 5] = [
    ("embedding.weight", "BF16", [256, 64]),
    ("layers.0.attention.weight", "F16", [64, 192]),
    ("layers.0.mlp.weight", "F16", [64, 256]),
    ("layers.0.norm.weight", "F32", [1, 64]),
    ("output.weight", "BF16", [256, 64]),
];

/// Writes `testdata/weights/tiny.safetensors`.
pub(crate) fn run() -> Result<()> {
    let folder = lucarne_testkit::testdata().join("weights");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("tiny.safetensors");
    let bytes = safetensors();
    std::fs::write(&path, &bytes)?;
    println!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}

fn safetensors() -> Vec<u8> {
    let mut data = Vec::new();
    let mut header = Map::new();
    header.insert(
        "__metadata__".to_owned(),
        json!({"format": "pt", "note": "made-up weights for a quick start"}),
    );
    let mut random = Lcg(1);
    for (name, dtype, shape) in TENSORS {
        let start = data.len();
        for _ in 0..shape[0] * shape[1] {
            let weight = random.next_weight();
            match dtype {
                "F32" => data.extend_from_slice(&weight.to_le_bytes()),
                "BF16" => data.extend_from_slice(&bf16(weight).to_le_bytes()),
                _ => data.extend_from_slice(&f16(weight).to_le_bytes()),
            }
        }
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.to_owned(), entry);
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(&text);
    file.extend_from_slice(&data);
    file
}

/// Knuth's 64-bit linear congruential generator: the same file on every machine.
struct Lcg(u64);

impl Lcg {
    /// Roughly normal (the sum of four uniform numbers), of the size that trained weights have.
    fn next_weight(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let sixteen = u16::try_from(self.0 >> 48).expect("sixteen bits");
            sum += f32::from(sixteen) / 65_536.0 - 0.5;
        }
        sum * 0.05
    }
}

/// The upper half of a single-precision number.
fn bf16(value: f32) -> u16 {
    u16::try_from(value.to_bits() >> 16).expect("sixteen bits")
}

/// IEEE 754 half precision, towards zero; what is too small for a normal number becomes zero.
fn f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let exponent = (bits >> 23) & 0xff;
    let half = match exponent {
        0..=112 => sign,
        113..=142 => sign | ((exponent - 112) << 10) | ((bits >> 13) & 0x3ff),
        _ => sign | 0x7c00,
    };
    u16::try_from(half).expect("sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision() {
        assert_eq!(f16(1.0), 0x3c00);
        assert_eq!(f16(-2.5), 0xc100);
        assert_eq!(f16(0.0), 0);
        assert_eq!(bf16(1.0), 0x3f80);
    }

    #[test]
    fn the_committed_file_is_what_this_makes_and_is_well_formed() {
        let path = lucarne_testkit::testdata().join("weights/tiny.safetensors");
        let file = std::fs::read(&path).expect("the file is committed");
        assert!(file == safetensors(), "run: cargo xtask make-weights");
        let text_len = usize::try_from(u64::from_le_bytes(
            file[..8].try_into().expect("eight bytes"),
        ))
        .expect("fits");
        let header: Map<String, Value> =
            serde_json::from_slice(&file[8..8 + text_len]).expect("JSON");
        let end = header
            .values()
            .filter_map(|tensor| tensor["data_offsets"][1].as_u64())
            .max();
        assert_eq!(end, Some((file.len() - 8 - text_len) as u64));
    }
}
