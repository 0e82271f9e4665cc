//! What has to be known of the kernel: offsets, numbers, instructions.
#![allow(
    missing_docs,
    reason = "each is called as it is in the kernel's headers"
)]

// Written by the kernel's make, from its headers.
#[cfg(vdsokit_kernel)]
include!(env!("VDSOKIT_CLOCK_FACTS"));

#[cfg(test)]
pub(crate) use crate::tests::facts::*;
