//! `getrandom` over a kernel that is simulated in this process, and counted.
#![allow(unsafe_code, reason = "the function takes what C callers pass")]

mod simulated;

use proptest::prelude::*;
use simulated::{Kernel, Model, SIZE, Thread, call, seed};
use std::cell::{Cell, RefCell};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::Ordering;
use vdsokit_random::{Generation, Parameters, Request, State, getrandom};

const EFAULT: isize = -14;
const EAGAIN: isize = -11;
const EINTR: isize = -4;

#[derive(Clone, Debug)]
enum Step {
    Bytes(usize),
    Reseed,
    Wipe,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![0..40usize, 0..400usize, 0..3000usize].prop_map(Step::Bytes),
        1 => Just(Step::Reseed),
        1 => Just(Step::Wipe),
    ]
}

proptest! {
    #[test]
    fn bytes_are_those_of_the_cipher(steps in prop::collection::vec(step(), 1..60)) {
        let (kernel, mut thread) = (Kernel::ready(), Thread::new());
        let mut model: Option<Model> = None;
        let mut seeds = 0;
        for step in steps {
            match step {
                Step::Bytes(length) => {
                    let got = thread.bytes(&kernel, length);
                    if length == 0 {
                        continue;
                    }
                    let model = model.get_or_insert_with(|| {
                        seeds += 1;
                        Model::seeded(seed(seeds - 1))
                    });
                    prop_assert_eq!(got, model.bytes(length));
                }
                Step::Reseed => {
                    kernel.reseed();
                    model = None;
                }
                Step::Wipe => {
                    thread.wipe();
                    model = None;
                }
            }
        }
        // One system call for each seed, and none besides.
        prop_assert_eq!(kernel.count(), usize::from(seeds));
        prop_assert!(kernel.calls.borrow().iter().all(|call| *call == (32, 0)));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Neither the key that made them nor the bytes handed out are left in the state, nor
    /// could that key be computed from what is: only later bytes can.
    #[test]
    fn the_past_is_gone(lengths in prop::collection::vec(8..400usize, 1..12)) {
        let (kernel, mut thread) = (Kernel::ready(), Thread::new());
        let mut model = Model::seeded(seed(0));
        let mut past = vec![seed(0).to_vec()];
        for length in lengths {
            past.push(thread.bytes(&kernel, length));
            let key = model.key;
            model.bytes(length);
            if model.key != key {
                past.push(key.to_vec());
            }
            for secret in &past {
                for window in secret.windows(8) {
                    prop_assert!(!thread.memory().windows(8).any(|seen| seen == window));
                }
            }
        }
    }
}

#[test]
fn the_query_is_answered_whether_the_generator_is_ready_or_not() {
    let kernel = Kernel::ready();
    for word in [Generation::NOT_READY.to_word(), 2, u64::MAX] {
        kernel.word.store(word, Ordering::Relaxed);
        let mut parameters = Parameters {
            reserved: [7; 13],
            ..Parameters::default()
        };
        let query = Request {
            buffer: null_mut(),
            length: 0,
            flags: 0,
            state: (&raw mut parameters).cast(),
            state_length: usize::MAX,
        };
        assert_eq!(call(&kernel, query), 0);
        assert_eq!(parameters, Parameters::STATE);
        assert_eq!(
            (parameters.size as usize, parameters.reserved),
            (SIZE, [0; 13])
        );
        assert_eq!((parameters.protection, parameters.flags), (3, 0x28));
        // Not a query.
        for request in [
            Request { length: 1, ..query },
            Request { flags: 1, ..query },
        ] {
            kernel.answer.set(Some(EINTR));
            assert_eq!(call(&kernel, request), EINTR);
        }
        kernel.answer.set(None);
    }
    assert_eq!(kernel.count(), 6);
}

#[test]
fn falls_back_where_linux_does() {
    let kernel = Kernel::ready();
    let mut thread = Thread::new();
    let mut bytes = [0; 16];
    let good = thread.request(&mut bytes);
    let mut cases = vec![("a flag", Request { flags: 8, ..good })];
    cases.push((
        "all flags",
        Request {
            flags: u32::MAX,
            ..good
        },
    ));
    for state_length in [0, 144, SIZE - 1, SIZE + 1] {
        cases.push((
            "a length",
            Request {
                state_length,
                ..good
            },
        ));
    }
    let null = Request {
        state: null_mut(),
        state_length: 0,
        ..good
    };
    cases.push(("no state", null));
    let off = good.state.wrapping_byte_add(4);
    cases.push(("an alignment", Request { state: off, ..good }));
    for (what, request) in cases {
        let before = kernel.count();
        assert_eq!(call(&kernel, request), 16, "{what}");
        assert_eq!(kernel.count(), before + 1, "{what}");
        assert_eq!(kernel.calls.borrow()[before], (16, request.flags), "{what}");
    }
    assert!(thread.memory().iter().all(|byte| *byte == 0));
    // The kernel's answer is the answer.
    kernel.answer.set(Some(EAGAIN));
    assert_eq!(call(&kernel, Request { flags: 8, ..good }), EAGAIN);
}

#[test]
fn known_flags_make_no_difference_to_a_generator_that_is_ready() {
    let kernel = Kernel::ready();
    let mut thread = Thread::new();
    let mut model = Model::seeded(seed(0));
    let mut bytes = [0; 16];
    for flags in 0..8 {
        let request = Request {
            flags,
            ..thread.request(&mut bytes)
        };
        assert_eq!(call(&kernel, request), 16);
        assert_eq!(bytes.to_vec(), model.bytes(16));
    }
    // One that isn't decides by them.
    kernel
        .word
        .store(Generation::NOT_READY.to_word(), Ordering::Relaxed);
    for flags in 0..8 {
        let before = kernel.count();
        for length in [0, 16] {
            let request = Request {
                flags,
                length,
                ..thread.request(&mut bytes)
            };
            assert_eq!(call(&kernel, request), length as isize);
        }
        assert_eq!(kernel.calls.borrow()[before..], [(0, flags), (16, flags)]);
    }
}

#[test]
fn a_state_that_straddles_a_page_is_refused() {
    let kernel = Kernel::ready();
    let mut bytes = [0; 16];
    for (offset, expected) in [(4096 - SIZE, 0), (4096 - SIZE + 8, EFAULT), (4095, EFAULT)] {
        let request = Request {
            buffer: bytes.as_mut_ptr(),
            // Of a length of 0 nothing is written, wherever the state is.
            length: 0,
            flags: 0,
            state: without_provenance_mut(0x10_000 + offset),
            state_length: SIZE,
        };
        assert_eq!(call(&kernel, request), expected, "{offset}");
        // As with Linux, before flags and length are looked at.
        let request = Request {
            flags: 8,
            state_length: 1,
            ..request
        };
        let expected = if expected == 0 { 0 } else { EFAULT };
        assert_eq!(call(&kernel, request), expected, "{offset}");
    }
    assert_eq!(kernel.count(), 1);
}

/// What a signal handler's call does while another is at work with the same state.
#[test]
fn a_state_in_use_is_left_alone() {
    let kernel = Kernel::ready();
    let mut thread = Thread::new();
    let mut outer = [0; 40];
    let request = thread.request(&mut outer);
    let inner = RefCell::new([0; 40]);
    // SAFETY: this test's own memory; within the system call nothing else is at work.
    let got = unsafe {
        getrandom(
            &kernel.word,
            |buffer, length, flags| {
                let nested = Request {
                    buffer: inner.borrow_mut().as_mut_ptr(),
                    ..request
                };
                assert_eq!(call(&kernel, nested), 40);
                assert_eq!(kernel.calls.borrow()[0], (40, 0));
                kernel.system_call(buffer, length, flags)
            },
            request,
        )
    };
    assert_eq!(got, 40);
    assert_eq!(outer.to_vec(), Model::seeded(seed(1)).bytes(40));
    assert_eq!(kernel.count(), 2);
    // And afterwards it isn't in use.
    thread.bytes(&kernel, 100);
    assert_eq!(kernel.count(), 2);
}

/// What happens while the state gets its key, `times` times.
fn disturbed(times: usize, disturb: impl Fn(&Kernel, *mut State)) -> (Vec<u8>, Vec<(usize, u32)>) {
    let kernel = Kernel::ready();
    let mut thread = Thread::new();
    let mut bytes = [0; 40];
    let request = thread.request(&mut bytes);
    let left = Cell::new(times);
    // SAFETY: this test's own memory.
    let got = unsafe {
        getrandom(
            &kernel.word,
            |buffer, length, flags| {
                let got = kernel.system_call(buffer, length, flags);
                if let Some(less) = left.get().checked_sub(1) {
                    left.set(less);
                    disturb(&kernel, request.state);
                }
                got
            },
            request,
        )
    };
    assert_eq!(got, 40);
    assert_eq!(thread.bytes(&kernel, 8).len(), 8, "the state is not in use");
    let mut calls = kernel.calls.into_inner();
    if times > 1 {
        // The last was for a new key, since the state has none.
        assert_eq!(calls.pop(), Some((32, 0)));
    }
    (bytes.to_vec(), calls)
}

#[test]
fn a_new_generation_or_a_wipe_on_the_way_is_noticed() {
    let wipe = |_: &Kernel, state: *mut State| {
        // SAFETY: the state of the call that is at work, which expects this.
        unsafe { state.write_volatile(State::NEW) };
    };
    let reseed = |kernel: &Kernel, _: *mut State| kernel.reseed();
    // A handler that comes after a wipe makes the state look as it should.
    let wipe_and_use = |kernel: &Kernel, state: *mut State| {
        wipe(kernel, state);
        let mut bytes = [0; 8];
        let request = Request {
            buffer: bytes.as_mut_ptr(),
            length: 8,
            flags: 0,
            state,
            state_length: SIZE,
        };
        assert_eq!(call(kernel, request), 8);
    };
    assert_eq!(disturbed(0, wipe).1, [(32, 0)]);
    for (disturb, seeds) in [(&wipe as &dyn Fn(&Kernel, *mut State), 2), (&reseed, 2)] {
        // Once: another key, and its bytes.
        let (bytes, calls) = disturbed(1, disturb);
        assert_eq!(calls, vec![(32, 0); seeds]);
        assert_eq!(bytes, Model::seeded(seed(seeds as u8 - 1)).bytes(40));
        // Whenever it tries: the system call.
        let (bytes, calls) = disturbed(2, disturb);
        assert_eq!(calls, [(32, 0), (32, 0), (40, 0)]);
        assert_eq!(bytes[..32], seed(2));
    }
    // Taken back as well: then a state of zeroes says the same as the page.
    let wipe_and_take_back = |kernel: &Kernel, state: *mut State| {
        wipe(kernel, state);
        let none = Generation::NONE.to_word();
        kernel.word.store(none, Ordering::Relaxed);
    };
    let (bytes, calls) = disturbed(1, wipe_and_take_back);
    assert_eq!(calls, [(32, 0), (40, 0), (8, 0)]);
    assert_eq!(bytes[..32], seed(1));
    // The handler's key, which is a good one, and its next bytes.
    let (bytes, calls) = disturbed(1, wipe_and_use);
    assert_eq!(calls, [(32, 0), (32, 0)]);
    let mut model = Model::seeded(seed(1));
    model.bytes(8);
    assert!(bytes.iter().any(|byte| *byte != 0));
    assert_ne!(
        bytes,
        Model::default().bytes(40),
        "the stream of a key of zeroes"
    );
}

#[test]
fn without_a_key_the_kernel_is_asked() {
    let kernel = Kernel::ready();
    let mut thread = Thread::new();
    for answer in [EINTR, 31, 0] {
        kernel.answer.set(Some(answer));
        let before = kernel.count();
        assert_eq!(thread.fill(&kernel, &mut [0; 16]), answer);
        assert_eq!(kernel.calls.borrow()[before..], [(32, 0), (16, 0)]);
    }
    kernel.answer.set(None);
    let before = kernel.count();
    let number = before as u8;
    assert_eq!(
        thread.bytes(&kernel, 16),
        Model::seeded(seed(number)).bytes(16)
    );
    assert_eq!(kernel.count(), before + 1);
}

#[test]
fn a_generator_that_is_taken_back_is_not_used() {
    let kernel = Kernel::ready();
    let mut thread = Thread::new();
    thread.bytes(&kernel, 16);
    for word in [Generation::NONE, Generation::NOT_READY] {
        kernel.word.store(word.to_word(), Ordering::Relaxed);
        let before = kernel.count();
        thread.bytes(&kernel, 16);
        assert_eq!(kernel.calls.borrow()[before..], [(16, 0)]);
    }
}

/// A state of garbage, as a caller's stray write leaves it: no call reads or writes beyond.
#[test]
fn a_position_that_is_not_ours_is_an_empty_batch() {
    let kernel = Kernel::ready();
    let mut thread = Thread::new();
    thread.bytes(&kernel, 16);
    // The word behind the generation.
    let position: *mut u32 = (&raw mut thread.state).wrapping_byte_add(200).cast();
    for garbage in [161, 1000, u32::MAX] {
        // SAFETY: within the state.
        unsafe { position.write(garbage) };
        thread.bytes(&kernel, 500);
        assert!(thread.rest.iter().all(|byte| *byte == 0));
    }
    assert_eq!(kernel.count(), 1);
}
