//! Futexes: waiting for a word of a program's to change.
//!
//! A word is named by its physical address, so processes that share a page share the futex.

use super::{Key, TASKS, schedule};
use crate::errno::Errno;
use crate::memory::{PAGE, Rights};
use core::sync::atomic::Ordering;

/// The physical address of a word, and its value.
fn word(address: usize) -> Result<(usize, u32), Errno> {
    if !address.is_multiple_of(4) {
        return Err(Errno::INVALID);
    }
    let space = schedule::space();
    let mut space = space.get();
    let frame = space.frame_at(address)?;
    let offset = address % PAGE;
    let both = frame.word(offset & !7).load(Ordering::SeqCst);
    // All architectures are little-endian.
    let value = both >> (offset % 8 * 8);
    Ok((frame.physical() + offset, value as u32))
}

/// Waits while the word has a value, until it is woken by one that names one of `bits`.
pub fn wait(address: usize, value: u32, bits: u32, deadline: Option<u64>) -> Result<usize, Errno> {
    // The page must not be copied later: its first write would move the word.
    let space = schedule::space();
    space.get().fault(address, Rights::WRITE)?;
    let (physical, now) = word(address)?;
    if now != value {
        return Err(Errno::AGAIN);
    }
    match schedule::wait(Key::Futex(physical, bits), deadline) {
        super::Outcome::Woken => Ok(0),
        super::Outcome::TimedOut => Err(Errno::TIMED_OUT),
        super::Outcome::Signal if deadline.is_some() => Err(Errno::INTERRUPTED),
        super::Outcome::Signal => Err(Errno::RESTART),
    }
}

/// Wakes at most `most` that wait, and returns how many.
pub fn wake(address: usize, most: usize, bits: u32) -> Result<usize, Errno> {
    let (physical, _) = word(address)?;
    Ok(schedule::wake(Key::Futex(physical, bits), most))
}

/// Wakes some and has others wait for another word, if this one has a value.
pub fn requeue(
    address: usize,
    most: usize,
    moved: usize,
    to: usize,
    value: Option<u32>,
) -> Result<usize, Errno> {
    let (from, now) = word(address)?;
    if value.is_some_and(|value| value != now) {
        return Err(Errno::AGAIN);
    }
    let woken = schedule::wake(Key::Futex(from, u32::MAX), most);
    let (to, _) = word(to)?;
    let mut count = 0;
    for task in TASKS.get().values() {
        if let Some(waiting) = task.waiting.get().as_mut()
            && let Key::Futex(physical, bits) = waiting.key
            && physical == from
            && count < moved
        {
            waiting.key = Key::Futex(to, bits);
            count += 1;
        }
    }
    Ok(woken + count)
}
