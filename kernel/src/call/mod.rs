//! System calls: the table of those that this kernel has, with Linux's numbers.

mod file;
mod memory;
mod process;
mod signal;
mod time;

use crate::arch::Frame;
use crate::errno::Errno;
use crate::lock::Guarded;
use crate::memory::{PAGE, Section, page_of};
use crate::println;
use crate::task::{Denied, Task, schedule};
use crate::user;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as linux;

/// What becomes of a call.
pub enum Outcome {
    /// It has a result.
    Result(usize),
    /// A signal ended it.
    Interrupted,
    /// The program goes on with other registers.
    Replaced,
}

/// The arguments of a call.
type Arguments = [usize; 6];

/// Numbers of calls are below this.
const NUMBERS: usize = PAGE / size_of::<u64>();

/// How often each call was made: a page that programs may map.
pub static COUNTS: Section<[AtomicU64; NUMBERS]> = Section([const { AtomicU64::new(0) }; NUMBERS]);

/// Whether they are printed at the end.
static ARE_PRINTED: Guarded<bool> = Guarded::new(false);

/// Sets whether the counts are printed at the end.
pub fn print_counts_at_end(are_printed: bool) {
    *ARE_PRINTED.get() = are_printed;
}

/// Prints how often each call was made, if that is wanted.
pub fn print_counts() {
    if *ARE_PRINTED.get() {
        let counts = COUNTS.0.iter().map(|count| count.load(Ordering::Relaxed));
        for (number, count) in counts.enumerate().filter(|(_, count)| *count > 0) {
            println!("calls: {} ({number}) {count}", name(number));
        }
    }
}

/// Makes the call that the current task's registers describe.
pub fn make(frame: &mut Frame) -> Outcome {
    let (number, arguments) = frame.call();
    // As on Linux, the upper half does not count.
    let number = number as u32;
    if let Some(count) = COUNTS.0.get(number as usize) {
        // Under the lock of the kernel nothing else stores it.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    let task = schedule::current();
    let denied = *task.process.denied.get();
    match permitted(number, arguments, Some(frame), &task, denied) {
        Ok(result) => Outcome::Result(result),
        Err(Errno::RESTART) => Outcome::Interrupted,
        Err(Errno::REPLACED) => Outcome::Replaced,
        Err(error) => Outcome::Result(error.result()),
    }
}

/// Makes a call of a task unless it is in `denied`. Inlined, so that a call of a batch costs no copy of
/// arguments that it does not take.
#[inline(always)]
fn permitted(
    number: u32,
    arguments: Arguments,
    frame: Option<&mut Frame>,
    task: &Task,
    denied: Denied,
) -> Result<usize, Errno> {
    if denied.has_call(number) {
        return Err(Errno::PERMISSION);
    }
    dispatch(number, arguments, frame, task)
}

/// The words of a call in a batch: its number, its arguments and its result.
const ENTRY: usize = 8;

/// The most calls of a batch.
const LONGEST_BATCH: usize = 16;

/// Makes up to `count` calls, at most [`LONGEST_BATCH`], whose entries lie one behind the other, the
/// first at a multiple of their size: each is read before its call, and its result is stored behind
/// it. Returns how many were made: fewer when a signal arrived. Calls that change the registers of
/// the program (`execve`, `rt_sigreturn`), make a task (`clone`) or need the stack pointer
/// (`sigaltstack`) fail with ENOSYS.
#[inline(never)]
fn batch(task: &Task, address: usize, count: usize) -> Result<usize, Errno> {
    let denied = *task.process.denied.get();
    let count = count.min(LONGEST_BATCH);
    if !address.is_multiple_of(ENTRY * user::WORD) {
        return Err(Errno::INVALID);
    }
    let mut done = 0;
    while done < count {
        let at = address + done * ENTRY * user::WORD;
        let page = task.process.writable(page_of(at))?;
        let words = page.words(at % PAGE);
        let here = words.len().min((count - done) * ENTRY);
        for entry in words[..here].chunks_exact(ENTRY) {
            let word = |index: usize| entry[index].load(Ordering::Relaxed) as usize;
            let arguments = core::array::from_fn(|index| word(1 + index));
            let result = match permitted(word(0) as u32, arguments, None, task, denied) {
                Err(Errno::RESTART) if done == 0 => return Err(Errno::RESTART),
                Err(Errno::RESTART) => return Ok(done),
                Err(error) => error.result(),
                Ok(result) => result,
            };
            entry[ENTRY - 1].store(result as u64, Ordering::Relaxed);
            done += 1;
            if task.is_ending() {
                return Ok(done);
            }
        }
    }
    Ok(done)
}

/// Makes functions of the table of calls. In a batch there is no frame; a call that is not listed fails
/// with ENOSYS.
macro_rules! calls {
    (|$a:ident, $frame:ident, $task:ident| $($section:ident {
        $($(#[$condition:meta])? $name:ident: $number:ident => $call:expr;)*
    })*) => {
        #[inline(always)]
        fn dispatch(
            number: u32,
            $a: Arguments,
            $frame: Option<&mut Frame>,
            $task: &Task,
        ) -> Result<usize, Errno> {
            match number {
                $($($(#[$condition])? numbers::$number => $call,)*)*
                _ => Err(Errno::NO_CALL),
            }
        }

        /// The name of a call, with the prefix that Linux's headers have for its number.
        fn name(number: usize) -> &'static str {
            match number as u32 {
                $($($(#[$condition])? numbers::$number => stringify!($number),)*)*
                _ => "unknown",
            }
        }

        /// The number of the call with this name.
        pub fn number(name: &str) -> Option<u32> {
            match name {
                $($($(#[$condition])? stringify!($name) => Some(numbers::$number),)*)*
                _ => None,
            }
        }
    };
}

include!("../../vdso/src/calls.rs");
