//! Time-outs of sockets: SO_RCVTIMEO and SO_SNDTIMEO (socket(7)).
//!
//! They belong to a socket, by whatever descriptor and in whatever process it is used, so no call
//! is converted: the socket itself is set to the converted time. The kernel counts from each call.
//!
//! Where time is skipped, a thread that is blocked in such a call waits for a deadline like any
//! other. It is found when the tree is looked at, and its deadline counts from then, which is less
//! than the threshold after the call. When the deadline has come, the call ends with the kernel's
//! own error.

use std::collections::HashMap;
use std::ffi::c_int;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_timeout};
use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::{Direction, socket_wait, timeout_direction};
use vdsokit_waits::course::{Course, Nanoseconds};

use super::process::{self, Blocked};
use super::thread;
use super::times::nanoseconds;
use super::waits::Waits;
use crate::seccomp::{self, Notification, Outcome};
use crate::sys::Pid;

const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a microsecond, the unit of these time-outs.
const MICROSECOND: i64 = 1000;

/// A socket by its inode, and which of its time-outs.
type Key = (u64, Direction);

/// The time-outs that programs have set.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    spans: HashMap<Key, u64>,
    /// How many there may be before those of sockets that are gone are forgotten.
    room: usize,
    blocked: HashMap<Pid, Wait>,
    /// How long a second of the tree lasted when they were set last. `None`: time stood still.
    second: Option<u64>,
}

/// A thread that is blocked in a call on a socket with a time-out.
#[derive(Debug)]
struct Wait {
    call: Blocked,
    /// For how long the thread had run: longer, and it is another call.
    ran: u64,
    /// When it ends, on `CLOCK_MONOTONIC` of the tree.
    due: Nanoseconds,
    error: c_int,
}

impl Sockets {
    /// Whether a thread may be blocked that has a deadline.
    pub(super) fn have_timeouts(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Notes that a thread makes another call.
    pub(super) fn calls(&mut self, thread: Pid) {
        self.blocked.remove(&thread);
    }

    /// The deadlines of the blocked threads that are known.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Nanoseconds> {
        self.blocked.values().map(|wait| wait.due)
    }
}

impl Waits {
    pub(super) fn set_socket(&mut self, process: Pid, call: &Notification) -> Option<Outcome> {
        let [fd, _, option, value, length, _] = call.arguments;
        if (length as i32) < 16 {
            return None;
        }
        let [seconds, part] = process::words::<2>(call.pid, value).ok()?;
        if !(0..SECOND as i64 / MICROSECOND).contains(&part) {
            return None;
        }
        let key = key(process, fd as i32, option)?;
        let span = nanoseconds(seconds, part, MICROSECOND);
        // 0 and what is too long never end, and one that is negative ends each call at once
        // (net/core/sock.c, `sock_set_timeout`).
        let span = span.and_then(|span| u64::try_from(span).ok());
        let Some(span) = span.filter(|&span| span != 0) else {
            self.sockets.spans.remove(&key);
            return None;
        };
        match self.set_socket_to(process, fd as i32, key.1, span)? {
            Ok(()) => {
                self.sockets.second = self.second();
                self.sockets.spans.insert(key, span);
                self.forget_sockets();
                Some(Outcome::Returns(0))
            }
            Err(error) => Some(Outcome::Fails(error.raw_os_error())),
        }
    }

    /// Sets a socket's time-out. `None`: it is the kernel's business, or its process has ended.
    fn set_socket_to(
        &self,
        process: Pid,
        fd: i32,
        direction: Direction,
        span: u64,
    ) -> Option<rustix::io::Result<()>> {
        let course = self.course(Clock::Monotonic);
        if course == Course::Kernel && !self.is_changeable {
            return None;
        }
        let descriptor = process::descriptor(process, fd).ok()?;
        // One while the clock stands still never ends, as with 0.
        let real = course.real(span).map(|real| {
            // The kernel counts microseconds.
            Duration::from_nanos(real.max(MICROSECOND as u64))
        });
        Some(set_socket_timeout(&descriptor, which(direction), real))
    }

    /// The time-out of a socket of `thread`. One that was accepted has that of the socket which listened
    /// (net/core/sock.c, `sk_clone`), as the kernel has it.
    fn span(&mut self, thread: Pid, fd: i32, direction: Direction) -> Option<u64> {
        if !self.sockets.have_timeouts() {
            return None;
        }
        let key = (inode(thread, fd)?, direction);
        if let Some(&span) = self.sockets.spans.get(&key) {
            return Some(span);
        }
        let span = self.inherited(process::thread_group(thread)?, fd, direction)?;
        self.sockets.spans.insert(key, span);
        Some(span)
    }

    /// The time-out of a socket that no call has set, by how time went when time-outs were set last.
    fn inherited(&self, process: Pid, fd: i32, direction: Direction) -> Option<u64> {
        let descriptor = process::descriptor(process, fd).ok()?;
        let real = socket_timeout(&descriptor, which(direction)).ok()??;
        let second = u128::from(self.sockets.second?.max(1));
        u64::try_from(real.as_nanos() * u128::from(SECOND) / second).ok()
    }

    pub(super) fn get_socket(&mut self, process: Pid, call: &Notification) -> Option<Outcome> {
        let [fd, _, option, value, length, _] = call.arguments;
        let span = self.span(process, fd as i32, timeout_direction(option as u32)?)?;
        let mut room = [0; 4];
        process::read(call.pid, length, &mut room).ok()?;
        if u32::from_ne_bytes(room) < 16 {
            return None;
        }
        let words = [span / SECOND, span % SECOND / MICROSECOND as u64];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let written = seccomp::write(call.pid, value, &bytes)
            .and_then(|()| seccomp::write(call.pid, length, &16u32.to_ne_bytes()));
        Some(match written {
            Ok(()) => Outcome::Returns(0),
            Err(_) => Outcome::Fails(libc::EFAULT),
        })
    }

    /// How long a second of the tree lasts. `None`: time stands still.
    fn second(&self) -> Option<u64> {
        self.course(Clock::Monotonic).real(SECOND)
    }

    /// Sets all time-outs again: the clock was changed.
    pub(super) fn set_sockets_again(&mut self) {
        let mut spans = HashMap::new();
        for (process, fd, inode) in self.sockets_of_tree() {
            for direction in [Direction::Receive, Direction::Send] {
                let key = (inode, direction);
                let known = self.sockets.spans.get(&key).copied();
                if let Some(span) = known.or_else(|| self.inherited(process, fd, direction))
                    && spans.insert(key, span).is_none()
                {
                    let _ = self.set_socket_to(process, fd, direction, span);
                }
            }
        }
        self.sockets.spans = spans;
        let second = self.second();
        if self.sockets.second != second {
            self.sockets.second = second;
            self.make_blocked_again();
        }
    }

    /// Has the calls that are blocked on sockets with time-outs be made again. The kernel has read the
    /// time-out at the begin of each, and when that was is not known: its time counts from now.
    fn make_blocked_again(&mut self) {
        let processes = match self.sockets.spans.is_empty() {
            true => Vec::new(),
            false => self.processes(),
        };
        let threads = processes
            .into_iter()
            .flat_map(|process| process::numbers(&format!("/proc/{process}/task")));
        for thread in threads {
            let Some(call) = Blocked::read(thread) else {
                continue;
            };
            // A call in the gate has a time-out of its own. That of one whose deadline is known is
            // ended by that.
            let is_converted = self.gate.range().contains(&call.pointer);
            let is_known = self.sockets.blocked.contains_key(&thread);
            if !is_converted && !is_known && self.has_timeout(thread, &call) {
                thread::make_again(thread, &call);
            }
        }
    }

    /// Whether `call` of `thread` is one on a socket whose time-out applies to it.
    fn has_timeout(&mut self, thread: Pid, call: &Blocked) -> bool {
        let wait = u32::try_from(call.number).ok().and_then(socket_wait);
        wait.is_some_and(|(direction, _)| {
            let fd = call.arguments[0] as i32;
            self.span(thread, fd, direction).is_some()
        })
    }

    /// Forgets sockets that are gone, whenever there are twice as many as last time.
    fn forget_sockets(&mut self) {
        /// So many are kept in any case.
        const LEAST: usize = 1000;
        if self.sockets.spans.len() <= self.sockets.room.max(LEAST) {
            return;
        }
        let inodes: Vec<u64> = self.sockets_of_tree().map(|(_, _, inode)| inode).collect();
        self.sockets
            .spans
            .retain(|(inode, _), _| inodes.contains(inode));
        self.sockets.room = self.sockets.spans.len() * 2;
    }

    /// The sockets of the tree where any has a time-out: process, descriptor and inode.
    fn sockets_of_tree(&self) -> impl Iterator<Item = (Pid, i32, u64)> {
        let processes = match self.sockets.spans.is_empty() {
            true => Vec::new(),
            false => self.processes(),
        };
        let all = processes.into_iter().flat_map(process::descriptors);
        all.filter_map(|(process, fd, target)| Some((process, fd, socket(&target)?)))
    }

    /// Learns which of `threads` are blocked on sockets with time-outs. Each is given with the
    /// time for which it has run.
    pub(super) fn find_blocked(
        &mut self,
        threads: impl Iterator<Item = (Pid, u64)>,
        now: &KernelTime,
    ) {
        let mut known = std::mem::take(&mut self.sockets.blocked);
        if self.sockets.spans.is_empty() {
            return;
        }
        let shown = self.at(Clock::Monotonic, now);
        for (thread, ran) in threads {
            let Some(call) = Blocked::read(thread) else {
                continue;
            };
            let same = known.remove(&thread);
            let same = same.filter(|wait| wait.ran == ran && wait.call == call);
            let wait = same.or_else(|| {
                let (direction, error) = socket_wait(u32::try_from(call.number).ok()?)?;
                let span = self.span(thread, call.arguments[0] as i32, direction)?;
                Some(Wait {
                    call,
                    ran,
                    due: shown + Nanoseconds::from(span),
                    error,
                })
            });
            // A call in the gate has a time-out of its own.
            if let Some(wait) = wait.filter(|_| !self.gate.range().contains(&call.pointer)) {
                self.sockets.blocked.insert(thread, wait);
            }
        }
    }

    /// Ends the calls whose deadlines have come.
    pub(super) fn end_blocked(&mut self, now: &KernelTime) {
        let shown = self.at(Clock::Monotonic, now);
        self.sockets.blocked.retain(|&thread, wait| {
            let is_due = wait.due <= shown;
            if is_due {
                thread::fail(thread, wait.call.pointer, wait.error);
            }
            !is_due
        });
    }
}

fn which(direction: Direction) -> Timeout {
    match direction {
        Direction::Receive => Timeout::Recv,
        Direction::Send => Timeout::Send,
    }
}

/// The socket that `fd` of `process` is, and the time-out that `option` sets.
fn key(process: Pid, fd: i32, option: u64) -> Option<Key> {
    Some((inode(process, fd)?, timeout_direction(option as u32)?))
}

/// The inode of the socket that `fd` of a process or thread is.
fn inode(thread: Pid, fd: i32) -> Option<u64> {
    socket(&process::target(thread, fd)?)
}

/// The inode in the target of a descriptor's link that is a socket (proc_pid_fd(5)).
fn socket(target: &str) -> Option<u64> {
    target
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_the_same_by_each_of_its_descriptors() {
        let process = std::process::id() as Pid;
        let (one, other) = UnixStream::pair().expect("sockets");
        let again = one.try_clone().expect("a descriptor");
        let of = |socket: &UnixStream| inode(process, socket.as_raw_fd());
        assert!(of(&one).is_some());
        assert_eq!(of(&one), of(&again));
        assert_ne!(of(&one), of(&other));
        let file = std::fs::File::open("/dev/null").expect("a file");
        assert_eq!(inode(process, file.as_raw_fd()), None);
    }
}
