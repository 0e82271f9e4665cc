//! Restartable sequences (rseq(2), kernel/rseq.c).
//!
//! A thread may be stopped inside a critical section that it expects to be aborted when it is
//! preempted. The kernel finds that out by its instruction pointer, so a thread that ran the stub
//! in between would go on in the middle of the section unaborted. It has to be aborted as the
//! kernel does it: clear the section's descriptor and continue at its abort handler.

use std::io;

use crate::arch;
use crate::memory::Memory;
use crate::sys::{Registers, Rseq};

/// Offset of `rseq_cs` in `struct rseq` (include/uapi/linux/rseq.h).
const DESCRIPTOR: u64 = 8;
/// Offsets in `struct rseq_cs`.
const START: usize = 8;
const LENGTH: usize = 16;
const ABORT: usize = 24;
/// Bytes of a `struct rseq_cs`.
const SIZE: usize = 32;

/// A critical section that a thread is in.
#[derive(Debug)]
pub(crate) struct Section {
    /// The address of the word that names its descriptor.
    word: u64,
    abort: u64,
}

/// The critical section that a thread with these `registers` is in, if any.
///
/// # Errors
/// When the thread's memory can't be read, or the signature before the abort handler is not the
/// registered one; the kernel would end the process for that.
pub(crate) fn find(
    registers: &Registers,
    memory: &Memory,
    rseq: Rseq,
) -> io::Result<Option<Section>> {
    let word = rseq.address + DESCRIPTOR;
    let mut descriptor = [0; 8];
    memory.read_exact(word, &mut descriptor)?;
    let descriptor = u64::from_ne_bytes(descriptor);
    if descriptor == 0 {
        return Ok(None);
    }
    let mut section = [0; SIZE];
    memory.read_exact(descriptor, &mut section)?;
    let field = |offset: usize| {
        let bytes = section[offset..].first_chunk().copied();
        bytes.map_or(0, u64::from_ne_bytes)
    };
    let ip = arch::instruction_pointer(registers);
    if ip.wrapping_sub(field(START)) >= field(LENGTH) {
        return Ok(None);
    }
    let abort = field(ABORT);
    let mut signature = [0; 4];
    memory.read_exact(abort.wrapping_sub(4), &mut signature)?;
    if u32::from_ne_bytes(signature) != rseq.signature {
        return Err(io::Error::other(
            "a restartable sequence has another signature than its thread",
        ));
    }
    Ok(Some(Section { word, abort }))
}

impl Section {
    /// Has the thread go on at the abort handler.
    pub(crate) fn leave(&self, registers: &mut Registers) {
        arch::set_instruction_pointer(registers, self.abort);
    }

    /// Clears the descriptor, which comes after the registers are set: a thread that goes on in
    /// the section without one would not be aborted.
    pub(crate) fn clear(&self, memory: &Memory) -> io::Result<()> {
        memory.write_word(self.word, 0)
    }
}
