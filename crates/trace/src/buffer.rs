//! The shared memory, for the process that reads it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, Timespec, fcntl_add_seals, memfd_create};
use rustix::thread::futex;

use crate::layout::*;
use crate::memory::Memory;

/// The name of the memory, as `/proc/PID/maps` shows it.
pub const NAME: &str = "vdso-trace";

/// The fewest and the most records of a buffer.
pub const LIMITS: std::ops::RangeInclusive<u32> = 16..=1 << 24;

/// Memory in which wrappers count.
#[derive(Debug)]
pub struct Buffer {
    file: File,
    memory: Memory,
    /// How many records it has.
    records: u64,
    /// How much of the log was read, and the gaps in it.
    seen: u32,
    gaps: BTreeSet<u32>,
    /// The number of the next record to read.
    tail: u64,
    /// Records that were claimed and never written.
    lost: u64,
}

/// A caller of a function that was not seen before.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The number of its entry.
    pub entry: usize,
    /// The process that calls, by its own count: in another PID namespace it has another id.
    pub pid: u32,
    /// The address to which the function returns.
    pub address: u64,
    /// The number of the address space: children of fork(2) have that of their parent.
    pub space: u32,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The number of the function.
    pub function: usize,
    /// The number of the caller's entry.
    pub entry: usize,
    /// The process, by its own count. It is more than 2³¹ where the process may not ask for it.
    pub pid: u32,
    /// The thread, likewise.
    pub tid: u32,
    /// The counter before the call.
    pub start: u64,
    /// Ticks that the call took.
    pub ticks: u64,
    /// What the function returned, in the register for integers.
    pub result: u64,
    /// What was in the register for floating-point results then: 64 bits.
    pub vector: u64,
    /// The six registers of arguments.
    pub arguments: [u64; 6],
    /// What it wrote by its first pointer: two words.
    pub first: Option<[u64; 2]>,
    /// What it wrote by its second pointer.
    pub second: Option<u64>,
}

/// The calls of one function by one caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of the function.
    pub function: usize,
    /// The number of the entry; `None`: the table had no room for the callers.
    pub entry: Option<usize>,
    /// Calls.
    pub calls: u64,
    /// Ticks that they took.
    pub ticks: u64,
    /// Calls that failed.
    pub errors: u64,
}

impl Buffer {
    /// New memory with room for `records` records, rounded up to a power of two within [`LIMITS`].
    /// `None`: calls are only counted.
    ///
    /// # Errors
    /// When the kernel refuses the memory.
    pub fn new(records: Option<u32>) -> io::Result<Buffer> {
        let count = records.unwrap_or(0).clamp(*LIMITS.start(), *LIMITS.end());
        let count = u64::from(count.next_power_of_two());
        let length = (RING + count as usize * RECORD).next_multiple_of(PAGE);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create(NAME, flags)?);
        file.set_len(length as u64)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        let memory = Memory::new(&file, length)?;
        memory
            .word(RECORDS)
            .store(records.is_some().into(), Release);
        Ok(Buffer {
            file,
            memory,
            records: count,
            seen: 0,
            gaps: BTreeSet::new(),
            tail: 0,
            lost: 0,
        })
    }

    /// How many records it has room for, a power of two.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.records
    }

    /// Another descriptor of the memory, and its length in bytes.
    ///
    /// # Errors
    /// When the kernel refuses another descriptor.
    pub fn file(&self) -> io::Result<(OwnedFd, u64)> {
        let file = self.file.try_clone()?;
        let length = file.metadata()?.len();
        Ok((file.into(), length))
    }

    /// The inode of the memory, by which its mappings are known in `/proc/PID/maps`.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Ends the counting. Wrappers call their functions and do nothing else.
    pub fn close(&self) {
        self.memory.word(CLOSED).store(1, Release);
    }

    /// Waits until a caller comes that was not seen before, a signal was handled, or `patience` is
    /// over.
    pub fn wait(&self, patience: Duration) {
        let news = self.memory.word(NEWS);
        if !self.gaps.is_empty() {
            return;
        }
        let patience = Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: patience.subsec_nanos().into(),
        };
        // Whatever it returns, the caller looks again.
        let _ = futex::wait(news, futex::Flags::empty(), self.seen, Some(&patience));
    }

    /// The callers that came since the last time. Each waits for [`Buffer::answer`].
    pub fn callers(&mut self) -> Vec<Caller> {
        self.memory.word(AWAY).store(0, Relaxed);
        let news = self.memory.word(NEWS).load(Acquire);
        // A key is written once, so there are no more than entries, but for a hostile program.
        let news = news.min(ENTRIES as u32);
        self.gaps.extend(self.seen..news);
        self.seen = self.seen.max(news);
        let mut found = Vec::new();
        let memory = &self.memory;
        self.gaps.retain(|&at| {
            let entry = memory.word(LOG + 4 * at as usize).load(Acquire) as usize;
            let Some(entry) = entry.checked_sub(1) else {
                return true;
            };
            if entry < ENTRIES {
                let at = place(entry);
                found.push(Caller {
                    entry,
                    pid: memory.word(at + PID).load(Relaxed),
                    address: memory.long(at + KEY).load(Relaxed) & ADDRESS,
                    space: memory.word(at + SPACE).load(Relaxed),
                });
            }
            false
        });
        found
    }

    /// Lets the caller of `entry` go on. `skip`: the calls are counted for its own caller, whose
    /// return address lies so many bytes above; 0 for itself.
    pub fn answer(&self, entry: usize, skip: u32) {
        let at = place(entry);
        let skip = if skip <= SKIP_LIMIT { skip } else { 0 };
        self.memory.word(at + SKIP).store(skip, Relaxed);
        self.memory.word(AWAY).store(0, Relaxed);
        let answered = self.memory.word(at + ANSWERED);
        answered.store(1, Release);
        let _ = futex::wake(answered, futex::Flags::empty(), u32::MAX >> 1);
    }

    /// Records that are complete, in the order in which they were claimed. `is_last`: no process is left
    /// that could complete one.
    pub fn records(&mut self, is_last: bool) -> Vec<CallRecord> {
        /// Few enough that new callers are answered in time between one batch and the next.
        const BATCH: usize = 1024;
        let mut found = Vec::new();
        while found.len() < BATCH {
            let at = RING + (self.tail & (self.records - 1)) as usize * RECORD;
            let lap = (self.tail >> self.records.ilog2()) << LAP_SHIFT;
            let state = self.memory.long(at + STATE).load(Acquire);
            match state.wrapping_sub(lap) & 3 {
                FULL if state >> LAP_SHIFT == lap >> LAP_SHIFT => found.push(self.record(at)),
                CLAIMED if is_last || is_gone(state) => self.lost += 1,
                _ => break,
            }
            self.tail += 1;
            let next = lap + (1 << LAP_SHIFT);
            self.memory.long(at + STATE).store(next | FREE, Release);
        }
        found
    }

    fn record(&self, at: usize) -> CallRecord {
        let word = |offset| self.memory.word(at + offset).load(Relaxed);
        let long = |offset| self.memory.long(at + offset).load(Relaxed);
        let entry = (word(OF_ENTRY) as usize).min(ENTRIES + FUNCTIONS - 1);
        let copied = word(COPIED);
        let mut arguments = [0; 6];
        for (index, argument) in arguments.iter_mut().enumerate() {
            *argument = long(ARGUMENTS + 8 * index);
        }
        CallRecord {
            function: self.function(entry),
            entry,
            pid: word(PROCESS),
            tid: word(THREAD),
            start: long(START),
            ticks: long(TOOK),
            result: long(RESULT),
            vector: long(VECTOR),
            arguments,
            first: (copied & 1 != 0).then(|| [long(FIRST), long(FIRST + 8)]),
            second: (copied & 2 != 0).then(|| long(SECOND)),
        }
    }

    fn function(&self, entry: usize) -> usize {
        match entry.checked_sub(ENTRIES) {
            Some(function) => function,
            None => {
                let key = self.memory.long(place(entry) + KEY).load(Relaxed);
                (key >> FUNCTION_SHIFT) as usize % FUNCTIONS
            }
        }
    }

    /// How many calls found no free record so far, or left a record unwritten.
    pub fn dropped(&self) -> u64 {
        let dropped = self.memory.long(DROPPED).load(Relaxed);
        dropped.saturating_add(self.lost)
    }

    /// All counts that are not 0.
    pub fn counts(&self) -> Vec<Count> {
        let count = |entry: usize| {
            let at = place(entry);
            let long = |offset| self.memory.long(at + offset).load(Relaxed);
            Count {
                function: self.function(entry),
                entry: (entry < ENTRIES).then_some(entry),
                calls: long(CALLS),
                ticks: long(TICKS),
                errors: long(ERRORS),
            }
        };
        let all = (0..ENTRIES + FUNCTIONS).map(count);
        all.filter(|count| count.calls != 0).collect()
    }
}

/// Where an entry lies.
fn place(entry: usize) -> usize {
    ENTRIES_AT + ENTRY * entry
}

/// Whether the thread that claimed a record has ended.
fn is_gone(state: u64) -> bool {
    let tid = (state >> 2) as u32 & TID_MASK;
    // A thread may have claimed and completed it meanwhile, which the next look shows. In another PID
    // namespace the id may be that of another thread: then the record waits for the end.
    !Path::new(&format!("/proc/{tid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a wrapper does to record a call.
    fn write(buffer: &Buffer, number: u64, state: u64) {
        let memory = &buffer.memory;
        let at = RING + (number % buffer.records) as usize * RECORD;
        memory.long(HEAD).store(number + 1, Relaxed);
        memory.word(at + OF_ENTRY).store(3, Relaxed);
        memory.long(at + RESULT).store(number, Relaxed);
        let lap = number / buffer.records;
        memory
            .long(at + STATE)
            .store(lap << LAP_SHIFT | state, Release);
    }

    #[test]
    fn records_are_read_in_order_for_many_laps() {
        let mut buffer = Buffer::new(Some(20)).expect("memory");
        assert_eq!(buffer.records, 32);
        for number in 0..200 {
            write(&buffer, number, FULL);
            if number % 7 == 0 {
                let last = buffer.records(false).pop().expect("a record");
                assert_eq!((last.result, last.entry), (number, 3));
            }
        }
    }

    #[test]
    fn a_record_whose_thread_was_killed_is_lost_and_no_other() {
        let mut buffer = Buffer::new(Some(16)).expect("memory");
        // No thread has this id (proc(5), `/proc/sys/kernel/pid_max`).
        let no_thread = u64::from(TID_MASK);
        write(&buffer, 0, no_thread << 2 | CLAIMED);
        write(&buffer, 1, FULL);
        assert_eq!(buffer.records(false).len(), 1);
        assert_eq!(buffer.dropped(), 1);
        let this = u64::from(std::process::id());
        write(&buffer, 2, this << 2 | CLAIMED);
        write(&buffer, 3, FULL);
        assert_eq!(buffer.records(false), []);
        assert_eq!(buffer.records(true).len(), 1);
        assert_eq!(buffer.dropped(), 2);
    }

    #[test]
    fn nonsense_in_the_memory_is_read_without_harm() {
        let mut buffer = Buffer::new(Some(16)).expect("memory");
        buffer.memory.word(NEWS).store(u32::MAX, Relaxed);
        for at in 0..ENTRIES {
            buffer.memory.word(LOG + 4 * at).store(u32::MAX, Relaxed);
        }
        assert_eq!(buffer.callers().len(), 0);
        for word in (RING..RING + 16 * RECORD).step_by(8) {
            buffer.memory.long(word).store(u64::MAX, Relaxed);
        }
        write(&buffer, 0, FULL);
        buffer.memory.word(RING + OF_ENTRY).store(u32::MAX, Relaxed);
        let record = buffer.records(true).pop().expect("a record");
        assert!(record.function < FUNCTIONS);
        assert_eq!(buffer.counts().len(), 0);
        buffer.lost = 1;
        buffer.memory.long(DROPPED).store(u64::MAX, Relaxed);
        assert_eq!(buffer.dropped(), u64::MAX);
    }
}
