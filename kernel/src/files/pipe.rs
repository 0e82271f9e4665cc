//! Pipes.

use crate::errno::Errno;
use crate::lock::Guarded;
use crate::task::{Key, schedule};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// What a pipe holds at most.
const CAPACITY: usize = 65536;

/// Up to this many bytes are written in one piece (`PIPE_BUF`).
const PIECE: usize = 4096;

/// What both ends share. An end is one open file, however many descriptors lead to it.
struct Pipe {
    bytes: VecDeque<u8>,
    has_reader: bool,
    has_writer: bool,
}

/// The end of a pipe that is read.
pub struct Reader(Arc<Guarded<Pipe>>);

/// The end of a pipe that is written.
pub struct Writer(Arc<Guarded<Pipe>>);

/// A new pipe's two ends.
pub fn new() -> (Reader, Writer) {
    let pipe = Arc::new(Guarded::new(Pipe {
        bytes: VecDeque::new(),
        has_reader: true,
        has_writer: true,
    }));
    (Reader(pipe.clone()), Writer(pipe))
}

impl Reader {
    /// What a read returns, 0 at the end; `None` when it has to wait.
    pub fn read(&self, bytes: &mut [u8]) -> Option<usize> {
        let mut pipe = self.0.get();
        if pipe.bytes.is_empty() && pipe.has_writer && !bytes.is_empty() {
            return None;
        }
        let length = pipe.bytes.len().min(bytes.len());
        for (place, byte) in bytes.iter_mut().zip(pipe.bytes.drain(..length)) {
            *place = byte;
        }
        drop(pipe);
        schedule::wake(Key::Files, usize::MAX);
        Some(length)
    }

    /// Whether a read would not wait.
    pub fn is_ready(&self) -> bool {
        let pipe = self.0.get();
        !pipe.bytes.is_empty() || !pipe.has_writer
    }
}

impl Writer {
    /// What a write returns; `None` when it has to wait.
    pub fn write(&self, bytes: &[u8]) -> Option<Result<usize, Errno>> {
        let mut pipe = self.0.get();
        if !pipe.has_reader {
            return Some(Err(Errno::PIPE));
        }
        let free = CAPACITY - pipe.bytes.len();
        if free < bytes.len().min(PIECE) {
            return None;
        }
        let length = free.min(bytes.len());
        pipe.bytes.extend(&bytes[..length]);
        drop(pipe);
        schedule::wake(Key::Files, usize::MAX);
        Some(Ok(length))
    }

    /// Whether a write would not wait.
    pub fn is_ready(&self) -> bool {
        let pipe = self.0.get();
        CAPACITY - pipe.bytes.len() >= PIECE || !pipe.has_reader
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.get().has_reader = false;
        schedule::wake(Key::Files, usize::MAX);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.get().has_writer = false;
        schedule::wake(Key::Files, usize::MAX);
    }
}
