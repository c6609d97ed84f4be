//! Files that somebody else made.

use lucarne_storage::FileStorage;
use lucarne_tensors::{Header, Trailing};

use super::Checkpoint;
use crate::Error;

/// Reads where a safetensors file's tensors lie. `file` is its name, for messages.
///
/// # Errors
/// [`Error::Weights`] names the member, its value and the limit.
pub fn read(storage: &FileStorage, file: &str) -> Result<Checkpoint, Error> {
    let fault = |fault: &dyn std::fmt::Display| Error::Weights {
        file: file.to_owned(),
        fault: fault.to_string(),
    };
    let header = Header::read(storage, Trailing::Refused).map_err(|error| fault(&error))?;
    let len_bytes = header.data().end;
    // The bytes of a given file's header are not needed: nothing of it is written anew.
    Ok(Checkpoint::new(Vec::new(), &header, len_bytes))
}
