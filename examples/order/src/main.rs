//! Did A surely happen before B, on another machine?
//!
//! ```console
//! one$ order stamp > a          # when A happened there
//! two$ order stamp > b
//! $ order compare "$(cat a)" "$(cat b)"
//! before
//! ```
//!
//! A stamp is the interval in which the true time of the event lies, in nanoseconds since 1970.
//! The result is `before`, `after`, or `unknown` where the intervals overlap: then no clock of
//! these two machines can tell. Exit statuses are 0, and 1 for an error.

use std::process::ExitCode;
use vdsokit::{Clock, ClockId};

/// Nanoseconds since 1970: not before, and not after.
#[derive(Clone, Copy)]
struct Stamp(u128, u128);

impl Stamp {
    fn now() -> Result<Self, String> {
        let bounds = Clock::new().bounds(ClockId::Realtime);
        let (earliest, latest) = bounds.map_err(|error| error.to_string())?;
        Ok(Self(earliest.as_nanos(), latest.as_nanos()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let stamp = text.trim().split_once(' ');
        let stamp = stamp.and_then(|(from, to)| Some(Self(from.parse().ok()?, to.parse().ok()?)));
        stamp
            .filter(|stamp| stamp.0 <= stamp.1)
            .ok_or_else(|| format!("{text:?} is not a stamp: two ascending numbers"))
    }

    fn compare(self, other: Self) -> &'static str {
        if self.1 < other.0 {
            "before"
        } else if other.1 < self.0 {
            "after"
        } else {
            "unknown"
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    match arguments {
        [command] if command == "stamp" => {
            let Stamp(earliest, latest) = Stamp::now()?;
            Ok(format!("{earliest} {latest}"))
        }
        [command, a, b] if command == "compare" => {
            Ok(Stamp::parse(a)?.compare(Stamp::parse(b)?).to_owned())
        }
        _ => Err("usage: order stamp | order compare STAMP STAMP".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("order: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_intervals_that_do_not_overlap_are_ordered() {
        for (a, b, expected) in [
            ("10 20", "21 30", "before"),
            ("21 30", "10 20", "after"),
            ("10 20", "20 30", "unknown"),
            ("10 40", "20 30", "unknown"),
            ("5 5", "5 5", "unknown"),
        ] {
            let arguments = ["compare", a, b].map(str::to_owned);
            assert_eq!(run(&arguments).as_deref(), Ok(expected), "{a}, {b}");
        }
    }

    #[test]
    fn what_is_not_a_stamp_is_refused() {
        for text in ["", "5", "5 4", "a b", "1 2 3", "-1 2"] {
            assert!(Stamp::parse(text).is_err(), "{text}");
        }
    }
}
