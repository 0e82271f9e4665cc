//! Ending a tree of which a part would see real time ([`crate::Delivery::require`]).
//!
//! All processes of the tree but the first are killed. The first one exits with a status, as if it
//! had called exit_group(2) itself: it is stopped, an instruction that makes a call is written
//! where it stands, and its registers are set for that call. A process that can't be stopped,
//! because another process traces it, is killed too.

use std::collections::HashSet;

use super::arch;
use super::process;
use crate::memory::Memory;
use crate::sys::{self, Pid, Resume};

/// The exit status of a program that was ended, as that of one that was not tried.
const STATUS: u8 = 125;

/// Ends the tree of `first`. `unserved` is a process that would see real time, whether or not it is
/// recognised as one of the tree; `stopped` a thread that is in a stop of this tracer, and `seized`
/// are others that it has seized. `release` is called once all threads of `first` have to stop before
/// another instruction: it answers a call, for one that waits for that and would go on.
pub(crate) fn end(
    first: Pid,
    unserved: Option<Pid>,
    stopped: Option<Pid>,
    seized: &HashSet<Pid>,
    is_of_tree: impl Fn(Pid) -> bool,
    release: impl FnOnce(),
) {
    // Before the others: it would learn of their end.
    let stops: Vec<Pid> = process::threads(first)
        .filter(|&thread| interrupt(thread, seized))
        .collect();
    release();
    let mut killed = HashSet::from([first]);
    let unserved = unserved.and_then(process::thread_group);
    kill_new(&mut killed, unserved);
    let this = std::process::id() as Pid;
    // One that is not served yet has nothing by which it is recognised. The first process may wait in
    // vfork(2) for it to execute a program, and it for an answer to that call.
    let is_child = |pid| pid != this && process::parent(pid) == Some(first);
    // A process may have started another before it was killed.
    while kill_new(
        &mut killed,
        process::numbers("/proc").filter(|&pid| is_of_tree(pid) || is_child(pid)),
    ) {}
    let is_first = |thread: &Pid| process::thread_group(*thread) == Some(first);
    let stopped = stopped.filter(is_first);
    if stopped.is_some_and(exits)
        || stops
            .into_iter()
            .any(|thread| has_stopped(thread) && exits(thread))
    {
        return;
    }
    sys::kill(first);
}

/// Kills those of `processes` that are not in `killed`. Returns whether there were any.
fn kill_new(killed: &mut HashSet<Pid>, processes: impl IntoIterator<Item = Pid>) -> bool {
    let mut any = false;
    for process in processes {
        if killed.insert(process) {
            sys::kill(process);
            any = true;
        }
    }
    any
}

/// Has a thread stop before it executes another instruction of the program. In vfork(2) it does so
/// when its child has ended.
fn interrupt(thread: Pid, seized: &HashSet<Pid>) -> bool {
    (seized.contains(&thread) || sys::seize(thread, 0).is_ok()) && sys::interrupt(thread).is_ok()
}

fn has_stopped(thread: Pid) -> bool {
    process::stopped(thread).is_some()
}

/// Has a stopped thread exit with [`STATUS`]. Returns whether it will.
fn exits(thread: Pid) -> bool {
    let set = || {
        let (mut registers, length) = sys::registers(thread)?;
        let (address, code) = arch::exit(&mut registers, length, STATUS);
        // Text is written, of which other processes have their own copies or none.
        Memory::open(thread)?.write(address, &code)?;
        sys::set_registers(thread, &registers)
    };
    let will: std::io::Result<()> = set();
    let _ = sys::resume(thread, Resume::Detach, 0);
    will.is_ok()
}
