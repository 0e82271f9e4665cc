//! Reading and publishing variables, beside what else there is; prints the ratios.
//!
//! `cargo bench -p vdsokit-bench --bench vvar --features iceoryx2`
//!
//! Without the feature iceoryx2's blackboard is left out; with it, libclang has to be
//! installed, since iceoryx2's build needs bindgen.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]
#![allow(unsafe_code, reason = "dlopen and calls by pointer, as C makes them")]

use criterion::{Bencher, Criterion};
use std::ffi::CString;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use vdsokit::{Record, Vvars, place};

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

/// This thread's own time, so that threads that share a CPU don't count as cost.
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// One call after the other, in this thread's own time: what else the machine does
/// takes nothing from it.
fn alone<T>(bencher: &mut Bencher<'_>, mut call: impl FnMut() -> T) {
    bencher.iter_custom(|rounds| {
        let start = thread_time();
        for _ in 0..rounds {
            black_box(call());
        }
        thread_time() - start
    });
}

/// Reads while `others` threads read too.
fn among<T>(
    bencher: &mut Bencher<'_>,
    others: usize,
    read: impl Fn() -> T + Clone + Send + 'static,
) {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..others)
        .map(|_| {
            let (stop, read) = (stop.clone(), read.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    black_box(read());
                }
            })
        })
        .collect();
    alone(bencher, read);
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a reader");
    }
}

fn measure(criterion: &mut Criterion, path: &Path) {
    let mut publisher = Bench::create(path).expect("published");
    let reader = Bench::open(path).expect("open");
    let (word, four) = (reader.word.clone(), reader.four.clone());
    let cell = Box::leak(Box::new(AtomicU64::new(7)));

    criterion.bench_function("read 8/atomic", |b| {
        alone(b, || black_box(&*cell).load(Ordering::Acquire))
    });
    criterion.bench_function("read 8/vdsokit", |b| alone(b, || black_box(&word).get()));
    criterion.bench_function("read 32/vdsokit", |b| alone(b, || black_box(&four).get()));
    let getter = load(path, "bench_word");
    assert_eq!(getter(), 7);
    criterion.bench_function("call/vdsokit", |b| alone(b, || black_box(getter)()));
    if let Some(ordinary) = ordinary(path.parent().expect("a directory")) {
        assert_eq!(ordinary(), 7);
        criterion.bench_function("call/ordinary", |b| alone(b, || black_box(ordinary)()));
    }
    for others in [0, 1, 7] {
        let (word, four) = (word.clone(), four.clone());
        let id = |size: u32| format!("readers {size}/{}", others + 1);
        criterion.bench_function(&id(8), |b| {
            let word = word.clone();
            among(b, others, move || black_box(&word).get());
        });
        criterion.bench_function(&id(32), |b| {
            let four = four.clone();
            among(b, others, move || black_box(&four).get());
        });
    }
    criterion.bench_function("publish 8/vdsokit", |b| {
        alone(b, || publisher.word.set(black_box(9)))
    });
    criterion.bench_function("publish 32/vdsokit", |b| {
        alone(b, || publisher.four.set(black_box(&FOUR)))
    });
    #[cfg(feature = "iceoryx2")]
    blackboard::measure(criterion);
}

#[cfg(feature = "iceoryx2")]
mod blackboard {
    use super::{FOUR, alone, black_box};
    use criterion::Criterion;
    use iceoryx2::prelude::*;

    #[derive(Clone, Copy, Debug, ZeroCopySend)]
    #[repr(C)]
    struct Four([u64; 4]);

    pub(super) fn measure(criterion: &mut Criterion) {
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
        criterion.bench_function("read 8/iceoryx2", |b| alone(b, || *black_box(&word).get()));
        criterion.bench_function("read 32/iceoryx2", |b| alone(b, || *black_box(&four).get()));
        let word = writer.entry::<u64>(&1).expect("an entry");
        let four = writer.entry::<Four>(&2).expect("an entry");
        criterion.bench_function("publish 8/iceoryx2", |b| {
            alone(b, || word.update_with_copy(black_box(9)));
        });
        let value = Four([FOUR.a, FOUR.b, FOUR.c, FOUR.d]);
        criterion.bench_function("publish 32/iceoryx2", |b| {
            alone(b, || four.update_with_copy(black_box(value)));
        });
    }
}

/// Where criterion keeps what it finds.
fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/criterion")
}

/// The median that criterion found in this run, in nanoseconds.
fn median(id: &str) -> Option<f64> {
    let file = results()
        .join(id.replace('/', "_"))
        .join("new/estimates.json");
    let text = std::fs::read_to_string(file).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

fn main() {
    let base = place::base().expect("a place that works");
    let directory = tempfile::tempdir_in(base).expect("a directory");
    let mut criterion = Criterion::default()
        .output_directory(&results())
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    measure(&mut criterion, &directory.path().join("libbench.so.1"));
    criterion.final_summary();

    println!(
        "\n{:44} {:>8} {:>8} {:>7} {:>7}",
        "medians, ns of CPU time", "ours", "theirs", "ratio", "at most"
    );
    for (what, ours, theirs, limit) in [
        (
            "8-byte read : atomic load",
            "read 8/vdsokit",
            "read 8/atomic",
            1.1,
        ),
        (
            "8-byte read : iceoryx2 get",
            "read 8/vdsokit",
            "read 8/iceoryx2",
            0.4,
        ),
        (
            "getter called : ordinary library's",
            "call/vdsokit",
            "call/ordinary",
            1.2,
        ),
        (
            "32-byte read : iceoryx2 get",
            "read 32/vdsokit",
            "read 32/iceoryx2",
            1.0,
        ),
        (
            "8-byte read, 2 readers : 1",
            "readers 8/2",
            "readers 8/1",
            1.0,
        ),
        (
            "8-byte read, 8 readers : 1",
            "readers 8/8",
            "readers 8/1",
            1.0,
        ),
        (
            "32-byte read, 2 readers : 1",
            "readers 32/2",
            "readers 32/1",
            1.0,
        ),
        (
            "32-byte read, 8 readers : 1",
            "readers 32/8",
            "readers 32/1",
            1.0,
        ),
        (
            "publish 8 bytes : iceoryx2 update",
            "publish 8/vdsokit",
            "publish 8/iceoryx2",
            1.0,
        ),
        (
            "publish 32 bytes : iceoryx2 update",
            "publish 32/vdsokit",
            "publish 32/iceoryx2",
            1.0,
        ),
    ] {
        match (median(ours), median(theirs)) {
            (Some(ours), Some(theirs)) => println!(
                "{what:44} {ours:8.2} {theirs:8.2} {:7.2} {limit:7.1}",
                ours / theirs
            ),
            _ => println!("{what:44} not measured"),
        }
    }
}
