//! The clock image, built for the tests, and a copy of it in this process.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

mod build;
pub(crate) mod counter;
mod loaded;

pub(crate) use build::image;
pub(crate) use loaded::{Calls, Loaded};
