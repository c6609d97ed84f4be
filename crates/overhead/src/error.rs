//! [`Error`].

use std::io;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for cannot be done here; nothing was written.
    #[error("{0}")]
    Refused(String),
    /// More memory than there is.
    #[error("{0}")]
    Memory(String),
    /// The weights given are not safetensors, or a file of them is not what its header says.
    #[error("{file}: {fault}")]
    Weights {
        /// Which file.
        file: String,
        /// What is the matter.
        fault: String,
    },
    /// The system.
    #[error("{what}")]
    Io {
        /// What was done.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The volume.
    #[error("{what}")]
    Volume {
        /// What was done.
        what: String,
        /// What the library says.
        source: lucarne::Error,
    },
    /// Stopped by [`crate::Control::interrupt`].
    #[error("interrupted; nothing of the run is left behind")]
    Interrupted,
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn volume(what: &'static str) -> impl FnOnce(lucarne::Error) -> Self {
        move |source| match source {
            lucarne::Error::Interrupted => Self::Interrupted,
            source => Self::Volume {
                what: what.to_owned(),
                source,
            },
        }
    }
}
