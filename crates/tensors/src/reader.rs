//! From the file's bytes into the caller's memory.

use lucarne_storage::{AlignedBuffer, ReadAt};
use rayon::prelude::*;

use crate::Error;
use crate::header::{self, Header, Tensor, Trailing};

/// Bytes that one thread reads at a time: large enough to be worth a task, small enough that the last ones are
/// shared.
const PIECE_LEN_BYTES: u64 = 2 << 20;

/// A safetensors file whose tensors are read on demand, each straight into the caller's buffer: the bytes are
/// decrypted there if the source is a volume, and nothing is written anywhere else.
///
/// ```
/// use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
/// use lucarne_tensors::{Tensors, Trailing};
///
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// # let image = MemoryStorage::with_len(2 << 20);
/// # lucarne::format(&image, None, b"an example", &options)?;
/// # let json = br#"{"bias":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#;
/// # let mut file = (json.len() as u64).to_le_bytes().to_vec();
/// # file.extend_from_slice(json);
/// # file.extend_from_slice(&[7, 8, 9]);
/// # let volume = Volume::open(&image, Secret::Passphrase(b"an example"))?;
/// # volume.write_at(&file, 0)?;
/// # drop(volume);
/// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// // A volume is as long as a device: the file ends before it does.
/// let tensors = Tensors::open(&volume, Trailing::Allowed)?;
/// let mut bias = [0; 3];
/// tensors.read("bias", &mut bias)?;
/// assert_eq!(bias, [7, 8, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tensors<R> {
    source: R,
    header: Header,
}

impl<R: ReadAt> Tensors<R> {
    /// Reads and checks the header; no tensor is read.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn open(source: R, trailing: Trailing) -> Result<Self, Error> {
        let header = Header::read(&source, trailing)?;
        Ok(Self { source, header })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The source.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`].
    pub fn tensor(&self, name: &str) -> Result<&Tensor, Error> {
        let tensor = self.header.tensor(name);
        tensor.ok_or_else(|| Error::NoSuchTensor {
            name: name.to_owned(),
        })
    }

    /// Fills `buf` with the bytes of a tensor, on the calling thread.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`]; [`Error::OutOfRange`] when `buf` is not exactly as long as the tensor;
    /// [`Error::Io`] from the source, after which the content of `buf` is unspecified.
    pub fn read(&self, name: &str, buf: &mut [u8]) -> Result<(), Error> {
        let tensor = self.tensor(name)?;
        fits(tensor, buf)?;
        header::load(&self.source, buf, tensor.range.start)
    }

    /// Fills `buf` with bytes of a tensor, from its byte `offset` on.
    ///
    /// # Errors
    /// As [`Self::read`], when they reach past the tensor's end.
    pub fn read_part(&self, name: &str, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let tensor = self.tensor(name)?;
        let end = offset.saturating_add(buf.len() as u64);
        if end > tensor.len() {
            return Err(out_of_range(tensor, offset..end));
        }
        header::load(&self.source, buf, tensor.range.start + offset)
    }

    /// As [`Self::read`], on all threads of `pool`.
    ///
    /// # Errors
    /// As [`Self::read`]; one of them, if several parts fail.
    pub fn read_on(
        &self,
        pool: &rayon::ThreadPool,
        name: &str,
        buf: &mut [u8],
    ) -> Result<(), Error> {
        self.read_many_on(pool, &mut [(name, buf)])
    }

    /// Fills the buffer of each tensor that is named, on all threads of `pool`: all of them together, so that many
    /// small ones are as fast as a large one.
    ///
    /// # Errors
    /// As [`Self::read`]; one of them, if several parts fail. Names and lengths are checked before anything is read.
    ///
    /// ```
    /// # use lucarne_tensors::{Tensors, Trailing};
    /// # let json = br#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}"#;
    /// # let mut file = (json.len() as u64).to_le_bytes().to_vec();
    /// # file.extend_from_slice(json);
    /// # file.extend_from_slice(&[7, 8, 9, 10]);
    /// let tensors = Tensors::open(file, Trailing::Refused)?;
    /// let pool = rayon::ThreadPoolBuilder::new().build()?;
    /// let (mut a, mut b) = ([0; 3], [0; 1]);
    /// tensors.read_many_on(&pool, &mut [("b", &mut b), ("a", &mut a)])?;
    /// assert_eq!((a, b), ([7, 8, 9], [10]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_many_on(
        &self,
        pool: &rayon::ThreadPool,
        wanted: &mut [(&str, &mut [u8])],
    ) -> Result<(), Error> {
        let mut pieces = Vec::new();
        for (name, buf) in wanted {
            let tensor = self.tensor(name)?;
            fits(tensor, buf)?;
            let (mut rest, mut offset) = (&mut **buf, tensor.range.start);
            while !rest.is_empty() {
                // Cut at multiples from the file's start, so that no two pieces share a sector.
                let to_border = PIECE_LEN_BYTES - offset % PIECE_LEN_BYTES;
                let len = rest.len().min(to_border as usize);
                let (piece, after) = rest.split_at_mut(len);
                pieces.push((piece, offset));
                (rest, offset) = (after, offset + len as u64);
            }
        }
        pool.install(|| {
            pieces
                .into_par_iter()
                .try_for_each(|(piece, offset)| header::load(&self.source, piece, offset))
        })
    }

    /// A buffer for a tensor, at an address that is a multiple of 4096, so that any element type, any vector unit
    /// and direct I/O accept it.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`]; [`Error::Io`] ([`std::io::ErrorKind::OutOfMemory`]) when the tensor is longer than this
    /// machine's addresses reach.
    ///
    /// # Panics
    /// As any allocation, where there is no such memory.
    pub fn buffer(&self, name: &str) -> Result<AlignedBuffer, Error> {
        let tensor = self.tensor(name)?;
        let len = usize::try_from(tensor.len())
            .ok()
            .filter(|&len| len <= isize::MAX as usize - lucarne_storage::DIRECT_ALIGNMENT);
        let len = len.ok_or_else(|| Error::Io {
            offset: tensor.range.start,
            len: tensor.len(),
            source: std::io::ErrorKind::OutOfMemory.into(),
        })?;
        Ok(AlignedBuffer::zeroed(len))
    }
}

fn fits(tensor: &Tensor, buf: &[u8]) -> Result<(), Error> {
    if buf.len() as u64 == tensor.len() {
        return Ok(());
    }
    Err(out_of_range(tensor, 0..buf.len() as u64))
}

fn out_of_range(tensor: &Tensor, asked: std::ops::Range<u64>) -> Error {
    Error::OutOfRange {
        name: tensor.name.clone(),
        len: tensor.len(),
        asked,
    }
}
