//! Timers that a thread of their process sets for the supervisor, as no other process can.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use vdsokit_clock::KernelTime;
use vdsokit_waits::call::Call;
use vdsokit_waits::gate::{Gate, Then};
use vdsokit_waits::number::{SETITIMER, TIMER_SETTIME};
use vdsokit_waits::timers::{Key, Timer};

use super::process::{self, Blocked};
use super::thread;
use super::timers::{Settings, in_units};
use super::waits::{Waits, has_gate};
use crate::proc;
use crate::seccomp::{self, Notification, Outcome};
use crate::sys::{self, Pid, Resume};

/// How a thread was told to set a timer.
pub(super) enum Attempt {
    Set,
    /// None can be stopped now.
    Later,
    /// The process has ended.
    Ended,
}

impl Settings {
    /// Notes a timer that no thread can set now.
    pub(super) fn set_later(&mut self, key: Key, now: &KernelTime) {
        /// After so many nanoseconds it is tried again.
        const PAUSE: u64 = 10_000_000;
        self.unset.insert(key);
        self.retry.get_or_insert(now.monotonic + PAUSE);
    }
}

impl Waits {
    /// Sets the timers that no thread could set before, if it is time for that.
    pub(super) fn set_rest(&mut self) {
        let Some(at) = self.settings.retry else {
            return;
        };
        let Ok(now) = self.clocks.now() else {
            return;
        };
        if at <= now.monotonic {
            self.settings.retry = None;
            self.roll(&now);
            let unset: Vec<Key> = self.settings.unset.iter().copied().collect();
            for key in unset {
                match self.settings.timers.get(key) {
                    Some(due) => self.set_timer_again(key, due, &now),
                    None => self.forget(key),
                }
            }
        }
    }

    /// Notes that a call is served now. Its thread is blocked in no other.
    pub(crate) fn begin(&mut self, call: &Notification) {
        self.served = Some(call.pid);
        self.sockets.calls(call.pid);
    }

    /// Notes that the call that was served is, answered or not, no more.
    pub(crate) fn finish(&mut self) {
        self.served = None;
    }

    /// Answers a call. The timers of its process that no other thread could set meanwhile are set by this
    /// one, before it goes on.
    pub(crate) fn answer(
        &mut self,
        listener: &OwnedFd,
        call: &Notification,
        outcome: Outcome,
        seized: &mut HashSet<Pid>,
    ) {
        let thread = call.pid;
        let unset = match self.settings.unset.is_empty() {
            true => Vec::new(),
            false => self.unset_of(thread),
        };
        let stops = !unset.is_empty()
            && (seized.remove(&thread) || sys::seize(thread, 0).is_ok())
            && sys::interrupt(thread).is_ok();
        seccomp::answer(listener, call, outcome);
        if !stops {
            return;
        }
        let Some((registers, mut signal)) = process::stopped(thread) else {
            return;
        };
        if let Ok(now) = self.clocks.now() {
            let mut stand = thread::Stand {
                thread,
                registers,
                pointer: call.pointer,
            };
            for key in unset {
                self.set_standing(&mut stand, &mut signal, key, &now);
            }
        }
        let _ = sys::resume(thread, Resume::Detach, signal);
    }

    /// The timers of the process of `thread` that are still to be set.
    fn unset_of(&self, thread: Pid) -> Vec<Key> {
        let process = process::thread_group(thread);
        let unset = self.settings.unset.iter().copied();
        unset.filter(|key| Some(key.process) == process).collect()
    }

    /// Has a thread that stands set a timer.
    fn set_standing(
        &mut self,
        stand: &mut thread::Stand,
        signal: &mut std::ffi::c_int,
        key: Key,
        now: &KernelTime,
    ) {
        let Some(due) = self.settings.timers.get(key) else {
            self.settings.unset.remove(&key);
            return;
        };
        let new = self.kernel_setting(Some(due), now);
        let made = match *signal {
            0 => self
                .order(key, new)
                .and_then(|(door, call)| stand.make(door, &call, signal)),
            _ => None,
        };
        if let Some(counts_anew) = made {
            self.settings.unset.remove(&key);
            if counts_anew {
                self.make_all_again(stand.thread, now);
            }
            self.note(key, due.rolled(self.at(due.clock, now)), now);
        }
    }

    /// The call that sets a timer, and the door of the gate by which it is made. Its structure is written
    /// where no frame is.
    fn order(&self, key: Key, new: (u64, u64)) -> Option<(u64, Call)> {
        let Key { process, timer } = key;
        let gate = self.gates().find(|gate| has_gate(gate, process))?;
        let at = gate.spare();
        let (call, argument) = setter(&gate, timer, at)?;
        let words = in_units(&gate, timer, new);
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        seccomp::write(process, at, &words).ok()?;
        Some((gate.door(argument, Then::Return), call))
    }

    /// Has a thread of its process that is in a call set a timer, and then make its call again.
    pub(super) fn set_by_any_thread(
        &mut self,
        key: Key,
        new: (u64, u64),
        now: &KernelTime,
    ) -> Attempt {
        /// How often the process is looked at while all its threads run, the first time.
        const LOOKS: usize = 1000;
        let looks = match self.settings.unset.contains(&key) {
            true => 1,
            false => LOOKS,
        };
        let process = key.process;
        let Some((door, call)) = self.order(key, new) else {
            return Attempt::Ended;
        };
        for _ in 0..looks {
            let threads = process::threads(process);
            let states = threads.filter_map(|thread| Some((thread, proc::state(process, thread)?)));
            let mut living = states
                .filter(|(_, state)| !matches!(state, 'Z' | 'X'))
                .peekable();
            if living.peek().is_none() {
                return Attempt::Ended;
            }
            // A tracer wakes no thread in an uninterruptible sleep. One that waits for the answer to its call
            // (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV), or in vfork(2) until its child executes a
            // program, would wait for this process, and this one for it.
            let served = self.served;
            let can_stop = |&(thread, state): &(Pid, char)| state != 'D' && Some(thread) != served;
            let mut stoppable = living.filter(can_stop).peekable();
            if stoppable.peek().is_none() {
                return Attempt::Later;
            }
            let made = stoppable.find_map(|(thread, _)| {
                let own = Blocked::read(thread).filter(|own| own.number >= 0)?;
                Some((thread, thread::make(thread, &own, door, &call)?))
            });
            if let Some((thread, counts_anew)) = made {
                if counts_anew {
                    self.make_all_again(thread, now);
                }
                return Attempt::Set;
            }
            std::thread::yield_now();
        }
        // It makes no call.
        let served = self.served;
        let mut threads = process::threads(process)
            .filter(|thread| Some(*thread) != served && proc::state(process, *thread) == Some('R'));
        match threads.any(|thread| thread::make_between(thread, door, &call).is_some()) {
            true => Attempt::Set,
            false => Attempt::Later,
        }
    }
}

/// The numbers of timer_settime(2) and setitimer(2) in programs that have `gate`.
fn setters(gate: &Gate) -> (u32, u32) {
    match gate.is_i386() {
        #[cfg(target_arch = "x86_64")]
        true => {
            use vdsokit_waits::i386::{SETITIMER_HERE, TIMER_SETTIME64};
            (TIMER_SETTIME64, SETITIMER_HERE)
        }
        _ => (TIMER_SETTIME, SETITIMER),
    }
}

/// The call that sets a timer to what is at the address `at`, and which argument that is.
pub(super) fn setter(gate: &Gate, timer: Timer, at: u64) -> Option<(Call, usize)> {
    let (posix, interval) = setters(gate);
    let (number, arguments, argument) = match timer {
        // As 32-bit programs have it, the id's upper half is 0.
        Timer::Posix(id) => (posix, [u64::from(id as u32), 0, at, 0, 0, 0], 2),
        Timer::Interval => {
            let which = libc::ITIMER_REAL as u64;
            (interval, [which, at, 0, 0, 0, 0], 1)
        }
        Timer::Descriptor(_) => return None,
    };
    Some((Call { number, arguments }, argument))
}
