//! The generation: the kernel's side.

use core::sync::atomic::{AtomicU64, Ordering};

/// A word of the vvar pages: how often the kernel's random number generator got a new seed,
/// and whether readers may use it.
///
/// | word | meaning | what the image does |
/// | --- | --- | --- |
/// | 0 | generations are not published | what it does without them |
/// | 1 | generations are published; the generator is not ready | system calls, which may wait |
/// | others | a generation | makes the bytes itself |
///
/// Linux has a flag for the second (`is_ready` in include/vdso/datapage.h), which readers
/// load before the generation, without an order between the two. One word is always
/// consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// Generations are not published: the word of a new page.
    pub const NONE: Self = Self(0);
    /// The generator has no seed yet.
    pub const NOT_READY: Self = Self(1);

    /// Decodes a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Encodes the word.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// Whether bytes can be made without a system call.
    #[inline(always)]
    #[must_use]
    pub const fn is_ready(self) -> bool {
        self.0 > Self::NOT_READY.0
    }

    /// The next generation.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.wrapping_add(1) {
            word @ 2.. => Self(word),
            _ => Self(2),
        }
    }
}

/// The kernel's handle of the generation's word.
///
/// There is one, protected by the lock of the generator's base key.
#[derive(Debug)]
pub struct Reseeds<'p> {
    word: &'p AtomicU64,
}

impl<'p> Reseeds<'p> {
    /// Takes the word at [`page::OFFSET`](crate::page::OFFSET), and publishes that there
    /// will be generations. To be called before the first program starts: C libraries query
    /// once, at their start, whether the image has random bytes.
    #[must_use]
    pub fn new(word: &'p AtomicU64) -> Self {
        let none = Generation::NONE.to_word();
        let not_ready = Generation::NOT_READY.to_word();
        // After a kexec that kept the pages, the generations continue.
        let _ = word.compare_exchange(none, not_ready, Ordering::Relaxed, Ordering::Relaxed);
        Self { word }
    }

    /// Publishes that the generator has a new base key: every reader then gets a new key
    /// before it returns another byte.
    ///
    /// Call it *after* the base key was replaced. The store is a release, so a reader that
    /// sees this generation and then makes the system call gets bytes of the new base key.
    /// The first call makes the generator ready: call it when there is enough entropy, and
    /// never before.
    pub fn reseeded(&mut self) {
        let next = Generation::from_word(self.word.load(Ordering::Relaxed)).next();
        self.word.store(next.to_word(), Ordering::Release);
    }

    /// The published generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation::from_word(self.word.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_ready_and_differ_from_what_is_not() {
        let word = AtomicU64::new(0);
        assert!(!Generation::NONE.is_ready() && !Generation::NOT_READY.is_ready());
        let mut reseeds = Reseeds::new(&word);
        assert_eq!(reseeds.generation(), Generation::NOT_READY);
        reseeds.reseeded();
        let first = reseeds.generation();
        assert!(first.is_ready());
        // A successor does not revoke it.
        let mut reseeds = Reseeds::new(&word);
        assert_eq!(reseeds.generation(), first);
        reseeds.reseeded();
        assert!(reseeds.generation().is_ready() && reseeds.generation() != first);
        word.store(u64::MAX, Ordering::Relaxed);
        reseeds.reseeded();
        assert!(reseeds.generation().is_ready());
    }
}
