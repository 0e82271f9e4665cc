//! The kernel's offsets, numbers and instructions.
#![allow(missing_docs, reason = "each has its name in the kernel's headers")]

// Written by the kernel's make, from its headers.
#[cfg(vdsokit_kernel)]
include!(env!("VDSOKIT_CLOCK_FACTS"));

#[cfg(test)]
pub(crate) use crate::tests::facts::*;
