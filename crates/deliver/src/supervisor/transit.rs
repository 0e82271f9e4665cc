//! Data that the kernel has yet to deliver while no thread runs.
//!
//! A pipe, a UNIX socket and a datagram over the loopback device pass data within the call that
//! sends it: its reader is runnable when that returns. TCP does not. Nagle's algorithm keeps a
//! short segment until the one before is acknowledged, and the receiver delays that by 40 ms; a
//! corked socket keeps one for 200 ms (tcp(7), `TCP_CORK`). All threads sleep meanwhile.

use super::process;
use crate::sys::Pid;

/// The TCP sockets of some processes, each by a process and a descriptor of it. A socket itself would
/// keep its connection open.
#[derive(Debug)]
pub(super) struct Connections(Vec<(Pid, i32)>);

impl Connections {
    /// Those that `processes` have now.
    pub(super) fn list(processes: impl IntoIterator<Item = Pid>) -> Connections {
        let descriptors = processes.into_iter().flat_map(process::descriptors);
        let sockets = descriptors.filter(|(_, _, target)| target.starts_with("socket:["));
        let sockets = sockets.map(|(process, fd, _)| (process, fd));
        Connections(sockets.filter(|socket| info(socket).is_some()).collect())
    }

    /// Whether one of them has data that the kernel is about to send.
    pub(super) fn are_sending(&self) -> bool {
        self.0.iter().filter_map(info).any(|info| is_sending(&info))
    }
}

fn info(&(process, fd): &(Pid, i32)) -> Option<TcpInfo> {
    process::tcp_info(&process::descriptor(process, fd).ok()?)
}

/// Whether a TCP socket with this `struct tcp_info` (include/uapi/linux/tcp.h) has data that leaves
/// by itself: the receiver has room, and has not been lost. Where it has no room, a thread has to
/// read first. To a receiver that is lost, data is sent again after 200 ms at the earliest
/// (`TCP_RTO_MIN`), later than what is delayed arrives.
fn is_sending(words: &TcpInfo) -> bool {
    // `tcpi_retransmits` is the third of the bytes that the structure begins with.
    let [_, _, retransmits, _] = words[0].to_ne_bytes();
    retransmits == 0 && words[NOT_SENT] > 0 && words[WINDOW] > 0
}

/// `struct tcp_info` up to `tcpi_snd_wnd`, in words of 4 bytes.
pub(super) type TcpInfo = [u32; WINDOW + 1];

/// `tcpi_notsent_bytes`.
const NOT_SENT: usize = 144 / 4;
/// `tcpi_snd_wnd`, since Linux 5.4.
const WINDOW: usize = 228 / 4;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use rustix::net::sockopt::set_tcp_cork;

    use super::*;

    fn is_in_transit() -> bool {
        Connections::list([std::process::id() as Pid]).are_sending()
    }

    fn is_unsent(socket: &TcpStream) -> bool {
        let socket = socket.as_fd().try_clone_to_owned().expect("a descriptor");
        process::tcp_info(&socket).is_some_and(|words| words[NOT_SENT] > 0)
    }

    #[test]
    fn data_is_in_transit_until_the_kernel_has_sent_it_or_the_receiver_has_no_room() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let mut sender = TcpStream::connect(address).expect("a connection");
        let (mut receiver, _) = listener.accept().expect("a connection");
        assert!(!is_in_transit());

        set_tcp_cork(&sender, true).expect("a corked socket");
        sender.write_all(b"a").expect("it is written");
        assert!(is_in_transit(), "corked");
        receiver
            .read_exact(&mut [0])
            .expect("it is sent in the end");
        assert!(!is_in_transit());

        set_tcp_cork(&sender, false).expect("a plain socket");
        sender.set_nonblocking(true).expect("a plain socket");
        // The acknowledgement that leaves no room may be delayed.
        while sender.write(&[0; 1 << 16]).is_ok() || is_in_transit() {}
        assert!(is_unsent(&sender), "there is room");
    }
}
