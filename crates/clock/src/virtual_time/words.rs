//! Virtual time as words: what a publisher leaves for the next one.

use super::{Course, Tracks, VirtualTime};
use crate::clocks::Clock;
use crate::line::Line;
use crate::virtual_time::Track;

const OFFSET: usize = 0;
const TAI: usize = 2;
const COURSE: usize = 3;
const HAS_TRACKS: usize = 5;
const TRACKS: usize = 6;
const TRACK_WORDS: usize = 2 * Line::WORDS;

/// Kinds of a course.
const RATE: u64 = 0;
const FROZEN: u64 = 1;
const EACH_READ: u64 = 2;

impl VirtualTime {
    /// How many words it takes.
    pub const WORDS: usize = TRACKS + 4 * TRACK_WORDS;

    /// All of it. Only a [`VirtualTime`] of the same version of this crate reads
    /// them back.
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        words[OFFSET] = self.offset as u64;
        words[OFFSET + 1] = (self.offset >> 64) as u64;
        words[TAI] = self.tai as u64;
        (words[COURSE], words[COURSE + 1]) = match self.course {
            Course::Rate(numerator, denominator) => {
                (RATE, u64::from(numerator) | u64::from(denominator) << 32)
            }
            Course::Frozen => (FROZEN, 0),
            Course::EachRead(nanoseconds) => (EACH_READ, nanoseconds),
        };
        if let Some(tracks) = &self.tracks {
            words[HAS_TRACKS] = 1;
            let all = [tracks.wall, tracks.monotonic, tracks.raw, tracks.boottime];
            for (track, to) in all
                .iter()
                .zip(words[TRACKS..].chunks_exact_mut(TRACK_WORDS))
            {
                to[..Line::WORDS].copy_from_slice(&track.former.to_words());
                to[Line::WORDS..].copy_from_slice(&track.current.to_words());
            }
        }
        words
    }

    /// What [`to_words`](Self::to_words) made into words; none when they say
    /// something that this version doesn't know.
    pub fn from_words(words: &[u64; Self::WORDS]) -> Option<Self> {
        let course = match (words[COURSE], words[COURSE + 1]) {
            (RATE, ratio) => Course::Rate(ratio as u32, (ratio >> 32) as u32),
            (FROZEN, _) => Course::Frozen,
            (EACH_READ, nanoseconds) => Course::EachRead(nanoseconds),
            _ => return None,
        };
        let track = |at: usize, driver| {
            let line = |half: usize| {
                let start = TRACKS + at * TRACK_WORDS + half * Line::WORDS;
                words.get(start..)?.first_chunk().map(Line::from_words)
            };
            Some(Track {
                driver,
                former: line(0)?,
                current: line(1)?,
            })
        };
        let tracks = match words[HAS_TRACKS] {
            0 => None,
            _ => Some(Tracks {
                wall: track(0, Clock::Boottime)?,
                monotonic: track(1, Clock::Monotonic)?,
                raw: track(2, Clock::MonotonicRaw)?,
                boottime: track(3, Clock::Boottime)?,
            }),
        };
        Some(Self {
            offset: (i128::from(words[OFFSET + 1] as i64) << 64) | i128::from(words[OFFSET]),
            tai: words[TAI] as i64,
            course,
            settled: false,
            tracks,
        })
    }
}
