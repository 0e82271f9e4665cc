//! Time: the clocks, from the machine's counter, and the timer's interrupts.

use crate::lock::Guarded;
use crate::task::schedule;
use crate::{arch, console, vdso};
use vdsokit_clock::{Clock, Moment, Start, Timekeeper};

/// Nanoseconds between two of the timer's interrupts.
pub const TICK: u64 = 10_000_000;

/// For how long a record is valid. An emulator on a busy machine may miss many ticks.
const PROMISE: u64 = 1_000_000_000;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

struct Time {
    keeper: Timekeeper,
    frequency: u64,
    /// The counter at the next tick.
    next: u64,
}

static TIME: Guarded<Option<Time>> = Guarded::new(None);

/// Starts the clocks and publishes them: the counter's frequency, and wall time in nanoseconds.
pub fn initialise(frequency: u64, wall: u64) {
    let ticks = arch::counter();
    let keeper = Timekeeper::new(Start {
        frequency,
        ticks,
        monotonic: Moment::from_seconds(0),
        wall: Moment::from_nanoseconds(wall.into()),
        promise: PROMISE,
        tai: 0,
    });
    let keeper = keeper.expect("the counter's frequency is none");
    // A program may read a clock before the timer's first interrupt.
    vdso::publish(&keeper);
    *TIME.get() = Some(Time {
        keeper,
        frequency,
        next: ticks,
    });
}

/// Runs with the clocks.
fn with<T>(function: impl FnOnce(&mut Time) -> T) -> T {
    let mut time = TIME.get();
    function(time.as_mut().expect("time begins at boot"))
}

impl Time {
    fn ticks(&self, nanoseconds: u64) -> u64 {
        (u128::from(nanoseconds) * u128::from(self.frequency) / u128::from(SECOND)) as u64
    }
}

/// Nanoseconds of monotonic time now.
pub fn monotonic() -> u64 {
    with(|time| nanoseconds(time.keeper.at(arch::counter())))
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.as_nanoseconds()).unwrap_or(0)
}

/// Nanoseconds of a clock now, as the system call returns them; `None` for an unknown one. It is the
/// function of the vDSO that says it, on the page that programs read. Where that has no answer, the
/// timekeeper continues.
pub fn read(clock: u32) -> Option<u64> {
    let clock = Clock::from_id(clock)?;
    vdso::clock_gettime(clock.id())
        .or_else(|| with(|time| Some(nanoseconds(time.keeper.time(clock, arch::counter())))))
}

/// The monotonic time at which a clock has a value; `None` for an unknown clock.
pub fn on_monotonic(clock: u32, value: u64) -> Option<u64> {
    let clock = Clock::from_id(clock)?;
    with(|time| {
        let now = time.keeper.updated();
        let ahead = nanoseconds(time.keeper.time(clock, now)) - nanoseconds(time.keeper.at(now));
        Some(value.saturating_sub(ahead))
    })
}

/// Changes the clocks, and publishes them before a program sees that.
pub fn change<T>(change: impl FnOnce(&mut Timekeeper) -> T) -> T {
    with(|time| {
        time.keeper.update(arch::counter());
        let result = change(&mut time.keeper);
        vdso::publish(&time.keeper);
        result
    })
}

/// What an interrupt of the timer is for: clocks, deadlines, and the next interrupt.
pub fn tick() {
    let is_due = with(|time| {
        let now = arch::counter();
        let is_due = now >= time.next;
        if is_due {
            time.next = now + time.ticks(TICK);
            time.keeper.update(now);
            vdso::publish(&time.keeper);
        }
        is_due
    });
    if is_due {
        console::poll();
    }
    arm();
}

/// Sets this CPU's timer to the next tick, or to a deadline before it.
pub fn arm() {
    let nearest = schedule::expire(monotonic());
    with(|time| {
        let now = arch::counter();
        let tick = now + time.ticks(TICK);
        let deadline = nearest.map(|at| {
            let left = at.saturating_sub(nanoseconds(time.keeper.at(now)));
            now + time.ticks(left.min(TICK)) + 1
        });
        arch::set_timer(deadline.map_or(tick, |deadline| deadline.min(tick)));
    });
}
