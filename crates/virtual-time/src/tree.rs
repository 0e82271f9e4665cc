//! Virtual time as the supervisor of a tree needs it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use vdsokit_clock::{Clock, KernelTime, Record};
use vdsokit_waits::Clocks;

use crate::time::Time;
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

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.store.file().as_fd()]
    }
}
