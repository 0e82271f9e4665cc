//! A call that is interrupted at any of its instructions.
//!
//! The CPU's trap flag makes a signal after each instruction; whose handler does, at one of
//! them, what may happen there.

use super::published;
use super::user::{Call, User};
use std::arch::asm;
use std::cell::UnsafeCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use vdsokit_random::{Reseeds, State};

/// The instruction after which something happens.
static AT: AtomicUsize = AtomicUsize::new(0);
/// So many instructions later the signal handler uses the state.
static GAP: AtomicUsize = AtomicUsize::new(0);
/// Instructions there were.
static SEEN: AtomicUsize = AtomicUsize::new(0);
/// What happens: the state is wiped, as when memory is short; a signal handler uses it; the
/// generator gets a new seed.
static WIPE: AtomicBool = AtomicBool::new(false);
static USE: AtomicBool = AtomicBool::new(false);
static RESEED: AtomicBool = AtomicBool::new(false);

/// What the handler has to know.
struct Shared(UnsafeCell<Option<(Call, *mut State, &'static AtomicU64)>>);

// SAFETY: one test uses it, before its signals and in their handler, on one thread.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared(UnsafeCell::new(None));
static NESTED: AtomicU64 = AtomicU64::new(0);

extern "C" fn trapped(_: i32) {
    let (now, at) = (SEEN.fetch_add(1, Relaxed) + 1, AT.load(Relaxed));
    let (first, second) = (now == at, now == at + GAP.load(Relaxed));
    if !first && !second {
        return;
    }
    // SAFETY: written before the first signal.
    let Some((call, state, generation)) = (unsafe { *SHARED.0.get() }) else {
        return;
    };
    if first && WIPE.load(Relaxed) {
        // SAFETY: the state of the call that was interrupted, which expects this.
        unsafe { state.write_volatile(State::NEW) };
    }
    if first && RESEED.load(Relaxed) {
        Reseeds::new(generation).reseeded();
    }
    if second && USE.load(Relaxed) {
        let mut bytes = 0u64;
        // SAFETY: the buffer and the state are as long as is said.
        let got = unsafe {
            call(
                (&raw mut bytes).cast(),
                8,
                0,
                state.cast(),
                size_of::<State>(),
            )
        };
        NESTED.store(if got == 8 { bytes } else { 0 }, Relaxed);
    }
}

/// Eight bytes, instruction by instruction.
fn stepped(user: &User) -> u64 {
    let mut bytes = 0u64;
    let got: isize;
    // SAFETY: (1) a call of the function as C makes it; (2) the flag is taken back.
    unsafe {
        asm!(
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "call r12",
            "pushfq",
            "and qword ptr [rsp], ~0x100",
            "popfq",
            in("r12") user.function,
            in("rdi") &raw mut bytes, in("rsi") 8, in("rdx") 0,
            in("rcx") user.state, in("r8") size_of::<State>(),
            lateout("rax") got,
            clobber_abi("C"),
        );
    }
    assert_eq!(got, 8);
    bytes
}

#[test]
fn any_instruction_may_be_interrupted() {
    let loaded = published();
    let mut user = User::new(&loaded);
    // SAFETY: no signal yet; the handler is of this type.
    unsafe {
        *SHARED.0.get() = Some((user.function, user.state, loaded.generation()));
        let handler = trapped as extern "C" fn(i32);
        libc::signal(libc::SIGTRAP, handler as libc::sighandler_t);
    }
    let mut seen = BTreeSet::from([0]);
    for what in [1, 2, 3, 4, 7] {
        for (flag, bit) in [(&WIPE, 1), (&USE, 2), (&RESEED, 4)] {
            flag.store(what & bit != 0, Relaxed);
        }
        // Bytes of a batch: each instruction, and a handler that comes a little later than
        // the rest. A new batch, a new key: so many that the place within the cipher's
        // rounds differs.
        let gaps: &[usize] = if what & 3 == 3 { &[0, 1, 3] } else { &[0] };
        for &gap in gaps {
            each(
                &mut user,
                loaded.generation(),
                &mut seen,
                (Some(80), gap, 1),
            );
        }
        each(&mut user, loaded.generation(), &mut seen, (Some(0), 0, 577));
        each(&mut user, loaded.generation(), &mut seen, (None, 0, 577));
    }
}

/// Something happens after each instruction of a call in turn, or each so many: with so much
/// left in the batch, or without a key.
fn each(
    user: &mut User,
    generation: &AtomicU64,
    seen: &mut BTreeSet<u64>,
    (left_in_batch, gap, stride): (Option<usize>, usize, usize),
) {
    GAP.store(gap, Relaxed);
    let mut at = 1;
    loop {
        Reseeds::new(generation).reseeded();
        if let Some(left) = left_in_batch {
            // The first batch of a new key has 160.
            user.bytes(160 - left);
        }
        SEEN.store(0, Relaxed);
        AT.store(at, Relaxed);
        NESTED.store(0, Relaxed);
        let bytes = stepped(user);
        assert!(
            seen.insert(bytes),
            "{left_in_batch:?} {at} {gap}: {bytes:x}"
        );
        let steps = SEEN.load(Relaxed);
        if USE.load(Relaxed) && at + gap <= steps {
            let nested = NESTED.load(Relaxed);
            assert!(
                seen.insert(nested),
                "{left_in_batch:?} {at} {gap}: {nested:x}"
            );
        }
        // The state is not in use: another call takes bytes of it.
        let before = user.memory();
        assert!(seen.insert(u64::from_ne_bytes(user.bytes(8).try_into().unwrap())));
        assert_ne!(user.memory(), before, "{left_in_batch:?} {at} {gap}");
        if at > steps {
            break;
        }
        at += stride;
    }
    assert!(at > 50, "{at} instructions");
}
