//! What can go wrong for the caller (never for an event: bad events are rejections, see `reasons`).

use std::fmt;

/// An error of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreError {
    /// The spec, an option or an argument is not usable; the message names it.
    Invalid(String),
    /// A blob cannot be restored: damaged, of another version, or made with another hash key.
    Blob(String),
    /// What is left of a cold chunk cannot be used: damaged, or made with another hash key.
    Chunk(String),
    /// The call has to wait for another one; the message says for which.
    NotNow(String),
    /// A sum would pass 2^64 - 1. Nothing of the call was counted: flush, and call again.
    SumOverflow { measure: String },
    /// An Arrow batch or a filter could not be built.
    Output(String),
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreError::Invalid(message) | CoreError::NotNow(message) => f.write_str(message),
            CoreError::Blob(message) => write!(f, "the blob cannot be restored: {message}"),
            CoreError::Chunk(message) => write!(f, "the chunk cannot be set: {message}"),
            CoreError::SumOverflow { measure } => write!(
                f,
                "the sum of {measure} in one group would pass 2^64 - 1; nothing of this call was counted: flush, then ingest again"
            ),
            CoreError::Output(message) => write!(f, "the core could not write its output: {message}"),
        }
    }
}

impl std::error::Error for CoreError {}
