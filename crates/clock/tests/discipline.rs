//! A discipline against a kernel's clock that is made up: its rate changes, its
//! samples are wide, the publisher is late, the machine sleeps.

use proptest::prelude::*;
use vdsokit_clock::{
    Answer, Clock, Discipline, ErrorBound, Offset, Rate, Record, Sample, Settings, WALL_GROWTH,
};

const SECOND: i128 = 1_000_000_000;
const PROMISE: u64 = 20_000_000;

/// A machine: a counter and a kernel's clock, in nanoseconds and 2⁻³² ns.
struct Machine {
    ticks: u64,
    time: i128,
    /// Nanoseconds a tick, 2⁻³².
    rate: i128,
}

impl Machine {
    fn pass(&mut self, ticks: u64) {
        self.ticks += ticks;
        self.time += i128::from(ticks) * self.rate;
    }

    fn now(&self) -> i128 {
        self.time >> 32
    }

    /// The clock is read somewhere between two readings of the counter.
    fn sample(&mut self, before: u64, after: u64) -> Sample {
        let first = self.ticks;
        self.pass(before);
        let time = self.now();
        self.pass(after);
        Sample {
            before: first,
            time,
            after: self.ticks,
        }
    }
}

fn machine(hertz: u64) -> Machine {
    Machine {
        ticks: 5_000_000_000,
        time: (77 * SECOND) << 32,
        rate: (SECOND << 32) / i128::from(hertz),
    }
}

fn start(machine: &mut Machine, hertz: u64) -> Discipline {
    let first = machine.sample(30, 40);
    machine.pass(hertz / 10);
    let second = machine.sample(40, 30);
    Discipline::new(Settings::default(), first, second).unwrap()
}

fn nanoseconds((seconds, nanoseconds): (i64, u64)) -> i128 {
    i128::from(seconds) * SECOND + i128::from(nanoseconds)
}

#[derive(Clone, Debug)]
enum Event {
    /// Ticks pass until the next update, in thousandths of a promise; the
    /// sample's halves are so many ticks wide.
    Update(u64, u64, u64),
    /// The kernel's rate is so many parts in 10⁹ from what it was at first.
    Turn(i128),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (50..500u64, 10..80u64, 10..80u64).prop_map(|(after, a, b)| Event::Update(after, a, b)),
        1 => (50..500u64, 10..100_000u64, 10..100_000u64)
            .prop_map(|(after, a, b)| Event::Update(after, a, b)),
        1 => (1000..40_000u64, 10..80u64, 10..80u64)
            .prop_map(|(after, a, b)| Event::Update(after, a, b)),
        1 => (-450i128..450).prop_map(Event::Turn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn true_time_is_within_the_bound_and_no_reader_goes_back(
        hertz in 500_000_000..5_000_000_000u64,
        events in prop::collection::vec(event(), 10..150),
    ) {
        let mut machine = machine(hertz);
        let mut discipline = start(&mut machine, hertz);
        let promise = hertz / 50;
        let mut seen = 0i128;
        let nominal = machine.rate;
        for event in events {
            match event {
                Event::Turn(parts) => {
                    // Never further from another rate than the wander allows for.
                    machine.rate = nominal + nominal * parts / SECOND;
                }
                Event::Update(after, low, high) => {
                    let record = discipline.record(Clock::Monotonic).unwrap();
                    let words = record.to_words();
                    let mut left = promise * after / 1000;
                    // Readers on the way, and the kernel's answer where the page has none.
                    while left > 0 {
                        let step = left.min(promise / 10 + 1);
                        machine.pass(step);
                        left -= step;
                        let kernel = machine.now();
                        let answer = match Record::read(|at| words[at], machine.ticks) {
                            Answer::Time(time) => {
                                let time = nanoseconds(time);
                                let since = machine.ticks.saturating_sub(record.current.start);
                                let since = (record.current.rate.span(since).unwrap() >> 64) as u64;
                                let bound = i128::from(record.error.after(since));
                                prop_assert!(
                                    (time - kernel).abs() <= bound,
                                    "{} off, bound {bound}", time - kernel
                                );
                                time
                            }
                            Answer::AtLeast(least) => kernel.max(nanoseconds(least)),
                            Answer::None => kernel,
                        };
                        prop_assert!(answer >= seen, "back by {}", seen - answer);
                        seen = answer;
                    }
                    let sample = machine.sample(low, high);
                    machine.pass(20);
                    discipline.update(sample, machine.ticks);
                }
            }
        }
    }
}

/// Runs for so many updates, five in a promise; the errors' sizes.
fn run(machine: &mut Machine, discipline: &mut Discipline, hertz: u64, updates: u32) -> Vec<i128> {
    let mut errors = vec![];
    for update in 0..updates {
        machine.pass(hertz / 250);
        let sample = machine.sample(30 + u64::from(update % 7), 30 + u64::from(update % 5));
        assert!(discipline.update(sample, machine.ticks));
        let record = discipline.record(Clock::Monotonic).unwrap();
        let time = record.at(machine.ticks).unwrap().as_nanoseconds();
        errors.push(time - machine.now());
    }
    errors
}

#[test]
fn the_bound_is_under_a_microsecond_and_the_page_leads() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    let errors = run(&mut machine, &mut discipline, hertz, 500);
    assert!(
        discipline.error().at_start < 500,
        "{:?}",
        discipline.error()
    );
    assert!(
        errors
            .iter()
            .skip(100)
            .all(|error| (0..200).contains(error)),
        "{errors:?}"
    );
}

#[test]
fn a_change_of_the_kernels_rate_is_followed() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 100);
    // 100 parts in a million, which no wander foresees.
    machine.rate += machine.rate / 10_000;
    let errors = run(&mut machine, &mut discipline, hertz, 1000);
    assert!(
        errors[800..].iter().all(|error| error.abs() < 300),
        "{:?}",
        &errors[800..]
    );
}

/// Updates a discipline whose counter was disrupted until its record has an answer again, and
/// returns that. Until then readers make the system call, whose result they raise to `ceiling`,
/// for a tenth of a second at least.
fn resumed(
    machine: &mut Machine,
    discipline: &mut Discipline,
    hertz: u64,
    ceiling: vdsokit_clock::Moment,
) -> vdsokit_clock::Moment {
    let start = machine.now();
    loop {
        let sample = machine.sample(30, 30);
        assert!(discipline.update(sample, machine.ticks));
        let record = discipline.record(Clock::Monotonic).unwrap();
        if let Some(time) = record.at(machine.ticks) {
            let measured = machine.now() - start;
            assert!((SECOND / 10..SECOND / 5).contains(&measured), "{measured}");
            assert!(!discipline.is_disrupted());
            return time;
        }
        let words = record.to_words();
        let raised = Record::read(|at| words[at], machine.ticks);
        let is_raised = matches!(raised, Answer::AtLeast(time) if nanoseconds(time) == ceiling.as_nanoseconds());
        assert!(is_raised, "{raised:?}");
        assert_eq!(Record::read_with_error(|at| words[at], machine.ticks), None);
        machine.pass(hertz / 250);
    }
}

/// A machine that is migrated to a host whose counter runs at another rate, with a counter that
/// jumps within the validity of what was published: only the hypervisor tells.
#[test]
fn a_disruption_ends_every_record_until_the_rate_was_measured_anew() {
    let hertz = 2_000_000_000;
    for jumped in [0, 1_000, hertz / 100] {
        let mut machine = machine(hertz);
        let mut discipline = start(&mut machine, hertz);
        let exactly = |nanoseconds| Some(Offset::between(0, nanoseconds, 0));
        discipline.offsets(machine.ticks, exactly(5 * SECOND), exactly(7 * SECOND), 37);
        run(&mut machine, &mut discipline, hertz, 50);
        let before = discipline.record(Clock::Monotonic).unwrap();
        machine.ticks += jumped;
        machine.rate += machine.rate / 10_000;
        assert!(before.at(machine.ticks).is_some(), "readers notice nothing");

        discipline.disrupt(machine.ticks);
        for clock in Clock::ALL {
            if let Some(record) = discipline.record(clock) {
                assert_eq!(record.at(machine.ticks), None, "{clock:?}");
            }
        }
        let boot = discipline.record(Clock::Boottime).unwrap().ceiling();
        assert_eq!(boot, before.ceiling().moved(7 * SECOND));
        let time = resumed(&mut machine, &mut discipline, hertz, before.ceiling());
        assert!(time >= before.ceiling());
        // The bound holds for the new rate right away.
        let record = discipline.record(Clock::Monotonic).unwrap();
        for _ in 0..10 {
            let off = record.at(machine.ticks).unwrap().as_nanoseconds() - machine.now();
            let bound = i128::from(record.error_at(machine.ticks).unwrap());
            assert!(off.abs() <= bound, "{off} {bound}");
            machine.pass(hertz / 1000);
        }
    }
}

/// A suspend in which the counter stood still too: neither shows it, but boot time moves.
#[test]
fn boot_time_that_moved_is_a_disruption() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    let around = |nanoseconds| Some(Offset::between(0, nanoseconds, 40));
    // The kernel rounds; a suspend is longer.
    for slept in [0, 20, 0, 41, 0, 500_000] {
        discipline.offsets(machine.ticks, around(SECOND), around(slept), 37);
        run(&mut machine, &mut discipline, hertz, 1);
        assert!(!discipline.is_disrupted(), "within what is uncertain");
    }
    let before = discipline.record(Clock::Monotonic).unwrap();
    discipline.offsets(machine.ticks, around(SECOND), around(3600 * SECOND), 37);
    assert!(discipline.is_disrupted());
    let realtime = discipline.record(Clock::Realtime).unwrap();
    assert_eq!(realtime.at(machine.ticks), None);
    resumed(&mut machine, &mut discipline, hertz, before.ceiling());
    let boottime = discipline.record(Clock::Boottime).unwrap();
    assert!(boottime.at(machine.ticks).unwrap().seconds >= 3600);
}

/// The kernel rounds each clock by itself, so less than a millisecond is none.
#[test]
fn boot_time_that_moves_by_more_than_a_millisecond_either_way_is_a_disruption() {
    let hertz = 2_000_000_000;
    let (least, most) = (SECOND, SECOND + 40);
    let boot = Offset { least, most };
    for (moved, is_disrupted) in [
        ((most + 1_000_000, most + 1_000_100), false),
        ((most + 1_000_001, most + 1_000_100), true),
        ((most + 2_000_000, most + 2_000_100), true),
        ((least - 1_000_100, least - 1_000_000), false),
        ((least - 1_000_100, least - 1_000_001), true),
        ((least - 2_000_100, least - 2_000_000), true),
    ] {
        let mut machine = machine(hertz);
        let mut discipline = start(&mut machine, hertz);
        discipline.offsets(machine.ticks, None, Some(boot), 37);
        let (least, most) = moved;
        let moved = Offset { least, most };
        discipline.offsets(machine.ticks, None, Some(moved), 37);
        assert_eq!(discipline.is_disrupted(), is_disrupted, "{moved:?}");
    }
}

/// A rate that is measured with the sampler interrupted would have the error of a wide sample.
#[test]
fn wide_samples_do_not_measure_a_rate() {
    let hertz = 2_000_000_000;
    for (width, is_used) in [(180, true), (181, false), (400, false)] {
        let mut machine = machine(hertz);
        let mut discipline = start(&mut machine, hertz);
        discipline.disrupt(machine.ticks);
        machine.pass(hertz / 250);
        assert!(discipline.update(machine.sample(30, 30), machine.ticks));
        // Longer than it takes.
        machine.pass(hertz / 8);
        assert!(discipline.update(machine.sample(0, width), machine.ticks));
        assert_eq!(discipline.is_disrupted(), !is_used, "{width}");
    }
}

/// The kernel's clock has lost a hundredth while the publisher was late, so that it has not reached
/// what readers were promised.
#[test]
fn it_does_not_begin_anew_before_the_kernels_clock_has_reached_the_end_of_the_promise() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 50);
    let ceiling = discipline.record(Clock::Monotonic).unwrap().ceiling();
    machine.rate -= machine.rate / 100;
    machine.pass(hertz / 50 + hertz / 10_000);
    let mut waited = 0;
    while !discipline.update(machine.sample(30, 30), machine.ticks) {
        assert!(
            machine.now() < ceiling.as_nanoseconds(),
            "it has reached it"
        );
        waited += 1;
        machine.pass(hertz / 50_000);
    }
    assert!(waited > 1);
    let record = discipline.record(Clock::Monotonic).unwrap();
    assert!(record.at(machine.ticks).unwrap() >= ceiling);
    assert!(machine.now() + 20_000 >= ceiling.as_nanoseconds());
}

/// Wherever in a sample the kernel's clock is read: a reader that gets the kernel's time and then the
/// page's sees no step back.
#[test]
fn in_the_long_run_the_page_stays_ahead_of_the_kernel() {
    let hertz = 2_000_000_000;
    for (before, after) in [(0, 400), (400, 0), (200, 200)] {
        let mut machine = machine(hertz);
        let first = machine.sample(before, after);
        machine.pass(hertz / 10);
        let second = machine.sample(before, after);
        let mut discipline = Discipline::new(Settings::default(), first, second).unwrap();
        for update in 0..500 {
            if update == 250 {
                discipline.disrupt(machine.ticks);
            }
            machine.pass(hertz / 250);
            let sample = machine.sample(before, after);
            assert!(discipline.update(sample, machine.ticks));
            let record = discipline.record(Clock::Monotonic).unwrap();
            if let Some(time) = record.at(machine.ticks) {
                let ahead = time.as_nanoseconds() - machine.now();
                assert!(
                    (0..500).contains(&ahead),
                    "{ahead} at {before} {after} {update}"
                );
            }
        }
    }
}

/// A counter of one gigahertz, and samples of `width` ticks: half of it, rounded up.
fn half(width: u64) -> i128 {
    i128::from(width / 2 + 1)
}

/// Two samples of this width, a tenth of a second apart, and how uncertain their rate is, in parts in
/// 10⁹: by half of each width and a nanosecond of each for the clock's resolution.
fn exact(width: u64) -> (Discipline, Sample, i128) {
    let sample = |before: u64| Sample {
        before,
        time: i128::from(before + width / 2),
        after: before + width,
    };
    let (first, second) = (sample(5_000), sample(100_005_000));
    let discipline = Discipline::new(Settings::default(), first, second).unwrap();
    (
        discipline,
        second,
        i128::from(width + 2) * SECOND / 100_000_000,
    )
}

#[test]
fn the_first_bound_is_that_of_the_sample_and_grows_by_what_is_uncertain() {
    for width in [0, 2, 100, 5_000] {
        let (discipline, second, uncertain) = exact(width);
        let wander = i128::from(Settings::default().wander);
        let growth = wander + uncertain;
        let error = discipline.error();
        assert_eq!(i128::from(error.growth), growth, "{width}");
        // As far as the kernel's clock may get ahead in a promise.
        let lead = half(width) + growth * i128::from(PROMISE) / SECOND + 1;
        let record = discipline.record(Clock::Monotonic).unwrap();
        let middle = second.before + width / 2;
        assert_eq!(record.current.start, second.after);
        let ahead = record.current.base.as_nanoseconds() - i128::from(second.after);
        assert_eq!(ahead, lead, "{width}");
        // Four nanoseconds are for what is rounded.
        let since = i128::from(second.after - middle);
        let grown = (growth * since + SECOND - 1) / SECOND;
        assert_eq!(i128::from(error.at_start), lead + half(width) + 4 + grown);

        // A sample of no width is outside by what is beyond the bound at its time.
        for (later, more) in [
            (0, 0),
            (0, 7),
            (10_000_000, 0),
            (10_000_000, 1),
            (10_000_000, 900),
        ] {
            let ticks = second.after + later;
            let grown = (growth * i128::from(ticks - middle) + SECOND - 1) / SECOND;
            let bound = i128::from(error.at_start) + grown + half(0);
            for off in [bound + more, -bound - more] {
                let sample = Sample {
                    before: ticks,
                    time: i128::from(ticks) + lead - off,
                    after: ticks,
                };
                assert_eq!(
                    i128::from(discipline.outside(&sample)),
                    more,
                    "{width} {off}"
                );
            }
        }
    }
}

/// Where the newest sample and the rate predict it, with a new rate, or set.
#[test]
fn a_sample_is_compared_with_what_may_be_expected_of_it() {
    let ticks = 10_000_000;
    for (width, next) in [(100, 100), (100, 40), (40, 100), (2_000, 0)] {
        let (_, second, uncertain) = exact(width);
        let parts = i128::from(Settings::default().wander) + uncertain;
        let expected = half(width) + half(next) + i128::from(ticks) * parts / SECOND;
        let another = expected + i128::from(ticks / 8);
        let middle = second.before + width / 2 + ticks;
        for (off, rate_ticks, is_disrupted) in [
            // The rate is that since the first sample, or since the second one.
            (expected, 100_000_000 + ticks, false),
            (-expected, 100_000_000 + ticks, false),
            (expected + 1, ticks, false),
            (-expected - 1, ticks, false),
            (another, ticks, false),
            (another + 1, 0, true),
            (-another - 1, 0, true),
        ] {
            let (mut discipline, ..) = exact(width);
            let sample = Sample {
                before: middle - next / 2,
                time: i128::from(middle) + off,
                after: middle - next / 2 + next,
            };
            let before = discipline.rate();
            assert!(discipline.update(sample, sample.after));
            assert_eq!(
                discipline.is_disrupted(),
                is_disrupted,
                "{width} {next} {off}"
            );
            let rate = match rate_ticks {
                0 => before,
                ticks => Rate::from_ratio((i128::from(ticks) + off) as u64, ticks).unwrap(),
            };
            assert_eq!(discipline.rate(), rate, "{width} {next} {off}");
        }
    }
}

#[test]
fn after_a_sleep_it_begins_anew() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 50);
    let before = discipline.record(Clock::Monotonic).unwrap();
    // The counter was reset, and monotonic time stood still.
    for ticks in [1_000, machine.ticks + 100 * hertz] {
        let ceiling = discipline.record(Clock::Monotonic).unwrap().ceiling();
        machine.ticks = ticks;
        assert_eq!(before.at(machine.ticks), None);
        let time = resumed(&mut machine, &mut discipline, hertz, ceiling);
        assert!(time >= ceiling);
        let errors = run(&mut machine, &mut discipline, hertz, 1500);
        assert!(
            errors[1400..].iter().all(|error| error.abs() < 300),
            "{:?}",
            &errors[1400..]
        );
    }
}

#[test]
fn wall_time_follows_when_it_is_set() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    assert!(discipline.record(Clock::Realtime).is_none());
    for wall in [1_700_000_000 * SECOND + 7, 5 * SECOND] {
        for spread in [40, 20, 10, 30] {
            let now = machine.now();
            let offset = Offset::between(now - spread / 2, now + wall, now + spread / 2);
            discipline.offsets(machine.ticks, Some(offset), None, 37);
        }
        run(&mut machine, &mut discipline, hertz, 1);
        let at = |clock| {
            let record = discipline.record(clock).unwrap();
            record.at(machine.ticks).unwrap().as_nanoseconds()
        };
        let ahead = at(Clock::Realtime) - at(Clock::Monotonic);
        assert!((ahead - wall).abs() <= 5, "{ahead} {wall}");
        assert_eq!(at(Clock::Tai) - at(Clock::Realtime), 37 * SECOND);
    }
}

#[test]
fn a_promise_is_what_was_asked_for() {
    let hertz = 1_000_000_000;
    let mut machine = machine(hertz);
    let discipline = start(&mut machine, hertz);
    let record = discipline.record(Clock::Monotonic).unwrap();
    assert!(record.current.length.abs_diff(PROMISE) < 1000);
}

/// The kernel's answer right before a publisher's first record, and the page's right after it.
#[test]
fn the_page_is_ahead_of_the_kernel_by_all_that_is_uncertain() {
    // Where in the first and in the second sample the clock is read.
    for (hertz, first, second) in [
        (2_000_000_000, (30, 40), (30, 40)),
        (2_000_000_000, (0, 400), (0, 400)),
        (2_000_000_000, (400, 0), (400, 0)),
        // The rate seems lower than it is, and higher.
        (2_000_000_000, (400, 0), (0, 400)),
        (2_000_000_000, (0, 400), (400, 0)),
        (100_000_000, (1, 9), (1, 9)),
    ] {
        let what = format!("{hertz} {first:?} {second:?}");
        let mut machine = machine(hertz);
        let first = machine.sample(first.0, first.1);
        machine.pass(hertz / 10);
        let second = machine.sample(second.0, second.1);
        let discipline = Discipline::new(Settings::default(), first, second).unwrap();
        let record = discipline.record(Clock::Monotonic).unwrap();
        let wander = i128::from(Settings::default().wander);
        // Whatever the kernel's rate is within its wander, until the promise ends.
        for turned in [-wander, 0, wander] {
            let mut machine = Machine { ..machine };
            machine.rate += machine.rate * turned / SECOND;
            while let Some(time) = record.at(machine.ticks) {
                let ahead = time.as_nanoseconds() - machine.now();
                assert!(ahead >= 0, "{ahead} at {what} {turned}");
                machine.pass(hertz / 1000);
            }
        }
    }
}

#[test]
fn the_best_sample_is_the_narrowest() {
    let sample = |before, after| Sample {
        before,
        time: 7,
        after,
    };
    let samples = [sample(10, 90), sample(100, 130), sample(200, 240)];
    assert_eq!(Sample::best(samples), Some(samples[1]));
    assert_eq!(Sample::best([]), None);
}

/// A sampler that was interrupted between two readings of the counter.
#[test]
fn a_wide_sample_changes_neither_rate_nor_time() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 50);
    let rate = discipline.rate();
    machine.pass(hertz / 250);
    // The time was read at the very start of 50 µs.
    let wide = machine.sample(0, 100_000);
    assert!(discipline.update(wide, machine.ticks));
    assert_eq!(discipline.rate(), rate);
    assert_eq!(discipline.outside(&machine.sample(30, 30)), 0);
    // Samples three times as wide as the narrowest are of use.
    machine.pass(hertz / 50);
    assert!(discipline.update(machine.sample(80, 80), machine.ticks));
    assert_ne!(discipline.rate(), rate);
}

#[test]
fn the_rate_is_that_of_the_last_32_samples() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    // By less than is surprising: half of the wander.
    run(&mut machine, &mut discipline, hertz, 200);
    let slow = discipline.rate();
    machine.rate += machine.rate * 400 / SECOND;
    // Five updates in a promise, one sample kept of them; after 32 the old rate is forgotten.
    run(&mut machine, &mut discipline, hertz, 34 * 5);
    let parts = |rate: vdsokit_clock::Rate| {
        let exact = rate.fraction() as f64 / 2f64.powi(64);
        ((exact / (SECOND as f64 / hertz as f64) - 1.0) * 1e9).round() as i64
    };
    assert!(parts(slow).abs() < 20, "{}", parts(slow));
    // They are a promise apart, so that the rate is known to some 50 parts in 10⁹; the rest is the
    // wander and the steering.
    for _ in 0..200 {
        run(&mut machine, &mut discipline, hertz, 1);
        let growth = discipline.error().growth - Settings::default().wander;
        assert!(growth < 1000, "{growth}");
    }
    let growth = discipline.error().growth - Settings::default().wander;
    assert!(growth < 200, "{growth}");
    assert!(
        (parts(discipline.rate()) - 400).abs() < 20,
        "{}",
        parts(discipline.rate())
    );
}

#[test]
fn boot_time_and_wall_time_have_the_offsets_that_were_measured() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    assert_eq!(discipline.record(Clock::Boottime), None);
    assert_eq!(discipline.record(Clock::Realtime), None);
    let exactly = |nanoseconds| Some(Offset::between(0, nanoseconds, 0));
    let (wall, boot) = (1_700_000_000 * SECOND + 5, 3600 * SECOND + 7);
    discipline.offsets(machine.ticks, exactly(wall), exactly(boot), 37);
    let at = |clock| {
        let record = discipline.record(clock).unwrap();
        record.at(machine.ticks).unwrap().as_nanoseconds()
    };
    let monotonic = at(Clock::Monotonic);
    assert_eq!(at(Clock::Boottime) - monotonic, boot);
    assert_eq!(at(Clock::Realtime) - monotonic, wall);
    assert_eq!(at(Clock::Tai) - monotonic, wall + 37 * SECOND);
}

/// Wall time's offset from monotonic time by its record, and how much that adds to the error.
fn wall_offset(discipline: &Discipline) -> (i128, u32) {
    let [monotonic, wall] = [Clock::Monotonic, Clock::Realtime]
        .map(|clock| discipline.record(clock).expect("its offset is known"));
    let base = |record: &Record| record.current.base.as_nanoseconds();
    let more = wall.error.at_start - monotonic.error.at_start;
    (base(&wall) - base(&monotonic), more)
}

#[test]
fn measurements_of_an_offset_are_intersected_until_they_are_disjoint() {
    let hertz = 2_000_000_000;
    let mut discipline = start(&mut machine(hertz), hertz);
    discipline.wall_error(Some(0));
    for (least, most, expected) in [
        (0, 100, (50, 50)),
        (40, 200, (70, 30)),
        // Either end alone, and neither.
        (40, 60, (50, 10)),
        (50, 100, (55, 5)),
        (0, 1000, (55, 5)),
        // An odd width is rounded up.
        (50, 57, (53, 4)),
        // One point in common, and none.
        (57, 70, (57, 0)),
        (500, 600, (550, 50)),
        (-100, -50, (-75, 25)),
    ] {
        discipline.offsets(0, Some(Offset { least, most }), None, 0);
        assert_eq!(wall_offset(&discipline), expected, "{least} to {most}");
    }
}

#[test]
fn the_error_of_wall_time_adds_that_of_the_kernels() {
    let hertz = 2_000_000_000;
    let mut discipline = start(&mut machine(hertz), hertz);
    let offset = Offset {
        least: 0,
        most: 100,
    };
    discipline.offsets(0, Some(offset), Some(offset), 0);
    let error = |discipline: &Discipline, clock| discipline.record(clock).unwrap().error;
    let monotonic = error(&discipline, Clock::Monotonic);
    assert_eq!(monotonic, discipline.error());
    let boot = error(&discipline, Clock::Boottime);
    assert_eq!(boot.at_start, monotonic.at_start + 50);
    assert_eq!(boot.growth, monotonic.growth);
    for clock in [Clock::Realtime, Clock::RealtimeCoarse, Clock::Tai] {
        let unknown = error(&discipline, clock);
        assert_eq!((unknown.at_start, unknown.growth), (ErrorBound::UNKNOWN, 0));
    }
    discipline.wall_error(Some(7000));
    for clock in [Clock::Realtime, Clock::RealtimeCoarse, Clock::Tai] {
        let wall = error(&discipline, clock);
        assert_eq!(wall.at_start, monotonic.at_start + 50 + 7000, "{clock:?}");
        assert_eq!(wall.growth, monotonic.growth + WALL_GROWTH, "{clock:?}");
    }
    assert_eq!(error(&discipline, Clock::Boottime), boot);
}

/// It was stopped after it had taken a sample, and before it used that.
#[test]
fn a_publisher_that_was_stopped_between_sample_and_update_begins_anew() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 50);
    // By 100 parts in a million, which the current line does not have.
    machine.rate += machine.rate / 10_000;
    machine.pass(hertz / 250);
    let sample = machine.sample(30, 30);
    machine.pass(2 * hertz);
    assert!(discipline.update(sample, machine.ticks));
    let record = discipline.record(Clock::Monotonic).unwrap();
    assert_eq!(record.current.start, machine.ticks);
    let ahead = record.at(machine.ticks).unwrap().as_nanoseconds() - machine.now();
    assert!((0..2000).contains(&ahead), "{ahead}");
    let bound = i128::from(discipline.error().at_start);
    assert!((ahead..300_000).contains(&bound), "{bound}");
}

#[test]
fn when_all_samples_are_wide_for_sixteen_promises_readers_make_the_system_call() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 50);
    let last = machine.now();
    let mut is_published = true;
    while is_published {
        machine.pass(hertz / 250);
        let wide = machine.sample(0, 100_000);
        is_published = discipline.update(wide, machine.ticks);
        let since = machine.now() - last;
        let most = i128::from(16 * PROMISE);
        assert_eq!(is_published, since <= most, "{since}");
    }
    // What is usual has changed: the next is as good as any.
    machine.pass(hertz / 250);
    let wide = machine.sample(0, 100_000);
    assert!(discipline.update(wide, machine.ticks));
}

/// The samples before a jump say nothing of the rate after it, and those on both sides less.
#[test]
fn a_counter_that_jumps_leaves_the_rate_as_it_was() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 50);
    let rate = discipline.rate();
    machine.ticks += 100 * hertz;
    // The first sample may be from before the jump in part, and the second one has no other to be
    // compared with.
    for _ in 0..2 {
        discipline.update(machine.sample(30, 30), machine.ticks);
        assert_eq!(discipline.rate(), rate);
        machine.pass(hertz / 250);
    }
    discipline.update(machine.sample(30, 30), machine.ticks);
    assert_ne!(discipline.rate(), rate);
}

/// 40 parts in a million are 160 ns in the 4 ms from one sample to the next, some four times as much
/// as the widths of both samples and the wander explain.
#[test]
fn samples_from_before_an_unexpected_change_of_rate_are_forgotten_at_once() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 200);
    machine.rate += machine.rate * 40_000 / SECOND;
    run(&mut machine, &mut discipline, hertz, 1);
    let fraction = discipline.rate().fraction() as f64 / 2f64.powi(64);
    let parts = (fraction * hertz as f64 / SECOND as f64 - 1.0) * 1e9;
    assert!((parts - 40_000.0).abs() < 5_000.0, "{parts}");
}

#[test]
fn a_difference_is_steered_away_by_at_most_500_parts_in_a_million() {
    let hertz = 2_000_000_000;
    for by in [200_000, -200_000] {
        let mut machine = machine(hertz);
        let mut discipline = start(&mut machine, hertz);
        run(&mut machine, &mut discipline, hertz, 50);
        machine.time += i128::from(by) << 32;
        // For six promises: the step has been taken for a rate, and that is over.
        run(&mut machine, &mut discipline, hertz, 30);
        let line = discipline.record(Clock::Monotonic).unwrap().current;
        let [steered, wanted] = [line.rate, discipline.rate()].map(|rate| rate.fraction() as f64);
        let parts = (steered / wanted - 1.0) * 1e6;
        assert!((499.0..501.0).contains(&parts.abs()), "{parts}");
    }
}

#[test]
fn a_sample_of_another_counter_is_outside_the_bound_by_its_distance() {
    let hertz = 2_000_000_000;
    let mut machine = machine(hertz);
    let mut discipline = start(&mut machine, hertz);
    run(&mut machine, &mut discipline, hertz, 50);
    let sample = machine.sample(30, 30);
    let outside = |by: i128| {
        let time = sample.time + by;
        i128::from(discipline.outside(&Sample { time, ..sample }))
    };
    assert_eq!(outside(0), 0);
    // The page leads, and the bound is on both sides.
    let [behind, ahead] = [outside(-10_000), outside(10_000)];
    let bound = i128::from(discipline.error().at_start);
    assert!(0 < ahead && ahead < behind && behind < 10_000 + bound);
    for more in [1, 1000, 1_000_000] {
        assert_eq!(outside(-10_000 - more), behind + more);
        assert_eq!(outside(10_000 + more), ahead + more);
    }
    assert_eq!(outside(10_000 - ahead), 0);
    assert_eq!(outside(10_000 - ahead + 1), 1);
    // The bound of the time, and half the width of the sample: 15 ns. Both are rounded up.
    let both = (20_000 - ahead - behind) / 2;
    assert!((15..=18).contains(&(both - bound)), "{both} {bound}");
}
