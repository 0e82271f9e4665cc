//! Random bytes without a system call.
#![no_std]

pub mod chacha;
mod fill;
mod generation;
pub mod page;
mod state;

pub use fill::{Request, getrandom};
pub use generation::{Generation, Reseeds};
pub use state::{Parameters, State};
