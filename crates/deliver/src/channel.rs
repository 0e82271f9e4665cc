//! The channel between a process that becomes a program and the process that serves it, and between
//! that and its keeper.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// One end. Each process closes the other's end, and so learns of its death.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
        let (first, second) = UnixStream::pair()?;
        Ok((Channel(first), Channel(second)))
    }

    pub(crate) fn send(&mut self, value: i32) -> io::Result<()> {
        self.0.write_all(&value.to_ne_bytes())
    }

    pub(crate) fn receive(&mut self) -> io::Result<i32> {
        let mut bytes = [0; 4];
        self.0.read_exact(&mut bytes)?;
        Ok(i32::from_ne_bytes(bytes))
    }

    /// Sends a descriptor, or that there is none. It arrives also when this process has closed
    /// its own meanwhile (unix(7), `SCM_RIGHTS`).
    pub(crate) fn send_descriptor(&mut self, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let descriptors: Vec<_> = descriptor.into_iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let byte = IoSlice::new(b"v");
        sendmsg(&self.0, &[byte], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives what [`Channel::send_descriptor`] sends.
    pub(crate) fn receive_descriptor(&mut self) -> io::Result<Option<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let bytes = &mut [IoSliceMut::new(&mut byte)];
        if recvmsg(&self.0, bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        Ok(descriptors.flatten().next())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_descriptor_arrives_that_its_sender_has_closed() {
        let (mut near, mut far) = Channel::pair().expect("a channel");
        near.send_descriptor(None).expect("sent");
        let (mut sent, file) = std::io::pipe().expect("a pipe");
        near.send_descriptor(Some(&file.into())).expect("sent");
        near.send(7).expect("sent");
        drop(near);
        assert!(far.receive_descriptor().expect("a message").is_none());
        let received = far.receive_descriptor().expect("a message");
        let mut received = File::from(received.expect("a descriptor"));
        received.write_all(b"a").expect("it is the pipe");
        drop(received);
        let mut text = String::new();
        sent.read_to_string(&mut text).expect("text");
        assert_eq!((text.as_str(), far.receive().expect("a value")), ("a", 7));
        let end = far
            .receive_descriptor()
            .expect_err("the other end is closed");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
