//! The header: which tensors there are, and where.
//!
//! ```text
//! byte 0     header length N, 64 bits, little endian
//! byte 8     N bytes of JSON, UTF-8, beginning with {, padded with spaces
//! byte 8+N   the tensors, one behind the other, without holes, to the end of the file
//! ```
//!
//! Source: the section "Format" of the README of safetensors 0.8, and what its reference implementation refuses.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use lucarne_storage::ReadAt;

use crate::error::MalformedKind;
use crate::json::{self, ListedTensor};
use crate::{Dtype, Error};

/// Bytes of the header's length.
const LENGTH_LEN: u64 = 8;

/// What may lie behind the last tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trailing {
    /// Nothing: the length is a file's.
    #[default]
    Refused,
    /// Anything: the length is that of a device, which the file need not fill.
    Allowed,
}

/// A tensor as the header describes it, checked: its range lies in the file and is as long as its shape says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, the slowest first; none for a single element.
    pub shape: Vec<u64>,
    /// Where its bytes lie, from the file's start.
    pub range: Range<u64>,
}

impl Tensor {
    /// Bytes of the tensor.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

/// A checked header.
///
/// ```
/// use lucarne_tensors::{Dtype, Header, Trailing};
/// let json = br#"{"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
/// let mut file = (json.len() as u64).to_le_bytes().to_vec();
/// file.extend_from_slice(json);
/// file.extend_from_slice(&[0; 8]);
/// let header = Header::read(&file, Trailing::Refused)?;
/// let bias = header.tensor("bias").unwrap();
/// assert_eq!((bias.dtype, bias.shape.as_slice(), bias.len()), (Dtype::F32, [2].as_slice(), 8));
/// # Ok::<(), lucarne_tensors::Error>(())
/// ```
#[derive(Debug)]
pub struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<Tensor>,
    by_name: HashMap<String, usize>,
    data: Range<u64>,
}

impl Header {
    /// The longest header that is read, in bytes: the reference implementation's limit.
    pub const MAX_LEN: u64 = 100_000_000;

    /// Reads and checks the header of the safetensors file `source`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for whatever the reference implementation refuses, and for what it lets pass though
    /// it cannot be meant: a name or a member that occurs twice, a header that does not begin with a brace, more
    /// than 64 dimensions. [`Error::Io`] from the source.
    pub fn read(source: &dyn ReadAt, trailing: Trailing) -> Result<Self, Error> {
        let file_len = source
            .len_bytes()
            .map_err(|source| Error::io(0, 0, source))?;
        if file_len < LENGTH_LEN {
            return Err(MalformedKind::TooShort { len: file_len }.into());
        }
        let mut len = [0; LENGTH_LEN as usize];
        read(source, &mut len, 0)?;
        let len = u64::from_le_bytes(len);
        if len > Self::MAX_LEN {
            let limit = Self::MAX_LEN;
            return Err(MalformedKind::HeaderTooLong { len, limit }.into());
        }
        if len > file_len - LENGTH_LEN {
            return Err(MalformedKind::HeaderPastEnd { len, file_len }.into());
        }
        // At most MAX_LEN, and there in the file.
        let mut json = vec![0; len as usize];
        read(source, &mut json, LENGTH_LEN)?;
        Self::parse(&json, file_len, trailing)
    }

    /// As [`Self::read`], of the bytes of the JSON, for a file of `file_len` bytes.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(json: &[u8], file_len: u64, trailing: Trailing) -> Result<Self, Error> {
        if json.first() != Some(&b'{') {
            return Err(MalformedKind::NoBrace.into());
        }
        let text = std::str::from_utf8(json).map_err(|error| MalformedKind::NotUtf8 {
            at: error.valid_up_to(),
        })?;
        let listed = json::parse(text).map_err(MalformedKind::Json)?;
        let data_start = (json.len() as u64).saturating_add(LENGTH_LEN);
        let data_len = file_len.checked_sub(data_start);
        let data_len = data_len.ok_or(MalformedKind::HeaderPastEnd {
            len: json.len() as u64,
            file_len,
        })?;
        let mut names = HashSet::with_capacity(listed.tensors.len());
        if let Some(twice) = listed
            .tensors
            .iter()
            .find(|tensor| !names.insert(tensor.name.as_str()))
        {
            let name = twice.name.clone();
            return Err(MalformedKind::Duplicate { name }.into());
        }
        drop(names);
        let (tensors, end) = placed(listed.tensors, data_start, data_len)?;
        if trailing == Trailing::Refused && end < file_len {
            let len = file_len - end;
            return Err(MalformedKind::Trailing { end, len }.into());
        }
        let by_name = (0..).zip(&tensors);
        let by_name = by_name
            .map(|(index, tensor)| (tensor.name.clone(), index))
            .collect();
        Ok(Self {
            metadata: listed.metadata,
            tensors,
            by_name,
            data: data_start..end,
        })
    }

    /// The tensors in the order of their bytes.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).map(|&index| &self.tensors[index])
    }

    /// What the member `__metadata__` says.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Where the tensors lie, from the file's start; the end is the file's.
    pub fn data(&self) -> Range<u64> {
        self.data.clone()
    }
}

/// A tensor's bytes, or some of them.
pub(crate) fn load(source: &dyn ReadAt, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let len = buf.len();
    source
        .load_exact_at(buf, offset)
        .map_err(|source| Error::io(offset, len, source))
}

fn read(source: &dyn ReadAt, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let len = buf.len();
    source
        .read_exact_at(buf, offset)
        .map_err(|source| Error::io(offset, len, source))
}

/// The tensors in order, with their ranges in the file, and where the last one ends.
fn placed(
    mut listed: Vec<ListedTensor>,
    data_start: u64,
    data_len: u64,
) -> Result<(Vec<Tensor>, u64), MalformedKind> {
    listed.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
    let mut tensors: Vec<Tensor> = Vec::with_capacity(listed.len());
    let mut reached = 0;
    for tensor in listed {
        let ListedTensor { begin, end, .. } = tensor;
        let name = || tensor.name.clone();
        if begin > end {
            let name = name();
            return Err(MalformedKind::Backwards { name, begin, end });
        }
        if end > data_len {
            let name = name();
            return Err(MalformedKind::PastEnd {
                name,
                begin,
                end,
                data_len,
            });
        }
        if begin < reached {
            return Err(MalformedKind::Overlap {
                name: name(),
                begin,
                before: tensors
                    .last()
                    .map_or_else(String::new, |last| last.name.clone()),
                end: reached,
            });
        }
        if begin > reached {
            return Err(MalformedKind::Hole {
                name: name(),
                begin,
                from: reached,
            });
        }
        check_size(&tensor)?;
        reached = end;
        // No overflow: the data end where the file does.
        let range = data_start + begin..data_start + end;
        tensors.push(Tensor {
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape,
            range,
        });
    }
    Ok((tensors, data_start + reached))
}

fn check_size(tensor: &ListedTensor) -> Result<(), MalformedKind> {
    let name = || tensor.name.clone();
    let shape = || format!("{:?}", tensor.shape);
    let dtype = tensor.dtype.name();
    // In this order, as the reference does: an overflow before a zero is one.
    let elements = tensor
        .shape
        .iter()
        .try_fold(1_u64, |product, &dimension| product.checked_mul(dimension));
    let bits = elements.and_then(|elements| elements.checked_mul(tensor.dtype.bits()));
    let bits = bits.ok_or_else(|| MalformedKind::Overflow {
        name: name(),
        shape: shape(),
        dtype,
    })?;
    if !bits.is_multiple_of(8) {
        return Err(MalformedKind::PartOfByte {
            name: name(),
            shape: shape(),
            dtype,
            bits,
        });
    }
    let (expected, given) = (bits / 8, tensor.end - tensor.begin);
    if expected != given {
        return Err(MalformedKind::Size {
            name: name(),
            shape: shape(),
            dtype,
            expected,
            given,
        });
    }
    Ok(())
}
