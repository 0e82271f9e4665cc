//! The latch: a value of more than one word that is never seen half-written.
//!
//! Two copies and a sequence number: the low bit of the number names the copy that
//! readers use, and the writer writes the other one. The idea is FreeBSD's
//! *timehands* (`sys/kern/kern_tc.c`) and Linux's `seqcount_latch_t`
//! (`include/linux/seqlock.h`); unlike Linux's, each write fills one copy, not two.
//!
//! In memory: `[sequence: u64][copy 0][copy 1]`, a copy being a whole number of words.
//!
//! # Why it holds
//!
//! * There is always one whole copy. A writer that dies at any instruction has either
//!   not yet stored the new number, so that readers keep using the old copy, or has,
//!   after which the new copy is whole. Whoever resumes reads the number and begins
//!   again with the copy that nobody uses.
//! * No reader waits for a writer. A reader begins anew only when a *whole* write
//!   ended while it was copying; a writer that stops, stops nobody.
//! * A torn copy is never returned. Let a reader load the number `g`, and then load a
//!   word that the write `g + 2` stored (into the same copy). That store is sequenced
//!   after a release fence which is sequenced after the store of `g + 1`; the reader's
//!   second load of the number is sequenced after an acquire fence which follows its
//!   load of the word. So the fences synchronise (C++ [atomics.fences]/2) and the second
//!   load sees at least `g + 1`, not `g`: the reader begins anew.
//! * What is read together was written together: the number is stored with release
//!   and first loaded with acquire, so the copy it names is seen whole.
//!
//! The number has 64 bits and does not come round.

use core::fmt;
use core::sync::atomic::compiler_fence;

#[cfg(loom)]
pub use loom::sync::atomic::AtomicU64 as Word;
#[cfg(loom)]
use loom::sync::atomic::{Ordering, fence};

/// A word of a latch: [`core::sync::atomic::AtomicU64`], or loom's own under the model
/// checker.
#[cfg(not(loom))]
pub use core::sync::atomic::AtomicU64 as Word;
#[cfg(not(loom))]
use core::sync::atomic::{Ordering, fence};

/// Bytes from a latch to its first copy: the sequence number's.
pub const COPIES: usize = 8;

/// Bytes that a latch takes for a value of `size` bytes.
#[must_use]
pub const fn size_of(size: usize) -> usize {
    COPIES + 2 * stride(size)
}

/// Bytes from one copy to the next: the size rounded up to whole words.
#[must_use]
pub const fn stride(size: usize) -> usize {
    size.div_ceil(8) * 8
}

/// A latch in memory, seen by a reader.
#[derive(Clone, Copy)]
pub struct Latch<'m> {
    sequence: &'m Word,
    /// Both, one behind the other: a number known to the compiler is left of the
    /// arithmetic on them, and no choice between two pointers.
    copies: &'m [Word],
}

impl<'m> Latch<'m> {
    /// Over the words of a latch: the sequence number and twice the value.
    ///
    /// `None` when the number of words is even, or none of a value is left.
    #[inline(always)]
    #[must_use]
    pub fn new(words: &'m [Word]) -> Option<Self> {
        let (sequence, copies) = words.split_first()?;
        if copies.is_empty() || copies.len() % 2 != 0 {
            return None;
        }
        Some(Self { sequence, copies })
    }

    /// How many words a value has.
    #[must_use]
    pub fn words(&self) -> usize {
        self.copies.len() / 2
    }

    /// The copy that readers use after so many writes.
    #[inline(always)]
    fn copy(&self, sequence: u64) -> &'m [Word] {
        let (first, second) = self.copies.split_at(self.copies.len() / 2);
        if sequence & 1 == 0 {
            first
        } else {
            // No instruction, but it keeps the compiler from computing the address. A
            // processor that foretells a branch loads from the copy before the number
            // has come; on a computed address it would have to wait for it.
            compiler_fence(core::sync::atomic::Ordering::SeqCst);
            second
        }
    }

    /// How many writes there have been.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Reads with `decode`, which is given one copy, may run more than once and may
    /// then see words of different writes: it must be a pure function of what it loads,
    /// with a result for any bits. Only the result of its last run, over a whole copy,
    /// is returned.
    ///
    /// Acquire: everything that the publisher did before it wrote the value is visible
    /// after this.
    #[inline(always)]
    pub fn read<R>(&self, decode: impl Fn(Copy<'m>) -> R) -> R {
        loop {
            if let Some(value) = self.try_read(&decode) {
                return value;
            }
            // The model checker must be told that another thread has to run; the
            // machine need not: the write that came between has already ended.
            #[cfg(loom)]
            loom::thread::yield_now();
        }
    }

    /// [`read`](Self::read), once: `None` when a whole write ended meanwhile. For
    /// readers whose code for the common case is to be short, and that begin anew
    /// elsewhere.
    #[inline(always)]
    pub fn try_read<R>(&self, decode: impl FnOnce(Copy<'m>) -> R) -> Option<R> {
        self.try_read_some(|copy| Some(decode(copy)))
    }

    /// [`try_read`](Self::try_read) of what may have no answer: `None` also where `decode`
    /// has none, and then whether the copy was whole is not asked any more. One way out
    /// instead of two.
    #[inline(always)]
    pub fn try_read_some<R>(&self, decode: impl FnOnce(Copy<'m>) -> Option<R>) -> Option<R> {
        let before = self.sequence.load(Ordering::Acquire);
        let value = decode(Copy(self.copy(before)))?;
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == before).then_some(value)
    }
}

impl fmt::Debug for Latch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("words", &self.words())
            .finish_non_exhaustive()
    }
}

/// A latch in memory, seen by its one writer (rule 1).
#[derive(Debug)]
pub struct LatchWriter<'m>(Latch<'m>);

impl<'m> LatchWriter<'m> {
    /// The writer of `latch`. Two writers of one latch make readers see mixed values;
    /// they can do no worse.
    #[inline(always)]
    #[must_use]
    pub fn new(latch: Latch<'m>) -> Self {
        Self(latch)
    }

    /// Writes: `encode` fills the copy that no reader uses, and then it becomes the one
    /// that they do. What `encode` does not store keeps what it had two writes ago, so
    /// it stores everything.
    #[inline(always)]
    pub fn write(&mut self, encode: impl FnOnce(CopyMut<'m>)) {
        let (next, copy) = self.begin();
        encode(copy);
        self.commit(next);
    }

    #[inline(always)]
    fn begin(&mut self) -> (u64, CopyMut<'m>) {
        // Relaxed: this writer stored it, or took the pages over under a lock.
        let next = self.0.sequence.load(Ordering::Relaxed).wrapping_add(1);
        // Keeps the stores below from being seen before the number that was stored by
        // the write before: see "a torn copy is never returned".
        fence(Ordering::Release);
        (next, CopyMut(self.0.copy(next)))
    }

    #[inline(always)]
    fn commit(&mut self, next: u64) {
        self.0.sequence.store(next, Ordering::Release);
    }
}

/// One copy of a value as a reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'m>(&'m [Word]);

impl Copy<'_> {
    /// A copy of no words: every value that is decoded from it is zero.
    pub const EMPTY: Self = Self(&[]);

    /// Loads word `index`; a word beyond the value reads as 0.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        match self.0.get(index) {
            Some(word) => word.load(Ordering::Relaxed),
            None => 0,
        }
    }
}

/// The copy that the writer fills.
#[derive(Debug)]
pub struct CopyMut<'m>(&'m [Word]);

impl CopyMut<'_> {
    /// What word `index` holds now: for values that share a word.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        Copy(self.0).word(index)
    }

    /// Stores word `index`; a word beyond the value is not stored.
    #[inline(always)]
    pub fn set_word(&self, index: usize, bits: u64) {
        if let Some(word) = self.0.get(index) {
            word.store(bits, Ordering::Relaxed);
        }
    }

    /// Stores words, from the value's first on; those beyond the value are not stored.
    #[inline(always)]
    pub fn set_words(&self, words: &[u64]) {
        for (word, bits) in self.0.iter().zip(words) {
            word.store(*bits, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_needs_an_odd_number_of_words() {
        let words: [Word; 5] = Default::default();
        assert!(Latch::new(&words[..0]).is_none());
        assert!(Latch::new(&words[..1]).is_none());
        assert!(Latch::new(&words[..4]).is_none());
        assert_eq!(Latch::new(&words).unwrap().words(), 2);
    }

    #[test]
    fn an_interrupted_write_is_not_seen_and_is_made_good_by_the_next() {
        let words: [Word; 5] = Default::default();
        let latch = Latch::new(&words).unwrap();
        let pair = |copy: Copy<'_>| (copy.word(0), copy.word(1));
        let mut writer = LatchWriter::new(latch);
        writer.write(|copy| {
            copy.set_word(0, 1);
            copy.set_word(1, 1);
        });
        let (_, copy) = writer.begin();
        copy.set_word(0, 2);
        assert_eq!(latch.read(pair), (1, 1));

        let mut successor = LatchWriter::new(latch);
        successor.write(|copy| {
            copy.set_word(0, 3);
            copy.set_word(1, 3);
        });
        assert_eq!(latch.read(pair), (3, 3));
        assert_eq!(latch.sequence(), 2);
    }

    #[test]
    fn a_read_that_a_write_overtakes_begins_anew() {
        let words: [Word; 5] = Default::default();
        let latch = Latch::new(&words).unwrap();
        let runs = core::cell::Cell::new(0);
        let seen = latch.read(|copy| {
            let first = copy.word(0);
            if runs.replace(runs.get() + 1) == 0 {
                for value in [1, 2] {
                    LatchWriter::new(latch).write(|copy| {
                        copy.set_word(0, value);
                        copy.set_word(1, value);
                    });
                }
            }
            (first, copy.word(1))
        });
        assert_eq!(seen, (2, 2));
        assert_eq!(runs.get(), 2);
    }
}

#[cfg(all(test, loom))]
mod model {
    //! Every interleaving and every reordering that the memory model allows.

    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn words() -> Arc<Vec<Word>> {
        Arc::new((0..5).map(|_| Word::new(0)).collect())
    }

    fn whole(words: &[Word]) -> u64 {
        let latch = Latch::new(words).expect("five words");
        let (first, second) = latch.read(|copy| (copy.word(0), copy.word(1)));
        assert_eq!(first, second, "torn");
        first
    }

    fn set(copy: &CopyMut<'_>, value: u64) {
        copy.set_word(0, value);
        copy.set_word(1, value);
    }

    fn model(check: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(check);
    }

    #[test]
    fn one_writer_two_readers() {
        model(|| {
            let words = words();
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let words = words.clone();
                    thread::spawn(move || {
                        let first = whole(&words);
                        assert!(whole(&words) >= first, "a value came back");
                    })
                })
                .collect();
            let mut writer = LatchWriter::new(Latch::new(&words).expect("five words"));
            for value in 1..=2 {
                writer.write(|copy| set(&copy, value));
            }
            for reader in readers {
                reader.join().unwrap();
            }
        });
    }

    /// The writer has written once and stops for ever in its second write: before it,
    /// after each store, and before the number is stored.
    #[test]
    fn a_writer_that_stops_at_each_of_its_steps() {
        for step in 0..=3 {
            model(move || {
                let words = words();
                let readers: Vec<_> = (0..2)
                    .map(|_| {
                        let words = words.clone();
                        thread::spawn(move || assert!(whole(&words) <= 2))
                    })
                    .collect();
                let mut writer = LatchWriter::new(Latch::new(&words).expect("five words"));
                writer.write(|copy| set(&copy, 1));
                let (next, copy) = writer.begin();
                if step > 0 {
                    copy.set_word(0, 2);
                }
                if step > 1 {
                    copy.set_word(1, 2);
                }
                if step > 2 {
                    writer.commit(next);
                }
                for reader in readers {
                    reader.join().unwrap();
                }
                assert_eq!(whole(&words), if step > 2 { 2 } else { 1 });
            });
        }
    }
}
