//! Checkpoints: which tensors a file holds, and where.
//!
//! A safetensors file is eight bytes (the header's length, little endian), the header (a JSON object that names each
//! tensor's type, shape and place) and the tensors' bytes, one after the other without a gap.

mod generate;
mod read;
mod shapes;

pub use generate::generate;
pub use read::read;
pub use shapes::Model;

use lucarne_tensors::{Header, Tensor, Trailing};
use serde_json::{Map, Value, json};

/// One safetensors file's layout.
///
/// ```
/// use lucarne_overhead::weights::{Checkpoint, Model};
///
/// let file = Checkpoint::of_model(Model::Small, 16 << 20);
/// assert!(file.tensors.iter().any(|tensor| tensor.name == "model.embed_tokens.weight"));
/// assert!(file.len_bytes.abs_diff(16 << 20) < 1 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The header with the eight bytes before it, of a file that is to be made; empty of one that is there.
    pub header: Vec<u8>,
    /// The tensors in the order of their bytes.
    pub tensors: Vec<Tensor>,
    /// The file's length.
    pub len_bytes: u64,
}

/// The type of everything that is generated.
const DTYPE: &str = "BF16";
/// Its size.
const DTYPE_LEN_BYTES: u64 = 2;

impl Checkpoint {
    /// Lays tensors of bf16 numbers out one after the other.
    #[must_use]
    pub fn of_shapes(shapes: impl IntoIterator<Item = (String, Vec<u64>)>) -> Self {
        let mut object = Map::new();
        object.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut start = 0;
        for (name, shape) in shapes {
            let end = start + shape.iter().product::<u64>() * DTYPE_LEN_BYTES;
            let entry = json!({"dtype": DTYPE, "shape": shape, "data_offsets": [start, end]});
            object.insert(name, entry);
            start = end;
        }
        let mut text = Value::Object(object).to_string().into_bytes();
        // The tensors' bytes begin at a multiple of eight, which spaces bring about.
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut header = (text.len() as u64).to_le_bytes().to_vec();
        header.extend_from_slice(&text);
        let len_bytes = header.len() as u64 + start;
        // OK to expect: the names differ, and each tensor begins where the one before it ends.
        let parsed =
            Header::parse(&text, len_bytes, Trailing::Refused).expect("the header is well formed");
        Self::new(header, &parsed, len_bytes)
    }

    fn new(header: Vec<u8>, parsed: &Header, len_bytes: u64) -> Self {
        let mut tensors = parsed.tensors().to_vec();
        tensors.sort_by_key(|tensor| tensor.range.start);
        Self {
            header,
            tensors,
            len_bytes,
        }
    }

    /// The tensors of a model, as near to `len_bytes` as whole rows of its embedding allow.
    #[must_use]
    pub fn of_model(model: Model, len_bytes: u64) -> Self {
        Self::of_shapes(model.shapes(len_bytes))
    }

    /// Many tensors of 1 to 64 KiB, as adapters and mixtures of quantised blocks have.
    #[must_use]
    pub fn of_small_tensors(len_bytes: u64) -> Self {
        let mut random = crate::random::Random::new(11);
        let mut shapes = Vec::new();
        let mut sum = 0;
        while sum < len_bytes {
            let elements = 512 << random.below(7);
            sum += elements * DTYPE_LEN_BYTES;
            shapes.push((format!("adapter.{}.weight", shapes.len()), vec![elements]));
        }
        Self::of_shapes(shapes)
    }

    /// All tensors' bytes together.
    #[must_use]
    pub fn data_len_bytes(&self) -> u64 {
        self.tensors.iter().map(Tensor::len).sum()
    }
}
