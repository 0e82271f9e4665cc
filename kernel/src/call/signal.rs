//! Calls about signals, by the table of calls.

use crate::arch::{Frame, signal::RESTORER};
use crate::errno::Errno;
use crate::task::signal::{self, Action, Info, SIGNALS, send};
use crate::task::{Key, TASKS, process, schedule};
use crate::user::{self, WORD};
use linux_raw_sys::general as linux;

fn number(signal: usize) -> Result<u32, Errno> {
    match signal < SIGNALS {
        true => Ok(signal as u32),
        false => Err(Errno::INVALID),
    }
}

pub fn kill(id: usize, signal: usize) -> Result<usize, Errno> {
    process::kill(id as i32 as isize, number(signal)?)
}

pub fn kill_thread(process: Option<usize>, id: usize, signal: usize) -> Result<usize, Errno> {
    let signal = number(signal)?;
    let task = TASKS.get().get(&id).cloned().ok_or(Errno::NO_PROCESS)?;
    if process.is_some_and(|process| process != task.process.id) {
        return Err(Errno::NO_PROCESS);
    }
    if signal != 0 {
        let own = schedule::current().process.id;
        send(&task.process, Some(&task), Info::to_thread(signal, own));
    }
    Ok(0)
}

/// `rt_sigaction`. The structure of programs: handler, flags, restorer where the architecture has
/// it, mask.
pub fn set_action(signal: usize, new: usize, old: usize, size: usize) -> Result<usize, Errno> {
    let signal = number(signal)?;
    if signal == 0 || size != 8 {
        return Err(Errno::INVALID);
    }
    const HAS_RESTORER: bool = RESTORER != 0;
    let mask_at = if HAS_RESTORER { 3 * WORD } else { 2 * WORD };
    let task = schedule::current();
    let before = task.process.actions.get()[signal as usize];
    if new != 0 {
        if matches!(signal, linux::SIGKILL | linux::SIGSTOP) {
            return Err(Errno::INVALID);
        }
        let [handler, flags, third] = user::words(new)?;
        let [mask] = user::words(new + mask_at)?;
        task.process.actions.get()[signal as usize] = Action {
            handler,
            flags,
            restorer: if HAS_RESTORER { third } else { 0 },
            mask: mask as u64,
        };
    }
    if old != 0 {
        user::write_words(old, &[before.handler, before.flags])?;
        if HAS_RESTORER {
            user::write_words(old + 2 * WORD, &[before.restorer])?;
        }
        user::write_words(old + mask_at, &[before.mask as usize])?;
    }
    Ok(0)
}

pub fn set_mask(how: usize, new: usize, old: usize, size: usize) -> Result<usize, Errno> {
    if size != 8 {
        return Err(Errno::INVALID);
    }
    let task = schedule::current();
    let before = task.signals.get().mask;
    if new != 0 {
        let [set] = user::words(new)?;
        let set = set as u64;
        let mask = match how as u32 {
            linux::SIG_BLOCK => before | set,
            linux::SIG_UNBLOCK => before & !set,
            linux::SIG_SETMASK => set,
            _ => return Err(Errno::INVALID),
        };
        task.signals.get().set_mask(mask);
    }
    if old != 0 {
        user::write_words(old, &[before as usize])?;
    }
    Ok(0)
}

pub fn suspend(mask: usize, size: usize) -> Result<usize, Errno> {
    if size != 8 {
        return Err(Errno::INVALID);
    }
    let [mask] = user::words(mask)?;
    let task = schedule::current();
    {
        let mut signals = task.signals.get();
        signals.suspended = Some(signals.mask);
        signals.set_mask(mask as u64);
    }
    pause()
}

/// `pause`: until a handler has run.
pub fn pause() -> Result<usize, Errno> {
    loop {
        if schedule::wait(Key::Time, None) == crate::task::Outcome::Signal {
            return Err(Errno::INTERRUPTED);
        }
    }
}

pub fn pending(address: usize, size: usize) -> Result<usize, Errno> {
    if size != 8 {
        return Err(Errno::INVALID);
    }
    let pending = schedule::current().pending_signals();
    user::write_words(address, &[pending as usize])?;
    Ok(0)
}

pub fn set_stack(frame: &Frame, new: usize, old: usize) -> Result<usize, Errno> {
    let task = schedule::current();
    let (before, flags, is_on) = {
        let signals = task.signals.get();
        let pointer = frame.stack();
        (
            signals.stack,
            signals.stack_flags(pointer),
            signals.is_on_stack(pointer),
        )
    };
    if new != 0 {
        if is_on {
            return Err(Errno::PERMISSION);
        }
        let [start, flags, size] = user::words(new)?;
        let is_off = flags as u32 & linux::SS_DISABLE != 0;
        task.signals.get().stack = if is_off { (0, 0) } else { (start, size) };
    }
    if old != 0 {
        user::write_words(old, &[before.0, flags, before.1])?;
    }
    Ok(0)
}

pub fn leave_handler(frame: &mut Frame) -> Result<usize, Errno> {
    if signal::leave_handler(frame).is_err() {
        signal::raise(linux::SIGSEGV, frame.stack());
    }
    Err(Errno::REPLACED)
}
