//! Signals: which are pending, and how a handler is entered and left.

use super::{Outcome, Process, Task, process, schedule};
use crate::arch::signal as arch_signal;
use crate::arch::{Frame, signal::LAYOUT};
use crate::errno::Errno;
use crate::user::{self, WORD};
use crate::vdso;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general::{
    SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SI_USER, SIGCHLD, SIGCONT, SIGKILL, SIGSEGV,
    SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SS_DISABLE, SS_ONSTACK,
};

/// How many signals there are, with a number 0 that is none.
pub const SIGNALS: usize = 65;

const DEFAULT: usize = 0;
const IGNORE: usize = 1;

/// Where the fields of a signal's frame lie that are the same on each architecture but for their
/// place, and how much below the stack pointer belongs to the program.
pub struct Layout {
    /// The size of the frame.
    pub size: usize,
    /// `siginfo_t`.
    pub information: usize,
    /// `ucontext_t`.
    pub user_context: usize,
    /// `uc_sigmask`.
    pub mask: usize,
    /// The bytes below the stack pointer that compiled code uses.
    pub red_zone: usize,
}

/// What a process does at a signal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Action {
    /// The address of the handler; 0 for the default, 1 for nothing.
    pub handler: usize,
    /// `SA_` flags.
    pub flags: usize,
    /// Where the handler returns to, on architectures whose programs say so.
    pub restorer: usize,
    /// What is blocked meanwhile.
    pub mask: u64,
}

/// A signal, and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    signal: u32,
    code: i32,
    /// The sender's process, or the address that could not be reached.
    value: usize,
}

impl Info {
    /// Sent by a process.
    pub fn sent(signal: u32, by: usize) -> Self {
        Self {
            signal,
            code: SI_USER as i32,
            value: by,
        }
    }

    /// Sent by a process to a thread.
    pub fn to_thread(signal: u32, by: usize) -> Self {
        Self {
            signal,
            // SI_TKILL.
            code: -6,
            value: by,
        }
    }

    /// A child ended.
    pub fn child(child: usize) -> Self {
        Self {
            signal: SIGCHLD,
            // CLD_EXITED.
            code: 1,
            value: child,
        }
    }
}

/// The signals of a thread.
#[derive(Debug, Default)]
pub struct Signals {
    /// Those that are blocked, by bits: bit 0 for signal 1.
    pub mask: u64,
    /// What is blocked again behind the handler that ends `rt_sigsuspend`.
    pub suspended: Option<u64>,
    /// The stack of handlers: address, size.
    pub stack: (usize, usize),
    pending: Vec<Info>,
}

fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// The signals that can't be blocked.
fn unblockable() -> u64 {
    bit(SIGKILL) | bit(SIGSTOP)
}

impl Signals {
    /// Blocks exactly these.
    pub fn set_mask(&mut self, mask: u64) {
        self.mask = mask & !unblockable();
    }

    fn is_pending(&self, info: &Info) -> bool {
        self.mask & bit(info.signal) == 0
    }

    /// Whether the program runs on the stack of handlers.
    pub fn is_on_stack(&self, pointer: usize) -> bool {
        let (start, size) = self.stack;
        pointer.wrapping_sub(start) < size
    }

    /// The state of the stack of handlers, as `sigaltstack` reports it.
    pub fn stack_flags(&self, pointer: usize) -> usize {
        match self.stack {
            (_, 0) => SS_DISABLE as usize,
            _ if self.is_on_stack(pointer) => SS_ONSTACK as usize,
            _ => 0,
        }
    }
}

impl Task {
    /// Whether a signal is to be delivered, or the task ends.
    pub fn is_interrupted(&self) -> bool {
        let signals = self.signals.get();
        let for_process = self.process.pending.get();
        let mut pending = signals.pending.iter().chain(for_process.iter());
        pending.any(|info| signals.is_pending(info)) || self.is_ending()
    }

    /// The signals that are blocked and pending, by bits.
    pub fn pending_signals(&self) -> u64 {
        let signals = self.signals.get();
        let for_process = self.process.pending.get();
        let pending = signals.pending.iter().chain(for_process.iter());
        pending.fold(0, |bits, info| bits | bit(info.signal))
    }

    /// Takes the next signal that is not blocked.
    fn next_signal(&self) -> Option<Info> {
        let mut signals = self.signals.get();
        let mask = signals.mask;
        let take = |pending: &mut Vec<Info>| {
            let next = pending
                .iter()
                .position(|info| mask & bit(info.signal) == 0)?;
            Some(pending.remove(next))
        };
        take(&mut signals.pending).or_else(|| take(&mut self.process.pending.get()))
    }
}

fn is_ignored(action: &Action, signal: u32) -> bool {
    // Stopping is not supported: those signals do nothing.
    const NOTHING: [u32; 8] = [
        SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
    ];
    action.handler == IGNORE || action.handler == DEFAULT && NOTHING.contains(&signal)
}

/// Sends a signal to a process, or to one thread of it.
pub fn send(process: &Arc<Process>, thread: Option<&Arc<Task>>, info: Info) {
    if info.signal == SIGKILL {
        process.end(process::killed(SIGKILL));
        return;
    }
    if is_ignored(&process.actions.get()[info.signal as usize], info.signal) {
        return;
    }
    let push = |pending: &mut Vec<Info>| {
        if pending.iter().all(|other| other.signal != info.signal) {
            pending.push(info);
        }
    };
    let threads = match thread {
        Some(thread) => {
            push(&mut thread.signals.get().pending);
            [thread.clone()].into()
        }
        None => {
            push(&mut process.pending.get());
            process.threads.get().clone()
        }
    };
    // One that does not block it is enough.
    let takes_it = |thread: &&Arc<Task>| thread.signals.get().is_pending(&info);
    if let Some(thread) = threads.iter().find(takes_it) {
        schedule::stop_waiting(thread, Outcome::Signal);
    }
}

/// A signal that the current task caused at this instruction. If it is blocked or ignored, the
/// process ends.
pub fn raise(signal: u32, address: usize) {
    let task = schedule::current();
    let action = task.process.actions.get()[signal as usize];
    let blocked = task.signals.get().mask & bit(signal) != 0;
    if blocked || matches!(action.handler, DEFAULT | IGNORE) {
        task.process.end(process::killed(signal));
        return;
    }
    let info = Info {
        signal,
        // SEGV_MAPERR, and the first code of other signals.
        code: 1,
        value: address,
    };
    task.signals.get().pending.push(info);
}

/// Delivers signals before the current task returns to its program. `interrupted`: a call ended for
/// one, and is made again unless a handler forbids it.
pub fn deliver(frame: &mut Frame, mut interrupted: bool) {
    let task = schedule::current();
    while !task.is_ending()
        && let Some(info) = task.next_signal()
    {
        let action = task.process.actions.get()[info.signal as usize];
        if is_ignored(&action, info.signal) {
            continue;
        }
        if action.handler == DEFAULT {
            task.process.end(process::killed(info.signal));
            return;
        }
        if core::mem::take(&mut interrupted) {
            match action.flags & SA_RESTART as usize {
                0 => frame.set_result(Errno::INTERRUPTED.result()),
                _ => frame.restart(),
            }
        }
        if enter_handler(&task, frame, info, action).is_err() {
            task.process.end(process::killed(SIGSEGV));
            return;
        }
    }
    if interrupted {
        frame.restart();
    }
    let mut signals = task.signals.get();
    if let Some(mask) = signals.suspended.take() {
        signals.mask = mask;
    }
}

fn enter_handler(task: &Task, frame: &mut Frame, info: Info, action: Action) -> Result<(), Errno> {
    let mut signals = task.signals.get();
    let flag = |flag: u32| action.flags & flag as usize != 0;
    let (start, size) = signals.stack;
    let on_own = flag(SA_ONSTACK) && size != 0 && !signals.is_on_stack(frame.stack());
    let top = match on_own {
        true => start + size,
        false => frame.stack().wrapping_sub(LAYOUT.red_zone),
    };
    // The ABIs align a frame to 16, x86-64's to 8 behind a multiple of 16, as a call does.
    let stack = (top.wrapping_sub(LAYOUT.size) & !15).wrapping_sub(arch_signal::RETURN_ADDRESS);
    let restorer = match action.flags & arch_signal::RESTORER {
        0 => vdso::sigreturn(&task.process).ok_or(Errno::FAULT)?,
        _ => action.restorer,
    };
    let mut bytes = [0; LAYOUT.size];
    let set_u32 = |bytes: &mut [u8], at: usize, value: u32| {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    };
    set_u32(&mut bytes, LAYOUT.information, info.signal);
    set_u32(&mut bytes, LAYOUT.information + 8, info.code as u32);
    set(&mut bytes, LAYOUT.information + 16, info.value);
    let stack_flags = signals.stack_flags(frame.stack());
    for (index, word) in [start, stack_flags, size].into_iter().enumerate() {
        set(&mut bytes, LAYOUT.user_context + (2 + index) * WORD, word);
    }
    let mask = signals.suspended.take().unwrap_or(signals.mask);
    set(&mut bytes, LAYOUT.mask, mask as usize);
    let mut state = task.state.get();
    state.save();
    arch_signal::each_word(&mut frame.clone(), &mut state, |at, word| {
        set(&mut bytes, at, *word)
    });
    arch_signal::store_rest(&mut bytes, stack, frame);
    if arch_signal::RETURN_ADDRESS != 0 {
        set(&mut bytes, 0, restorer);
    }
    drop(state);
    let mut blocked = signals.mask | action.mask;
    if !flag(SA_NODEFER) {
        blocked |= bit(info.signal);
    }
    signals.set_mask(blocked);
    drop(signals);
    user::write(stack, &bytes)?;
    arch_signal::enter(frame, action.handler, stack, restorer, info.signal);
    if flag(SA_RESETHAND) {
        task.process.actions.get()[info.signal as usize].handler = DEFAULT;
    }
    Ok(())
}

/// The call with which a handler ends: goes on with the registers in its frame.
pub fn leave_handler(frame: &mut Frame) -> Result<(), Errno> {
    let task = schedule::current();
    let mut bytes = [0; LAYOUT.size];
    let stack = frame.stack().wrapping_sub(arch_signal::RETURN_ADDRESS);
    user::read(stack, &mut bytes)?;
    let mut state = task.state.get();
    state.save();
    arch_signal::each_word(frame, &mut state, |at, word| *word = get(&bytes, at));
    state.restore();
    task.signals.get().set_mask(get(&bytes, LAYOUT.mask) as u64);
    Ok(())
}

/// Stores a word in a frame.
pub fn set(bytes: &mut [u8], at: usize, word: usize) {
    bytes[at..at + WORD].copy_from_slice(&word.to_ne_bytes());
}

/// A word of a frame.
pub fn get(bytes: &[u8], at: usize) -> usize {
    let mut word = [0; WORD];
    word.copy_from_slice(&bytes[at..at + WORD]);
    usize::from_ne_bytes(word)
}
