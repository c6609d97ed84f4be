//! Tensors out of [safetensors](https://github.com/huggingface/safetensors) files, from whatever can be read by
//! position ([`lucarne_storage::ReadAt`]): the plaintext of a volume, a file in a file system inside of one, a bare
//! file, memory.
//!
//! | to | use |
//! |---|---|
//! | list the tensors | [`Header::read`], [`Header::tensors`] |
//! | read one | [`Tensors::read`], [`Tensors::read_part`] |
//! | read one or many with many threads | [`Tensors::read_on`], [`Tensors::read_many_on`] |
//! | have a buffer to read into | [`Tensors::buffer`] |
//!
//! A file is untrusted: its header is bounded before it is read, and checked before anything is read by it. What the
//! reference implementation refuses is refused.
#![forbid(unsafe_code)]

mod dtype;
mod error;
mod header;
mod json;
mod reader;

pub use dtype::{Dtype, UnknownDtype};
pub use error::{Error, Malformed};
pub use header::{Header, Tensor, Trailing};
pub use reader::Tensors;

pub use lucarne_storage::{AlignedBuffer, ReadAt};
