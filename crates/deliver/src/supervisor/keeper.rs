//! The keeper: a process that answers in the supervisor's place once that has died.
//!
//! A call that a filter hands to a listener fails with ENOSYS when the last descriptor of the
//! listener is closed (seccomp_unotify(2)). The keeper has one. While the supervisor lives it
//! waits; afterwards it has the kernel make each call as if there were no filter, but for those
//! that set the clock, which fail with EPERM. Or it ends the tree ([`super::ending`]).
//!
//! The supervisor may die between the receipt of a call and its answer. The kernel hands such a
//! call over no second time, and its thread would wait for ever. So the supervisor receives calls
//! in memory that it shares with the keeper ([`Inbox`]), which answers the last one.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::setting;
use crate::seccomp::{self, Inbox, Notification, Outcome};

/// Runs until no process is left that uses the filter. `lifeline` hangs up when the supervisor
/// dies; `inbox` has the call that it received last. `end`, if any, ends the tree.
pub(crate) fn keep(
    listener: &OwnedFd,
    lifeline: &OwnedFd,
    inbox: &Inbox,
    mut end: Option<impl FnMut()>,
) {
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
    let is_ended = end.is_some();
    // An answer to a call that has one already is refused by the kernel.
    if let Some(last) = inbox.last() {
        seccomp::answer(listener, &last, outcome(&last, is_ended));
    }
    end.iter_mut().for_each(|end| end());
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !ready[0].revents().contains(PollFlags::IN) => return,
            Ok(_) => {}
        }
        if let Ok(notification) = seccomp::receive(listener) {
            let outcome = outcome(&notification, is_ended);
            seccomp::answer(listener, &notification, outcome);
            end.iter_mut().for_each(|end| end());
        }
    }
}

/// What a call ends with when no supervisor serves it.
fn outcome(call: &Notification, is_ended: bool) -> Outcome {
    match is_ended || setting::serves(call.architecture, call.number as u32) {
        true => Outcome::Fails(libc::EPERM),
        false => Outcome::Made,
    }
}
