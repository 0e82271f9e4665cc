//! Passes descriptors to a process that can't open the tracer's by path: one with another /proc
//! or none, of another user, or in a sandbox. The process creates a socket pair, the tracer
//! duplicates one end with pidfd_getfd(2) and sends the descriptors through it. This needs no
//! name in any namespace.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::arch::number;
use crate::visit::{Caller, StubError};

/// `struct msghdr`, `struct iovec`, a byte to send, and the head of a control message, as
/// words. The descriptors follow.
const MESSAGE_WORDS: usize = 7 + 2 + 1 + 2;

/// Gives the process descriptors of `files` and returns their numbers.
pub(crate) fn descriptors(visit: &mut impl Caller, files: &[&File]) -> Result<Vec<u64>, StubError> {
    let at = visit.scratch(MESSAGE_WORDS * 8 + files.len() * 8);
    let kind = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as u64;
    visit.call(
        number::SOCKETPAIR,
        [libc::AF_UNIX as u64, kind, 0, at, 0, 0],
    )?;
    let pair = ints(visit, at, 2)?;
    let (to_send, to_receive) = (pair[0], pair[1]);
    let received =
        send(visit, files, to_send).and_then(|()| receive(visit, files.len(), to_receive, at));
    visit.call(number::CLOSE, [to_send, 0, 0, 0, 0, 0])?;
    visit.call(number::CLOSE, [to_receive, 0, 0, 0, 0, 0])?;
    received
}

/// Reads `count` ints of the process.
fn ints(visit: &impl Caller, at: u64, count: usize) -> Result<Vec<u64>, StubError> {
    let mut bytes = vec![0; count * 4];
    visit.memory().read_exact(at, &mut bytes)?;
    let ints = bytes
        .as_chunks()
        .0
        .iter()
        .map(|int| u64::from(u32::from_ne_bytes(*int)));
    Ok(ints.collect())
}

/// Sends descriptors of `files` through `socket`, a descriptor of the process.
fn send(visit: &impl Caller, files: &[&File], socket: u64) -> Result<(), StubError> {
    let send = || {
        let pid = Pid::from_raw(visit.pid()).ok_or(Errno::SRCH)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let socket = pidfd_getfd(process, socket as i32, PidfdGetfdFlags::empty())?;
        let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(files.len()))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(
            socket,
            &[IoSlice::new(b"v")],
            &mut control,
            SendFlags::empty(),
        )?;
        Ok::<(), Errno>(())
    };
    send().map_err(|error| StubError::Refused(error.raw_os_error()))
}

/// Receives `count` descriptors in the process, with the message header at `at`.
fn receive(
    visit: &mut impl Caller,
    count: usize,
    socket: u64,
    at: u64,
) -> Result<Vec<u64>, StubError> {
    let (iovec, byte, control) = (at + 7 * 8, at + 9 * 8, at + 10 * 8);
    let room = (2 * 8 + count * 4).next_multiple_of(8) as u64;
    // msg_name, msg_namelen, msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags;
    // then the iovec; then what the kernel fills.
    let message: [u64; MESSAGE_WORDS] = [0, 0, iovec, 1, control, room, 0, byte, 1, 0, 0, 0];
    let bytes: Vec<u8> = message.iter().flat_map(|word| word.to_ne_bytes()).collect();
    visit.memory().write(at, &bytes)?;
    visit.call(
        number::RECVMSG,
        [socket, at, libc::MSG_CMSG_CLOEXEC as u64, 0, 0, 0],
    )?;
    // Behind cmsg_len, cmsg_level and cmsg_type.
    ints(visit, control + 2 * 8, count)
}
