//! What a read of the clock costs in Rust, beside std's, quanta's and minstant's; prints the
//! ratios: `cargo bench -p vdsokit-bench --bench clock`.
//!
//! All are measured in turn, a batch each, again and again, in the thread's own time: what
//! else the machine does falls on all of them alike. A ratio is the median of the rounds'.
#![allow(
    unsafe_code,
    reason = "the counter's bare instructions, to compare with"
)]

#[cfg(target_arch = "x86_64")]
fn main() {
    x86_64::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("the clock's image is built for x86-64 so far");
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{__rdtscp, _rdtsc};
    use std::hint::black_box;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use vdsokit::{Clock, Instant, Publisher, place};
    use vdsokit_bench::thread_time;
    use vdsokit_publish::serve::Serve;
    use vdsokit_sources::clock::{ClockSource, Counter, FILE, Kept};

    const ROUNDS: usize = 2000;
    const BATCH: u32 = 500;

    /// Nanoseconds of one call.
    fn batch<T>(call: &impl Fn() -> T) -> f64 {
        let start = thread_time();
        for _ in 0..BATCH {
            black_box(call());
        }
        (thread_time() - start).as_secs_f64() * 1e9 / f64::from(BATCH)
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Measures all of them in turn; a column for each.
    macro_rules! measure {
        ($($name:literal: $call:expr;)*) => {{
            let names = [$($name),*];
            let mut columns = vec![Vec::with_capacity(ROUNDS); names.len()];
            for _ in 0..ROUNDS {
                let round = [$(batch(&$call)),*];
                for (column, value) in columns.iter_mut().zip(round) {
                    column.push(value);
                }
            }
            Table { names: names.to_vec(), columns }
        }};
    }

    struct Table {
        names: Vec<&'static str>,
        columns: Vec<Vec<f64>>,
    }

    impl Table {
        fn column(&self, name: &str) -> &[f64] {
            let at = self.names.iter().position(|other| *other == name);
            &self.columns[at.expect("a name of the table")]
        }

        fn ratio(&self, ours: &str, theirs: &str) -> f64 {
            let pairs = self.column(ours).iter().zip(self.column(theirs));
            median(pairs.map(|(ours, theirs)| ours / theirs).collect())
        }
    }

    pub(super) fn main() {
        let directory =
            tempfile::tempdir_in(place::base().expect("a place that works")).expect("a directory");
        let file = directory.path().join(FILE);
        let counter = match Counter::new(Default::default()) {
            Ok(counter) => Kept::Counter(Box::new(counter)),
            Err(untrusted) => {
                println!("not measured: {untrusted}");
                return;
            }
        };
        let publisher = Publisher::create(&file, vdsokit_virtual_time::IMAGE).expect("published");
        let clock = Clock::open(&file).expect("a clock");
        let (stop, stopped) = UnixStream::pair().expect("a pair of sockets");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let source = ClockSource::new(&publisher, counter, |_| {}).expect("a clock image");
                let serve = Serve {
                    lines: None,
                    stop: stopped.as_fd(),
                };
                serve.run(publisher, source, |_, _| {}).expect("served")
            });
            while !clock.is_counter() {
                std::thread::yield_now();
            }
            report(&table(&clock));
            drop(stop);
        });
    }

    fn table(clock: &Clock) -> Table {
        let quanta = quanta::Clock::new();
        let mut cpu = 0;
        let cpu = &raw mut cpu;
        // The first call calibrates.
        black_box((quanta.now(), minstant::Instant::now(), Instant::now()));
        measure! {
            // SAFETY: it reads a register.
            "rdtsc": || unsafe { _rdtsc() };
            // SAFETY: likewise; a pointer to a local variable.
            "rdtscp": || unsafe { __rdtscp(cpu) };
            "Clock::now_unordered": || clock.now_unordered();
            "quanta Clock::now": || quanta.now();
            "Clock::now": || clock.now();
            "minstant Instant::now": || minstant::Instant::now();
            "std Instant::now": || std::time::Instant::now();
            "quanta Instant::now": || quanta::Instant::now();
        }
    }

    fn report(table: &Table) {
        println!("{:32} {:>8}", "medians, ns of CPU time", "a read");
        for (name, column) in table.names.iter().zip(&table.columns) {
            println!("{name:32} {:8.2}", median(column.clone()));
        }
        println!(
            "\n{:48} {:>7} {:>7}",
            "median of ratios", "ratio", "at most"
        );
        for (ours, theirs, limit) in [
            ("Clock::now_unordered", "quanta Clock::now", "1.0"),
            ("Clock::now_unordered", "minstant Instant::now", ""),
            ("Clock::now_unordered", "rdtsc", ""),
            ("Clock::now", "rdtscp", ""),
            ("Clock::now", "std Instant::now", ""),
        ] {
            let ratio = table.ratio(ours, theirs);
            println!("{:48} {ratio:7.3} {limit:>7}", format!("{ours} : {theirs}"));
        }
    }
}
