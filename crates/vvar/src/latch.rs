//! The latch: a value of more than one word that is never seen half-written.
//!
//! Two copies and a sequence number: the low bit of the number names the copy that
//! readers use, and the writer writes the other one. The idea is FreeBSD's
//! *timehands* (`sys/kern/kern_tc.c`) and Linux's `seqcount_latch_t`
//! (`include/linux/seqlock.h`); unlike Linux's, each write fills one copy, not two.
//!
//! In memory: `[sequence: u64][copy 0][copy 1]`, each copy a whole number of words.
//!
//! # Correctness
//!
//! * One copy is always complete. A writer that dies at any instruction has either not
//!   yet stored the new sequence number, so that readers keep using the old copy, or has
//!   stored it, after which the new copy is complete. The next writer reads the number and
//!   starts with the copy that readers do not use.
//! * No reader waits for a writer. A reader retries only when a *whole* write completed
//!   while it was copying; a writer that stops does not block readers.
//! * A torn copy is never returned. Let a reader load the number `g`, and then load a
//!   word that the write `g + 2` stored (into the same copy). That store is sequenced
//!   after a release fence which is sequenced after the store of `g + 1`; the reader's
//!   second load of the number is sequenced after an acquire fence which follows its
//!   load of the word. So the fences synchronise (C++ [atomics.fences]/2) and the second
//!   load sees at least `g + 1`, not `g`: the reader retries.
//! * The words of one copy belong to one write: the number is stored with release and
//!   first loaded with acquire, so all of the copy that it names is visible.
//!
//! The number has 64 bits and does not wrap around in practice.

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

/// Bytes from a latch to its first copy: the size of the sequence number.
pub const COPIES: usize = 8;

/// Bytes of a latch for a value of `size` bytes.
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
    /// Both copies, adjacent. One slice with a length known to the compiler leaves constant
    /// arithmetic, and no choice between two pointers.
    copies: &'m [Word],
}

impl<'m> Latch<'m> {
    /// Over the words of a latch: the sequence number and twice the value.
    ///
    /// `None` when the number of words is even or less than three.
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

    /// The copy that readers use at this sequence number.
    #[inline(always)]
    fn copy(&self, sequence: u64) -> &'m [Word] {
        let (first, second) = self.copies.split_at(self.copies.len() / 2);
        if sequence & 1 == 0 {
            first
        } else {
            // Emits no instruction, but keeps the compiler from turning the branch into
            // address arithmetic. A processor that predicts the branch loads from the copy
            // before the sequence number has arrived; a computed address would depend on it.
            compiler_fence(core::sync::atomic::Ordering::SeqCst);
            second
        }
    }

    /// The sequence number: the number of writes so far.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Reads one copy with `decode`. It may run more than once and may then see words of
    /// different writes, so it must be total over all bit patterns and have no effect but its
    /// result. Only the result of its last run, over the words of one write, is returned. That
    /// write was completed before the run began.
    ///
    /// Acquire: everything that the publisher stored before it wrote the value is visible
    /// after this.
    #[inline(always)]
    pub fn read<R>(&self, decode: impl Fn(Copy<'m>) -> R) -> R {
        loop {
            if let Some(value) = self.try_read(&decode) {
                return value;
            }
            // The model checker needs to know that another thread has to run. The machine
            // does not: the write that caused the retry has completed.
            #[cfg(loom)]
            loom::thread::yield_now();
        }
    }

    /// One attempt of [`read`](Self::read): `None` when a whole write completed meanwhile.
    /// For readers that keep the common case short and retry elsewhere.
    #[inline(always)]
    pub fn try_read<R>(&self, decode: impl FnOnce(Copy<'m>) -> R) -> Option<R> {
        self.try_read_some(|copy| Some(decode(copy)))
    }

    /// [`try_read`](Self::try_read) with a partial `decode`: `None` also when `decode`
    /// returns `None`, without checking the sequence number again. Callers have one failure
    /// path instead of two.
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
    /// The writer of `latch`. Two concurrent writers of one latch can make readers see
    /// mixed values, but cause no undefined behaviour.
    #[inline(always)]
    #[must_use]
    pub fn new(latch: Latch<'m>) -> Self {
        Self(latch)
    }

    /// Writes a value: `encode` fills the copy that readers do not use, and then the
    /// sequence number selects it. A word that `encode` does not store keeps its content of
    /// two writes ago, so `encode` must store all of them.
    #[inline(always)]
    pub fn write(&mut self, encode: impl FnOnce(CopyMut<'m>)) {
        let (next, copy) = self.begin();
        encode(copy);
        self.commit(next);
    }

    #[inline(always)]
    fn begin(&mut self) -> (u64, CopyMut<'m>) {
        // Relaxed: this writer stored it, or acquired the publisher's lock since.
        let next = self.0.sequence.load(Ordering::Relaxed).wrapping_add(1);
        // Keeps the stores below from becoming visible before the number that the previous
        // write stored: see "a torn copy is never returned".
        fence(Ordering::Release);
        (next, CopyMut(self.0.copy(next)))
    }

    #[inline(always)]
    fn commit(&mut self, next: u64) {
        self.0.sequence.store(next, Ordering::Release);
    }
}

/// One copy of a value, for reading.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'m>(&'m [Word]);

impl<'m> Copy<'m> {
    /// A copy of no words: every value decoded from it is zero.
    pub const EMPTY: Self = Self(&[]);

    /// The first `N` words, for a reader that loads several by one instruction; `None` where the value
    /// is shorter.
    #[inline(always)]
    #[must_use]
    pub fn first_words<const N: usize>(&self) -> Option<&'m [Word; N]> {
        self.0.first_chunk()
    }

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
    /// Loads word `index`: for values that share a word.
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

    /// Stores `words` from the value's first word on; those beyond the value are ignored.
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
    fn an_interrupted_write_is_invisible_and_the_next_writer_continues() {
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
    fn each_write_fills_the_copy_that_is_not_in_use() {
        let words: [Word; 5] = Default::default();
        let latch = Latch::new(&words).unwrap();
        let mut writer = LatchWriter::new(latch);
        for value in 1..=8 {
            writer.write(|copy| {
                // In the middle of a write, readers see the value before it.
                copy.set_word(0, value);
                assert_eq!(latch.read(|copy| copy.word(0)), value - 1);
                copy.set_word(1, value);
                assert_eq!(latch.read(|copy| copy.word(1)), value - 1);
            });
            assert_eq!(latch.sequence(), value);
            assert_eq!(
                latch.read(|copy| (copy.word(0), copy.word(1))),
                (value, value)
            );
        }
    }

    /// Images have their initial values in copy 0, and code in other languages reads the number too.
    #[test]
    fn the_low_bit_of_the_number_names_the_copy() {
        let words = [0, 7, 8].map(Word::new);
        let latch = Latch::new(&words).unwrap();
        let content = || [0, 1, 2].map(|at: usize| words[at].load(Ordering::Relaxed));
        assert_eq!(latch.read(|copy| copy.word(0)), 7);
        LatchWriter::new(latch).write(|copy| copy.set_word(0, 9));
        assert_eq!(content(), [1, 7, 9]);
        assert_eq!(latch.read(|copy| copy.word(0)), 9);
        LatchWriter::new(latch).write(|copy| copy.set_word(0, 10));
        assert_eq!(content(), [2, 10, 9]);
        assert_eq!(latch.read(|copy| copy.word(0)), 10);
    }

    #[test]
    fn words_beyond_the_value_are_neither_loaded_nor_stored() {
        let words: [Word; 3] = Default::default();
        let latch = Latch::new(&words).unwrap();
        LatchWriter::new(latch).write(|copy| {
            copy.set_word(1, 7);
            copy.set_words(&[5, 6]);
            assert_eq!((copy.word(0), copy.word(1)), (5, 0));
        });
        assert_eq!(latch.read(|copy| (copy.word(0), copy.word(1))), (5, 0));
        assert_eq!(Copy::EMPTY.word(0), 0);
        assert_eq!((size_of(1), size_of(8), size_of(9)), (24, 24, 40));
    }

    #[test]
    fn several_words_are_read_at_once_where_the_value_has_as_many() {
        let words = [0, 5, 6, 0, 0].map(Word::new);
        let latch = Latch::new(&words).unwrap();
        let bits = latch.read(|copy| {
            assert!(copy.first_words::<3>().is_none());
            let pair = copy.first_words::<2>().expect("two words");
            pair.each_ref().map(|word| word.load(Ordering::Relaxed))
        });
        assert_eq!(bits, [5, 6]);
    }

    #[test]
    fn a_read_overtaken_by_writes_retries() {
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
                        assert!(whole(&words) >= first, "an older value after a newer one");
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

    /// A reader that meets the third write: both copies are used again by then.
    #[test]
    fn one_reader_and_three_writes() {
        model(|| {
            let words = words();
            let reader = {
                let words = words.clone();
                thread::spawn(move || assert!(whole(&words) <= 3))
            };
            let mut writer = LatchWriter::new(Latch::new(&words).expect("five words"));
            for value in 1..=3 {
                writer.write(|copy| set(&copy, value));
                assert_eq!(whole(&words), value);
            }
            reader.join().unwrap();
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
