//! Measuring in turns.

use std::hint::black_box;
use std::time::Duration;

/// What each turn of a contender took, in the order of the rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turns(Vec<f64>);

impl Turns {
    /// The least: what a turn takes when nothing is in its way.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// The median of the rounds' ratios.
    #[must_use]
    pub fn ratio_to(&self, peer: &Self) -> f64 {
        let pairs = self.0.iter().zip(&peer.0);
        median(pairs.map(|(ours, peer)| ours / peer).collect())
    }

    /// The median of the rounds' differences.
    #[must_use]
    pub fn difference_to(&self, peer: &Self) -> f64 {
        let pairs = self.0.iter().zip(&peer.0);
        median(pairs.map(|(ours, peer)| ours - peer).collect())
    }

    /// The same for one of so many calls that a turn made.
    #[must_use]
    pub fn each_of(&self, calls: u32) -> Self {
        let calls = f64::from(calls);
        Self(self.0.iter().map(|turn| turn / calls).collect())
    }

    /// Adds what the next round's turn took.
    pub fn push(&mut self, took: f64) {
        self.0.push(took);
    }
}

impl FromIterator<f64> for Turns {
    fn from_iter<I: IntoIterator<Item = f64>>(turns: I) -> Self {
        Self(turns.into_iter().collect())
    }
}

/// Not a number when there are none.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    numbers.get(middle).copied().unwrap_or(f64::NAN)
}

/// Measures contenders in rounds, in turn, every other round in the opposite order.
///
/// # Errors
/// The first of a measurement.
pub fn rounds<E>(
    count: usize,
    contenders: usize,
    mut measure: impl FnMut(usize) -> Result<f64, E>,
) -> Result<Vec<Turns>, E> {
    let mut turns = vec![Turns::default(); contenders];
    for round in 0..count {
        for turn in 0..contenders {
            let at = match round % 2 {
                0 => turn,
                _ => contenders - 1 - turn,
            };
            turns[at].push(measure(at)?);
        }
    }
    Ok(turns)
}

/// How many rounds there are of calls within this process.
const ROUNDS: usize = 101;
/// How long a turn takes at least, so that reading the clock doesn't count.
const TURN: Duration = Duration::from_millis(1);

/// Measures contenders in this thread's own CPU time; the turns are nanoseconds of one call.
pub fn take_turns<const N: usize>(mut contenders: [&mut dyn FnMut(); N]) -> [Turns; N] {
    let calls = contenders.each_mut().map(|contender| {
        let mut calls = 1;
        while time(contender, calls) < TURN {
            calls *= 2;
        }
        calls
    });
    let measured = rounds(ROUNDS, N, |at| {
        let spent = time(&mut contenders[at], calls[at]).as_nanos() as f64;
        Ok::<_, std::convert::Infallible>(spent / f64::from(calls[at]))
    });
    let Ok(turns) = measured;
    let mut turns = turns.into_iter();
    [(); N].map(|()| turns.next().unwrap_or_default())
}

fn time(contender: &mut dyn FnMut(), calls: u32) -> Duration {
    let start = thread_time();
    for _ in 0..calls {
        contender();
    }
    thread_time() - start
}

/// This thread's own time, so that threads that share a CPU don't count as cost.
#[must_use]
pub fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// So many calls are one contender's turn, so that reaching it doesn't count.
const BATCH: u32 = 1000;

/// A batch of calls, each of which is made: loads of atomics are not merged, nor are calls of
/// functions that the compiler doesn't see.
pub fn batch<T>(mut call: impl FnMut() -> T) -> impl FnMut() {
    move || {
        for _ in 0..BATCH {
            black_box(call());
        }
    }
}

/// What one call costs, of contenders that take turns with their [batches](batch).
pub fn costs<const N: usize>(contenders: [&mut dyn FnMut(); N]) -> [Turns; N] {
    take_turns(contenders).map(|turns| turns.each_of(BATCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_one_round_each() {
        // The second round met a busy machine.
        let ours: Turns = [2.0, 20.0, 2.2].into_iter().collect();
        let peer: Turns = [1.0, 10.0, 1.0].into_iter().collect();
        assert!((ours.ratio_to(&peer) - 2.0).abs() < 1e-9);
        assert!((ours.difference_to(&peer) - 1.2).abs() < 1e-9);
        assert!(Turns::default().median().is_nan());
    }

    #[test]
    fn contenders_alternate_in_order() {
        let mut order = Vec::new();
        let measured = rounds(3, 2, |at| {
            order.push(at);
            Ok::<_, ()>(at as f64)
        });
        assert_eq!(order, [0, 1, 1, 0, 0, 1]);
        assert_eq!(measured.unwrap()[1], [1.0, 1.0, 1.0].into_iter().collect());
    }
}
