//! What a call leaves in memory and registers that aren't its caller's.

use super::published;
use super::user::{Call, User};
use std::arch::asm;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use vdsokit_random::State;

const LENGTHS: [usize; 6] = [8, 32, 7, 150, 500, 64];

/// What a thread is to do, and what came of it.
struct Job {
    function: Call,
    state: *mut State,
    buffers: Vec<Vec<u8>>,
}

extern "C" fn work(job: *mut c_void) -> *mut c_void {
    // SAFETY: `job` is the spawner's `Job`, which it does not touch before it has joined this thread.
    let job = unsafe { &mut *job.cast::<Job>() };
    for buffer in &mut job.buffers {
        let (at, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        let size = size_of::<State>();
        // SAFETY: buffer and state are as long as is said.
        unsafe { (job.function)(at, length, 0, job.state.cast(), size) };
    }
    null_mut()
}

/// Asserts that no eight bytes in a row of what is secret are in `memory`.
fn has_none_of(memory: &[u8], secrets: &[&[u8]], what: &str) {
    let secret: std::collections::BTreeSet<_> = secrets
        .iter()
        .flat_map(|secret| secret.windows(8))
        // What is zeroed is no secret; nor are a length and its like.
        .filter(|window| window.iter().filter(|byte| **byte == 0).count() < 4)
        .collect();
    assert!(secret.len() > 16, "{what}");
    let found = memory.windows(8).position(|window| secret.contains(window));
    assert_eq!(found, None, "{what}");
}

#[test]
fn no_secret_is_left_on_the_stack() {
    const STACK: usize = 1 << 16;
    let loaded = published();
    let user = User::new(&loaded);
    let mut job = Job {
        function: user.function,
        state: user.state,
        buffers: LENGTHS.map(|length| vec![0; length]).to_vec(),
    };
    // SAFETY: (1) a new mapping, which is the thread's while it lives and then this test's;
    // (2) the job outlives the thread.
    let stack = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let stack = libc::mmap(null_mut(), STACK, protection, flags, -1, 0);
        assert_ne!(stack, libc::MAP_FAILED);
        let mut attributes = MaybeUninit::uninit();
        libc::pthread_attr_init(attributes.as_mut_ptr());
        assert_eq!(
            libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack, STACK),
            0
        );
        let mut thread = 0;
        let data = (&raw mut job).cast();
        assert_eq!(
            libc::pthread_create(&raw mut thread, attributes.as_ptr(), work, data),
            0
        );
        assert_eq!(libc::pthread_join(thread, null_mut()), 0);
        std::slice::from_raw_parts(stack.cast::<u8>(), STACK)
    };
    // It was at work there.
    assert!(stack.iter().any(|byte| *byte != 0));
    let state = user.memory();
    let mut secrets: Vec<&[u8]> = job.buffers.iter().map(Vec::as_slice).collect();
    secrets.push(&state);
    has_none_of(stack, &secrets, "the stack");
}

#[test]
fn no_secret_is_left_in_vector_registers() {
    let loaded = published();
    let mut user = User::new(&loaded);
    for length in LENGTHS.repeat(5) {
        let mut bytes = vec![0u8; length];
        let mut registers = [0u8; 256];
        // SAFETY: (1) a call of the function as C makes it: the stack is aligned, since the
        // assembly may use it; (2) the registers' contents go to an array of their size.
        unsafe {
            asm!(
                "call r12",
                "movdqu [r13], xmm0",
                "movdqu [r13 + 16], xmm1",
                "movdqu [r13 + 32], xmm2",
                "movdqu [r13 + 48], xmm3",
                "movdqu [r13 + 64], xmm4",
                "movdqu [r13 + 80], xmm5",
                "movdqu [r13 + 96], xmm6",
                "movdqu [r13 + 112], xmm7",
                "movdqu [r13 + 128], xmm8",
                "movdqu [r13 + 144], xmm9",
                "movdqu [r13 + 160], xmm10",
                "movdqu [r13 + 176], xmm11",
                "movdqu [r13 + 192], xmm12",
                "movdqu [r13 + 208], xmm13",
                "movdqu [r13 + 224], xmm14",
                "movdqu [r13 + 240], xmm15",
                in("r12") user.function, in("r13") registers.as_mut_ptr(),
                in("rdi") bytes.as_mut_ptr(), in("rsi") length, in("rdx") 0,
                in("rcx") user.state, in("r8") size_of::<State>(),
                clobber_abi("C"),
            );
        }
        let state = user.memory();
        assert!(length < 8 || bytes.iter().any(|byte| *byte != 0));
        has_none_of(&registers, &[&bytes, &state], "registers");
        // What is left makes the next bytes.
        user.bytes(1);
    }
}
