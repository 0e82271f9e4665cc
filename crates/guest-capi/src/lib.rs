//! A vDSO for guests of emulators, unikernels and sandboxes in C and C++.
//!
//! `include/vdsokit_guest.h` is generated from this file; the documentation of each function is
//! written here and copied there. The functions are those of the crate `vdsokit-guest`: image, plan,
//! timekeeper and publisher.
#![no_std]
#![allow(
    unsafe_code,
    reason = "pointers from C are read and written; each function states what its caller promises"
)]

#[cfg(not(feature = "freestanding"))]
extern crate std;

use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use vdsokit_guest::vdsokit_clock::{Clock, Error, Leap, Moment, Rate, Start, Timekeeper};
use vdsokit_guest::{Contents, Image, Plan, Publisher, Reseeds, Rights, WORDS};

#[cfg(feature = "freestanding")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The bytes of memory that a guest needs, at a multiple of 16.
pub const VDSOKIT_GUEST_SIZE: usize = 1280;

/// A guest: its timekeeper and the page that its processes read.
pub struct VdsokitGuest {
    keeper: Timekeeper,
    publisher: Publisher<&'static Frame>,
    frame: &'static Frame,
    reseeds: Option<Reseeds<&'static Frame>>,
}

const _: () = assert!(size_of::<VdsokitGuest>() <= VDSOKIT_GUEST_SIZE);
const _: () = assert!(align_of::<VdsokitGuest>() <= 16);

type Frame = [AtomicU64; WORDS];

/// Whether a function succeeded, and if not, what it refused. Then it has changed nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VdsokitStatus {
    /// Success.
    Ok = 0,
    /// The memory for the guest is smaller than VDSOKIT_GUEST_SIZE or not at a multiple of 16, or
    /// the page is not at a multiple of 8.
    Memory = 1,
    /// The counter has 0 Hz, or a tick of more than a second.
    Frequency = 2,
    /// The promise is shorter than a tick, or 2^62 ticks or longer.
    Promise = 3,
    /// The frequency correction is over one tenth.
    Correction = 4,
    /// The nanoseconds are not below 1,000,000,000.
    Nanoseconds = 5,
    /// There is no image for this architecture in the library.
    Architecture = 6,
    /// The image is not linked for this page size.
    PageSize = 7,
    /// There is no such page, function or clock.
    None = 8,
    /// The range of addresses is too small.
    Range = 9,
}

/// The state with which a guest starts.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VdsokitStart {
    /// The frequency in Hz of the counter that the guest's programs read.
    pub frequency: u64,
    /// That counter now.
    pub ticks: u64,
    /// Monotonic time now, in nanoseconds: 0 at the guest's boot.
    pub monotonic: u64,
    /// Wall time now, in seconds since 1970.
    pub wall_seconds: i64,
    /// Its nanoseconds, below 1,000,000,000.
    pub wall_nanoseconds: u32,
    /// International atomic time minus wall time, in seconds: 37 since 2017, 0 when it is not
    /// known.
    pub tai: i32,
    /// For how many nanoseconds the page is valid after vdsokit_guest_tick(). Twice the time
    /// between two ticks leaves a whole period for a late one.
    pub promise: u64,
}

/// A page to map into each process of a guest.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VdsokitPage {
    /// Its distance from the base in bytes.
    pub offset: usize,
    /// Its first bytes, `length` of them; behind them it has zeroes. NULL for the page that the
    /// guest's programs read time from: every process has that very memory.
    pub bytes: *const u8,
    /// How many.
    pub length: usize,
    /// Whether programs may execute it. Programs may read every page and write none.
    pub executable: bool,
}

/// Starts a guest in `memory`, which has `size` bytes; `page` has 4,096 bytes, is mapped into no
/// process yet, and is all overwritten. `*guest` is the guest.
///
/// Its programs make system calls until the first vdsokit_guest_tick().
///
/// # Safety
/// The pointers are valid; `memory` and `page` stay so and are used for nothing else while the
/// guest is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_start(
    memory: *mut u8,
    size: usize,
    page: *mut u8,
    start: *const VdsokitStart,
    guest: *mut *mut VdsokitGuest,
) -> VdsokitStatus {
    let place = memory.cast::<MaybeUninit<VdsokitGuest>>();
    let (Some(mut place), Some(page)) = (NonNull::new(place), NonNull::new(page.cast::<Frame>()))
    else {
        return VdsokitStatus::Memory;
    };
    if size < VDSOKIT_GUEST_SIZE || !memory.addr().is_multiple_of(16) || !page.is_aligned() {
        return VdsokitStatus::Memory;
    }
    // SAFETY: the caller's pointer is valid.
    let start = unsafe { start.read() };
    let wall = Moment::from_timespec(start.wall_seconds, start.wall_nanoseconds.into());
    let Some(wall) = wall else {
        return VdsokitStatus::Nanoseconds;
    };
    let keeper = Timekeeper::new(Start {
        frequency: start.frequency,
        ticks: start.ticks,
        monotonic: Moment::from_nanoseconds(start.monotonic.into()),
        wall,
        promise: start.promise,
        tai: start.tai,
    });
    let keeper = match keeper {
        Ok(keeper) => keeper,
        Err(error) => return status(error),
    };
    // SAFETY: (1) it is aligned, and has the size of a frame, as the caller promises; (2) it stays
    // valid while the guest is used; (3) it consists of atomics, which others may load.
    let frame: &'static Frame = unsafe { page.as_ref() };
    // SAFETY: the memory is large enough and aligned, and the caller's alone.
    let place = unsafe { place.as_mut() };
    let started = place.write(VdsokitGuest {
        keeper,
        publisher: Publisher::new(frame),
        frame,
        reseeds: None,
    });
    // SAFETY: the caller's pointer is valid.
    unsafe { guest.write(started) };
    VdsokitStatus::Ok
}

/// A tick: publishes the guest's time for the promise after `ticks`, the counter now.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_tick(guest: *mut VdsokitGuest, ticks: u64) {
    // SAFETY: the caller promises both.
    unsafe { with(guest, |keeper| keeper.update(ticks)) }
}

/// Makes every clock the guest's system call, until the next tick: for the time in which there is
/// no counter that all of its CPUs agree on.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_system_calls(guest: *mut VdsokitGuest) {
    // SAFETY: the caller promises both.
    unsafe { (*guest).publisher.system_calls() }
}

/// The time of a clock, by its Linux number, at `ticks`: for the guest's own system calls, which
/// continue where the page's time ends.
///
/// # Safety
/// `guest` is a guest, no other call that changes it runs, and the pointers are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_time(
    guest: *const VdsokitGuest,
    clock: u32,
    ticks: u64,
    seconds: *mut i64,
    nanoseconds: *mut u32,
) -> VdsokitStatus {
    let Some(clock) = Clock::from_id(clock) else {
        return VdsokitStatus::None;
    };
    // SAFETY: the caller promises it.
    let time = unsafe { (*guest).keeper.time(clock, ticks) };
    // SAFETY: the caller's pointers are valid.
    unsafe {
        seconds.write(time.seconds);
        nanoseconds.write(time.nanoseconds);
    }
    VdsokitStatus::Ok
}

/// Sets wall time at once. `ticks` is the counter now.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_set_wall(
    guest: *mut VdsokitGuest,
    ticks: u64,
    seconds: i64,
    nanoseconds: u32,
) -> VdsokitStatus {
    let Some(wall) = Moment::from_timespec(seconds, nanoseconds.into()) else {
        return VdsokitStatus::Nanoseconds;
    };
    // SAFETY: the caller promises both.
    unsafe { with(guest, |keeper| keeper.set_wall(ticks, wall)) }
    VdsokitStatus::Ok
}

/// Slews time by so many nanoseconds, as adjtime(3) does.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_slew(guest: *mut VdsokitGuest, nanoseconds: i64) {
    // SAFETY: the caller promises both.
    unsafe { with(guest, |keeper| keeper.slew(nanoseconds)) }
}

/// Corrects the counter's frequency: `freq` of adjtimex(2), in 2^-16 parts in a million.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_correct(
    guest: *mut VdsokitGuest,
    correction: i64,
) -> VdsokitStatus {
    // SAFETY: the caller promises both.
    match unsafe { with(guest, |keeper| keeper.correct(correction)) } {
        Ok(()) => VdsokitStatus::Ok,
        Err(error) => status(error),
    }
}

/// Sets international atomic time minus wall time, in seconds.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_set_tai(guest: *mut VdsokitGuest, seconds: i32) {
    // SAFETY: the caller promises both.
    unsafe { with(guest, |keeper| keeper.set_tai(seconds)) }
}

/// Announces a leap second before `midnight`, in seconds since 1970: 1 inserts one, -1 deletes
/// one, and 0 takes back what was announced.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_set_leap(
    guest: *mut VdsokitGuest,
    direction: i32,
    midnight: i64,
) {
    let leap = match direction {
        0 => None,
        1.. => Some(Leap::Insert(midnight)),
        _ => Some(Leap::Delete(midnight)),
    };
    // SAFETY: the caller promises both.
    unsafe { with(guest, |keeper| keeper.set_leap(leap)) }
}

/// The guest was suspended for so many nanoseconds, from the counter at `suspended` on, and the
/// counter is at `ticks` now, whatever it did meanwhile.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_resumed(
    guest: *mut VdsokitGuest,
    suspended: u64,
    ticks: u64,
    nanoseconds: u64,
) {
    // SAFETY: the caller promises both.
    unsafe {
        with(guest, |keeper| {
            keeper.resumed(suspended, ticks, nanoseconds)
        })
    }
}

/// The guest's counter has another frequency from now on, as after a migration: the old one was at
/// `before` when the new one is at `ticks`.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_change_counter(
    guest: *mut VdsokitGuest,
    before: u64,
    ticks: u64,
    frequency: u64,
) -> VdsokitStatus {
    let rate = match Rate::from_frequency(frequency) {
        Ok(rate) => rate,
        Err(error) => return status(error),
    };
    // SAFETY: the caller promises both.
    match unsafe { with(guest, |keeper| keeper.change_counter(before, ticks, rate)) } {
        Ok(()) => VdsokitStatus::Ok,
        Err(error) => status(error),
    }
}

/// The guest's generator of random numbers has a new key: to be called after the key was replaced,
/// and for the first time before the guest's first program starts. From then on the image makes
/// random bytes without a system call.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_guest_reseeded(guest: *mut VdsokitGuest) {
    // SAFETY: the caller promises both.
    let guest = unsafe { &mut *guest };
    guest
        .reseeds
        .get_or_insert_with(|| Reseeds::new(guest.frame))
        .reseeded();
}

/// Changes the timekeeper and publishes its new state.
///
/// # Safety
/// `guest` is a guest, and no other call with it runs.
unsafe fn with<R>(guest: *mut VdsokitGuest, change: impl FnOnce(&mut Timekeeper) -> R) -> R {
    // SAFETY: the caller promises both.
    let guest = unsafe { &mut *guest };
    let result = change(&mut guest.keeper);
    guest.publisher.publish(&guest.keeper);
    result
}

/// The nth page to map into each process of a guest of `architecture`: "x86_64", "x86", "aarch64",
/// "riscv64" or "loongarch64". VDSOKIT_STATUS_NONE when there are no more.
///
/// A process has them from a base on, a multiple of the page size, which the auxiliary vector
/// tells it as AT_SYSINFO_EHDR (33).
///
/// # Safety
/// `architecture` is a text that ends with a NUL, and `page` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_plan_page(
    architecture: *const c_char,
    page_size: usize,
    nth: usize,
    page: *mut VdsokitPage,
) -> VdsokitStatus {
    // SAFETY: the caller promises the text.
    let plan = match unsafe { plan(architecture, page_size) } {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    let Some(planned) = plan.pages().nth(nth) else {
        return VdsokitStatus::None;
    };
    let bytes = match planned.contents {
        Contents::Text(bytes) => bytes,
        Contents::Vvar => &[],
    };
    // SAFETY: the caller's pointer is valid.
    unsafe {
        page.write(VdsokitPage {
            offset: planned.offset,
            bytes: match planned.contents {
                Contents::Text(_) => bytes.as_ptr(),
                Contents::Vvar => core::ptr::null(),
            },
            length: bytes.len(),
            executable: planned.rights == Rights::ReadExecute,
        });
    }
    VdsokitStatus::Ok
}

/// A base for the pages within `start` and `end`, chosen by 64 random bits. `*size` is how much
/// address space they take.
///
/// # Safety
/// `architecture` is a text that ends with a NUL, and the pointers are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_plan_place(
    architecture: *const c_char,
    page_size: usize,
    start: u64,
    end: u64,
    random: u64,
    base: *mut u64,
    size: *mut usize,
) -> VdsokitStatus {
    // SAFETY: the caller promises the text.
    let plan = match unsafe { plan(architecture, page_size) } {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    let Some(place) = plan.place(start..end, random) else {
        return VdsokitStatus::Range;
    };
    // SAFETY: the caller's pointers are valid.
    unsafe {
        base.write(place);
        size.write(plan.size());
    }
    VdsokitStatus::Ok
}

/// The distance of a function of the image from the base: "__vdso_clock_gettime", or
/// "__kernel_rt_sigreturn" for signal handlers.
///
/// # Safety
/// The texts end with a NUL, and `offset` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_image_symbol(
    architecture: *const c_char,
    name: *const c_char,
    offset: *mut usize,
) -> VdsokitStatus {
    // SAFETY: the caller promises the texts.
    let (image, name) = match unsafe { (image(architecture), CStr::from_ptr(name)) } {
        (Ok(image), name) => (image, name),
        (Err(status), _) => return status,
    };
    let found = name.to_str().ok().and_then(|name| image.symbol(name));
    let Some(found) = found else {
        return VdsokitStatus::None;
    };
    // SAFETY: the caller's pointer is valid.
    unsafe { offset.write(found) };
    VdsokitStatus::Ok
}

/// A sentence in English about a status, which ends with a NUL.
#[unsafe(no_mangle)]
pub extern "C" fn vdsokit_status_text(status: VdsokitStatus) -> *const c_char {
    let text = match status {
        VdsokitStatus::Ok => c"success",
        VdsokitStatus::Memory => {
            c"memory: it is smaller than VDSOKIT_GUEST_SIZE or not aligned to 16 bytes, or the page is not aligned to 8"
        }
        VdsokitStatus::Frequency => c"frequency: 0 Hz, or a tick of more than a second",
        VdsokitStatus::Promise => c"promise: shorter than a tick, or 2^62 ticks or longer",
        VdsokitStatus::Correction => c"correction: over one tenth",
        VdsokitStatus::Nanoseconds => c"nanoseconds: not below 1,000,000,000",
        VdsokitStatus::Architecture => c"architecture: the library has no image for it",
        VdsokitStatus::PageSize => c"page_size: the image is not linked for it",
        VdsokitStatus::None => c"there is no such page, function or clock",
        VdsokitStatus::Range => c"start, end: the range of addresses is too small",
    };
    text.as_ptr()
}

/// The image for an architecture.
///
/// # Safety
/// `architecture` is a text that ends with a NUL.
unsafe fn image(architecture: *const c_char) -> Result<&'static Image, VdsokitStatus> {
    // SAFETY: the caller promises it.
    let name = unsafe { CStr::from_ptr(architecture) };
    let image = name.to_str().ok().and_then(Image::of);
    image.ok_or(VdsokitStatus::Architecture)
}

/// The plan for an architecture and a page size.
///
/// # Safety
/// `architecture` is a text that ends with a NUL.
unsafe fn plan(architecture: *const c_char, page_size: usize) -> Result<Plan, VdsokitStatus> {
    // SAFETY: the caller promises it.
    let image = unsafe { image(architecture) }?;
    Plan::new(image, page_size).map_err(|_| VdsokitStatus::PageSize)
}

fn status(error: Error) -> VdsokitStatus {
    match error {
        Error::Frequency => VdsokitStatus::Frequency,
        Error::Promise => VdsokitStatus::Promise,
        // The rest of the errors is that of corrections and of virtual time.
        _ => VdsokitStatus::Correction,
    }
}
