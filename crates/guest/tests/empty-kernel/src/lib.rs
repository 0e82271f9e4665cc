//! A kernel that does what `docs/kernels.md` says, and nothing else.
#![no_std]
#![deny(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};
use vdsokit_guest::vdsokit_clock::{Moment, Start, Timekeeper};
use vdsokit_guest::{Contents, Image, Page, Plan, Publisher, Rights};

/// The page of all processes.
struct Frame([AtomicU64; 512]);

impl Page for &Frame {
    fn store(&self, index: usize, word: u64) {
        if let Some(place) = self.0.get(index) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

static FRAME: Frame = Frame([const { AtomicU64::new(0) }; 512]);

/// The kernel's time.
pub struct Time {
    keeper: Timekeeper,
    publisher: Publisher<&'static Frame>,
}

fn boot(frequency: u64, ticks: u64, wall: i64) -> Option<Time> {
    let publisher = Publisher::new(&FRAME);
    let keeper = Timekeeper::new(Start {
        frequency,
        ticks,
        monotonic: Moment::from_seconds(0),
        wall: Moment::from_seconds(wall),
        promise: 25_000_000,
        tai: 0,
    });
    let keeper = keeper.ok()?;
    Some(Time { keeper, publisher })
}

fn interrupt(time: &mut Time, ticks: u64) {
    time.keeper.update(ticks);
    time.publisher.publish(&time.keeper);
}

fn settimeofday(time: &mut Time, ticks: u64, seconds: i64) {
    time.keeper.set_wall(ticks, Moment::from_seconds(seconds));
    time.publisher.publish(&time.keeper);
}

fn execve(random: u64, map: extern "C" fn(u64, bool, usize)) -> Option<u64> {
    let plan = Plan::new(Image::native()?, 4096).ok()?;
    let base = plan.place(0x10_0000_0000..0x20_0000_0000, random)?;
    for page in plan.pages() {
        let bytes = match page.contents {
            Contents::Text(bytes) => bytes.as_ptr().addr(),
            Contents::Vvar => 0,
        };
        let executable = page.rights == Rights::ReadExecute;
        map(base + page.offset as u64, executable, bytes);
    }
    Some(plan.auxv(base).1)
}

/// What makes the linker keep the above.
mod entries {
    #![allow(unsafe_code, reason = "names for the linker")]

    use super::{Time, boot, execve, interrupt, settimeofday};

    #[unsafe(no_mangle)]
    extern "C" fn kernel_boot(time: &mut Option<Time>, frequency: u64, ticks: u64, wall: i64) {
        *time = boot(frequency, ticks, wall);
    }

    #[unsafe(no_mangle)]
    extern "C" fn kernel_interrupt(time: &mut Time, ticks: u64) {
        interrupt(time, ticks);
    }

    #[unsafe(no_mangle)]
    extern "C" fn kernel_settimeofday(time: &mut Time, ticks: u64, seconds: i64) {
        settimeofday(time, ticks, seconds);
    }

    #[unsafe(no_mangle)]
    extern "C" fn kernel_execve(random: u64, map: extern "C" fn(u64, bool, usize)) -> u64 {
        execve(random, map).unwrap_or(0)
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
