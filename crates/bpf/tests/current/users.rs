//! Slots for each user.

use super::tasks::{Counts, cpus, fork, next, run_on, shared, tid, until, wait};
use super::{Published, reader};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use vdsokit_bpf::current::Audience;
use vdsokit_current::Reader;

const USERS: [u32; 2] = [1000, 2000];

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Of the two users, and of tasks that have the first user's pages and are another.
    counts: [Counts; 3],
    /// The processes of the first user.
    own: [AtomicU32; 4],
}

fn become_user(user: u32) {
    // SAFETY: of this process only; it has other threads in no child of fork.
    unsafe {
        assert_eq!(libc::setresgid(user, user, user), 0);
        assert_eq!(libc::setresuid(user, user, user), 0);
    }
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-users"]
fn a_user_sees_its_own_tasks_only() {
    sees_own_tasks_only(USERS.to_vec());
}

/// With more users than the programs compare with, their slots are found in a map of maps.
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-many-users"]
fn one_of_many_users_sees_its_own_tasks_only() {
    sees_own_tasks_only((5000..5020).chain(USERS).collect());
}

fn sees_own_tasks_only(users: Vec<u32>) {
    let _published = Published::start(&Audience::Users(users));
    let shared: &'static Shared = shared();
    let read = |reader: Reader, counts: &Counts| {
        let mut state = tid();
        while !shared.stop.load(Ordering::Relaxed) {
            counts.many_ids(reader, 200);
            match next(&mut state) % 16 {
                0..4 => run_on(state as usize % cpus()),
                4 => std::thread::sleep(Duration::from_micros(100)),
                _ => {}
            }
        }
    };
    let mut workers = Vec::new();
    for (number, user) in USERS.into_iter().enumerate() {
        for process in 0..2 {
            workers.push(fork(|| {
                become_user(user);
                if number == 0 {
                    shared.own[process].store(std::process::id(), Ordering::Relaxed);
                }
                let reader = reader();
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| read(reader, &shared.counts[number]));
                    }
                });
            }));
        }
    }
    // The first user's pages stay mapped in a process that is another user from then on.
    workers.push(fork(|| {
        // SAFETY: root becomes the user for the time of opening only.
        unsafe { assert_eq!(libc::setresuid(USERS[0], USERS[0], 0), 0) };
        let reader = reader();
        // SAFETY: this process changes its own user only.
        unsafe { assert_eq!(libc::setresuid(0, 0, 0), 0) };
        become_user(3000);
        read(reader, &shared.counts[2]);
    }));
    let watcher = fork(|| {
        become_user(USERS[0]);
        shared.own[2].store(std::process::id(), Ordering::Relaxed);
        let reader = reader();
        let own = || shared.own.iter().map(|pid| pid.load(Ordering::Relaxed));
        until(|| own().take(3).all(|pid| pid != 0));
        let mut seen = 0;
        for _ in 0..20_000 {
            for cpu in 0..cpus() as u32 {
                let pid = reader.slot(cpu).unwrap().pid.load(Ordering::Relaxed);
                seen += u32::from(pid != 0);
                assert!(
                    pid == 0 || own().any(|own| own == pid),
                    "{pid} is another's"
                );
            }
            std::thread::yield_now();
        }
        assert_ne!(seen, 0);
    });
    assert!(wait(watcher));
    shared.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        assert!(wait(worker));
    }
    for (counts, whose) in shared
        .counts
        .iter()
        .zip(["user 1000", "user 2000", "was user 1000"])
    {
        let [reads, unknown, wrong] = counts.numbers();
        println!("{whose:14} {reads} reads, {unknown} unknown, {wrong} wrong");
        assert_eq!(wrong, 0);
        assert!(reads > 0);
    }
    // Users without slots have no pages, and no user has another's.
    assert!(wait(fork(|| {
        become_user(3000);
        assert!(Reader::open().is_none());
    })));
    assert!(Reader::open().is_none(), "root is no user of these");
    assert!(wait(fork(|| {
        become_user(USERS[0]);
        let other = std::path::Path::new("/sys/fs/bpf/current/2000");
        let error = vdsokit_bpf::MappedPages::open(other).unwrap_err();
        println!("user 1000 opens the slots of user 2000: {error:?}");
    })));
    assert!(wait(fork(pages_where_others_write_are_not_used)));
}

/// A directory that is not root's, or that another user could write, has no pages that a reader uses.
fn pages_where_others_write_are_not_used() {
    let directory = std::path::Path::new(vdsokit_current::DIRECTORY);
    let is_used = || {
        wait(fork(|| {
            become_user(USERS[0]);
            assert!(Reader::open().is_some());
        }))
    };
    let mode = |mode| {
        std::fs::set_permissions(
            directory,
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
        .unwrap();
    };
    assert!(is_used());
    for others in [0o775, 0o757] {
        mode(others);
        assert!(!is_used(), "{others:o}");
    }
    mode(0o755);
    std::os::unix::fs::chown(directory, Some(USERS[1]), None).unwrap();
    assert!(!is_used(), "another user's");
    std::os::unix::fs::chown(directory, Some(0), None).unwrap();
    assert!(is_used());
}
