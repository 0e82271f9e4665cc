//! A publisher's main loop: a source of values, a heartbeat in each period, and an orderly
//! end.

use crate::assign;
use crate::error::Error;
use crate::publisher::Publisher;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The longest line that is read.
const MAX_LINE: usize = 1 << 20;

/// A source of values, run by [`Serve::run`].
pub trait Source {
    /// Why the source fails.
    type Error: From<Error>;

    /// Time from one update to the next. The loop calls this again after each update.
    fn period(&self) -> Duration;

    /// The time without a heartbeat after which readers consider the values stale: by default
    /// [`Serve::patience`] of the period. The loop calls this again after each update.
    fn stale_after(&self) -> Duration {
        Serve::patience(self.period())
    }

    /// Writes the values as they are now, through handles that the source has made of the
    /// publisher or through `publisher` itself.
    ///
    /// # Errors
    /// Any error ends the loop, and the vDSO is retired.
    fn update(&mut self, publisher: &Publisher) -> Result<Update, Self::Error>;

    /// Releases what the source has set up outside the vDSO. Called once, after the last update
    /// and before the vDSO is retired, unless an update returned an error.
    ///
    /// # Errors
    /// Any error; the vDSO is then retired too.
    fn finish(&mut self, publisher: &Publisher, end: End) -> Result<(), Self::Error> {
        let _ = (publisher, end);
        Ok(())
    }
}

/// The result of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// All values are up to date now.
    Current,
    /// All values were up to date at this time, in nanoseconds of `CLOCK_BOOTTIME`. It
    /// becomes the time of the last heartbeat.
    AsOf(u64),
    /// The source was retired and has no more values.
    Retired,
}

/// The source of a publisher whose values come from lines, or from handles in another
/// thread: heartbeats with this period, and no values.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat(pub Duration);

impl Source for Heartbeat {
    type Error = Error;

    fn period(&self) -> Duration {
        self.0
    }

    fn update(&mut self, _: &Publisher) -> Result<Update, Error> {
        Ok(Update::Current)
    }
}

/// A publisher's main loop.
#[derive(Clone, Copy, Debug)]
pub struct Serve<'s> {
    /// Lines of assignments, as [`assign::parse`] reads them. The loop ends at their end.
    pub lines: Option<BorrowedFd<'s>>,
    /// Becomes readable when the publisher is to end: a signal's pipe.
    pub stop: BorrowedFd<'s>,
}

/// Why a publisher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// [`Serve::stop`] became readable.
    Stopped,
    /// The last line was read.
    EndOfInput,
    /// The path names another file by now, or none.
    Displaced,
    /// The source was retired: [`Update::Retired`].
    Retired,
}

/// Least time between two checks that the path still names the publisher's file.
const DISPLACED_CHECK: Duration = Duration::from_millis(100);

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
    /// The time without a heartbeat after which readers consider the values of a publisher with
    /// this period stale: ten periods, and at least five seconds, because a loaded machine may
    /// delay one heartbeat by seconds.
    #[must_use]
    pub fn patience(period: Duration) -> Duration {
        period.saturating_mul(10).max(Duration::from_secs(5))
    }

    /// Publishes the values of `source` and of the lines until the end, then retires the vDSO.
    /// Calls `refused` with the number, from 1, and the error of each line that is not valid;
    /// no value of such a line is written.
    ///
    /// # Errors
    /// The source's, and [`Error::Io`] when waiting or reading fails; the vDSO is then
    /// retired too.
    pub fn run<S: Source>(
        self,
        publisher: Publisher,
        mut source: S,
        refused: impl FnMut(u64, Error),
    ) -> Result<End, S::Error> {
        let result = self.publish(&publisher, &mut source, refused);
        let result = result.and_then(|end| {
            source.finish(&publisher, end)?;
            Ok(end)
        });
        publisher.retire();
        result
    }

    fn publish<S: Source>(
        self,
        publisher: &Publisher,
        source: &mut S,
        mut refused: impl FnMut(u64, Error),
    ) -> Result<End, S::Error> {
        let mut stale_after = source.stale_after();
        publisher.stale_after(stale_after);
        let mut input = Lines::default();
        let mut next = Instant::now();
        let mut check = next;
        loop {
            let now = Instant::now();
            if now >= next {
                match source.update(publisher)? {
                    Update::Current => publisher.beat(),
                    Update::AsOf(boottime) => publisher.header().beat(boottime),
                    Update::Retired => return Ok(End::Retired),
                }
                if source.stale_after() != stale_after {
                    stale_after = source.stale_after();
                    publisher.stale_after(stale_after);
                }
                // A period that was missed is skipped.
                next = (next + source.period()).max(now);
            }
            if now >= check {
                if publisher.is_displaced() {
                    return Ok(End::Displaced);
                }
                check = now + DISPLACED_CHECK;
            }
            let wait = next.saturating_duration_since(Instant::now());
            let [stop, lines] = self.wait(wait).map_err(|e| read_error(publisher, e))?;
            if stop {
                return Ok(End::Stopped);
            }
            let Some(fd) = self.lines.filter(|_| lines) else {
                continue;
            };
            let more = input.read(fd).map_err(|e| read_error(publisher, e))?;
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

    /// Waits until `stop` or `lines` is readable, but not longer than `time`. Returns whether
    /// each of them is.
    fn wait(&self, time: Duration) -> Result<[bool; 2], Errno> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.stop, PollFlags::IN)];
        fds.extend(
            self.lines
                .map(|lines| PollFd::from_borrowed_fd(lines, PollFlags::IN)),
        );
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        // The end of a pipe without a writer is reported as HUP, not as IN.
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok([ready(0), ready(1)])
    }
}

fn read_error(publisher: &Publisher, error: Errno) -> Error {
    Error::io("read values for", publisher.path(), io::Error::from(error))
}

/// The input that has been read and not yet returned as lines.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    number: u64,
    /// Whether `bytes` begins with the rest of a line that was too long and was discarded.
    skipping: bool,
}

impl Lines {
    /// Reads the available input. Returns false at its end.
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

    /// The next line and its number, counted from 1. At the `end` of the input a line needs no
    /// newline.
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
    fn lines_are_whole_however_the_input_is_split() {
        let seen = lines(&[b"a=1\nb", b"=2\n\nc=", b"3"]);
        let expected = [(1, "a=1"), (2, "b=2"), (3, ""), (4, "c=3")];
        assert_eq!(
            seen,
            expected.map(|(number, line)| (number, Ok(line.into())))
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_once_and_the_next_is_read() {
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
