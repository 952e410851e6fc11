//! What can go wrong for the caller (never for an event: bad events are rejections, see `reasons`).

use std::fmt;

/// An error of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreError {
    /// The spec, an option or an argument is not usable; the message names it.
    Invalid(String),
    /// A blob cannot be restored: damaged, of another version, or made with another hash key.
    Blob(String),
    /// A sum would pass 2^64 - 1. Nothing of the call was counted: flush, and call again.
    SumOverflow { measure: String },
    /// An Arrow batch for the flush could not be built.
    Output(String),
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreError::Invalid(message) => f.write_str(message),
            CoreError::Blob(message) => write!(f, "the blob cannot be restored: {message}"),
            CoreError::SumOverflow { measure } => write!(
                f,
                "the sum of {measure} in one group would pass 2^64 - 1; nothing of this call was counted: flush, then ingest again"
            ),
            CoreError::Output(message) => write!(f, "the flush could not be written as Arrow: {message}"),
        }
    }
}

impl std::error::Error for CoreError {}
