//! Random bytes by the image, over a generation that this process, or another one,
//! publishes as a kernel does.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, reason = "functions of an image are called as C has them")]

mod filter;
#[path = "../image/mod.rs"]
mod image;
mod residue;
mod stepping;
mod user;

use filter::{REFUSED, refuse_getrandom};
use image::{Loaded, image};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use user::User;
use vdsokit_random::{Generation, Parameters, Reseeds};
use vdsokit_test_support::abort_on_panic;

/// An image whose page has a generation.
fn published() -> Loaded {
    let loaded = Loaded::new(image());
    Reseeds::new(loaded.generation()).reseeded();
    loaded
}

/// On a thread of its own, which a filter may be put on.
fn apart(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(work).join().expect("the thread ends well");
    });
}

/// Eight bytes at a time: none of them should be seen twice.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    bytes.chunks_exact(8).map(|piece| piece.try_into().unwrap())
}

#[test]
fn who_has_a_generation_makes_the_bytes() {
    let loaded = Loaded::new(image());
    let query = || {
        let mut parameters = Parameters::default();
        (
            user::query(loaded.calls.getrandom, &mut parameters),
            parameters,
        )
    };
    assert_eq!(query().0, -38);
    // Not the query: to be answered by the kernel, which is given no length.
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is as long as is said; there is no state.
    let got = unsafe {
        (loaded.calls.getrandom)(
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            0,
            std::ptr::null_mut(),
            usize::MAX,
        )
    };
    assert_eq!(got, 8);
    loaded.link_kernel();
    let (answer, theirs) = query();
    // Since Linux 6.11.
    assert!(answer == 0 || answer == -38);
    let mut reseeds = Reseeds::new(loaded.generation());
    // The page goes before the link, and is asked before it is ready.
    assert_eq!(query(), (0, Parameters::STATE));
    assert_ne!(theirs, Parameters::STATE);
    reseeds.reseeded();
    assert_eq!(query(), (0, Parameters::STATE));
    // A page that says nothing hands on as before.
    loaded
        .generation()
        .store(Generation::NONE.to_word(), Ordering::Relaxed);
    assert_eq!(query(), (answer, theirs));
}

#[test]
fn a_seed_is_the_only_system_call() {
    let loaded = published();
    apart(|| {
        let mut user = User::new(&loaded);
        user.bytes(8);
        refuse_getrandom();
        let mut seen = BTreeSet::new();
        for length in (0..600).chain([4096, 100_003]) {
            for piece in pieces(&user.bytes(length)) {
                assert!(seen.insert(piece), "{length}");
            }
        }
        // Another seed is to be had; but it is refused.
        Reseeds::new(loaded.generation()).reseeded();
        for _ in 0..2 {
            assert_eq!(user.call(&mut [0; 8], 0), REFUSED);
        }
    });
}

/// The cases of `vdsokit_random`'s own tests, by the image's own system call.
#[test]
fn what_falls_back_makes_the_system_call() {
    let loaded = published();
    let (word, ready) = (
        loaded.generation(),
        loaded.generation().load(Ordering::Relaxed),
    );
    apart(|| {
        let mut user = User::new(&loaded);
        user.bytes(8);
        refuse_getrandom();
        assert_eq!(user.call(&mut [0; 8], 0), 8);
        assert_eq!(user.call(&mut [0; 8], 8), REFUSED);
        assert_eq!(user.call(&mut [], 8), REFUSED);
        for length in [0, 144, 255, 257] {
            assert_eq!(user.with(user.state, length), REFUSED);
        }
        assert_eq!(user.with(std::ptr::null_mut(), 0), REFUSED);
        assert_eq!(user.with(user.state.wrapping_byte_add(4), 256), REFUSED);
        assert_eq!(user.with(user.state.wrapping_byte_add(4000), 256), -14);
        for not_ready in [Generation::NONE, Generation::NOT_READY] {
            word.store(not_ready.to_word(), Ordering::Relaxed);
            assert_eq!(user.call(&mut [0; 8], 0), REFUSED);
            assert_eq!(user.call(&mut [], 0), REFUSED);
        }
        word.store(ready, Ordering::Relaxed);
        assert_eq!(user.call(&mut [0; 8], 0), 8);
    });
}

#[test]
fn threads_have_states_of_their_own() {
    let loaded = published();
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut user = User::new(&loaded);
                    let mut bytes = vec![];
                    for at in 0..500 {
                        bytes.extend(user.bytes(8 * (at % 40)));
                        if at % 100 == 50 {
                            Reseeds::new(loaded.generation()).reseeded();
                        }
                    }
                    bytes
                })
            })
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.collect::<Vec<_>>()
    });
    let mut seen = BTreeSet::new();
    for bytes in &all {
        assert!(pieces(bytes).all(|piece| seen.insert(piece)));
    }
}

/// Runs `child` in a child of this process, which ends with it, and says what it wrote.
fn in_child(child: impl FnOnce(&mut dyn Write)) -> Vec<u8> {
    let (mut ours, mut theirs) = std::io::pipe().unwrap();
    // SAFETY: the child calls nothing that needs another thread, or a lock: the image, which
    // has none, write(2) and _exit(2).
    match unsafe { libc::fork() } {
        0 => {
            abort_on_panic(|| child(&mut theirs));
            // SAFETY: it ends the child.
            unsafe { libc::_exit(0) }
        }
        pid => {
            assert!(pid > 0);
            drop(theirs);
            let mut bytes = vec![];
            ours.read_to_end(&mut bytes).unwrap();
            let mut status = 0;
            // SAFETY: a child of this test's.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(status, 0);
            bytes
        }
    }
}

#[test]
fn a_child_never_repeats_its_parents_bytes() {
    let loaded = published();
    let mut user = User::new(&loaded);
    // In the middle of a batch, at its end, and at its start.
    for before in [8, 160, 24, 320, 8000] {
        user.bytes(before);
        let child = in_child(|out| {
            let mut bytes = [0; 2000];
            for piece in bytes.chunks_mut(40) {
                assert_eq!(user.call(piece, 0), 40);
            }
            out.write_all(&bytes).unwrap();
        });
        let parent = user.bytes(2000);
        let seen: BTreeSet<_> = pieces(&parent).collect();
        assert_eq!((seen.len(), child.len()), (250, 2000));
        assert!(pieces(&child).all(|piece| !seen.contains(&piece)));
    }
}

/// A kernel is another program than its readers: here it is another process, which has the
/// pages mapped as they are in the image's file.
#[test]
fn a_publisher_in_another_process_is_believed() {
    let loaded = published();
    apart(|| {
        let mut user = User::new(&loaded);
        user.bytes(8);
        refuse_getrandom();
        user.bytes(8);
        for _ in 0..3 {
            let before = loaded.generation().load(Ordering::Relaxed);
            in_child(|_| Reseeds::new(loaded.generation()).reseeded());
            assert_ne!(loaded.generation().load(Ordering::Relaxed), before);
            // It looks for a seed of that generation, and there is none to be had.
            assert_eq!(user.call(&mut [0; 8], 0), REFUSED);
        }
    });
}
