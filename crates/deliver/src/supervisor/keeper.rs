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

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use vdsokit_waits::gate::Gate;

use super::{ending, has_gate, setting};
use crate::channel::Channel;
use crate::exec::{close_all_but, forget_stderr};
use crate::fork;
use crate::seccomp::{self, Inbox, Notification, Outcome};
use crate::sys::Pid;

/// Starts the keeper of a listener that is sent to it by what this returns. It takes over when that is
/// dropped, and ends if no listener was sent. It is a child of this process, or of its parent if that
/// adopts orphans. `required`: the first process and the gates of a tree that is then to end.
///
/// A listener that was sent stays open for the keeper, whether or not that has received it (unix(7),
/// `SCM_RIGHTS`).
pub(crate) fn start(
    inbox: &Inbox,
    required: Option<(Pid, [Option<Gate>; 2])>,
    is_reaper: bool,
) -> io::Result<Channel> {
    let (mut far, near) = Channel::pair()?;
    fork::hidden_child(is_reaper, || {
        if close_all_but(&[far.as_fd()]).is_err() {
            return;
        }
        forget_stderr();
        if let Ok(Some(listener)) = far.receive_descriptor() {
            let listener = &listener;
            let end = required.map(|(first, gates)| {
                move |call: Option<&Notification>| {
                    let gates = gates.iter().flatten();
                    let is_of_tree = |pid| gates.clone().any(|gate| has_gate(gate, pid));
                    // A caller goes on when it has an answer, so it is ended or stopped before.
                    let release = || {
                        if let Some(call) = call {
                            seccomp::answer(listener, call, Outcome::Fails(libc::EPERM));
                        }
                    };
                    let caller = call.map(|call| call.pid);
                    ending::end(first, caller, None, &HashSet::new(), is_of_tree, release);
                }
            });
            keep(listener, &far, inbox, end);
        }
    })?;
    Ok(near)
}

/// Runs until no process is left that uses the filter. `lifeline` hangs up when the supervisor
/// dies; `inbox` has the call that it received last. `end`, if any, ends the tree and answers a call.
fn keep(
    listener: &OwnedFd,
    lifeline: &Channel,
    inbox: &Inbox,
    end: Option<impl Fn(Option<&Notification>)>,
) {
    loop {
        let mut ready = [
            PollFd::new(listener, PollFlags::empty()),
            PollFd::new(lifeline, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Err(Errno::INTR | Errno::NOMEM) => continue,
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
    let serve = |call: &Notification| match &end {
        Some(end) => end(Some(call)),
        None => seccomp::answer(listener, call, outcome(call)),
    };
    // An answer to a call that has one already is refused by the kernel.
    match (inbox.last(), &end) {
        (Some(last), _) => serve(&last),
        (None, Some(end)) => end(None),
        (None, None) => {}
    }
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR | Errno::NOMEM) => continue,
            Err(_) => return,
            Ok(_) if !ready[0].revents().contains(PollFlags::IN) => return,
            Ok(_) => {}
        }
        if let Ok(notification) = seccomp::receive(listener) {
            serve(&notification);
        }
    }
}

/// What a call ends with when no supervisor serves it.
fn outcome(call: &Notification) -> Outcome {
    match setting::serves(call.architecture, call.number as u32) {
        true => Outcome::Fails(libc::EPERM),
        false => Outcome::Made,
    }
}
