//! The stack of a program at its first instruction: argc, argv, envp, then the auxiliary
//! vector (System V ABI for x86-64, 3.4.1; the same on every Linux, with words of the program's
//! width).

use std::ops::Range;

/// Why a stack can't be read as that of a program of some width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StackError {
    /// The bytes end before the auxiliary vector does.
    NeedMore,
    /// It does not look like the stack of such a program.
    Foreign,
}

/// What delivery needs from the auxiliary vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Auxiliary {
    /// The place of the vector, in bytes from the stack pointer.
    pub(crate) vector: Range<usize>,
    /// The value of AT_SYSINFO_EHDR, and its place in bytes from the stack pointer.
    pub(crate) vdso: Option<(usize, u64)>,
    /// AT_SECURE: the program runs with more rights than its caller.
    pub(crate) secure: bool,
    /// AT_PHDR: the address of its program headers.
    pub(crate) headers: u64,
}

const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_SECURE: u64 = 23;
const AT_SYSINFO_EHDR: u64 = 33;

/// Bytes of the words on a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "32-bit programs are served on x86-64")
    )]
    Four,
    Eight,
}

impl Width {
    fn bytes(self) -> usize {
        match self {
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// Bytes of a program header (elf(5)). In an x32 program, which has 64-bit code, it has 32.
    fn program_header(self) -> u64 {
        match self {
            Width::Four => 32,
            Width::Eight => 56,
        }
    }
}

/// Reads the auxiliary vector from the bytes at the stack pointer.
pub(crate) fn auxiliary(stack: &[u8], width: Width) -> Result<Auxiliary, StackError> {
    let bytes = width.bytes();
    let word = |index: usize| {
        let from = stack.get(index * bytes..).ok_or(StackError::NeedMore)?;
        let word = match width {
            Width::Four => from
                .first_chunk()
                .map(|word| u32::from_ne_bytes(*word).into()),
            Width::Eight => from.first_chunk().map(|word| u64::from_ne_bytes(*word)),
        };
        word.ok_or(StackError::NeedMore)
    };
    let arguments = usize::try_from(word(0)?)
        .ok()
        .filter(|&count| count < 1 << 40);
    let arguments = arguments.ok_or(StackError::Foreign)?;
    if word(1 + arguments)? != 0 {
        return Err(StackError::Foreign);
    }
    let mut at = 2 + arguments;
    while word(at)? != 0 {
        at += 1;
    }
    at += 1;
    let mut found = Auxiliary {
        vector: at * bytes..at * bytes,
        vdso: None,
        secure: false,
        headers: 0,
    };
    let mut has_width = false;
    loop {
        let (key, value) = (word(at)?, word(at + 1)?);
        match key {
            AT_NULL => break,
            AT_PHDR => found.headers = value,
            AT_PHENT => has_width = value == width.program_header(),
            AT_SECURE => found.secure = value != 0,
            AT_SYSINFO_EHDR => found.vdso = Some(((at + 1) * bytes, value)),
            _ => {}
        }
        at += 2;
    }
    found.vector.end = (at + 2) * bytes;
    if has_width {
        Ok(found)
    } else {
        Err(StackError::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    const PLAIN: [u64; 16] = [
        2,
        0x1000,
        0x1008,
        0,
        0x1010,
        0, // argc, argv, envp
        AT_SYSINFO_EHDR,
        0x7000,
        AT_PHDR,
        0x40_0040,
        AT_PHENT,
        56,
        AT_SECURE,
        1,
        AT_NULL,
        0,
    ];

    #[test]
    fn finds_the_vdso_behind_arguments_and_environment() {
        let found = auxiliary(&stack(&PLAIN), Width::Eight);
        assert_eq!(
            found,
            Ok(Auxiliary {
                vector: 6 * 8..16 * 8,
                vdso: Some((7 * 8, 0x7000)),
                secure: true,
                headers: 0x40_0040,
            })
        );
    }

    #[test]
    fn every_shorter_stack_needs_more_bytes() {
        let bytes = stack(&PLAIN);
        for length in 0..bytes.len() {
            assert_eq!(
                auxiliary(&bytes[..length], Width::Eight),
                Err(StackError::NeedMore),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn a_stack_of_another_width_is_foreign() {
        let mut x32 = PLAIN;
        x32[11] = 32;
        assert_eq!(
            auxiliary(&stack(&x32), Width::Eight),
            Err(StackError::Foreign)
        );
        assert_eq!(
            auxiliary(&stack(&[u64::MAX, 0, 0, 0]), Width::Eight),
            Err(StackError::Foreign)
        );
        assert_eq!(
            auxiliary(&stack(&[1, 5, 5, 0, 0, 0, 0]), Width::Eight),
            Err(StackError::Foreign)
        );
    }

    #[test]
    fn no_vdso_is_no_error() {
        let found = auxiliary(&stack(&[0, 0, 0, AT_PHENT, 56, AT_NULL, 0]), Width::Eight);
        assert_eq!(
            found,
            Ok(Auxiliary {
                vector: 3 * 8..7 * 8,
                vdso: None,
                secure: false,
                headers: 0,
            })
        );
    }

    #[test]
    fn a_32_bit_stack_has_words_of_four_bytes() {
        let mut words = PLAIN;
        words[11] = 32;
        let narrow = words.iter().flat_map(|&word| (word as u32).to_ne_bytes());
        let narrow: Vec<u8> = narrow.collect();
        let found = auxiliary(&narrow, Width::Four).map(|found| (found.vector, found.vdso));
        assert_eq!(found, Ok((6 * 4..16 * 4, Some((7 * 4, 0x7000)))));
        assert_eq!(
            auxiliary(&stack(&PLAIN), Width::Four),
            Err(StackError::Foreign)
        );
    }
}
