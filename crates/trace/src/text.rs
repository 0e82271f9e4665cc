//! The wrappers of some functions: bytes to be mapped, and what has to lie behind them.
//!
//! | bytes from the start | what |
//! | --- | --- |
//! | 0 | the text: [`Text::bytes`], [`LENGTH`] bytes, private and executable |
//! | [`OWN_AT`] | a page of zeros that each address space has for itself, writable |
//! | [`SHARED_AT`] | the [`crate::buffer::Buffer`], shared and writable |

use std::ops::Range;

use crate::buffer::Buffer;
use crate::code::{self, DESCRIPTION, STUB};
use crate::function::{Failure, Written};
pub use crate::layout::FUNCTIONS;
use crate::layout::{FUNCTION_SHIFT, PAGE};

/// Bytes of a text.
pub const LENGTH: usize = 8 * PAGE;
/// Where the memory of each process's own lies.
pub const OWN_AT: usize = LENGTH;
/// Bytes of that memory.
pub const OWN_LENGTH: usize = PAGE;
/// Where the shared memory lies.
pub const SHARED_AT: usize = OWN_AT + OWN_LENGTH;

/// How the return address is found in a stretch of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the code lies.
    pub code: Range<usize>,
    /// How many bytes above the stack pointer the return address lies.
    pub above: usize,
}

/// What is to be wrapped.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The system call to make where there is no function.
    pub number: Option<u32>,
    /// How the function fails.
    pub failure: Failure,
    /// What it writes, at most two things.
    pub written: &'static [Written],
}

/// A text of wrappers.
#[derive(Debug)]
pub struct Text {
    /// Its bytes, fewer than [`LENGTH`].
    pub bytes: Vec<u8>,
    /// For each function its wrapper.
    pub wrappers: Vec<Range<usize>>,
    /// For each function the word that holds its address, or 0.
    pub words: Vec<usize>,
    /// For unwinders. Together they are all of the code.
    pub frames: Vec<Frame>,
}

/// The wrappers of `targets`, which have the numbers from 0 on, for `buffer`. `None`: there are more
/// than [`FUNCTIONS`].
#[must_use]
pub fn compose(targets: &[Target], buffer: &Buffer) -> Option<Text> {
    if targets.len() > FUNCTIONS {
        return None;
    }
    let mut bytes = code::code_for(buffer.capacity());
    let common = bytes.len();
    bytes.resize(common.next_multiple_of(16), 0xcc);
    let descriptions = bytes.len();
    for (index, target) in targets.iter().enumerate() {
        bytes.extend(description(index, target));
    }
    let stubs = bytes.len();
    for index in 0..targets.len() {
        bytes.extend(code::stub(
            stubs + index * STUB,
            descriptions + index * DESCRIPTION,
        ));
    }
    let wrapper = |index| {
        let at = stubs + index * STUB;
        at..at + STUB
    };
    let mut frames = Vec::new();
    let mut at = 0;
    for framed in code::framed() {
        frames.push(Frame {
            code: at..framed.start,
            above: 0,
        });
        at = framed.end;
        frames.push(Frame {
            code: framed,
            above: code::FRAME,
        });
    }
    frames.push(Frame {
        code: stubs..bytes.len(),
        above: 0,
    });
    frames.retain(|frame| !frame.code.is_empty());
    Some(Text {
        bytes,
        wrappers: (0..targets.len()).map(wrapper).collect(),
        words: (0..targets.len())
            .map(|index| descriptions + index * DESCRIPTION + code::TARGET)
            .collect(),
        frames,
    })
}

fn description(index: usize, target: &Target) -> [u8; DESCRIPTION] {
    let mut bytes = [0; DESCRIPTION];
    let number = (index as u64) << FUNCTION_SHIFT;
    bytes[code::NUMBER..][..8].copy_from_slice(&number.to_le_bytes());
    let call = target.number.map_or(-1, |number| number as i32);
    bytes[code::SYSCALL..][..4].copy_from_slice(&call.to_le_bytes());
    bytes[code::FAILURE] = match target.failure {
        Failure::None => 0,
        Failure::Int => 1,
        Failure::Long => 2,
    };
    let places = [
        (code::WORDS_1, code::ARGUMENT_1),
        (code::WORDS_2, code::ARGUMENT_2),
    ];
    for (written, (words, argument)) in target.written.iter().zip(places) {
        bytes[words] = written.words;
        bytes[argument] = written.argument;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_text_has_room_for_unwind_tables() {
        let target = Target {
            number: None,
            failure: Failure::None,
            written: &[],
        };
        let buffer = Buffer::new(None).expect("memory");
        let text = compose(&vec![target; FUNCTIONS], &buffer).expect("as many as there may be");
        assert!(text.bytes.len() + 1024 < LENGTH, "{}", text.bytes.len());
        assert!(compose(&vec![target; FUNCTIONS + 1], &buffer).is_none());
    }

    #[test]
    fn every_instruction_has_one_frame_description() {
        let target = Target {
            number: None,
            failure: Failure::None,
            written: &[],
        };
        let buffer = Buffer::new(None).expect("memory");
        let text = compose(&[target; 3], &buffer).expect("three");
        let common: Vec<_> = text.frames.iter().take(text.frames.len() - 1).collect();
        for pair in common.windows(2) {
            assert_eq!(pair[0].code.end, pair[1].code.start);
        }
        let last = text.frames.last().expect("the wrappers");
        assert_eq!(last.code.start, text.wrappers[0].start);
        assert_eq!(last.code.end, text.wrappers[2].end);
    }
}
