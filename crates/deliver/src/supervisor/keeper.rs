//! The keeper: a process that answers in the supervisor's place once that has died.
//!
//! A call that a filter hands to a listener fails with ENOSYS when the last descriptor of the
//! listener is closed (seccomp_unotify(2)). The keeper has one. While the supervisor lives it
//! waits; afterwards it has the kernel make each call as if there were no filter.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::seccomp::{self, Outcome};

/// Runs until no process is left that uses the filter. `lifeline` hangs up when the supervisor
/// dies.
pub(crate) fn keep(listener: &OwnedFd, lifeline: &OwnedFd) {
    loop {
        let mut ready = [
            PollFd::new(listener, PollFlags::empty()),
            PollFd::new(lifeline, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !ready[0].revents().is_empty() {
            return;
        }
        if !ready[1].revents().is_empty() {
            break;
        }
    }
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !ready[0].revents().contains(PollFlags::IN) => return,
            Ok(_) => {}
        }
        if let Ok(notification) = seccomp::receive(listener) {
            seccomp::answer(listener, &notification, Outcome::Made);
        }
    }
}
