//! Benchmarks beside what others offer, in `benches/`. Run with `cargo bench -p vdsokit-bench`.
//!
//! Here is what they measure and print with: contenders take turns, each in the thread's own
//! time, so that what else the machine does falls on all alike.

use std::time::Duration;

/// What one thing costs, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// The least of all rounds: what it costs when nothing is in its way.
    pub least: f64,
    /// The median of all rounds.
    pub median: f64,
}

impl Costs {
    /// Of measurements, which are not none.
    pub fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        Self {
            least: rounds[0],
            median: rounds[rounds.len() / 2],
        }
    }
}

/// This thread's own time, so that threads that share a CPU don't count as cost.
pub fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// How many rounds each contender has, in turn with the others.
const ROUNDS: usize = 101;
/// How long a round takes, so that reading the clock doesn't count.
const ROUND: Duration = Duration::from_millis(1);

/// Measures contenders, which take turns.
pub fn interleave<const N: usize>(mut contenders: [&mut dyn FnMut(); N]) -> [Costs; N] {
    let repeats = contenders.each_mut().map(|contender| {
        let mut repeats = 1u32;
        while time(contender, repeats) < ROUND {
            repeats *= 2;
        }
        repeats
    });
    let mut rounds = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (index, contender) in contenders.iter_mut().enumerate() {
            let spent = time(contender, repeats[index]).as_nanos() as f64;
            rounds[index].push(spent / f64::from(repeats[index]));
        }
    }
    rounds.map(Costs::of)
}

fn time(contender: &mut dyn FnMut(), repeats: u32) -> Duration {
    let start = thread_time();
    for _ in 0..repeats {
        contender();
    }
    thread_time() - start
}

/// A line of a table of figures.
#[derive(Clone, Debug)]
pub struct Row {
    what: String,
    measured: f64,
    /// Infinity: nothing is promised.
    at_most: f64,
    unit: &'static str,
    note: String,
}

impl Row {
    /// A cost beside another's: how many times the peer's median ours is.
    pub fn ratio(what: impl Into<String>, ours: Costs, peer: Costs, at_most: f64) -> Self {
        Self {
            what: what.into(),
            measured: ours.median / peer.median,
            at_most,
            unit: "x",
            note: format!("{:.1} ns, {:.1} ns", ours.median, peer.median),
        }
    }

    /// A cost beside another's, of which nothing is promised.
    pub fn beside(what: impl Into<String>, ours: Costs, peer: Costs) -> Self {
        Self::ratio(what, ours, peer, f64::INFINITY)
    }

    /// A cost by itself: its median.
    pub fn time(what: impl Into<String>, costs: Costs, at_most: Duration) -> Self {
        Self {
            what: what.into(),
            measured: costs.median / 1000.0,
            at_most: at_most.as_nanos() as f64 / 1000.0,
            unit: "us",
            note: format!("least {:.2} us", costs.least / 1000.0),
        }
    }

    /// What a cost is when nothing is in its way: its least.
    pub fn least(what: impl Into<String>, costs: Costs, at_most: Duration) -> Self {
        Self {
            measured: costs.least / 1000.0,
            note: format!("median {:.2} us", costs.median / 1000.0),
            ..Self::time(what, costs, at_most)
        }
    }

    /// Whether the figure is kept.
    pub fn holds(&self) -> bool {
        self.measured <= self.at_most
    }
}

/// Prints each figure beside what it may be at most.
pub fn print_table(rows: &[Row]) {
    println!("{:50} {:>12} {:>12}", "", "measured", "at most");
    for row in rows {
        let Row {
            what,
            measured,
            at_most,
            unit,
            note,
        } = row;
        let verdict = if row.holds() { "" } else { "  MISSED" };
        let limit = if at_most.is_finite() {
            format!("{at_most:9.2} {unit:2}")
        } else {
            format!("{:>12}", "-")
        };
        println!("{what:50} {measured:9.2} {unit:2} {limit}  ({note}){verdict}");
    }
}
