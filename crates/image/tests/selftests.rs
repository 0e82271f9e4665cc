//! Linux's own tests of its vDSO, unchanged, against ours.
//!
//! They come from Debian's `linux-source-6.12`, are compiled here, and started by
//! exec delivery, which puts the image in the place of the kernel's vDSO: once
//! with a page that was never published, once with source `kernel`, and once with
//! source `counter`, kept by this process meanwhile.
#![cfg(target_arch = "x86_64")]

mod image;

use image::counter::Counter;
use image::{Loaded, image};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, thread};
use vdsokit_clock::{Clock, Record, Settings, Source};
use vdsokit_deliver::{Delivery, Object};
use vdsokit_lab::{Workshop, debian};

/// Each test's sources, and what its own Makefile gives it beside `-std=gnu99
/// -O2`.
const TESTS: [(&str, &[&str], &[&str]); 8] = [
    ("vdso_test_gettimeofday", &["parse_vdso.c"], &[]),
    ("vdso_test_getcpu", &["parse_vdso.c"], &[]),
    ("vdso_test_abi", &["parse_vdso.c"], &[]),
    ("vdso_test_clock_getres", &[], &[]),
    (
        "vdso_standalone_test_x86",
        &["parse_vdso.c"],
        &[
            "-nostdlib",
            "-fno-asynchronous-unwind-tables",
            "-fno-stack-protector",
        ],
    ),
    ("vdso_test_correctness", &[], &["-ldl"]),
    (
        "vdso_test_getrandom",
        &["parse_vdso.c"],
        &[
            "-isystem",
            "../../../include",
            "-isystem",
            "../../../../include/uapi",
        ],
    ),
    (
        "vdso_test_chacha",
        &["vgetrandom-chacha.S"],
        &[
            "-idirafter",
            "../../../include",
            "-idirafter",
            "../../../../arch/x86/include",
            "-idirafter",
            "../../../../include",
            "-Wa,--noexecstack",
        ],
    ),
];

/// The parts of the kernel's source that they need.
const PARTS: [&str; 6] = [
    "tools/testing/selftests/vDSO",
    "tools/testing/selftests/kselftest.h",
    "tools/include",
    "include",
    "arch/x86/include",
    "arch/x86/entry/vdso/vgetrandom-chacha.S",
];

fn main() -> ExitCode {
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
    let programs = match programs() {
        Ok(programs) => programs,
        Err(why) => {
            println!("skipped: {why}");
            let ci = env::var_os("CI").is_some_and(|value| value == "true");
            return if ci {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let mut failed = 0;
    for source in ["never published", "kernel", "counter"] {
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
            for program in &programs {
                failed += u32::from(!run(source, &path, program));
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
        _ => None,
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

/// The tests, compiled; or why they can't be.
fn programs() -> Result<Vec<PathBuf>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workshop = Workshop::new(root).map_err(|error| error.to_string())?;
    let archive = "usr/src/linux-source-6.12.tar.xz";
    let archive =
        debian::file(&workshop, "linux-source-6.12", archive).map_err(|error| error.to_string())?;
    let source = unpacked(&archive)?;
    let here = source.join("tools/testing/selftests/vDSO");
    TESTS
        .iter()
        .map(|(name, more, flags)| {
            let program = source.join(name);
            let mut compiler = Command::new("cc");
            compiler
                .current_dir(&here)
                .args(["-std=gnu99", "-O2", "-w", "-D_GNU_SOURCE="])
                .arg(format!("{name}.c"))
                .args(*more)
                .args(*flags)
                .arg("-o")
                .arg(&program);
            succeed(&mut compiler)?;
            Ok(program)
        })
        .collect()
}

/// The source's parts, beside the archive.
fn unpacked(archive: &Path) -> Result<PathBuf, String> {
    let beside = archive.with_file_name("linux-source-6.12-vdso");
    if beside.is_dir() {
        return Ok(beside);
    }
    let fresh = archive.with_file_name(format!("fresh-{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(|error| error.to_string())?;
    let parts = PARTS.map(|part| format!("linux-source-6.12/{part}"));
    succeed(
        Command::new("tar")
            .args(["--strip-components=1", "-xf"])
            .arg(archive)
            .arg("-C")
            .arg(&fresh)
            .args(parts),
    )?;
    match fs::rename(&fresh, &beside) {
        // Another run was faster.
        Err(_) if beside.is_dir() => {
            fs::remove_dir_all(&fresh).map_err(|error| error.to_string())?
        }
        result => result.map_err(|error| error.to_string())?,
    }
    Ok(beside)
}

fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
