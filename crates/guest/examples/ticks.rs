//! As many timer interrupts as are asked for: what the test `figures` counts instructions of.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use vdsokit_clock::{Moment, Start, Timekeeper};
use vdsokit_guest::{Publisher, WORDS};

#[inline(never)]
fn interrupt(keeper: &mut Timekeeper, publisher: &mut Publisher<&[AtomicU64; WORDS]>, ticks: u64) {
    keeper.update(ticks);
    publisher.publish(keeper);
}

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let page = [const { AtomicU64::new(0) }; WORDS];
    let mut publisher = Publisher::new(&page);
    let start = Start {
        frequency: 2_100_000_000,
        ticks: 0,
        monotonic: Moment::from_seconds(0),
        wall: Moment::from_seconds(1_700_000_000),
        promise: 25_000_000,
        tai: 37,
    };
    let mut keeper = Timekeeper::new(start).expect("a counter of 2.1 GHz");
    for tick in 1..=count.unwrap_or(1) {
        interrupt(&mut keeper, &mut publisher, black_box(tick * 21_000_000));
    }
    black_box(&page);
}
