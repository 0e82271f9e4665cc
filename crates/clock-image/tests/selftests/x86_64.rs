//! Each of them, with each page that the clock's image can have.

use crate::image::counter::Counter;
use crate::image::{Loaded, image};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, thread};
use vdsokit_clock::{Clock, Record, Settings, Source};
use vdsokit_deliver::{Delivery, Object};
use vdsokit_lab::{Workshop, selftests};
use vdsokit_random::{Parameters, Reseeds};

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if let [flag, image, program] = arguments.as_slice()
        && flag == "--deliver"
    {
        let object = Object::open(Path::new(image)).expect("an image that can be delivered");
        let error = Delivery::new(object).exec(program, &[], |event| eprintln!("{event:?}"));
        eprintln!("{error}");
        return ExitCode::from(125);
    }
    // What cargo asks of every test program.
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let programs = match Workshop::new(root).and_then(|workshop| selftests::programs(&workshop)) {
        Ok(programs) => programs,
        Err(why) => {
            println!("skipped: {why}");
            return if ci() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let mut failed = 0;
    let droppable = has_droppable_memory();
    if !droppable {
        println!("skipped: {GENERATION}: this kernel has no MAP_DROPPABLE (Linux 6.11)");
        failed += u32::from(ci());
    }
    let sources = ["never published", "kernel", "counter", GENERATION];
    for source in &sources[..sources.len() - usize::from(!droppable)] {
        // A copy that this process publishes and the tests are started with.
        let path = image().with_file_name(format!("{}.so", source.replace(' ', "-")));
        fs::copy(image(), &path).expect("a copy of the image");
        let page = Loaded::open(&path);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let keeper = publish(source, &page);
            if let Some(mut counter) = keeper {
                let (page, done) = (&page, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        counter.update(page);
                        thread::yield_now();
                    }
                });
            }
            for program in programs.iter().filter(|program| concerns(source, program)) {
                let tries = tries(source, program);
                failed += u32::from(!(0..tries).any(|_| run(source, &path, program)));
            }
            done.store(true, Ordering::Relaxed);
        });
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Publishes what the source's page says; what keeps it so is returned.
fn publish(source: &str, page: &Loaded) -> Option<Counter> {
    match source {
        "kernel" => {
            for clock in Clock::ALL {
                let record = Record {
                    source: Source::Kernel,
                    ..Record::SYSTEM_CALL
                };
                page.publish(clock.id(), &record);
            }
            None
        }
        "counter" => {
            let mut counter = Counter::new(Settings::default());
            counter.update(page);
            Some(counter)
        }
        GENERATION => {
            Reseeds::new(page.generation()).reseeded();
            None
        }
        _ => None,
    }
}

/// The page has a generation, and no clock.
const GENERATION: &str = "generation";

/// Whether a source makes any difference to a test.
fn concerns(source: &str, program: &Path) -> bool {
    source != GENERATION || program.ends_with("vdso_test_getrandom")
}

fn ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// Whether a state can be had as the test asks for it.
#[allow(unsafe_code, reason = "a flag that rustix doesn't know")]
fn has_droppable_memory() -> bool {
    let of = Parameters::STATE;
    let (protection, flags) = (of.protection as i32, of.flags as i32);
    // SAFETY: a new mapping, which nothing else uses.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    at != libc::MAP_FAILED
}

/// How often a test may fail before it has failed.
///
/// `vdso_test_correctness` wants a reading to lie between two system calls to the nanosecond.
/// Source `counter` promises no more than its published bound, some 100 ns, by which it may be
/// ahead of the kernel: on a busy machine that is sometimes longer than the second call takes.
fn tries(source: &str, program: &Path) -> u32 {
    match source {
        "counter" if program.ends_with("vdso_test_correctness") => 5,
        _ => 1,
    }
}

/// Starts a test on the image; true when it passes and did have the image.
fn run(source: &str, image: &Path, program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let output = Command::new(env::current_exe().expect("this program"))
        .arg("--deliver")
        .arg(image)
        .arg(program)
        .output()
        .expect("this program starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let delivered = err.contains("Delivered");
    let ok = output.status.success() && delivered && !out.contains("[FAIL]");
    println!("{source}: {name}: {}", if ok { "ok" } else { "FAILED" });
    if !ok {
        println!("{}\n{out}\n{err}", output.status);
    }
    ok
}
