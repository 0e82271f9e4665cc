//! A live process with all its threads stopped.

use std::collections::HashMap;
use std::ffi::c_int;
use std::fs;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::arch;
use crate::error::{Error, Unserved};
use crate::memory::Memory;
use crate::proc;
use crate::stop::Stop;
use crate::supervisor::process::Blocked;
use crate::sys::{self, Pid, Resume};

/// How long threads may sleep uninterruptibly before the attempt is given up. A thread in
/// vfork(2), or one that waits for a device, does so for as long as that takes, and the other
/// threads of its process are stopped meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long it may take until all threads have stopped, on a machine however busy.
const LIMIT: Duration = Duration::from_secs(2);

/// How often a thread is resumed for it to leave the vDSO, and for how long. One that reads clocks
/// all the time is outside in a good part of it.
const RUNS: usize = 100;
const RUN: Duration = Duration::from_micros(20);

/// The most bytes of one stack that are searched for signal frames.
const STACK_LIMIT: u64 = 64 << 20;

/// The most stacks that are searched for one thread.
const STACKS: usize = 64;

/// The threads of a process, all stopped, which resume when this is dropped.
///
/// A thread that has not stopped can't be released by ptrace(2). The kernel releases it when the
/// tracing thread ends, which is why [`crate::attach()`] runs in a thread of its own.
#[derive(Debug)]
pub(crate) struct Threads {
    pid: Pid,
    threads: Vec<Pid>,
    /// Those of `threads` whose stop was not reported since they were interrupted.
    moving: Vec<Pid>,
    /// The calls that threads were in before they were interrupted, where their registers don't say.
    calls: HashMap<Pid, Blocked>,
}

impl Threads {
    /// Stops all threads of `pid`. Each is then between two instructions, or about to enter or
    /// to restart a system call, never inside one that the interruption would fail.
    ///
    /// # Errors
    /// When the process can't be traced, is stopped by a signal, shares its memory with another
    /// process, or has a thread that does not stop within a tenth of a second. All its threads
    /// are then resumed.
    pub(crate) fn stop(pid: Pid) -> Result<Threads, Error> {
        let mut stopped = Threads {
            pid,
            threads: Vec::new(),
            moving: Vec::new(),
            calls: HashMap::new(),
        };
        if proc::is_kernel_thread(pid) {
            return Err(stopped.refuse(Unserved::KernelThread));
        }
        proc::check()?;
        // A thread that still runs may create another: repeat until no new one appears.
        loop {
            let tasks = proc::tasks(pid)?;
            let new: Vec<Pid> = tasks
                .into_iter()
                .filter(|task| !stopped.threads.contains(task))
                .collect();
            if new.is_empty() {
                break;
            }
            stopped.seize(&new)?;
            let outcome = stopped.wait_until_stopped();
            outcome.map_err(|reason| stopped.refuse(reason))?;
        }
        if stopped.threads.is_empty() {
            return Err(Error::NoProcess { pid: pid as u32 });
        }
        // No thread of it can start a process now that would share its memory later.
        match proc::shares_memory(pid) {
            Some(other) => Err(stopped.refuse(Unserved::SharesMemory(other as u32))),
            None => Ok(stopped),
        }
    }

    /// Seizes and interrupts `threads`, before it waits for any of them: the process is stopped
    /// for as long as the slowest takes, not for the sum.
    fn seize(&mut self, threads: &[Pid]) -> Result<(), Error> {
        for &thread in threads {
            self.note_call(thread);
            match sys::seize(thread, 0).and_then(|()| sys::interrupt(thread)) {
                Ok(()) => {
                    self.threads.push(thread);
                    self.moving.push(thread);
                }
                Err(error) if is_gone(&error) => {}
                Err(source) => return Err(Error::of_seize(self.pid as u32, source)),
            }
        }
        Ok(())
    }

    /// Notes the call that a running thread is in, before it is interrupted.
    fn note_call(&mut self, thread: Pid) {
        if arch::LOSES_ARGUMENT
            && let Some(call) = Blocked::read(thread)
        {
            self.calls.insert(thread, call);
        }
    }

    /// Waits until each of `moving`, which are interrupted, has stopped or ended.
    fn wait_until_stopped(&mut self) -> Result<(), Unserved> {
        let began = Instant::now();
        let mut last_runnable = began;
        let mut pause = Duration::from_micros(50);
        loop {
            let mut is_stopped_by_signal = false;
            let mut error = None;
            let calls = &self.calls;
            self.moving
                .retain(|&thread| match look(thread, calls.get(&thread)) {
                    Ok(Look::Moves) => true,
                    Ok(Look::Stopped) => false,
                    Ok(Look::GroupStopped) => {
                        is_stopped_by_signal = true;
                        false
                    }
                    Ok(Look::Ended) => {
                        self.threads.retain(|&known| known != thread);
                        false
                    }
                    Err(source) => {
                        error = Some(source);
                        false
                    }
                });
            if let Some(source) = error {
                return Err(Unserved::Access(source));
            }
            if is_stopped_by_signal {
                return Err(Unserved::Stopped);
            }
            if self.moving.is_empty() {
                return Ok(());
            }
            let is_uninterruptible = |&thread: &Pid| proc::state(self.pid, thread) == Some('D');
            let now = Instant::now();
            if !self.moving.iter().all(is_uninterruptible) {
                last_runnable = now;
            }
            if now - last_runnable > PATIENCE || now - began > LIMIT {
                return Err(Unserved::Busy);
            }
            // No system call waits for both a tracee and a time-out: poll.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }

    /// The thread that runs the stub.
    pub(crate) fn first(&self) -> Pid {
        self.threads[0]
    }

    /// Sets the ptrace(2) options of every thread.
    pub(crate) fn set_options(&self, options: c_int) -> io::Result<()> {
        self.threads
            .iter()
            .try_for_each(|&thread| sys::set_options(thread, options))
    }

    pub(crate) fn refuse(&self, reason: Unserved) -> Error {
        Error::Unserved {
            pid: self.pid as u32,
            reason,
        }
    }

    /// Runs every thread out of `forbidden`, and fails if a signal handler is to return into it.
    pub(crate) fn leave(
        &mut self,
        memory: &Memory,
        forbidden: &[Range<u64>],
    ) -> Result<(), Unserved> {
        let maps =
            fs::read_to_string(format!("/proc/{}/maps", self.pid)).map_err(Unserved::Access)?;
        let maps: Vec<Range<u64>> = proc::ranges(&maps).collect();
        for thread in self.threads.clone() {
            self.run_out(thread, memory, &maps, forbidden)?;
        }
        match self.threads.is_empty() {
            true => Err(Unserved::Busy),
            false => Ok(()),
        }
    }

    /// Resumes a thread and stops it again until it is outside `forbidden` and returns into it from
    /// no signal handler. It is not single-stepped: if the tracer died, the trap behind a step would
    /// end the process.
    fn run_out(
        &mut self,
        thread: Pid,
        memory: &Memory,
        maps: &[Range<u64>],
        forbidden: &[Range<u64>],
    ) -> Result<(), Unserved> {
        let access = Unserved::Access;
        for _ in 0..RUNS {
            // It may have ended on the way.
            if !self.threads.contains(&thread) {
                return Ok(());
            }
            let (registers, length) = sys::registers(thread).map_err(access)?;
            if !arch::is_native(&registers, length) {
                return Err(Unserved::NotNative);
            }
            let stack = arch::stack_pointer(&registers);
            if !contains(forbidden, arch::instruction_pointer(&registers))
                && !returns_into(memory, stack, maps, forbidden)
            {
                return Ok(());
            }
            sys::resume(thread, Resume::Continue, 0).map_err(access)?;
            self.moving.push(thread);
            // Long enough to leave a function, and for a short handler to end.
            std::thread::sleep(RUN);
            self.note_call(thread);
            match sys::interrupt(thread) {
                Err(error) if !is_gone(&error) => return Err(access(error)),
                _ => self.wait_until_stopped()?,
            }
        }
        Err(Unserved::InsideVdso)
    }

    /// Resumes the threads, which stay traced with `options`.
    pub(crate) fn follow(mut self, options: c_int) -> io::Result<()> {
        self.set_options(options)?;
        for thread in std::mem::take(&mut self.threads) {
            match sys::resume(thread, Resume::Continue, 0) {
                Err(error) if !is_gone(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for &thread in &self.threads {
            let signal = match self.moving.contains(&thread) {
                false => Some(0),
                true => undelivered(thread),
            };
            if let Some(signal) = signal {
                // It fails for a thread that has ended.
                let _ = sys::resume(thread, Resume::Detach, signal);
            }
        }
    }
}

/// The signal that a thread is about to take whose stop was not waited for, or 0 if it stopped for another
/// reason. To release it without that signal would discard it (ptrace(2), PTRACE_DETACH).
///
/// `None`: it has not stopped, and may stop before a signal at any moment. The kernel releases it
/// when the tracing thread ends, and then delivers the signal (kernel/ptrace.c, `exit_ptrace`).
fn undelivered(thread: Pid) -> Option<c_int> {
    let (_, status) = sys::poll(thread).ok()??;
    match Stop::decode(status) {
        Stop::Signal(signal) => Some(signal),
        _ => Some(0),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// What one look at an interrupted thread found.
enum Look {
    Moves,
    Stopped,
    /// By a signal such as SIGSTOP: its whole process is stopped.
    GroupStopped,
    Ended,
}

/// Takes the reports of an interrupted thread until it stops or has none. Signals that are about
/// to be delivered are delivered. `call` is the one that it was in before, if that is known.
fn look(thread: Pid, call: Option<&Blocked>) -> io::Result<Look> {
    let resume = |signal| match sys::resume(thread, Resume::Continue, signal) {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    };
    loop {
        let status = match sys::poll(thread) {
            Ok(Some((_, status))) => status,
            Ok(None) => return Ok(Look::Moves),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(Look::Ended),
            Err(error) => return Err(error),
        };
        match Stop::decode(status) {
            Stop::Ended => return Ok(Look::Ended),
            Stop::Interrupted => break,
            Stop::Group => return Ok(Look::GroupStopped),
            // The interruption stops it again behind the signal's delivery.
            Stop::Signal(signal) => resume(signal)?,
            Stop::Forked | Stop::Vforked | Stop::Executed => resume(0)?,
        }
    }
    let (mut registers, length) = sys::registers(thread)?;
    // The kernel restarts most interrupted system calls by itself. Some fail with EINTR instead
    // (signal(7), "Interruption of system calls"); without a signal to deliver, the interruption
    // is the only reason, and the call is made to restart.
    if arch::is_native(&registers, length)
        && !has_deliverable(thread)?
        && arch::restart_interrupted(&mut registers, call)
    {
        sys::set_registers(thread, &registers)?;
    }
    Ok(Look::Stopped)
}

/// Whether a signal is pending that `thread` does not block. The mask is the one to which the
/// thread returns: ppoll(2) and its kin have another one in force while they wait, and take the
/// signal when they are restarted.
fn has_deliverable(thread: Pid) -> io::Result<bool> {
    Ok(proc::pending(thread)? & !sys::blocked(thread)? != 0)
}

/// Whether a signal frame returns into `forbidden`, on the stack from `stack` up or on a stack
/// that a frame found there was interrupted on: handlers may run on an alternate stack
/// (sigaltstack(2)).
fn returns_into(
    memory: &Memory,
    stack: u64,
    maps: &[Range<u64>],
    forbidden: &[Range<u64>],
) -> bool {
    let mut to_search = vec![stack];
    let mut searched: Vec<Range<u64>> = Vec::new();
    while let Some(stack) = to_search.pop() {
        if searched.len() == STACKS || contains(&searched, stack) {
            continue;
        }
        let Some(mapping) = maps.iter().find(|mapping| mapping.contains(&stack)) else {
            continue;
        };
        searched.push(stack..mapping.end);
        let start = stack & !7;
        let mut bytes = vec![0; (mapping.end - start).min(STACK_LIMIT) as usize];
        let got = memory.read(start, &mut bytes).unwrap_or(0);
        let words = bytes[..got].as_chunks().0.iter();
        let words: Vec<u64> = words.map(|word| u64::from_ne_bytes(*word)).collect();
        for frame in arch::signal_frames(&words) {
            if contains(forbidden, frame.instruction_pointer) {
                return true;
            }
            to_search.push(frame.stack_pointer);
        }
    }
    false
}

fn contains(ranges: &[Range<u64>], address: u64) -> bool {
    ranges.iter().any(|range| range.contains(&address))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use rustix::process::{
        Pid as Id, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid,
    };

    use super::*;

    /// Gives up a thread that was interrupted and whose stop before `signal` was not waited for.
    fn released_before(child: &Child, signal: Signal) {
        let pid = Id::from_child(child);
        // The tracer is a thread that ends, as in `attach`.
        let tracer = std::thread::spawn(move || {
            let thread = pid.as_raw_pid();
            sys::seize(thread, 0).expect("seized");
            kill_process(pid, signal).expect("sent");
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(pid), options).expect("its stop");
            drop(Threads {
                pid: thread,
                threads: vec![thread],
                moving: vec![thread],
                calls: HashMap::new(),
            });
        });
        tracer.join().expect("released");
    }

    #[test]
    fn a_thread_that_is_given_up_takes_the_signal_that_it_stopped_for() {
        for signal in [Signal::STOP, Signal::TERM] {
            let mut child = Command::new("sh")
                .args(["-c", "read line"])
                .stdin(Stdio::piped())
                .spawn()
                .expect("a shell");
            released_before(&child, signal);
            // It ends now if the signal was lost.
            drop(child.stdin.take());
            let status = waitpid(Some(Id::from_child(&child)), WaitOptions::UNTRACED);
            let (_, status) = status.expect("waited").expect("a state");
            let taken = status.stopping_signal().or(status.terminating_signal());
            assert_eq!(taken, Some(signal.as_raw()));
            if status.stopped() {
                child.kill().expect("killed");
            }
            // It fails if `waitpid` has reported its end.
            let _ = child.wait();
        }
    }
}
