//! Reading and publishing variables, beside what else there is; prints the ratios.
//!
//! `cargo bench -p vdsokit-bench --bench vvar --features iceoryx2`
//!
//! Without the feature iceoryx2's blackboard is left out; with it, libclang has to be
//! installed, since iceoryx2's build needs bindgen.
#![allow(unsafe_code, reason = "dlopen and calls by pointer, as C makes them")]

use std::ffi::CString;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vdsokit::{Record, Vvars, place};
use vdsokit_figures::{Figure, Turns, batch, costs, finish};

#[derive(Clone, Copy, Debug, Record)]
struct Four {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

const FOUR: Four = Four {
    a: 1,
    b: 2,
    c: 3,
    d: 4,
};

#[derive(Vvars)]
#[vvar(soname = "libbench.so.1", version = "BENCH_1.0")]
struct Bench {
    #[vvar(init = 7)]
    word: u64,
    four: Four,
}

type Getter = extern "C" fn() -> u64;

/// The function `name` of the library at `path`, as a program that loads it calls it.
fn load(path: &Path, name: &str) -> Getter {
    let c = |text: &[u8]| CString::new(text).expect("no NUL");
    let (path, name) = (c(path.as_os_str().as_bytes()), c(name.as_bytes()));
    // SAFETY: both libraries were just made by this program; neither has initialisers;
    // the function has the type that it was declared with.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null(), "{path:?} is not loaded");
        let function = libc::dlsym(library, name.as_ptr());
        assert!(!function.is_null(), "{name:?} is not there");
        std::mem::transmute::<*mut libc::c_void, Getter>(function)
    }
}

/// An ordinary shared library with a function that returns a global.
fn ordinary(directory: &Path) -> Option<Getter> {
    let (source, library) = (
        directory.join("ordinary.c"),
        directory.join("libordinary.so"),
    );
    let text = "unsigned long value = 7;\nunsigned long get(void) { return value; }\n";
    std::fs::write(&source, text).expect("written");
    let built = Command::new("cc")
        .args(["-O2", "-fPIC", "-shared", "-o"])
        .args([&library, &source])
        .status();
    match built {
        Ok(status) if status.success() => Some(load(&library, "get")),
        other => {
            println!("no C compiler: {other:?}");
            None
        }
    }
}

/// Both reads, while `others` threads read both as well.
fn among(others: usize, reader: &BenchReader) -> [Turns; 2] {
    let stop = AtomicBool::new(false);
    let (word, four) = (&reader.word, &reader.four);
    std::thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    black_box(word.get());
                    black_box(four.get());
                }
            });
        }
        let costs = costs([&mut batch(|| word.get()), &mut batch(|| four.get())]);
        stop.store(true, Ordering::Relaxed);
        costs
    })
}

fn measure(path: &Path) -> Vec<Figure> {
    let mut publisher = Bench::create(path).expect("published");
    let reader = Bench::open(path).expect("open");
    let (word, four) = (&reader.word, &reader.four);
    let cell = black_box(Box::new(AtomicU64::new(7)));
    let mut rows = Vec::new();

    let [ours, atomic] = costs([
        &mut batch(|| word.get()),
        &mut batch(|| cell.load(Ordering::Acquire)),
    ]);
    rows.push(Figure::ratio(
        "8-byte read : atomic load",
        &ours,
        &atomic,
        1.1,
    ));

    let getter = load(path, "bench_word");
    assert_eq!(getter(), 7);
    if let Some(ordinary) = ordinary(path.parent().expect("a directory")) {
        assert_eq!(ordinary(), 7);
        let [ours, ordinary] = costs([
            &mut batch(|| black_box(getter)()),
            &mut batch(|| black_box(ordinary)()),
        ]);
        rows.push(Figure::ratio(
            "getter called : ordinary library's",
            &ours,
            &ordinary,
            1.2,
        ));
    }

    let alone = among(0, &reader);
    for others in [1, 7] {
        let costs = among(others, &reader);
        for (size, (cost, alone)) in [8, 32].into_iter().zip(costs.iter().zip(&alone)) {
            let what = format!("{size}-byte read, {} readers : 1", others + 1);
            // Flat, as far as two measurements of one thing agree.
            rows.push(Figure::ratio(what, cost, alone, 1.2));
        }
    }

    let contenders: [&mut dyn FnMut(); 4] = [
        &mut batch(|| word.get()),
        &mut batch(|| four.get()),
        &mut batch(|| publisher.word.set(black_box(9))),
        &mut batch(|| publisher.four.set(black_box(FOUR))),
    ];
    #[cfg(feature = "iceoryx2")]
    rows.extend(blackboard::beside(contenders));
    #[cfg(not(feature = "iceoryx2"))]
    {
        let [read, read_four, publish, publish_four] = costs(contenders);
        for (what, costs) in [
            ("8-byte read", read),
            ("32-byte read", read_four),
            ("publish 8 bytes", publish),
            ("publish 32 bytes", publish_four),
        ] {
            rows.push(Figure::time(what, &costs, None));
        }
    }
    rows
}

#[cfg(feature = "iceoryx2")]
mod blackboard {
    use super::{FOUR, batch, black_box, costs};
    use iceoryx2::prelude::*;
    use vdsokit_figures::Figure;

    #[derive(Clone, Copy, Debug, ZeroCopySend)]
    #[repr(C)]
    struct Four([u64; 4]);

    /// Ours beside the blackboard's: reads of 8 and 32 bytes, and updates.
    pub(super) fn beside(ours: [&mut dyn FnMut(); 4]) -> [Figure; 4] {
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let name = format!("vdsokit-bench/{}", std::process::id());
        let service = node
            .service_builder(&name.as_str().try_into().expect("a name"))
            .blackboard_creator::<u64>()
            .add::<u64>(1, 7)
            .add::<Four>(2, Four([FOUR.a, FOUR.b, FOUR.c, FOUR.d]))
            .create()
            .expect("a service");
        let reader = service.reader_builder().create().expect("a reader");
        let writer = service.writer_builder().create().expect("a writer");
        let word = reader.entry::<u64>(&1).expect("an entry");
        let four = reader.entry::<Four>(&2).expect("an entry");
        let word_writer = writer.entry::<u64>(&1).expect("an entry");
        let four_writer = writer.entry::<Four>(&2).expect("an entry");
        let value = Four([FOUR.a, FOUR.b, FOUR.c, FOUR.d]);
        let [read, read_four, publish, publish_four] = ours;
        let [a, a_peer, &b, &b_peer, &c, &c_peer, d, d_peer] = costs([
            read,
            &mut batch(|| *word.get()),
            read_four,
            &mut batch(|| *four.get()),
            publish,
            &mut batch(|| word_writer.update_with_copy(black_box(9))),
            publish_four,
            &mut batch(|| four_writer.update_with_copy(black_box(value))),
        ]);
        [
            Figure::ratio("8-byte read : iceoryx2 get", &a, &a_peer, 0.4),
            Figure::ratio("32-byte read : iceoryx2 get", &b, &b_peer, 1.0),
            Figure::ratio("publish 8 bytes : iceoryx2 update", &c, &c_peer, 1.0),
            Figure::ratio("publish 32 bytes : iceoryx2 update", &d, &d_peer, 1.0),
        ]
    }
}

fn main() -> ExitCode {
    let base = place::base().expect("a place that works");
    let directory = tempfile::tempdir_in(base).expect("a directory");
    let rows = measure(&directory.path().join("libbench.so.1"));
    finish(&rows)
}
