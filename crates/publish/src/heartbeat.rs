//! A heartbeat at a steady rate, from a thread of its own.
#![allow(
    unsafe_code,
    reason = "the standard library has no function for a thread's signal mask"
)]

use crate::mapped_vvar::MappedVvar;
use crate::time::HeartbeatClock;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two heartbeats.
const PERIOD: Duration = Duration::from_secs(1);

/// After how long without a heartbeat the values are stale: a loaded machine may delay some
/// heartbeats by seconds.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(5);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// `None` only while it is dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    process: u32,
}

impl Heartbeat {
    pub(crate) fn start(mapping: Arc<MappedVvar>, clock: HeartbeatClock) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let run = move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                mapping.header().beat(clock.now());
            }
        };
        let builder = std::thread::Builder::new()
            .name("vdso-heartbeat".to_owned())
            .stack_size(64 * 1024);
        let thread = without_signals(|| builder.spawn(run))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            process: std::process::id(),
        })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop = None;
        let thread = self.thread.take();
        // In a child of fork(2) the thread does not exist.
        if std::process::id() != self.process {
            std::mem::forget(thread);
        } else if let Some(thread) = thread {
            // It does not panic: all it does is to wait and to store.
            let _ = thread.join();
        }
    }
}

/// Runs `spawn` with all signals blocked, so that a new thread handles none: programs
/// direct signals by blocking them in all threads that exist.
fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    // SAFETY: a set of signals is plain data, which sigfillset initialises.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = all;
    // SAFETY: both pointers are to local variables of the right type; the call only changes
    // this thread's mask.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let result = spawn();
    // SAFETY: `before` is the mask that the first call stored.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}
