//! Virtual time as the supervisor of a tree needs it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use vdsokit_clock::{Clock, KernelTime, Moment, Record};
use vdsokit_waits::{Clocks, WallTime};

use crate::time::{Change, Time};
use crate::timex;
use crate::{kernel, pages};

impl Clocks for Time {
    fn record(&self, clock: Clock) -> Record {
        pages::record(self.store.mapping(), clock).unwrap_or(Record::SYSTEM_CALL)
    }

    fn now(&self) -> io::Result<KernelTime> {
        kernel::now()
    }

    fn advance(&mut self, nanoseconds: u64) -> io::Result<()> {
        let done = self.store.locked(|pages| {
            let mut state = pages.state()?;
            let now = kernel::now();
            Some(now.and_then(|now| {
                state.time.settle(&now);
                state.time.advance(&now, nanoseconds);
                state.time.step(i128::from(nanoseconds));
                pages.publish(&state)
            }))
        });
        done?.flatten().ok_or(io::ErrorKind::InvalidData)?
    }

    fn serve(&mut self) {
        // Without room, waits end by the time that was when they began.
        self.store.board().add_server(std::process::id());
    }

    fn set_wall(&mut self, to: WallTime) -> io::Result<()> {
        let changed = self.change(|now| {
            Ok(Change::Set(match to {
                WallTime::At(nanoseconds) => Moment::from_nanoseconds(nanoseconds),
                WallTime::MovedBy(nanoseconds) => now.at(Clock::Realtime).moved(nanoseconds),
            }))
        });
        changed.map(drop).map_err(io::Error::other)
    }

    fn adjustment(&self) -> io::Result<(i32, libc::timex)> {
        let (state, adjustment) = kernel::adjustment()?;
        let wall = pages::read(self.store.mapping(), Clock::Realtime);
        let wall = wall.map_or(adjustment, |wall| timex(adjustment, wall));
        Ok((state, wall))
    }

    fn is_held(&self) -> bool {
        self.store.board().is_held()
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.store.file().as_fd()]
    }
}
