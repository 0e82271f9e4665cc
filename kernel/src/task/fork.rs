//! New threads and processes: `clone` and its special cases.

use super::{Key, Process, Task, schedule};
use crate::arch::Frame;
use crate::errno::Errno;
use crate::lock::Guarded;
use crate::{user, vdso};
use alloc::sync::Arc;
use linux_raw_sys::general::{
    CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_FILES, CLONE_NEWCGROUP, CLONE_NEWIPC,
    CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, CLONE_PARENT_SETTID,
    CLONE_SETTLS, CLONE_SIGHAND, CLONE_THREAD, CLONE_VFORK, CLONE_VM,
};
use vdsokit_guest::Facts;

/// What a new task has of its own, by `clone`'s arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// `CLONE_` flags.
    pub flags: u32,
    /// Its stack; 0 for the caller's.
    pub stack: usize,
    /// Where its number is stored for the caller.
    pub parent_id_at: usize,
    /// Where its number is stored for itself.
    pub child_id_at: usize,
    /// Its thread pointer.
    pub thread_pointer: usize,
}

/// Makes a task like the current one, and returns its number.
pub fn clone(frame: &Frame, request: &Request) -> Result<usize, Errno> {
    const NAMESPACES: u32 = CLONE_NEWNS
        | CLONE_NEWCGROUP
        | CLONE_NEWUTS
        | CLONE_NEWIPC
        | CLONE_NEWUSER
        | CLONE_NEWPID
        | CLONE_NEWNET;
    let flags = |flags: u32| request.flags & flags == flags;
    if request.flags & NAMESPACES != 0
        || flags(CLONE_THREAD) && !flags(CLONE_VM | CLONE_SIGHAND)
        || flags(CLONE_SIGHAND) && !flags(CLONE_VM)
    {
        return Err(Errno::INVALID);
    }
    let parent = schedule::current();
    let id = super::new_id();
    if flags(CLONE_PARENT_SETTID) {
        user::write_u32(request.parent_id_at, id as u32)?;
    }
    let process = match flags(CLONE_THREAD) {
        true => parent.process.clone(),
        false => new_process(id, &parent.process, request.flags)?,
    };
    parent.state.get().save();
    let mut state = parent.state.get().clone();
    let mut frame = *frame;
    frame.set_result(0);
    if request.stack != 0 {
        frame.set_stack(request.stack);
    }
    if flags(CLONE_SETTLS) {
        state.set_thread_pointer(&mut frame, request.thread_pointer);
    }
    if flags(CLONE_CHILD_SETTID) {
        let bytes = (id as u32).to_ne_bytes();
        // As on Linux, an address that can't be written is no error.
        let _ = process.space().get().write(request.child_id_at, &bytes);
    }
    let task = Task::new(id, &process, &frame, state);
    {
        let (mut child, parent) = (task.signals.get(), parent.signals.get());
        child.mask = parent.mask;
        if !flags(CLONE_VM) || flags(CLONE_VFORK) {
            child.stack = parent.stack;
        }
    }
    if flags(CLONE_CHILD_CLEARTID) {
        *task.clear_id_at.get() = request.child_id_at;
    }
    *process.borrows.get() |= flags(CLONE_VFORK);
    drop(parent);
    schedule::ready(task);
    if flags(CLONE_VFORK) {
        // Only its own end or the child's lets the parent go on: it must not use the space that the
        // child borrows.
        while *process.borrows.get() && !schedule::current().is_ending() {
            schedule::wait_uninterrupted(Key::Borrowed(id), None);
        }
    }
    Ok(id)
}

fn new_process(id: usize, parent: &Arc<Process>, flags: u32) -> Result<Arc<Process>, Errno> {
    let space = parent.space();
    let shares = flags & CLONE_VM != 0;
    let space = if shares {
        // Neither process may take the page's facts for its own from now on.
        if let Some(page) = &mut space.get().process {
            page.share();
        }
        space
    } else {
        let mut copy = space.get().forked()?;
        let facts = Facts {
            pid: id as u32,
            ppid: parent.id as u32,
        };
        vdso::forked(&mut copy, facts)?;
        Arc::new(Guarded::new(copy))
    };
    let files = match flags & CLONE_FILES {
        0 => Arc::new(Guarded::new(parent.files.get().clone())),
        _ => parent.files.clone(),
    };
    let actions = match flags & CLONE_SIGHAND {
        0 => Arc::new(Guarded::new(*parent.actions.get())),
        _ => parent.actions.clone(),
    };
    let process = Process::new(id, Some(parent), space, files, actions);
    *process.shares.get() = shares;
    Ok(process)
}
