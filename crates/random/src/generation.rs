//! The generation: the kernel's half.

use core::sync::atomic::{AtomicU64, Ordering};

/// A word of the vvar pages: how often the kernel's random number generator got a new seed,
/// and whether it may be used at all.
///
/// | word | meaning | what the image does |
/// | --- | --- | --- |
/// | 0 | nobody publishes generations | what it did without them |
/// | 1 | there will be generations; the generator is not ready | system calls, which may wait |
/// | others | a generation | makes the bytes itself |
///
/// Linux has a flag for the second (`is_ready` in include/vdso/datapage.h), which readers
/// load before the generation and without an order between the two. One word can't disagree
/// with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// Nobody publishes: the word of a fresh page.
    pub const NONE: Self = Self(0);
    /// The generator waits for its first seed.
    pub const NOT_READY: Self = Self(1);

    /// What a word says.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As a word.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// May bytes be made without a system call?
    #[inline(always)]
    #[must_use]
    pub const fn is_ready(self) -> bool {
        self.0 > Self::NOT_READY.0
    }

    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.wrapping_add(1) {
            word @ 2.. => Self(word),
            _ => Self(2),
        }
    }
}

/// The kernel's end of the generation's word.
///
/// There is one, behind the lock that the generator's base key is behind.
#[derive(Debug)]
pub struct Reseeds<'p> {
    word: &'p AtomicU64,
}

impl<'p> Reseeds<'p> {
    /// Takes the word at [`page::OFFSET`](crate::page::OFFSET), and tells readers that there
    /// will be generations. Before the first program is started: C libraries ask once, at
    /// their start, whether the image has random bytes.
    #[must_use]
    pub fn new(word: &'p AtomicU64) -> Self {
        let none = Generation::NONE.to_word();
        let not_ready = Generation::NOT_READY.to_word();
        // A kernel that comes after another one (kexec, with the pages kept) goes on.
        let _ = word.compare_exchange(none, not_ready, Ordering::Relaxed, Ordering::Relaxed);
        Self { word }
    }

    /// Tells readers that the generator has a new base key: from now on each takes a new key
    /// before it gives out another byte.
    ///
    /// Call it *after* the base key was replaced. The store is a release, so a reader that
    /// sees this generation and then makes the system call gets bytes of the new base key.
    /// The first call makes the generator ready: make it when there is entropy enough, and
    /// never before.
    pub fn reseeded(&mut self) {
        let next = Generation::from_word(self.word.load(Ordering::Relaxed)).next();
        self.word.store(next.to_word(), Ordering::Release);
    }

    /// What readers see.
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
        // A successor doesn't take it back.
        let mut reseeds = Reseeds::new(&word);
        assert_eq!(reseeds.generation(), first);
        reseeds.reseeded();
        assert!(reseeds.generation().is_ready() && reseeds.generation() != first);
        word.store(u64::MAX, Ordering::Relaxed);
        reseeds.reseeded();
        assert!(reseeds.generation().is_ready());
    }
}
