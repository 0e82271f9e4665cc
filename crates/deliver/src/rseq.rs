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

/// Aborts the critical section that a thread with these `registers` is in, if any.
///
/// # Errors
/// When the thread's memory can't be read or written, or the signature before the abort handler
/// is not the registered one; the kernel would end the process for that.
pub(crate) fn abort(registers: &mut Registers, memory: &Memory, rseq: Rseq) -> io::Result<()> {
    let at = rseq.address + DESCRIPTOR;
    let mut word = [0; 8];
    memory.read_exact(at, &mut word)?;
    let descriptor = u64::from_ne_bytes(word);
    if descriptor == 0 {
        return Ok(());
    }
    let mut section = [0; SIZE];
    memory.read_exact(descriptor, &mut section)?;
    let field = |offset: usize| {
        let bytes = section[offset..].first_chunk().copied();
        bytes.map_or(0, u64::from_ne_bytes)
    };
    let ip = arch::instruction_pointer(registers);
    if ip.wrapping_sub(field(START)) >= field(LENGTH) {
        return Ok(());
    }
    let mut signature = [0; 4];
    memory.read_exact(field(ABORT).wrapping_sub(4), &mut signature)?;
    if u32::from_ne_bytes(signature) != rseq.signature {
        return Err(io::Error::other(
            "a restartable sequence has another signature than its thread",
        ));
    }
    memory.write_word(at, 0)?;
    arch::set_instruction_pointer(registers, field(ABORT));
    Ok(())
}
