//! System calls: the table of those that this kernel has, with Linux's numbers.

mod file;
mod memory;
mod process;
mod signal;
mod time;

use crate::arch::Frame;
use crate::errno::Errno;
use crate::lock::Guarded;
use crate::memory::{PAGE, Section, page_of};
use crate::println;
#[cfg(target_arch = "x86_64")]
use crate::task::fork;
use crate::task::signal::leave_handler;
use crate::task::{Denied, Task, schedule};
use crate::user;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as linux;

/// What becomes of a call.
pub enum Outcome {
    /// It has a result.
    Result(usize),
    /// A signal ended it.
    Interrupted,
    /// The program goes on with other registers.
    Replaced,
}

/// The arguments of a call.
type Arguments = [usize; 6];

/// Numbers of calls are below this.
const NUMBERS: usize = PAGE / size_of::<u64>();

/// How often each call was made: a page that programs may map.
pub static COUNTS: Section<[AtomicU64; NUMBERS]> = Section([const { AtomicU64::new(0) }; NUMBERS]);

/// Whether they are printed at the end.
static ARE_PRINTED: Guarded<bool> = Guarded::new(false);

/// Sets whether the counts are printed at the end.
pub fn print_counts_at_end(are_printed: bool) {
    *ARE_PRINTED.get() = are_printed;
}

/// Prints how often each call was made, if that is wanted.
pub fn print_counts() {
    if *ARE_PRINTED.get() {
        let counts = COUNTS.0.iter().map(|count| count.load(Ordering::Relaxed));
        for (number, count) in counts.enumerate().filter(|(_, count)| *count > 0) {
            println!("calls: {} ({number}) {count}", name(number));
        }
    }
}

/// Makes the call that the current task's registers describe.
pub fn make(frame: &mut Frame) -> Outcome {
    let (number, arguments) = frame.call();
    // As on Linux, the upper half does not count.
    let number = number as u32;
    if let Some(count) = COUNTS.0.get(number as usize) {
        // Under the lock of the kernel nothing else stores it.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    let result = match number {
        linux::__NR_execve => match process::execve(frame, arguments) {
            Ok(()) => return Outcome::Replaced,
            Err(error) => Err(error),
        },
        linux::__NR_rt_sigreturn => {
            if leave_handler(frame).is_err() {
                crate::task::signal::raise(linux::SIGSEGV, frame.stack());
            }
            return Outcome::Replaced;
        }
        BATCH => batch(arguments[0], arguments[1]),
        DENY => deny(arguments[0]),
        _ => {
            let task = schedule::current();
            let denied = *task.process.denied.get();
            permitted(number, arguments, Some(frame), &task, denied)
        }
    };
    match result {
        Ok(result) => Outcome::Result(result),
        Err(Errno::RESTART) => Outcome::Interrupted,
        Err(error) => Outcome::Result(error.result()),
    }
}

/// The number of a call that Linux does not have: several calls in one entry.
const BATCH: u32 = 1000;

/// The number of a call that Linux does not have: the caller's process, and what it starts, are denied
/// the calls of [`Denied`] whose bits are given.
const DENY: u32 = 1001;

fn deny(bits: usize) -> Result<usize, Errno> {
    let process = schedule::current().process.clone();
    process.deny(Denied::from_bits(bits)).map(|()| 0)
}

/// Makes a call of a task unless it is in `denied`. Inlined, so that a call of a batch costs no copy of
/// arguments that it does not take.
#[inline(always)]
fn permitted(
    number: u32,
    arguments: Arguments,
    frame: Option<&mut Frame>,
    task: &Task,
    denied: Denied,
) -> Result<usize, Errno> {
    if denied.has_call(number) {
        return Err(Errno::PERMISSION);
    }
    dispatch(number, arguments, frame, task)
}

/// The words of a call in a batch: its number, its arguments and its result.
const ENTRY: usize = 8;

/// The most calls of a batch.
const LONGEST_BATCH: usize = 16;

/// Makes up to `count` calls, at most [`LONGEST_BATCH`], whose entries lie one behind the other, the
/// first at a multiple of their size: each is read before its call, and its result is stored behind
/// it. Returns how many were made: fewer when a signal arrived. Calls that change the registers of
/// the program (`execve`, `rt_sigreturn`), make a task (`clone`) or need the stack pointer
/// (`sigaltstack`) fail with ENOSYS.
#[inline(never)]
fn batch(address: usize, count: usize) -> Result<usize, Errno> {
    let task = schedule::current();
    let denied = *task.process.denied.get();
    let count = count.min(LONGEST_BATCH);
    if !address.is_multiple_of(ENTRY * user::WORD) {
        return Err(Errno::INVALID);
    }
    let mut done = 0;
    while done < count {
        let at = address + done * ENTRY * user::WORD;
        let page = task.process.writable(page_of(at))?;
        let words = page.words(at % PAGE);
        let here = words.len().min((count - done) * ENTRY);
        for entry in words[..here].chunks_exact(ENTRY) {
            let word = |index: usize| entry[index].load(Ordering::Relaxed) as usize;
            let arguments = core::array::from_fn(|index| word(1 + index));
            let result = match permitted(word(0) as u32, arguments, None, &task, denied) {
                Err(Errno::RESTART) if done == 0 => return Err(Errno::RESTART),
                Err(Errno::RESTART) => return Ok(done),
                Err(error) => error.result(),
                Ok(result) => result,
            };
            entry[ENTRY - 1].store(result as u64, Ordering::Relaxed);
            done += 1;
            if task.is_ending() {
                return Ok(done);
            }
        }
    }
    Ok(done)
}

/// The calls: number, and what is done. In a batch there is no frame. A call that is not listed fails with ENOSYS.
macro_rules! calls {
    (|$a:ident, $frame:ident, $task:ident| $($(#[$condition:meta])? $number:ident => $call:expr;)*) => {
        #[inline(always)]
        fn dispatch(
            number: u32,
            $a: Arguments,
            $frame: Option<&mut Frame>,
            $task: &Task,
        ) -> Result<usize, Errno> {
            match number {
                $($(#[$condition])? linux::$number => $call,)*
                _ => Err(Errno::NO_CALL),
            }
        }

        /// The name of a call, with the prefix that Linux's headers have for its number.
        fn name(number: usize) -> &'static str {
            match number as u32 {
                linux::__NR_execve => "__NR_execve",
                linux::__NR_rt_sigreturn => "__NR_rt_sigreturn",
                $($(#[$condition])? linux::$number => stringify!($number),)*
                _ => "unknown",
            }
        }
    };
}

calls! { |a, frame, task|
    // Files.
    __NR_read => file::read(a[0], a[1], a[2]);
    __NR_write => file::write(a[0], a[1], a[2]);
    __NR_readv => file::vectored(a, file::read);
    __NR_writev => file::vectored(a, file::write);
    __NR_pread64 => file::read_at(a[0], a[1], a[2], a[3]);
    __NR_openat => file::open(a[0], a[1], a[2]);
    __NR_close => file::close(a[0]);
    __NR_close_range => file::close_range(a[0], a[1]);
    __NR_lseek => file::seek(a[0], a[1] as isize, a[2]);
    __NR_fstat => file::stat_of(a[0], a[1]);
    __NR_newfstatat => file::stat_at(a[0], a[1], a[2], a[3]);
    __NR_getdents64 => file::directory_entries(a[0], a[1], a[2]);
    __NR_readlinkat => file::read_link(a[0], a[1], a[2], a[3]);
    __NR_faccessat => file::access(a[0], a[1]);
    __NR_faccessat2 => file::access(a[0], a[1]);
    __NR_getcwd => file::current_directory(a[0], a[1]);
    __NR_chdir => file::change_directory(a[0]);
    __NR_dup => file::duplicate(a[0]);
    __NR_dup3 => file::duplicate_to(a[0], a[1], a[2]);
    __NR_pipe2 => file::pipe(a[0], a[1]);
    __NR_fcntl => file::control(a[0], a[1], a[2]);
    __NR_ioctl => file::device_control(a[0], a[1], a[2]);
    __NR_ppoll => file::poll(a[0], a[1], time::duration(a[2])?);
    __NR_epoll_create1 => file::new_set(a[0]);
    __NR_epoll_ctl => file::control_set(a[0], a[1], a[2], a[3]);
    __NR_epoll_pwait => file::wait_for_set(a[0], a[1], a[2], time::milliseconds(a[3]));
    __NR_umask => Ok(0o022);

    // Memory.
    __NR_brk => memory::set_heap_end(a[0]);
    __NR_mmap => memory::map(a);
    __NR_munmap => memory::unmap(a[0], a[1]);
    __NR_mprotect => memory::protect(a[0], a[1], a[2]);
    __NR_madvise => memory::advise(a[0], a[1], a[2]);

    // Processes and threads.
    __NR_clone => process::clone(frame.ok_or(Errno::NO_CALL)?, a);
    __NR_exit => process::exit_thread(a[0]);
    __NR_exit_group => process::exit(a[0]);
    __NR_wait4 => process::wait(a[0], a[1], a[2]);
    __NR_getpid => Ok(task.process.id);
    __NR_getppid => Ok(task.process.parent_id());
    __NR_gettid => Ok(task.id);
    __NR_getpgid => process::group(a[0]);
    __NR_setpgid => process::set_group(a[0], a[1]);
    __NR_getsid => process::session(a[0]);
    __NR_setsid => process::new_session();
    __NR_getuid => Ok(0);
    __NR_geteuid => Ok(0);
    __NR_getgid => Ok(0);
    __NR_getegid => Ok(0);
    __NR_set_tid_address => process::set_clear_address(a[0]);
    __NR_sched_yield => { schedule::give_up(); Ok(0) };
    __NR_sched_getaffinity => process::affinity(a[1], a[2]);
    __NR_getcpu => process::cpu(a[0], a[1]);
    __NR_prlimit64 => process::limits(a[1], a[3]);
    __NR_uname => process::system_name(a[0]);
    __NR_getrandom => process::random(a[0], a[1]);
    __NR_futex => process::futex(a);

    // Networks, which this kernel does not have.
    __NR_socket => Err(Errno::NO_NETWORK);
    __NR_socketpair => Err(Errno::NO_NETWORK);

    // Signals.
    __NR_kill => signal::kill(a[0], a[1]);
    __NR_tkill => signal::kill_thread(None, a[0], a[1]);
    __NR_tgkill => signal::kill_thread(Some(a[0]), a[1], a[2]);
    __NR_rt_sigaction => signal::set_action(a[0], a[1], a[2], a[3]);
    __NR_rt_sigprocmask => signal::set_mask(a[0], a[1], a[2], a[3]);
    __NR_rt_sigsuspend => signal::suspend(a[0], a[1]);
    __NR_rt_sigpending => signal::pending(a[0], a[1]);
    __NR_sigaltstack => signal::set_stack(frame.ok_or(Errno::NO_CALL)?, a[0], a[1]);

    // Time.
    __NR_clock_settime => time::set(a[0], a[1]);
    __NR_clock_adjtime => time::adjust(a[0], a[1]);
    __NR_clock_gettime => time::read(a[0], a[1]);
    __NR_clock_getres => time::resolution(a[0], a[1]);
    __NR_gettimeofday => time::time_of_day(a[0], a[1]);
    __NR_nanosleep => time::sleep(linux::CLOCK_MONOTONIC as usize, 0, a[0], a[1]);
    __NR_clock_nanosleep => time::sleep(a[0], a[1], a[2], a[3]);

    // Calls of x86-64 that the others have no number for.
    #[cfg(target_arch = "x86_64")] __NR_open => file::open(file::HERE, a[0], a[1]);
    #[cfg(target_arch = "x86_64")] __NR_stat => file::stat_at(file::HERE, a[0], a[1], 0);
    #[cfg(target_arch = "x86_64")] __NR_lstat => file::stat_at(file::HERE, a[0], a[1], file::NO_FOLLOW);
    #[cfg(target_arch = "x86_64")] __NR_access => file::access(file::HERE, a[0]);
    #[cfg(target_arch = "x86_64")] __NR_readlink => file::read_link(file::HERE, a[0], a[1], a[2]);
    #[cfg(target_arch = "x86_64")] __NR_dup2 => file::duplicate_over(a[0], a[1]);
    #[cfg(target_arch = "x86_64")] __NR_pipe => file::pipe(a[0], 0);
    #[cfg(target_arch = "x86_64")] __NR_poll => file::poll(a[0], a[1], time::milliseconds(a[2]));
    #[cfg(target_arch = "x86_64")] __NR_fork => fork::clone(frame.ok_or(Errno::NO_CALL)?, &fork::Request::fork());
    #[cfg(target_arch = "x86_64")] __NR_vfork => fork::clone(frame.ok_or(Errno::NO_CALL)?, &fork::Request::vfork());
    #[cfg(target_arch = "x86_64")] __NR_getpgrp => process::group(0);
    #[cfg(target_arch = "x86_64")] __NR_pause => signal::pause();
    #[cfg(target_arch = "x86_64")] __NR_time => time::seconds(a[0]);
    #[cfg(target_arch = "x86_64")] __NR_arch_prctl => process::architecture(a[0], a[1]);
}
