//! The gate and the frames: code and data in each program, through which a converted call is
//! made.
//!
//! - The gate is a page of code, the same in every process.
//! - The frames, [`FRAMES`] of [`FRAME`] bytes, and a spare one, are private to each memory.
//!
//! A converted call is entered at the entry for the argument register that holds its frame. The
//! frame's first bytes are the converted time, so the register serves the kernel as an argument
//! and the gate as the frame's address. Frames are numbered across the tree, so that threads of
//! processes that share memory (vfork(2)) never share one.

use std::ops::Range;

use crate::arch;
pub use crate::arch::{CALL, PAGE};
use crate::filter::Exempt;

/// Bytes of a frame.
pub const FRAME: u64 = 256;
/// How many frames there are.
pub const FRAMES: u64 = 4095;

/// Offset in a frame: the converted time that the call is made with, up to four words.
pub const NEW: u64 = 0;
/// Offset in a frame: where a call leaves a time of four words.
pub const OLD: u64 = 32;
/// Offset in a frame: a number that names the call while it is under way, then 0.
pub const USED: u64 = 64;
/// Offset in a frame: where the gate goes on, the instruction behind the program's own call.
pub const RETURN: u64 = 72;
/// Offset in a frame: the six arguments of the program's own call.
pub const ARGUMENTS: u64 = 80;
/// Offset in a frame: what the gate returns for [`Then::Report`].
pub const RESULT: u64 = 128;
/// Offset in a frame: the number of the program's own call, by which the gate reports. On AArch64 it
/// is in a register that calls preserve, and the gate restores that.
pub const REPORT_NUMBER: u64 = 136;

/// Where gate and frames lie, the same in each process of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    start: u64,
    frames: u64,
    /// What differs between kinds of programs.
    kind: Kind,
}

/// For which programs a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Those of the architecture.
    Native,
    /// 32-bit programs on x86-64.
    #[cfg(target_arch = "x86_64")]
    I386,
}

/// What the gate does behind a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It returns the call's result.
    Return,
    /// It reports the result to the listener, and returns what that leaves in the frame.
    Report,
}

/// What is written into a frame before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// See [`NEW`].
    pub new: [i64; 4],
    /// See [`USED`]; not 0.
    pub used: u64,
    /// See [`RETURN`].
    pub ret: u64,
    /// See [`ARGUMENTS`].
    pub arguments: [u64; 6],
    /// See [`REPORT_NUMBER`].
    pub report_number: u64,
}

impl Frame {
    /// Its bytes, from the frame's start.
    pub fn bytes(&self) -> Vec<u8> {
        let mut words = [0u64; 18];
        for (word, new) in words.iter_mut().zip(self.new) {
            *word = new as u64;
        }
        words[USED as usize / 8] = self.used;
        words[RETURN as usize / 8] = self.ret;
        words[ARGUMENTS as usize / 8..][..6].copy_from_slice(&self.arguments);
        words[REPORT_NUMBER as usize / 8] = self.report_number;
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

impl Gate {
    /// Bytes of all frames.
    pub const FRAMES_LENGTH: u64 = FRAME * (FRAMES + 1);

    /// The gate at `start` with its frames at `frames`, both addresses of pages.
    pub fn at(start: u64, frames: u64) -> Gate {
        Gate {
            start,
            frames,
            kind: Kind::Native,
        }
    }

    /// The same for 32-bit programs on x86-64.
    #[cfg(target_arch = "x86_64")]
    pub fn i386_at(start: u64, frames: u64) -> Gate {
        Gate {
            kind: Kind::I386,
            ..Gate::at(start, frames)
        }
    }

    /// Whether it is for 32-bit programs on x86-64.
    pub fn is_i386(&self) -> bool {
        self.kind != Kind::Native
    }

    /// The code of such a gate; what follows in its page is 0.
    #[cfg(target_arch = "x86_64")]
    pub fn i386_code() -> &'static [u8] {
        arch::i386::gate()
    }

    /// This gate's code.
    pub fn own_code(&self) -> &'static [u8] {
        match self.kind {
            Kind::Native => Gate::code(),
            #[cfg(target_arch = "x86_64")]
            Kind::I386 => Gate::i386_code(),
        }
    }

    /// The gate's code; what follows in its page is 0.
    pub fn code() -> &'static [u8] {
        arch::gate()
    }

    /// Call frame instructions (DWARF 5, 6.4.2) by which unwinders get from the gate's code to the
    /// program's own call. `None`: the architecture has no way to say so.
    pub fn call_frame() -> Option<Vec<u8>> {
        arch::call_frame()
    }

    /// Where its first byte is.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The addresses of its code.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + PAGE
    }

    /// What a filter is to let through.
    pub fn exempt(&self) -> Exempt {
        Exempt {
            gate: self.range(),
            report: self.start
                + match self.kind {
                    Kind::Native => arch::REPORTED,
                    #[cfg(target_arch = "x86_64")]
                    Kind::I386 => arch::i386::REPORTED,
                },
        }
    }

    /// The entry for a call whose argument `argument` (0 to 5) is its frame.
    pub fn door(&self, argument: usize, then: Then) -> u64 {
        self.start + arch::door(argument, then)
    }

    /// The address of frame `index`.
    pub fn frame(&self, index: usize) -> u64 {
        self.frames + FRAME * index as u64
    }

    /// The address of a frame that is no thread's, for a call that is made while its thread stands.
    pub fn spare(&self) -> u64 {
        self.frame(FRAMES as usize)
    }

    /// The frame that `address` is the start of.
    pub fn index(&self, address: u64) -> Option<usize> {
        let offset = address.checked_sub(self.frames)?;
        let is_one = offset % FRAME == 0 && offset / FRAME < FRAMES;
        is_one.then_some((offset / FRAME) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_by_its_address() {
        let gate = Gate::at(0x7e80_0000_0000, 0x7e80_0001_0000);
        for index in [0, 1, FRAMES as usize - 1] {
            assert_eq!(gate.index(gate.frame(index)), Some(index));
        }
        assert_eq!(gate.index(gate.spare()), None);
        assert_eq!(gate.index(gate.frame(1) + 8), None);
        assert_eq!(gate.index(0), None);
    }

    #[test]
    fn code_and_frame_fit() {
        assert!(Gate::code().len() < PAGE as usize);
        let frame = Frame {
            new: [1, 2, 0, 0],
            used: 3,
            ret: 4,
            arguments: [5, 6, 7, 8, 9, 10],
            report_number: 11,
        };
        let bytes = frame.bytes();
        assert!(bytes.len() as u64 <= FRAME);
        let word = |at: u64| u64::from_ne_bytes(bytes[at as usize..][..8].try_into().expect("8"));
        assert_eq!([word(NEW + 8), word(USED), word(RETURN)], [2, 3, 4]);
        assert_eq!([word(ARGUMENTS + 40), word(REPORT_NUMBER)], [10, 11]);
    }
}
