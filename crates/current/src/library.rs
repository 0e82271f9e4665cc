//! `libcurrent.so.1`: the C library's names, and functions of its own.
//!
//! Preloaded, it takes the place of `getpid`, `gettid`, `getppid` and `clock_gettime` of an unchanged program,
//! and of `syscall` for the first three: glibc had no `gettid` before 2.30, so that CPython, the JDK and others
//! call `syscall(SYS_gettid)`. Its names have no version, so glibc's loader binds references of any version to them (glibc 2.36
//! `elf/dl-lookup.c`, `check_match`), and musl's loader compares names only. It needs no other
//! library, so that it can be loaded into programs of either.
//!
//! It is no image as `vdso build` makes one: the pages are a BPF map, which ld.so can't map, so an
//! initialiser does.
#![allow(
    unsafe_code,
    reason = "symbols get the names of C functions, which take pointers"
)]

use crate::arch;
use crate::current::{Current, PerThread, kernel_time, number};
use crate::layout::{Head, LIVE};
use crate::reader::{Reader, Switches};
use core::arch::{asm, global_asm, naked_asm};
use core::ffi::{c_char, c_int, c_long, c_void};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

/// The pages, once the initialiser has found them. Set once, and never unmapped.
static HEAD: AtomicPtr<Head> = AtomicPtr::new(null_mut());

/// The next `clock_gettime` in the program's search order, for all other clocks.
static NEXT_CLOCK_GETTIME: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// The next `syscall` in the program's search order, for all other system calls.
static NEXT_SYSCALL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

type ClockGettime = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;

/// C's `struct timespec`.
#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// The loader calls it before any initialiser of the program (System V gABI, "Initialization and Termination
/// Functions").
#[unsafe(link_section = ".init_array")]
#[used]
static INITIALISE: extern "C" fn() = initialise;

extern "C" fn initialise() {
    const RTLD_NEXT: *mut c_void = core::ptr::without_provenance_mut(usize::MAX);
    if let Some(dlsym) = foreign::dlsym() {
        for (name, place) in [
            (c"clock_gettime", &NEXT_CLOCK_GETTIME),
            (c"syscall", &NEXT_SYSCALL),
        ] {
            // SAFETY: dlsym(3) of the process's own C library, with a name that ends in a zero.
            let next = unsafe { dlsym(RTLD_NEXT, name.as_ptr()) };
            place.store(next, Ordering::Relaxed);
        }
    }
    if let Some(reader) = Reader::open() {
        HEAD.store(reader.address().as_ptr(), Ordering::Relaxed);
    }
}

#[inline(always)]
fn current() -> Current<'static> {
    Current::new(reader(), kept())
}

#[inline(always)]
fn reader() -> Option<Reader> {
    let head = NonNull::new(HEAD.load(Ordering::Relaxed));
    // SAFETY: it is the address of a reader that was opened, whose pages are never unmapped.
    head.map(|head| unsafe { Reader::new(head) })
}

// What a thread keeps between reads: in thread-local storage, by the initial-exec model.
global_asm!(
    ".section .tbss, \"awT\", @nobits",
    ".balign {align}",
    ".local vdsokit_current_kept",
    "vdsokit_current_kept: .zero {size}",
    ".size vdsokit_current_kept, {size}",
    ".type vdsokit_current_kept, @object",
    ".text",
    align = const align_of::<PerThread>(),
    size = const size_of::<PerThread>(),
);

/// This thread's memory.
#[inline(always)]
fn kept() -> &'static PerThread {
    let address: *const PerThread;
    // SAFETY: (1) the word at fs:0 is the thread pointer's own address (System V ABI, x86-64 TLS); (2) what lies
    // behind the symbol is this thread's, zeros at first, which is a value of `PerThread`; (3) it consists of
    // atomics, so tasks that share the thread pointer, as after vfork(2), may use it.
    unsafe {
        asm!("mov {address}, fs:[0]",
            "add {address}, qword ptr [rip + vdsokit_current_kept@GOTTPOFF]",
            address = out(reg) address, options(pure, readonly, nostack));
        &*address
    }
}

/// Functions of the C library that there may be.
mod foreign {
    use super::{asm, c_char, c_int, c_void, global_asm};

    global_asm!(".weak dlsym", ".weak __errno_location");

    macro_rules! weak {
        ($name:ident: $of:ty) => {
            pub(super) fn $name() -> Option<$of> {
                let address: usize;
                // SAFETY: it loads a word of the library that the loader has filled: 0 or the
                // function's address.
                unsafe {
                    asm!(concat!("mov {}, qword ptr [rip + ", stringify!($name), "@GOTPCREL]"),
                        out(reg) address, options(pure, readonly, nostack));
                    core::mem::transmute::<usize, Option<$of>>(address)
                }
            }
        };
    }

    weak!(dlsym: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void);
    weak!(__errno_location: unsafe extern "C" fn() -> *mut c_int);
}

#[unsafe(no_mangle)]
extern "C" fn getpid() -> c_int {
    current().pid().cast_signed()
}

#[unsafe(no_mangle)]
extern "C" fn gettid() -> c_int {
    current().tid().cast_signed()
}

#[unsafe(no_mangle)]
extern "C" fn getppid() -> c_int {
    current().parent().cast_signed()
}

/// # Safety
/// As clock_gettime(2) wants it.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    const PROCESS: c_int = 2;
    const THREAD: c_int = 3;
    let current = current();
    if (clock == THREAD || clock == PROCESS) && current.reader().is_some() && !time.is_null() {
        let nanoseconds = match clock {
            THREAD => current.thread_cpu_time(),
            _ => current.process_cpu_time(),
        };
        let seconds = nanoseconds / 1_000_000_000;
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            time.write(Timespec {
                seconds: seconds.cast_signed(),
                nanoseconds: (nanoseconds - seconds * 1_000_000_000).cast_signed(),
            });
        }
        return 0;
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { next_clock_gettime(clock, time) }
}

/// # Safety
/// As clock_gettime(2) wants it.
#[inline(never)]
unsafe fn next_clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    let next = NEXT_CLOCK_GETTIME.load(Ordering::Relaxed);
    if !next.is_null() {
        // SAFETY: dlsym(3) has found it by the name of a function of this type, and the caller vouches for
        // the pointer.
        return unsafe { core::mem::transmute::<*mut c_void, ClockGettime>(next)(clock, time) };
    }
    let arguments = [clock as usize, time.expose_provenance(), 0, 0, 0, 0];
    // SAFETY: the kernel checks the pointer.
    let result = unsafe { arch::system_call(number::CLOCK_GETTIME, arguments) };
    if result == 0 {
        return 0;
    }
    failed(result as c_long) as c_int
}

/// Stores the number of the error that the kernel has returned, and returns what a C function does then.
extern "C" fn failed(result: c_long) -> c_long {
    if let Some(errno) = foreign::__errno_location() {
        // SAFETY: the C library's function returns the address of this thread's errno.
        unsafe { *errno() = -(result as c_int) };
    }
    -1
}

/// syscall(2). Calls for ids are answered from the page. All others go to the next function of that name by
/// a jump, with every register and the stack as the caller left them: what clone(2) or vfork(2) does with
/// the stack is the same as without this function. Without a next one the call is made here.
///
/// # Safety
/// As syscall(2) wants it.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall() {
    // Number and six arguments are in rdi, rsi, rdx, rcx, r8, r9 and behind the return address (System V
    // ABI); the kernel wants them in rax, rdi, rsi, rdx, r10, r8 and r9. -4095 to -1 are errors.
    naked_asm!(
        "cmp rdi, {getpid}",
        "je 2f",
        "cmp rdi, {gettid}",
        "je 2f",
        "cmp rdi, {getppid}",
        "je 2f",
        "cmp qword ptr [rip + {next}], 0",
        "je 3f",
        "jmp qword ptr [rip + {next}]",
        "2: jmp {id}",
        "3: mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 4f",
        "ret",
        "4: mov rdi, rax",
        "jmp {failed}",
        getpid = const number::GETPID,
        gettid = const number::GETTID,
        getppid = const number::GETPPID,
        next = sym NEXT_SYSCALL,
        id = sym id,
        failed = sym failed,
    )
}

/// The id that a system call of this number returns.
extern "C" fn id(call: usize) -> c_long {
    let current = current();
    let id = match call {
        number::GETPID => current.pid(),
        number::GETPPID => current.parent(),
        _ => current.tid(),
    };
    c_long::from(id)
}

#[unsafe(no_mangle)]
extern "C" fn current_pid() -> u32 {
    current().pid()
}

#[unsafe(no_mangle)]
extern "C" fn current_tid() -> u32 {
    current().tid()
}

#[unsafe(no_mangle)]
extern "C" fn current_parent() -> u32 {
    current().parent()
}

#[unsafe(no_mangle)]
extern "C" fn current_thread_cpu_time() -> u64 {
    current().thread_cpu_time()
}

#[unsafe(no_mangle)]
extern "C" fn current_process_cpu_time() -> u64 {
    current().process_cpu_time()
}

/// C's `struct current_switches`.
#[repr(C)]
pub struct Counts {
    voluntary: u64,
    involuntary: u64,
}

/// # Safety
/// The pointer may be written through.
#[unsafe(no_mangle)]
unsafe extern "C" fn current_switches(out: *mut Counts) -> u32 {
    let Switches {
        voluntary,
        involuntary,
    } = current().switches();
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        out.write(Counts {
            voluntary,
            involuntary,
        });
    }
    current_state()
}

#[unsafe(no_mangle)]
extern "C" fn current_run_delay() -> i64 {
    current().run_delay().map_or(-1, u64::cast_signed)
}

/// As that of an image: 0 without pages, 1 while they are live, 2 when they are retired.
#[unsafe(no_mangle)]
extern "C" fn current_state() -> u32 {
    let state = |reader: Reader| reader.head().state.load(Ordering::Acquire);
    reader().map_or(0, state)
}

/// As that of an image: the numbers of never published, live and stopped.
#[unsafe(no_mangle)]
extern "C" fn current_condition() -> u32 {
    match current_state() {
        0 => 0,
        LIVE => 1,
        _ => 3,
    }
}

/// While the pages are live, each answer is of this moment.
#[unsafe(no_mangle)]
extern "C" fn current_updated() -> u64 {
    const BOOT_TIME: usize = 7;
    match current_state() {
        LIVE => kernel_time(BOOT_TIME),
        _ => 0,
    }
}

/// Never: pages are live or retired.
#[unsafe(no_mangle)]
extern "C" fn current_stale_after() -> u64 {
    0
}

unsafe extern "C" {
    /// Undefined: if a panic path is left, linking the library fails with this name.
    safe fn vdsokit_a_panic_is_left_in_the_library() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    vdsokit_a_panic_is_left_in_the_library()
}
