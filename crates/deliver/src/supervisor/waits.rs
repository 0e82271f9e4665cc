//! Waits of the tree: each is made through the gate with a converted time-out, and made again when
//! the clock changes.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;

use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::{Basis, Call, Form, Given, Kind, Numbers, Remaining, Restart, Wait};
use vdsokit_waits::course::{Course, Nanoseconds};
use vdsokit_waits::gate::{CALL, Frame, Gate, NEW, OLD, RESULT, Then, USED};
use vdsokit_waits::number::{CLOCK_NANOSLEEP, NANOSLEEP};
use vdsokit_waits::{Clocks, WallTime};

use super::arch;
use super::frames::Frames;
use super::idle::Skip;
use super::process::{self, Blocked};
use super::sockets::Sockets;
use super::timers::{self, Settings};
use crate::proc::{self, Filters};
use crate::seccomp::{self, Notification, Outcome};
use crate::sys::{self, Pid, Resume};

/// What stands for a time-out that never ends: 73 years, which the kernel adds to any clock
/// without an overflow.
pub(super) const FOREVER: u64 = 1 << 61;
const SECOND: u64 = 1_000_000_000;

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
}

/// A call that goes through the gate.
#[derive(Debug, Clone)]
pub(crate) struct Passage {
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
}

/// A wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// The clock of `due`.
    pub(crate) clock: Clock,
    /// When it ends.
    pub(crate) due: Nanoseconds,
    form: Form,
    /// The signal set that its frame begins with.
    signals: i64,
    given: Given,
    remaining: Remaining,
    /// How much later than `due` it may end where time is skipped.
    pub(super) slack: Nanoseconds,
    /// When the kernel ends it, on `CLOCK_MONOTONIC`.
    pub(super) armed: u64,
}

/// The waits and timers of a tree.
pub(crate) struct Waits {
    pub(super) gate: Gate,
    pub(super) clocks: Box<dyn Clocks>,
    /// Whether the clocks may be changed while programs wait.
    pub(super) is_changeable: bool,
    pub(super) frames: Frames<Passage>,
    pub(super) settings: Settings,
    pub(super) sockets: Sockets,
    /// How far the wall clocks were ahead of the monotonic ones when that was last looked at.
    wall_ahead: Option<Nanoseconds>,
    /// Threads whose next call is the kernel's, as they have no gate.
    passes: HashSet<Pid>,
    next: u64,
    /// How many seccomp filters the first program has.
    filters: u32,
    /// Whether a program of the tree has installed a filter of its own.
    has_filters: bool,
    /// Where time in which nothing runs is skipped.
    skip: Option<Skip>,
    /// When the next call or timer is due that the kernel was told to end later.
    pub(super) lagging: Option<u64>,
}

impl Waits {
    /// `first` has the tree's filters and no others. `threshold`: time is skipped once nothing has
    /// run for so many nanoseconds.
    pub(crate) fn new(
        first: Pid,
        gate: Gate,
        mut clocks: Box<dyn Clocks>,
        is_changeable: bool,
        threshold: Option<u64>,
    ) -> Waits {
        clocks.serve();
        let now = clocks.now();
        let monotonic = now.as_ref().map_or(0, |now| now.monotonic);
        let mut waits = Waits {
            gate,
            clocks,
            is_changeable,
            frames: Frames::default(),
            settings: Settings::default(),
            sockets: Sockets::default(),
            wall_ahead: None,
            passes: HashSet::new(),
            next: 1,
            filters: proc::filters(first).map_or(0, Filters::count),
            has_filters: false,
            skip: threshold.map(|threshold| Skip::new(threshold, monotonic)),
            lagging: None,
        };
        waits.wall_ahead = now.ok().and_then(|now| waits.wall_ahead(&now));
        waits
    }

    /// Serves a call that `listener` got. `seized` are threads that are seized already.
    pub(crate) fn notified(
        &mut self,
        listener: &OwnedFd,
        notification: &Notification,
        seized: &mut HashSet<Pid>,
    ) -> Handled {
        let made = Handled::Answer(Outcome::Made);
        if notification.pointer == self.gate.exempt().report {
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
        let Some(kind) = Kind::decode(&call, self.numbers(notification.pid)) else {
            return made;
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
                self.wait(notification, &wait, &now)
            }
            _ => match self.timer(notification, kind, &now) {
                timers::Plan::Answer(outcome) => return Handled::Answer(outcome),
                timers::Plan::Make(passage, new) => Some((*passage, new)),
            },
        };
        let Some((passage, new)) = passage else {
            return made;
        };
        if !self.has_gate(notification.pid) || !seccomp::waits(listener, notification) {
            return made;
        }
        self.enter(listener, notification, passage, new, seized)
    }

    /// Notes a wait where time is skipped, and ends it at once if it is a sleep of a poller while
    /// nothing else runs.
    fn poll(&mut self, call: &Notification, wait: &Wait, now: &KernelTime) -> Option<Outcome> {
        let mut skip = self.skip.take()?;
        let shown = self.at(Clock::Monotonic, now);
        let (due, span) = match (given(call.pid, wait.given), wait.basis) {
            (Some(span), Basis::Call) => (Some(shown + span), Some(span)),
            (Some(due), Basis::Clock(Clock::Monotonic)) => (Some(due), Some(due - shown)),
            _ => (None, None),
        };
        let is_next = skip.called(call, span, now.monotonic);
        let slack = skip.slack(call.pid);
        self.skip = Some(skip);
        let outcome = match call.number as u32 {
            NANOSLEEP | CLOCK_NANOSLEEP => Outcome::Returns(0),
            _ => return None,
        };
        let may_step = is_next && !self.clocks.is_held();
        (may_step && self.polls(due?, slack, now)).then_some(outcome)
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
        has_gate(&self.gate, thread)
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
        let waiting = Waiting {
            clock,
            due,
            form: wait.form,
            signals: match wait.signals {
                0 => 0,
                address => process::words::<1>(notification.pid, address).ok()?[0],
            },
            given: wait.given,
            remaining: wait.remaining,
            slack: self
                .skip
                .as_ref()
                .map_or(0, |skip| skip.slack(notification.pid).into()),
            armed: armed(course, clock, due, now),
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
        let passage = Passage {
            used: 0,
            door: self.gate.door(wait.frame, then),
            made: placed(made, wait.frame),
            restart: wait.restart,
            purpose: Purpose::Wait(waiting),
        };
        Some((passage, new))
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
        let gate = self.gate;
        let is_under_way =
            |passage: &Passage, index: usize| passage.is_under_way(&gate, thread, index);
        let taken = self.frames.take(thread, passage.clone(), is_under_way);
        let Some(index) = taken else {
            return false;
        };
        let address = self.gate.frame(index);
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
        let Some(index) = self.gate.index(notification.arguments[1]) else {
            return;
        };
        let address = self.gate.frame(index);
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
            Purpose::Wait(waiting) => {
                let to = match waiting.remaining {
                    Remaining::Always(to) => to,
                    Remaining::Interrupted(to) if result == -i64::from(libc::EINTR) => to,
                    _ => return,
                };
                let left = (waiting.due - self.at(waiting.clock, &now)).max(0);
                let left = u64::try_from(left).unwrap_or(u64::MAX).min(FOREVER);
                let part = match waiting.given {
                    Given::Timeval(_) => left % SECOND / 1000,
                    _ => left % SECOND,
                };
                let words = [left / SECOND, part];
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
                // A time-out in memory that can't be written stays as it is (fs/select.c,
                // `poll_select_finish`).
                let _ = seccomp::write(thread, to, &bytes);
            }
        }
    }

    /// Notes that a process is about to execute a program.
    pub(crate) fn executes(&mut self, process: Pid) {
        if let Some(mut skip) = self.skip.take() {
            skip.executes(process, self.monotonic());
            self.skip = Some(skip);
        }
    }

    /// When [`Waits::tick`] is to be called unless something happens before, on
    /// `CLOCK_MONOTONIC`.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        let skip = self.skip.as_ref()?;
        let look = self.has_deadline().then(|| skip.next_look());
        self.lagging.into_iter().chain(look).min()
    }

    /// Does what is due by itself. Nothing that happened must be left to serve: a thread whose
    /// call waits for that looks idle.
    pub(crate) fn tick(&mut self) {
        let Some(mut skip) = self.skip.take() else {
            return;
        };
        self.end_due();
        let Ok(clocks) = self.clocks.now() else {
            self.skip = Some(skip);
            return;
        };
        let now = clocks.monotonic;
        let mut is_time = self.has_deadline() && now >= skip.next_look();
        if is_time && self.clocks.is_held() {
            skip.happened(now);
            is_time = false;
        }
        if is_time {
            let is_idle = skip.look(|process| self.is_of_tree(process), now);
            self.find_blocked(skip.threads(), &clocks);
            if is_idle {
                skip.stepped(self.step());
            }
        }
        self.skip = Some(skip);
    }

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
    fn wall_ahead(&self, now: &KernelTime) -> Option<Nanoseconds> {
        let (wall, monotonic) = (Clock::Realtime, Clock::Monotonic);
        let stays = self.course(wall).keeps_distance(&self.course(monotonic));
        stays.then(|| self.at(wall, now) - self.at(monotonic, now))
    }

    /// Forgets calls that have ended.
    pub(super) fn forget_ended(&mut self) {
        let gate = self.gate;
        self.frames
            .retain(|thread, index, passage| passage.is_under_way(&gate, thread, index));
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
        let address = self.gate.frame(index);
        let bytes: Vec<u8> = new.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // For a thread that is not in its call yet.
        seccomp::write(thread, address + NEW, &bytes)?;
        for _ in 0..LOOKS {
            if !passage.is_under_way(&self.gate, thread, index) {
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

impl Passage {
    /// Whether the call in frame `index` of `thread` is under way.
    pub(super) fn is_under_way(&self, gate: &Gate, thread: Pid, index: usize) -> bool {
        let used = process::words::<1>(thread, gate.frame(index) + USED);
        used.is_ok_and(|[used]| used as u64 == self.used)
    }
}

/// Whether the process of `thread` has `gate` where it is to be.
pub(crate) fn has_gate(gate: &Gate, thread: Pid) -> bool {
    let mut bytes = [0; 16];
    let code = &Gate::code()[..bytes.len()];
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

/// The time-out that a call gives, in nanoseconds. `None`: it is none, and the kernel says so.
fn given(thread: Pid, given: Given) -> Option<Nanoseconds> {
    let (address, unit) = match given {
        Given::Milliseconds(time) => return Some(Nanoseconds::from(time) * 1_000_000),
        Given::Timespec(address) => (address, 1),
        Given::Timeval(address) => (address, 1000),
    };
    let [seconds, part] = process::words::<2>(thread, address).ok()?;
    nanoseconds(seconds, part, unit)
}

/// Seconds and a part of a second in `unit` nanoseconds, if they are a time.
pub(super) fn nanoseconds(seconds: i64, part: i64, unit: i64) -> Option<Nanoseconds> {
    let is_one = seconds >= 0 && (0..SECOND as i64 / unit).contains(&part);
    let part = Nanoseconds::from(part) * Nanoseconds::from(unit);
    is_one.then_some(Nanoseconds::from(seconds) * Nanoseconds::from(SECOND) + part)
}

/// When the kernel ends a wait that is made now, on `CLOCK_MONOTONIC`.
pub(super) fn armed(course: Course, clock: Clock, due: Nanoseconds, now: &KernelTime) -> u64 {
    let real = course.until(clock, due, now);
    real.map_or(u64::MAX, |real| now.monotonic.saturating_add(real))
}

/// What the frame has for a wait that is made now by `call`.
fn timeout(
    waiting: &Waiting,
    course: Course,
    now: &KernelTime,
    is_first: bool,
    call: &mut Call,
) -> [i64; 4] {
    let real = course.until(waiting.clock, waiting.due, now);
    let real = real.unwrap_or(FOREVER).min(FOREVER);
    // A duration of 0 would only look.
    let duration = real.max(u64::from(is_first));
    let words = |seconds: u64, part: u64| [seconds as i64, part as i64, 0, 0];
    match waiting.form {
        Form::Duration => words(duration / SECOND, duration % SECOND),
        // Rounded up, as the kernel does with its clock's resolution.
        Form::Microseconds => {
            let time = duration.div_ceil(1000);
            words(time / 1_000_000, time % 1_000_000)
        }
        Form::Milliseconds(argument) => {
            // What is too long never ends.
            let time = i32::try_from(duration.div_ceil(1_000_000)).unwrap_or(-1);
            call.arguments[argument] = i64::from(time) as u64;
            [waiting.signals, 0, 0, 0]
        }
        Form::Monotonic | Form::Realtime => {
            let now = match waiting.form {
                Form::Realtime => now.realtime,
                _ => now.monotonic,
            };
            let at = now.saturating_add(real);
            words(at / SECOND, at % SECOND)
        }
    }
}
