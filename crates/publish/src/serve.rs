//! A publisher's main loop: signs of life at a steady rate, a source of values, and an
//! orderly end.

use crate::assign;
use crate::error::Error;
use crate::publisher::Publisher;
use crate::system::System;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The longest line that is read.
const MAX_LINE: usize = 1 << 20;

/// How a publisher's values come, and what it promises its readers.
pub struct Serve<'s> {
    /// Lines of assignments, as [`assign::parse`] reads them; their end is the end.
    pub lines: Option<BorrowedFd<'s>>,
    /// Becomes readable when the publisher is to end: a signal's pipe.
    pub stop: BorrowedFd<'s>,
    /// This machine's numbers, sampled at each sign of life.
    pub system: Option<System>,
    /// Time between signs of life.
    pub every: Duration,
}

/// Why a publisher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// Its source has no more values.
    EndOfInput,
    /// Its file is no longer the one that readers find.
    Displaced,
    /// The kernel whose values it relayed was retired.
    Retired,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::EndOfInput => "end of input",
            Self::Displaced => "another file took its place",
            Self::Retired => "the kernel's variables were retired",
        })
    }
}

impl Serve<'_> {
    /// For how long readers take a publisher's silence with this rate: ten signs of life,
    /// and never less than five seconds, which a loaded machine may need for one.
    #[must_use]
    pub fn patience(every: Duration) -> Duration {
        every.saturating_mul(10).max(Duration::from_secs(5))
    }

    /// Publishes until the end, then retires the vDSO. A line that is wrong is told to
    /// `refused` with its number, and nothing of it is written.
    ///
    /// # Errors
    /// When a source fails; the vDSO is then retired too.
    pub fn run(
        mut self,
        publisher: Publisher,
        mut refused: impl FnMut(u64, Error),
    ) -> Result<End, Error> {
        publisher.stale_after(Self::patience(self.every));
        let mut input = Lines::default();
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next {
                if let Some(system) = &mut self.system {
                    system.sample()?;
                }
                publisher.beat();
                if publisher.is_displaced() {
                    return Ok(End::Displaced);
                }
                // What has been missed is not made up for.
                next = (next + self.every).max(now);
            }
            let wait = next.saturating_duration_since(Instant::now());
            let [stop, lines] = self.wait(wait).map_err(|e| failed(&publisher, e))?;
            if stop {
                return Ok(End::Stopped);
            }
            let Some(fd) = self.lines.filter(|_| lines) else {
                continue;
            };
            let more = input.read(fd).map_err(|e| failed(&publisher, e))?;
            while let Some((number, line)) = input.next(!more) {
                let assigned = line.and_then(|line| publisher.assign(&assign::parse(&line)?));
                if let Err(error) = assigned {
                    refused(number, error);
                }
            }
            publisher.beat();
            if !more {
                return Ok(End::EndOfInput);
            }
        }
    }

    /// Waits for the stop, for lines, or for so long; tells which.
    fn wait(&self, wait: Duration) -> Result<[bool; 2], Errno> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.stop, PollFlags::IN)];
        fds.extend(
            self.lines
                .map(|lines| PollFd::from_borrowed_fd(lines, PollFlags::IN)),
        );
        wait_for(&mut fds, wait)?;
        // A pipe whose writer is gone is told as HUP, not as IN.
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok([ready(0), ready(1)])
    }
}

/// Waits until one of them is ready, a signal comes, or so long; tells whether one is ready.
pub(crate) fn wait_for(fds: &mut [PollFd<'_>], time: Duration) -> Result<bool, Errno> {
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    match poll(fds, Some(&time)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits for the stop, or for so long; tells whether it is the stop.
pub(crate) fn is_stopped(stop: BorrowedFd<'_>, time: Duration) -> Result<bool, Errno> {
    wait_for(&mut [PollFd::from_borrowed_fd(stop, PollFlags::IN)], time)
}

fn failed(publisher: &Publisher, error: Errno) -> Error {
    Error::io("read values for", publisher.path(), io::Error::from(error))
}

/// What has been read and is not yet a whole line.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    number: u64,
    /// The line at the start of `bytes` goes on from what was thrown away as too long.
    skipping: bool,
}

impl Lines {
    /// Reads what is there; false at the end of the input.
    fn read(&mut self, fd: BorrowedFd<'_>) -> Result<bool, Errno> {
        let mut chunk = [0; 64 * 1024];
        match rustix::io::read(fd, &mut chunk) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.bytes.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The next line and its number, counted from 1; at the `end` also one that no
    /// newline ends.
    fn next(&mut self, end: bool) -> Option<(u64, Result<String, Error>)> {
        let newline = self.bytes.iter().position(|byte| *byte == b'\n');
        let length = match newline {
            Some(at) => at,
            None if end && !self.bytes.is_empty() => self.bytes.len(),
            None if self.bytes.len() > MAX_LINE => {
                self.bytes.clear();
                if std::mem::replace(&mut self.skipping, true) {
                    return None;
                }
                self.number += 1;
                return Some((self.number, Err(too_long())));
            }
            None => return None,
        };
        let mut line: Vec<u8> = self.bytes.drain(..length).collect();
        if newline.is_some() {
            self.bytes.drain(..1);
        }
        if std::mem::take(&mut self.skipping) {
            line.clear();
        } else {
            self.number += 1;
        }
        let line = String::from_utf8(line).map_err(|error| Error::Line {
            line: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            why: "it is not UTF-8",
        });
        Some((self.number, line))
    }
}

fn too_long() -> Error {
    Error::Line {
        line: "…".into(),
        why: "it is longer than 1 MiB",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(u64, Result<String, &'static str>)> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            lines.bytes.extend_from_slice(chunk);
            while let Some((number, line)) = lines.next(index + 1 == chunks.len()) {
                seen.push((
                    number,
                    line.map_err(|error| match error {
                        Error::Line { why, .. } => why,
                        error => panic!("{error}"),
                    }),
                ));
            }
        }
        seen
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let seen = lines(&[b"a=1\nb", b"=2\n\nc=", b"3"]);
        let expected = [(1, "a=1"), (2, "b=2"), (3, ""), (4, "c=3")];
        assert_eq!(
            seen,
            expected.map(|(number, line)| (number, Ok(line.into())))
        );
    }

    #[test]
    fn a_line_without_end_is_refused_once_and_the_next_is_read() {
        let long = vec![b'x'; MAX_LINE + 1];
        let seen = lines(&[&long, &long, b"x\na=1\n", b"\xff\n"]);
        assert_eq!(
            seen,
            [
                (1, Err("it is longer than 1 MiB")),
                (1, Ok(String::new())),
                (2, Ok("a=1".into())),
                (3, Err("it is not UTF-8")),
            ]
        );
    }
}
