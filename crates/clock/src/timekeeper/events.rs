//! What happens to a kernel's machine and its processes: suspends, another counter, time namespaces,
//! system calls.

use super::{Timekeeper, before};
use crate::Error;
use crate::clocks::Clock;
use crate::line::Line;
use crate::moment::Moment;
use crate::rate::Rate;

impl Timekeeper {
    /// The machine was suspended for `nanoseconds`, from the counter at `suspended`
    /// on, and the counter is at `ticks` now, whatever it did meanwhile.
    ///
    /// Monotonic time continues from the latest time that was promised, at most one
    /// promise after the suspend.
    pub fn resumed(&mut self, suspended: u64, ticks: u64, nanoseconds: u64) {
        let ahead = self.begin_again(suspended, ticks);
        let slept = i128::from(nanoseconds) - ahead;
        self.wall += slept;
        self.boot += slept;
    }

    /// The counter is another one from now on, or has another rate: the machine was migrated, or
    /// another device took over. The old one was at `before` when the new one is at `ticks`.
    ///
    /// Monotonic and boot time continue from the latest time that was promised, at most one promise
    /// ahead; wall time continues where it was. A frequency correction has to be set again.
    ///
    /// # Errors
    /// [`Error::Promise`] if the promise would be shorter than a tick or 2⁶² ticks or longer, and
    /// nothing is changed.
    pub fn change_counter(&mut self, before: u64, ticks: u64, rate: Rate) -> Result<(), Error> {
        let promise = self.nominal.span(self.promise).unwrap_or(u128::MAX);
        let promise = rate
            .ticks((promise >> 64) as u64)
            .filter(|ticks| (1..1 << 62).contains(ticks))
            .ok_or(Error::Promise)?;
        self.promise = promise;
        self.wall -= self.begin_again(before, ticks);
        self.nominal = rate;
        self.wanted = rate;
        self.unslewed = rate;
        self.current.rate = rate;
        self.raw.rate = rate;
        Ok(())
    }

    /// Starts lines at `ticks` that continue from the latest time that was promised. Returns how
    /// many nanoseconds that is ahead of the time at `before`.
    fn begin_again(&mut self, before: u64, ticks: u64) -> i128 {
        let time = self.at(before);
        let base = time.max(self.current.after(self.current.length));
        self.slew = self.slew.saturating_sub(self.slewed(&self.current));
        self.slew_asked = self.slew != 0;
        self.current.rate = self.unslewed;
        self.current.base = base;
        self.current.start = ticks;
        self.current.length = self.promise;
        self.former = Line::NONE;
        self.raw.base = self.raw.after(self.raw.length);
        self.raw.start = ticks;
        self.raw.length = self.promise;
        self.raw_former = Line::NONE;
        self.slew_end = None;
        self.updated = ticks;
        base.as_nanoseconds() - time.as_nanoseconds()
    }

    /// The timekeeper of a time namespace (time_namespaces(7)): monotonic, raw and boot time are so
    /// many nanoseconds ahead, and wall time is the same. A namespace's page has its records.
    #[must_use]
    pub fn in_namespace(&self, monotonic: i64, boottime: i64) -> Self {
        let (monotonic, boottime) = (i128::from(monotonic), i128::from(boottime));
        Self {
            former: self.former.moved(monotonic),
            current: self.current.moved(monotonic),
            raw_former: self.raw_former.moved(monotonic),
            raw: self.raw.moved(monotonic),
            wall: self.wall - monotonic,
            boot: self.boot + boottime - monotonic,
            ..self.clone()
        }
    }

    /// The time of a clock at a tick, for the kernel's own system calls: [`at`](Self::at), moved by
    /// the clock's offset. Coarse clocks have the time of the last update.
    pub fn time(&self, clock: Clock, ticks: u64) -> Moment {
        match clock {
            Clock::RealtimeCoarse | Clock::MonotonicCoarse => {
                self.at(self.updated).moved(self.offset(clock))
            }
            Clock::MonotonicRaw => {
                let is_former = before(ticks, self.raw.start) && self.raw_former.length != 0;
                let line = if is_former {
                    &self.raw_former
                } else {
                    &self.raw
                };
                match before(ticks, line.start) {
                    true => line.base,
                    false => line.after(ticks.wrapping_sub(line.start)),
                }
            }
            Clock::Realtime | Clock::RealtimeAlarm => {
                let step = match self.leap_tick() {
                    Some((leap, at)) if !before(ticks, at) => leap.step(),
                    _ => 0,
                };
                self.at(ticks).moved(self.wall + step)
            }
            _ => self.at(ticks).moved(self.offset(clock)),
        }
    }
}
