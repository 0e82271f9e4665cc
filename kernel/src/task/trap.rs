//! Entries from programs.

use super::{process, schedule, signal};
use crate::arch::{Frame, Trap};
use crate::call::{self, Outcome};
use crate::lock;
use crate::time;
use linux_raw_sys::general::SIGSEGV;

/// Does what a trap of the current task is for. When it returns, so does the trap.
pub fn enter(frame: &mut Frame, trap: Trap) {
    lock::acquire();
    // Whether the call may be made again behind a signal.
    let mut interrupted = false;
    match trap {
        Trap::Call => match call::make(frame) {
            Outcome::Result(result) => frame.set_result(result),
            Outcome::Interrupted => interrupted = true,
            Outcome::Replaced => {}
        },
        Trap::Page(address, access) => {
            let result = schedule::space().get().fault(address, access);
            if result.is_err() {
                signal::raise(SIGSEGV, address);
            }
        }
        Trap::Signal(signal) => signal::raise(signal, 0),
        Trap::Timer => {
            time::tick();
            schedule::give_up();
        }
    }
    signal::deliver(frame, interrupted);
    let ends = schedule::current().is_ending();
    if ends {
        // Nothing is alive on this stack here: what follows never returns.
        process::end_thread();
        schedule::leave();
    }
    lock::release();
}
