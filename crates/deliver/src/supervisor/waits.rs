//! Waits of the tree: each is made through the gate with a converted time-out, and made again when
//! the clock changes.

use std::collections::HashSet;
use std::ffi::c_int;
use std::os::fd::OwnedFd;

use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::{Basis, Call, Form, Given, Kind, Numbers, Remaining, Restart, Wait};
use vdsokit_waits::course::{Course, Nanoseconds};
use vdsokit_waits::files::Layout;
use vdsokit_waits::gate::{Frame, Gate, NEW, OLD, RESULT, Then, USED};
use vdsokit_waits::idle::Pollers;
use vdsokit_waits::{AUDIT, Clocks};

use super::arch;
use super::files::{self, Files};
use super::frames::Frames;
use super::idle::Skip;
use super::process;
use super::sockets::Sockets;
use super::timers::{self, Settings};
use super::times::{self, armed, given, timeout};
use crate::proc;
use crate::seccomp::{self, Notification, Outcome};
use crate::sys::{self, Pid, Resume};

/// What stands for a time-out that never ends: 73 years, which the kernel adds to any clock
/// without an overflow.
pub(super) const FOREVER: u64 = 1 << 61;
pub(super) const SECOND: u64 = 1_000_000_000;

/// What came of a call that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It is to be answered so.
    Answer(Outcome),
    /// It has been answered.
    Done,
    /// It waits in real time, as the kernel makes it: another process traces the thread.
    Traced,
    /// It is the kernel's, and its time-outs are not converted.
    IoUring,
    /// It is a time-out of a socket of a 32-bit program, or a call of one with a filter of its own: the
    /// kernel's.
    I386,
    /// It reads or sets file times, and another process traces the thread.
    FileTraced,
    /// It sets file times by a call of 32-bit programs, and a filter of the program's own may forbid the one
    /// by which they are set.
    FileFilter,
}

/// A call that goes through the gate.
#[derive(Debug, Clone)]
pub(crate) struct Passage {
    /// Through which gate.
    pub(crate) gate: Gate,
    /// Names it in its frame.
    pub(crate) used: u64,
    /// Its entry.
    pub(crate) door: u64,
    /// The call, with its frame's address.
    pub(crate) made: Call,
    pub(crate) restart: Restart,
    pub(crate) purpose: Purpose,
}

/// What a call that goes through the gate is for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Wait(Waiting),
    /// It sets a timer.
    Timer(timers::Setting),
    /// It leaves file times in a structure at this address.
    FileTimes(u64, Layout),
    /// It sets file times.
    SetFileTimes,
}

/// A wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// The clock of `due`.
    pub(crate) clock: Clock,
    /// When it ends.
    pub(crate) due: Nanoseconds,
    pub(super) form: Form,
    /// The signal set that its frame begins with.
    pub(super) signals: i64,
    given: Given,
    remaining: Remaining,
    /// When the kernel ends it, on `CLOCK_MONOTONIC`.
    pub(super) armed: u64,
    /// The time-out with which it was made last.
    pub(super) made_with: [i64; 2],
}

/// The waits and timers of a tree.
pub(crate) struct Waits {
    pub(super) gate: Gate,
    /// That of 32-bit programs, if they have one.
    i386_gate: Option<Gate>,
    pub(super) clocks: Box<dyn Clocks>,
    /// Whether the clocks may be changed while programs wait.
    pub(super) is_changeable: bool,
    pub(super) frames: Frames<Passage>,
    pub(super) settings: Settings,
    pub(super) sockets: Sockets,
    /// Where file times are converted.
    pub(super) files: Option<Files>,
    /// How far the wall clocks were ahead of the monotonic ones when that was last looked at.
    pub(super) wall_ahead: Option<Nanoseconds>,
    /// The thread whose call is being served, which can't be stopped before that is answered.
    pub(super) served: Option<Pid>,
    /// Threads whose next call is the kernel's, as they have no gate.
    passes: HashSet<Pid>,
    next: u64,
    /// How many seccomp filters the first program has.
    filters: u32,
    /// Whether a program of the tree has installed a filter of its own.
    has_filters: bool,
    /// Where time in which nothing runs is skipped.
    pub(super) skip: Option<Skip>,
    pub(super) pollers: Pollers,
    /// Whether something but pollers had a deadline when deadlines were last looked at.
    pub(super) others_wait: bool,
    /// When the next call or timer is due that the kernel was told to end later.
    pub(super) lagging: Option<u64>,
}

impl Waits {
    /// `skip`: time is skipped once nothing has run for so many nanoseconds, neither in the tree nor in
    /// these processes and their descendants. `filters`: how many seccomp filters the first program has.
    pub(crate) fn new(
        (gate, i386_gate): (Gate, Option<Gate>),
        clocks: Box<dyn Clocks>,
        is_changeable: bool,
        skip: Option<(u64, Vec<Pid>)>,
        filters: u32,
    ) -> Waits {
        let now = clocks.now();
        let monotonic = now.as_ref().map_or(0, |now| now.monotonic);
        let mut waits = Waits {
            gate,
            i386_gate,
            clocks,
            is_changeable,
            frames: Frames::default(),
            settings: Settings::default(),
            sockets: Sockets::default(),
            files: None,
            wall_ahead: None,
            served: None,
            passes: HashSet::new(),
            next: 1,
            filters,
            has_filters: false,
            skip: skip.map(|(threshold, outside)| Skip::new(threshold, outside, monotonic)),
            pollers: Pollers::default(),
            others_wait: false,
            lagging: None,
        };
        waits.wall_ahead = now.ok().and_then(|now| waits.wall_ahead(&now));
        waits
    }

    /// Has what changes the clocks tell this process, from now on.
    pub(crate) fn serve(&mut self) {
        self.clocks.serve();
    }

    /// Converts file times too.
    pub(crate) fn with_file_times(mut self) -> Waits {
        self.files = Some(Files::new());
        self
    }

    /// Whether file times are converted.
    pub(crate) fn has_file_times(&self) -> bool {
        self.files.is_some()
    }

    /// Serves a call that `listener` got. `seized` are threads that are seized already.
    pub(crate) fn notified(
        &mut self,
        listener: &OwnedFd,
        notification: &Notification,
        seized: &mut HashSet<Pid>,
    ) -> Handled {
        let made = Handled::Answer(Outcome::Made);
        let gate = self.gate_for(notification);
        if gate.is_some_and(|gate| notification.pointer == gate.exempt().report) {
            self.reported(notification);
            return Handled::Answer(Outcome::Returns(0));
        }
        if self.passes.remove(&notification.pid) {
            return made;
        }
        let call = Call {
            number: notification.number as u32,
            arguments: notification.arguments,
        };
        let numbers = self.numbers(notification.pid);
        match self.file_call(notification, numbers) {
            None => {}
            Some(files::Plan::Made) => return made,
            Some(files::Plan::Unserved(reason)) => return reason,
            Some(files::Plan::Make(passage, new)) => {
                return match self.pass(listener, notification, *passage, new, seized) {
                    Handled::Traced => Handled::FileTraced,
                    handled => handled,
                };
            }
        }
        let decoded = match notification.architecture {
            AUDIT => Ok(Kind::decode(&call, numbers).map(|kind| (kind, Times::Wide))),
            // Each is made by another number.
            _ if numbers == Numbers::Own => return Handled::I386,
            _ => decode_i386(&call),
        };
        let (kind, times) = match decoded {
            Ok(Some(decoded)) => decoded,
            Ok(None) => return made,
            Err(unconverted) => return unconverted,
        };
        let Ok(now) = self.clocks.now() else {
            return made;
        };
        let passage = match kind {
            Kind::IoUring => return Handled::IoUring,
            Kind::InstallFilter => {
                self.has_filters = true;
                return made;
            }
            Kind::Wait(wait) => {
                if let Some(outcome) = self.poll(notification, &wait, &now) {
                    return Handled::Answer(outcome);
                }
                let passage = self.wait(notification, &wait, &now);
                // A 32-bit program's call has another number.
                let native = passage
                    .as_ref()
                    .filter(|_| notification.architecture == AUDIT);
                let ended = native
                    .and_then(|(passage, _)| self.ended(notification.pid, &call, passage, &now));
                if let Some(error) = ended {
                    return Handled::Answer(Outcome::Fails(error));
                }
                passage
            }
            _ => match self.timer(notification, kind, times, &now) {
                timers::Plan::Answer(outcome) => return Handled::Answer(outcome),
                timers::Plan::Make(passage, new) => Some((*passage, new)),
            },
        };
        let Some((passage, new)) = passage else {
            return made;
        };
        self.pass(listener, notification, passage, new, seized)
    }

    /// Has the thread of `notification` make a call through the gate, if it has one.
    fn pass(
        &mut self,
        listener: &OwnedFd,
        notification: &Notification,
        passage: Passage,
        new: [i64; 4],
        seized: &mut HashSet<Pid>,
    ) -> Handled {
        if !has_gate(&passage.gate, notification.pid) || !seccomp::waits(listener, notification) {
            return Handled::Answer(Outcome::Made);
        }
        self.enter(listener, notification, passage, new, seized)
    }

    /// By which numbers `thread` makes its calls.
    fn numbers(&self, thread: Pid) -> Numbers {
        let is_own = || proc::filters(thread).is_ok_and(|own| own.count() > self.filters);
        match self.has_filters && is_own() {
            true => Numbers::Own,
            false => Numbers::Finest,
        }
    }

    /// The processes of the tree.
    pub(super) fn processes(&self) -> Vec<Pid> {
        let all = process::numbers("/proc");
        all.filter(|&process| self.has_gate(process)).collect()
    }

    /// Whether the process of `thread` has the gate where it is to be.
    pub(super) fn has_gate(&self, thread: Pid) -> bool {
        self.gates().any(|gate| has_gate(&gate, thread))
    }

    /// The gates of the tree, of which each program has one.
    pub(crate) fn gates(&self) -> impl Iterator<Item = Gate> + use<> {
        [self.gate].into_iter().chain(self.i386_gate)
    }

    /// The gate of the program that makes a call.
    pub(super) fn gate_for(&self, notification: &Notification) -> Option<Gate> {
        match notification.architecture {
            AUDIT => Some(self.gate),
            _ => self.i386_gate,
        }
    }

    /// How `clock` goes.
    pub(super) fn course(&self, clock: Clock) -> Course {
        let course = Course::new(&self.clocks.record(clock));
        match self.is_changeable {
            true => course,
            false => course.unchangeable(),
        }
    }

    /// What `clock` shows in the tree.
    pub(super) fn at(&self, clock: Clock, now: &KernelTime) -> Nanoseconds {
        self.course(clock).at(clock, now)
    }

    /// How `wait` is to be made, and with which time. `None`: as the kernel makes it.
    fn wait(
        &self,
        notification: &Notification,
        wait: &Wait,
        now: &KernelTime,
    ) -> Option<(Passage, [i64; 4])> {
        let span = given(notification.pid, wait.given)?;
        let (clock, due) = match wait.basis {
            Basis::Clock(clock) => (clock, span),
            // 0 only looks, and has nothing to convert.
            Basis::Call if span == 0 => return None,
            Basis::Call => {
                let clock = Clock::Monotonic;
                (clock, self.at(clock, now) + span)
            }
        };
        let course = self.course(clock);
        if course == Course::Kernel && !self.is_changeable {
            return None;
        }
        let mut waiting = Waiting {
            clock,
            due,
            form: wait.form,
            signals: match wait.signals {
                0 => 0,
                address => process::words::<1>(notification.pid, address).ok()?[0],
            },
            given: wait.given,
            remaining: wait.remaining,
            armed: armed(course, clock, due, now),
            made_with: [0; 2],
        };
        let then = match wait.remaining {
            Remaining::None => Then::Return,
            _ => Then::Report,
        };
        let mut made = wait.made;
        // Where the kernel leaves what remains is the frame.
        if matches!(wait.remaining, Remaining::Interrupted(_)) {
            let argument = wait.frame + 1;
            made.arguments[argument] = FRAME_OLD;
        }
        let new = timeout(&waiting, course, now, true, &mut made);
        waiting.made_with = [new[0], new[1]];
        let gate = self.gate_for(notification)?;
        let passage = Passage {
            gate,
            used: 0,
            door: gate.door(wait.frame, then),
            made: placed(made, wait.frame),
            restart: wait.restart,
            purpose: Purpose::Wait(waiting),
        };
        Some((passage, new))
    }

    /// The error of a futex wait that ends at once, as its word is another or its time has come. It is
    /// found without a stop of the thread, which costs several times as much as the call.
    fn ended(
        &self,
        thread: Pid,
        call: &Call,
        passage: &Passage,
        now: &KernelTime,
    ) -> Option<c_int> {
        let (address, expected) = call.compared()?;
        let mut word = [0; 4];
        process::read(thread, address, &mut word).ok()?;
        if u32::from_ne_bytes(word) != expected {
            return Some(libc::EAGAIN);
        }
        let Purpose::Wait(Waiting { clock, due, .. }) = passage.purpose else {
            return None;
        };
        let left = self.course(clock).until(clock, due, now);
        (left == Some(0)).then_some(libc::ETIMEDOUT)
    }

    /// Has the thread of `notification` make a call through the gate.
    fn enter(
        &mut self,
        listener: &OwnedFd,
        notification: &Notification,
        mut passage: Passage,
        new: [i64; 4],
        seized: &mut HashSet<Pid>,
    ) -> Handled {
        let thread = notification.pid;
        // From here on the thread will be interrupted: everything is decided before.
        if !seized.remove(&thread)
            && let Err(error) = sys::seize(thread, 0)
        {
            return match error.raw_os_error() {
                Some(libc::ESRCH) => Handled::Answer(Outcome::Made),
                _ => Handled::Traced,
            };
        }
        if sys::interrupt(thread).is_err() {
            return Handled::Answer(Outcome::Made);
        }
        // It is restarted unless that is changed while it stands.
        let restart = Outcome::Fails(Restart::Flag.value().wrapping_neg() as i32);
        seccomp::answer(listener, notification, restart);
        let Some((mut registers, signal)) = process::stopped(thread) else {
            return Handled::Done;
        };
        passage.used = self.number();
        let frame = Frame {
            new,
            used: passage.used,
            ret: notification.pointer,
            arguments: notification.arguments,
            report_number: notification.number as u64,
        };
        let is_there = arch::was_interrupted(&registers, notification.pointer)
            && self.fill(thread, &mut passage, &frame);
        if is_there {
            arch::restart(&mut registers, passage.door, &passage.made, passage.restart);
            // One that was killed reports that next.
            let _ = sys::set_registers(thread, &registers);
        } else {
            self.passes.insert(thread);
        }
        let _ = sys::resume(thread, Resume::Detach, signal);
        Handled::Done
    }

    /// A number that no call through the gate had before.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes a frame for `passage`, and fills it.
    pub(super) fn fill(&mut self, thread: Pid, passage: &mut Passage, frame: &Frame) -> bool {
        let is_under_way = |passage: &Passage, index: usize| passage.is_under_way(thread, index);
        let taken = self.frames.take(thread, passage.clone(), is_under_way);
        let Some(index) = taken else {
            return false;
        };
        let address = passage.gate.frame(index);
        for argument in &mut passage.made.arguments {
            *argument = match *argument {
                FRAME_NEW => address + NEW,
                FRAME_OLD => address + OLD,
                other => other,
            };
        }
        self.frames.replace(thread, index, passage.clone());
        seccomp::write(thread, address, &frame.bytes()).is_ok()
    }

    /// Serves a call that reports what a call through the gate returned.
    fn reported(&mut self, notification: &Notification) {
        let thread = notification.pid;
        let frame = notification.arguments[1];
        let Some((gate, index)) = self
            .gate_for(notification)
            .and_then(|gate| Some((gate, gate.index(frame)?)))
        else {
            return;
        };
        let address = gate.frame(index);
        let Ok([result]) = process::words::<1>(thread, address + RESULT) else {
            return;
        };
        let (Some(passage), Ok(now)) = (self.frames.get(thread, index), self.clocks.now()) else {
            return;
        };
        match passage.purpose.clone() {
            Purpose::Timer(setting) => {
                if let Some(result) = self.timer_set(thread, &setting, result) {
                    let result = result.to_ne_bytes();
                    let _ = seccomp::write(thread, address + RESULT, &result);
                }
            }
            Purpose::FileTimes(structure, layout) if result == 0 => {
                self.show_file_times(thread, structure, layout, &now);
            }
            Purpose::FileTimes(..) | Purpose::SetFileTimes => {}
            Purpose::Wait(waiting) => {
                let to = match waiting.remaining {
                    Remaining::Always(to) => {
                        // An error that was found first leaves the time-out as it is.
                        let errors = [libc::EINVAL, libc::EFAULT].map(|error| -i64::from(error));
                        let left = process::words::<2>(thread, address + NEW);
                        if errors.contains(&result)
                            && left.is_ok_and(|left| left == waiting.made_with)
                        {
                            return;
                        }
                        to
                    }
                    Remaining::Interrupted(to) if result == -i64::from(libc::EINTR) => to,
                    Remaining::Received(to) if result > 0 => to,
                    _ => return,
                };
                let left = (waiting.due - self.at(waiting.clock, &now)).max(0);
                let left = u64::try_from(left).unwrap_or(u64::MAX).min(FOREVER);
                let part = match waiting.given {
                    Given::Timeval(_) | Given::Timeval32(_) => left % SECOND / 1000,
                    _ => left % SECOND,
                };
                let words = [left / SECOND, part];
                let times = match waiting.given {
                    Given::Timespec32(_) | Given::Timeval32(_) => Times::Narrow,
                    _ => Times::Wide,
                };
                let bytes = times::bytes(&words, times);
                // A time-out in memory that can't be written stays as it is (fs/select.c,
                // `poll_select_finish`). Other calls fail (kernel/time/hrtimer.c,
                // `nanosleep_copyout`; net/socket.c, `__sys_recvmmsg`).
                if seccomp::write(thread, to, &bytes).is_err()
                    && !matches!(waiting.remaining, Remaining::Always(_))
                {
                    let result = (-i64::from(libc::EFAULT)).to_ne_bytes();
                    let _ = seccomp::write(thread, address + RESULT, &result);
                }
            }
        }
    }
}

impl Passage {
    /// Whether the call in frame `index` of `thread` is under way.
    pub(super) fn is_under_way(&self, thread: Pid, index: usize) -> bool {
        let used = process::words::<1>(thread, self.gate.frame(index) + USED);
        used.is_ok_and(|[used]| used as u64 == self.used)
    }
}

/// Whether the process of `thread` has `gate` where it is to be.
pub(crate) fn has_gate(gate: &Gate, thread: Pid) -> bool {
    let mut bytes = [0; 16];
    let code = &gate.own_code()[..bytes.len()];
    process::read(thread, gate.start(), &mut bytes).is_ok() && bytes == code
}

/// Stands in a call for the address of a frame's [`NEW`].
pub(super) const FRAME_NEW: u64 = u64::MAX - 1;
/// Stands in a call for the address of a frame's [`OLD`].
pub(super) const FRAME_OLD: u64 = u64::MAX - 2;

/// `call` with its frame's address as `argument`.
fn placed(mut call: Call, argument: usize) -> Call {
    call.arguments[argument] = FRAME_NEW;
    call
}

/// How many bits the numbers of a time in a program's memory have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// 32.
    Narrow,
    /// 64.
    Wide,
}

/// What a call by the number of a 32-bit program is. An error: what it is to be answered with.
#[cfg(target_arch = "x86_64")]
fn decode_i386(call: &Call) -> Result<Option<(Kind, Times)>, Handled> {
    use vdsokit_waits::i386::{self, Found, decode};
    match decode(call) {
        None => Ok(None),
        Some(Found::Kind(kind, i386::Times::Narrow)) => Ok(Some((kind, Times::Narrow))),
        Some(Found::Kind(kind, _)) => Ok(Some((kind, Times::Wide))),
        Some(Found::Unconverted) => Err(Handled::I386),
    }
}

/// No filter hands over such calls.
#[cfg(not(target_arch = "x86_64"))]
fn decode_i386(_: &Call) -> Result<Option<(Kind, Times)>, Handled> {
    Ok(None)
}
