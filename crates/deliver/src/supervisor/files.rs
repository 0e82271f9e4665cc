//! File times: what a program reads from a file system is converted behind the call, and what it sets
//! before the call. A thread makes these calls itself, through the gate: paths, rights and namespaces
//! are its own.

use rustix::time::{ClockId, clock_getres};
use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::AUDIT;
use vdsokit_waits::call::{Call, Numbers, Restart};
use vdsokit_waits::course::{Nanoseconds, reading};
use vdsokit_waits::files::{self, FileCall, Layout, Mapping};
use vdsokit_waits::gate::Then;

use super::process;
use super::waits::{FRAME_NEW, Handled, Passage, Purpose, Waits};
use crate::seccomp::{self, Notification};
use crate::sys::Pid;

/// The argument in which a call that reads file times has its frame: none of them has a sixth.
const UNUSED: usize = 5;

/// How the kernel's clocks differ from each other.
#[derive(Debug)]
pub(super) struct Files {
    /// How far `CLOCK_REALTIME` is ahead of `CLOCK_BOOTTIME`. Kept, as each measurement is off by some
    /// nanoseconds, and a file has to have the same time whenever it is looked at.
    ahead: Option<Nanoseconds>,
    /// The length of a timer tick.
    tick: Nanoseconds,
}

impl Files {
    pub(super) fn new() -> Files {
        let tick = clock_getres(ClockId::RealtimeCoarse);
        let seconds = Nanoseconds::from(tick.tv_sec) * 1_000_000_000;
        Files {
            ahead: None,
            tick: seconds + Nanoseconds::from(tick.tv_nsec),
        }
    }
}

/// A call about file times, and what is to be done for it.
pub(super) enum Plan {
    /// The kernel makes it as it is.
    Made,
    /// The thread makes it through the gate, with these words in its frame.
    Make(Box<Passage>, [i64; 4]),
    /// It can't be converted.
    Unserved(Handled),
}

impl Waits {
    /// How a call about file times is served. `None`: it is another call, or file times are the kernel's.
    pub(super) fn file_call(
        &mut self,
        notification: &Notification,
        numbers: Numbers,
    ) -> Option<Plan> {
        self.files.as_ref()?;
        let call = Call {
            number: notification.number as u32,
            arguments: notification.arguments,
        };
        let decoded = match notification.architecture {
            AUDIT => files::decode(&call, numbers),
            _ => decode_i386(&call, numbers),
        };
        let decoded = decoded?;
        let Ok(now) = self.clocks.now() else {
            return Some(Plan::Made);
        };
        let mapping = self.mapping(&now);
        if mapping == Mapping::Real {
            return Some(Plan::Made);
        }
        let plan = self.convert(notification, call, decoded, &mapping);
        Some(plan.unwrap_or(Plan::Made))
    }

    /// `None`: the call has nothing to convert, and the kernel says what is wrong with it.
    fn convert(
        &self,
        notification: &Notification,
        mut call: Call,
        decoded: FileCall,
        mapping: &Mapping,
    ) -> Option<Plan> {
        let gate = self.gate_for(notification)?;
        let passage = |made, argument, then, purpose| Passage {
            gate,
            used: 0,
            door: gate.door(argument, then),
            made,
            // No signal ends such a call that would not have ended the program's own.
            restart: Restart::Always,
            purpose,
        };
        let (passage, new) = match decoded {
            FileCall::Read(structure, layout) => {
                call.arguments[UNUSED] = FRAME_NEW;
                let purpose = Purpose::FileTimes(structure, layout);
                (passage(call, UNUSED, Then::Report, purpose), [0; 4])
            }
            FileCall::Unconverted => return Some(Plan::Unserved(Handled::FileFilter)),
            FileCall::Set(set) => {
                let mut given = vec![0; set.length()];
                process::read(notification.pid, set.given, &mut given).ok()?;
                let new = set.convert(&given, mapping)?;
                let mut made = set.made;
                made.arguments[set.frame] = FRAME_NEW;
                let purpose = Purpose::SetFileTimes;
                (passage(made, set.frame, Then::Return, purpose), new)
            }
        };
        Some(Plan::Make(Box::new(passage), new))
    }

    /// Converts the times that a call of `thread` has left in a structure.
    pub(super) fn show_file_times(
        &mut self,
        thread: Pid,
        structure: u64,
        layout: Layout,
        now: &KernelTime,
    ) {
        let mut bytes = vec![0; layout.length()];
        if process::read(thread, structure, &mut bytes).is_err() {
            return;
        }
        layout.show(&mut bytes, &self.mapping(now));
        let first = layout.first();
        // What another thread has unmapped meanwhile needs no times.
        let _ = seccomp::write(thread, structure + first as u64, &bytes[first..]);
    }

    /// How file times are shown now.
    fn mapping(&mut self, now: &KernelTime) -> Mapping {
        let ahead = self.wall_ahead_of_boot(now);
        let tick = self.files.as_ref().map_or(0, |files| files.tick);
        Mapping::new(&self.clocks.record(Clock::Realtime), ahead, tick, now)
    }

    /// How far the kernel's wall clock is ahead of `CLOCK_BOOTTIME`: as first measured, until the wall
    /// clock is set.
    fn wall_ahead_of_boot(&mut self, now: &KernelTime) -> Nanoseconds {
        /// More than this lies between two readings only if this process was preempted in between.
        const APART: u128 = 1_000_000;
        /// How often the two are read: the least of their distances is the nearest to the truth.
        const READINGS: usize = 16;
        let of = |now: &KernelTime| reading(Clock::Realtime, now) - reading(Clock::Boottime, now);
        let Some(files) = &mut self.files else {
            return of(now);
        };
        let is_near = |ahead: &Nanoseconds| ahead.abs_diff(of(now)) < APART;
        if let Some(ahead) = files.ahead.filter(is_near) {
            return ahead;
        }
        let readings = (0..READINGS).filter_map(|_| self.clocks.now().ok());
        // `CLOCK_BOOTTIME` is read after the wall clock.
        let measured = readings
            .map(|now| of(&now))
            .max()
            .unwrap_or_else(|| of(now));
        let is_near = |ahead: &Nanoseconds| ahead.abs_diff(measured) < APART;
        let ahead = files.ahead.filter(is_near).unwrap_or(measured);
        files.ahead = Some(ahead);
        ahead
    }
}

#[cfg(target_arch = "x86_64")]
use files::decode_i386;

/// No filter hands over such calls.
#[cfg(not(target_arch = "x86_64"))]
fn decode_i386(_: &Call, _: Numbers) -> Option<FileCall> {
    None
}
