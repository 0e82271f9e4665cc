//! What a read of the clock costs in Rust, beside std's, quanta's and minstant's:
//! `cargo bench -p vdsokit-bench --bench clock`.
#![allow(
    unsafe_code,
    reason = "the counter's bare instructions, to compare with"
)]

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    x86_64::main()
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
    use std::process::ExitCode;
    use vdsokit::{Clock, Instant, Publisher, place};
    use vdsokit_figures::{Figure, batch, costs, finish};
    use vdsokit_publish::serve::Serve;
    use vdsokit_sources::clock::{ClockSource, Counter, FILE, Kept};

    pub(super) fn main() -> ExitCode {
        let directory =
            tempfile::tempdir_in(place::base().expect("a place that works")).expect("a directory");
        let file = directory.path().join(FILE);
        let counter = match Counter::new(Default::default()) {
            Ok(counter) => Kept::Counter(Box::new(counter)),
            Err(untrusted) => {
                return finish(&[Figure::skipped("reads of the clock", untrusted.to_string())]);
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
            let figures = figures(&clock);
            drop(stop);
            finish(&figures)
        })
    }

    fn figures(clock: &Clock) -> Vec<Figure> {
        let quanta = quanta::Clock::new();
        let mut cpu = 0;
        let cpu = &raw mut cpu;
        // The first call calibrates.
        black_box((quanta.now(), minstant::Instant::now(), Instant::now()));
        let turns = costs([
            // SAFETY: the instruction reads a register.
            &mut batch(|| unsafe { _rdtsc() }),
            // SAFETY: the instruction reads a register; the pointer is to a local variable.
            &mut batch(|| unsafe { __rdtscp(cpu) }),
            &mut batch(|| clock.now_unordered()),
            &mut batch(|| clock.now()),
            &mut batch(|| quanta.now()),
            &mut batch(minstant::Instant::now),
            &mut batch(std::time::Instant::now),
            &mut batch(quanta::Instant::now),
        ]);
        let [
            rdtsc,
            rdtscp,
            unordered,
            now,
            quanta_now,
            minstant,
            std,
            quanta_instant,
        ] = &turns;
        // Where no bound stands, the peer promises less: minstant and the bare instructions have
        // no error bound and no other clock to agree with.
        vec![
            Figure::ratio(
                "Clock::now_unordered : quanta Clock::now",
                unordered,
                quanta_now,
                1.0,
            ),
            Figure::ratio("Clock::now : std Instant::now", now, std, 1.0),
            Figure::ratio(
                "Clock::now : quanta Instant::now",
                now,
                quanta_instant,
                None,
            ),
            Figure::ratio("Clock::now_unordered : minstant", unordered, minstant, None),
            Figure::ratio("Clock::now_unordered : rdtsc", unordered, rdtsc, None),
            Figure::ratio("Clock::now : rdtscp", now, rdtscp, None),
        ]
    }
}
