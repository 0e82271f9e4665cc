//! The kernel's own copy of the vDSO: the one that programs map, and that the kernel calls.
#![allow(unsafe_code, reason = "calls a function by its place in the image")]

use crate::cpu::MOST_CPUS;
use crate::memory::{PAGE, Section};
use crate::task::schedule;
use core::sync::atomic::AtomicU64;
use vdsokit_guest::{Image, Plan, WORDS};

/// The image.
const IMAGE: &Image = &Image::ALL[0];

/// Which pages are mapped where.
pub const PLAN: Plan = match Plan::new(IMAGE, PAGE) {
    Ok(plan) => plan.with_slots(MOST_CPUS),
    Err(_) => panic!("the image can't be mapped by pages of this kernel's size"),
};

/// Text and page, as far from each other as in a program.
#[repr(C)]
pub struct Own {
    text: [u8; IMAGE.vvar()],
    /// What the publisher writes.
    pub page: [AtomicU64; WORDS],
}

/// The vDSO in the kernel's own image. Programs map its pages; the kernel calls its functions where
/// they are.
pub static OWN: Section<Own> = Section(Own {
    text: {
        let mut text = [0; IMAGE.vvar()];
        text.split_at_mut(IMAGE.text().len())
            .0
            .copy_from_slice(IMAGE.text());
        text
    },
    page: [const { AtomicU64::new(0) }; WORDS],
});

/// The page's distance from the text, in pages.
pub const PAGE_OF_OWN: usize = IMAGE.vvar() / PAGE;

const _: () = assert!(PAGE_OF_OWN * PAGE == IMAGE.vvar());

#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: &str = "__kernel_clock_gettime";
#[cfg(not(target_arch = "aarch64"))]
const CLOCK_GETTIME: &str = "__vdso_clock_gettime";

/// The time of a clock for the current task, by the function that programs call; `None` where the
/// page has no answer: the function then makes a system call, which returns an error to kernel code.
pub fn clock_gettime(clock: u32) -> Option<u64> {
    let function = IMAGE.symbol(CLOCK_GETTIME)?;
    let mut time = [0; 2];
    let task = schedule::current();
    let mut state = task.state.get();
    state.save();
    // SAFETY: the image has the function there, which has this type, the kernel can execute its own
    // image, and the page that the function reads lies behind it. It writes to `time` alone. It may
    // use registers that the kernel keeps for the program, which are saved here.
    let result = unsafe {
        let function = (&raw const OWN.0.text).cast::<u8>().add(function);
        let function: extern "C" fn(u32, *mut [i64; 2]) -> i32 = core::mem::transmute(function);
        function(clock, &raw mut time)
    };
    state.restore();
    let [seconds, nanoseconds] = time;
    (result == 0).then(|| seconds as u64 * crate::time::SECOND + nanoseconds as u64)
}
