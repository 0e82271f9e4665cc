//! Changes of the clock: what waits is made again with what is left of its time.

use std::io;

use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::WallTime;
use vdsokit_waits::course::Nanoseconds;
use vdsokit_waits::gate::{CALL, NEW};

use super::arch;
use super::process::{self, Blocked};
use super::times::{armed, timeout};
use super::waits::{Passage, Purpose, Waits};
use crate::seccomp;
use crate::sys::{self, Pid, Resume};

impl Waits {
    /// Sets the wall clocks of the tree.
    pub(super) fn set_wall(&mut self, to: WallTime) -> io::Result<()> {
        self.clocks.set_wall(to)?;
        self.changed();
        Ok(())
    }

    /// What adjtimex(2) returns and stores in the tree.
    pub(super) fn adjustment(&self) -> io::Result<(i32, libc::timex)> {
        self.clocks.adjustment()
    }

    /// Makes all that waits by the clock wait for its time again: the clock was changed.
    pub(crate) fn changed(&mut self) {
        let Ok(now) = self.clocks.now() else {
            return;
        };
        self.forget_ended();
        if self.walls_were_set() {
            self.cancel_timerfds();
        }
        let calls = self.frames.iter();
        let calls: Vec<_> = calls.map(|(thread, index, _)| (thread, index)).collect();
        self.make_again(&calls, &now);
        self.set_again(&now);
        self.set_sockets_again();
        self.end_blocked(&now);
    }

    /// Whether the wall clocks were set since the last call of this. Unknown, and no, while they run
    /// at another rate than the monotonic ones.
    fn walls_were_set(&mut self) -> bool {
        /// What a distance may differ by as the kernel's clocks are read one after another, in
        /// nanoseconds. A delay between two readings looks like a step, so they are repeated.
        const APART: u128 = 10_000_000;
        const READINGS: usize = 3;
        let readings = (0..READINGS).filter_map(|_| self.wall_ahead(&self.clocks.now().ok()?));
        let readings: Vec<_> = readings.collect();
        let Some(before) = self.wall_ahead else {
            self.wall_ahead = readings.first().copied();
            return false;
        };
        let is_far = |ahead: &Nanoseconds| before.abs_diff(*ahead) > APART;
        let was_set = !readings.is_empty() && readings.iter().all(is_far);
        if was_set {
            self.wall_ahead = readings.last().copied();
        }
        was_set
    }

    /// How far the wall clocks are ahead of the monotonic ones, if that stays so.
    pub(super) fn wall_ahead(&self, now: &KernelTime) -> Option<Nanoseconds> {
        let (wall, monotonic) = (Clock::Realtime, Clock::Monotonic);
        let stays = self.course(wall).keeps_distance(&self.course(monotonic));
        stays.then(|| self.at(wall, now) - self.at(monotonic, now))
    }

    /// Forgets calls that have ended.
    pub(super) fn forget_ended(&mut self) {
        self.frames
            .retain(|thread, index, passage| passage.is_under_way(thread, index));
    }

    /// Makes the waits of `thread` again, as the clock is now.
    pub(super) fn make_all_again(&mut self, thread: Pid, now: &KernelTime) {
        let calls = self.frames.iter();
        let own = calls.filter(|(other, ..)| *other == thread);
        let own: Vec<_> = own.map(|(thread, index, _)| (thread, index)).collect();
        self.make_again(&own, now);
    }

    /// Makes waits again, each a thread and its frame, as the clock is now. Threads come to their stops
    /// while others are interrupted.
    pub(super) fn make_again(&mut self, calls: &[(Pid, usize)], now: &KernelTime) {
        let mut interrupted: Vec<Again> = Vec::new();
        for &(thread, index) in calls {
            // One has several calls where a handler waits, and is interrupted for one at a time.
            if let Some(at) = interrupted.iter().position(|other| other.thread == thread) {
                let other = interrupted.swap_remove(at);
                self.restart(other);
            }
            let Some(again) = self.prepared(thread, index, now) else {
                continue;
            };
            match again.interrupt() {
                Ok(true) => interrupted.push(again),
                Ok(false) => self.frames.replace(thread, index, again.passage),
                // It wakes when it was to wake before.
                Err(_) => {}
            }
        }
        for again in interrupted {
            self.restart(again);
        }
    }

    /// A wait as it is to be made now.
    fn prepared(&self, thread: Pid, index: usize, now: &KernelTime) -> Option<Again> {
        let mut passage = self.frames.get(thread, index)?.clone();
        let Purpose::Wait(waiting) = &mut passage.purpose else {
            return None;
        };
        let course = self.course(waiting.clock);
        let new = timeout(waiting, course, now, false, &mut passage.made);
        waiting.armed = armed(course, waiting.clock, waiting.due, now);
        waiting.made_with = [new[0], new[1]];
        Some(Again {
            thread,
            index,
            passage,
            new: new.iter().flat_map(|word| word.to_ne_bytes()).collect(),
        })
    }

    /// Makes the wait of a thread that was interrupted.
    fn restart(&mut self, again: Again) {
        if again.restart().is_ok() {
            let (thread, index) = (again.thread, again.index);
            self.frames.replace(thread, index, again.passage);
        }
    }
}

/// A wait that is made again, with another time-out.
struct Again {
    thread: Pid,
    /// Its frame.
    index: usize,
    passage: Passage,
    /// What the frame is to have.
    new: Vec<u8>,
}

impl Again {
    /// Interrupts the thread where it waits. `false`: it does not, or has the new time-out.
    fn interrupt(&self) -> io::Result<bool> {
        /// How often a thread on its way into its call is looked at.
        const LOOKS: usize = 10_000;
        let thread = self.thread;
        // For a thread that is not in its call yet.
        self.write()?;
        for _ in 0..LOOKS {
            if !self.passage.is_under_way(thread, self.index) {
                return Ok(false);
            }
            match Blocked::read(thread) {
                // It runs: into its call, or out of it.
                None => std::thread::yield_now(),
                Some(blocked) if blocked.pointer == self.passage.door + CALL => {
                    sys::seize(thread, 0)?;
                    sys::interrupt(thread)?;
                    return Ok(true);
                }
                // It is in a handler that interrupted the call, which ends with EINTR.
                Some(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Waits for the stop of the thread, which was interrupted, and has it make its call again.
    fn restart(&self) -> io::Result<()> {
        let thread = self.thread;
        let Some((mut registers, signal)) = process::stopped(thread) else {
            return Ok(());
        };
        let signal = match signal {
            0 => crate::arch::settle(thread, &mut registers),
            signal => Some(signal),
        };
        let Some(signal) = signal else {
            return Ok(());
        };
        let (door, made) = (self.passage.door, &self.passage.made);
        if signal == 0 && arch::was_interrupted(&registers, door + CALL) {
            arch::restart(&mut registers, door, made, self.passage.restart);
            // ppoll(2) and pselect(2) have left there what remained.
            self.write()?;
            sys::set_registers(thread, &registers)?;
        }
        sys::resume(thread, Resume::Detach, signal)
    }

    /// Writes the time-out into the frame.
    fn write(&self) -> io::Result<()> {
        let address = self.passage.gate.frame(self.index);
        seccomp::write(self.thread, address + NEW, &self.new)
    }
}
