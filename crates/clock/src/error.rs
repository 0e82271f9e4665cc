//! Errors.

use core::fmt;

/// Why a number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A counter of 0 Hz, or one whose tick is too long.
    Frequency,
    /// A frequency correction above one tenth.
    Correction,
    /// A promise of less than a tick, or of 2⁶² ticks or more.
    Promise,
    /// An earlier change of course has not happened yet.
    Pending,
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Frequency => "the counter's frequency is 0 Hz, or a tick is longer than 10⁹ ns",
            Self::Correction => "the frequency correction is over one tenth",
            Self::Promise => "the promise is shorter than a tick or longer than 2⁶² ticks",
            Self::Pending => "an earlier change of course has not happened yet",
        })
    }
}

impl core::error::Error for Error {}
