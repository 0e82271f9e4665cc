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
        for (thread, index) in calls {
            self.make_again(thread, index, &now);
        }
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
        let own: Vec<usize> = own.map(|(_, index, _)| index).collect();
        for index in own {
            self.make_again(thread, index, now);
        }
    }

    /// Makes a wait again, as the clock is now.
    pub(super) fn make_again(&mut self, thread: Pid, index: usize, now: &KernelTime) {
        let Some(passage) = self.frames.get(thread, index) else {
            return;
        };
        let mut passage = passage.clone();
        let Purpose::Wait(waiting) = &mut passage.purpose else {
            return;
        };
        let course = self.course(waiting.clock);
        let new = timeout(waiting, course, now, false, &mut passage.made);
        waiting.armed = armed(course, waiting.clock, waiting.due, now);
        // A thread that can't be stopped wakes when it was to wake before.
        if self.again(thread, index, &passage, new).is_ok() {
            self.frames.replace(thread, index, passage);
        }
    }

    /// Makes a wait again, with another time-out.
    pub(super) fn again(
        &self,
        thread: Pid,
        index: usize,
        passage: &Passage,
        new: [i64; 4],
    ) -> io::Result<()> {
        /// How often a thread on its way into its call is looked at.
        const LOOKS: usize = 10_000;
        let address = passage.gate.frame(index);
        let bytes: Vec<u8> = new.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // For a thread that is not in its call yet.
        seccomp::write(thread, address + NEW, &bytes)?;
        for _ in 0..LOOKS {
            if !passage.is_under_way(thread, index) {
                return Ok(());
            }
            match Blocked::read(thread) {
                // It runs: into its call, or out of it.
                None => std::thread::yield_now(),
                Some(blocked) if blocked.pointer == passage.door + CALL => {
                    sys::seize(thread, 0)?;
                    sys::interrupt(thread)?;
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
                    if signal == 0 && arch::was_interrupted(&registers, passage.door + CALL) {
                        let (door, made) = (passage.door, &passage.made);
                        arch::restart(&mut registers, door, made, passage.restart);
                        // ppoll(2) and pselect(2) have left there what remained.
                        seccomp::write(thread, address + NEW, &bytes)?;
                        sys::set_registers(thread, &registers)?;
                    }
                    return sys::resume(thread, Resume::Detach, signal);
                }
                // It is in a handler that interrupted the call, which ends with EINTR.
                Some(_) => return Ok(()),
            }
        }
        Ok(())
    }
}
