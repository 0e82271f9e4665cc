//! 32-bit programs on x86-64 kernels.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use common::{Talk, compiled, output, scratch, skip, vdso};
use vdsokit_lab::Workshop;
use vdsokit_lab::debian::{Archive, package_of};

const READS: &str = include_str!("i386/reads.c");
const FUNCTIONS: &str = include_str!("i386/functions.c");

/// A second in nanoseconds.
const SECOND: i128 = 1_000_000_000;

/// Where Debian has the kernel's headers, with or without gcc-multilib's link.
const HEADERS: [&str; 3] = ["-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"];

/// The program that reads clocks: linked dynamically, statically, and with times of 64 bits.
static READERS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let kinds: [(&str, &[&str]); 3] = [
        ("reads32", &[]),
        ("reads32-static", &["-static"]),
        (
            "reads32-time64",
            &["-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64"],
        ),
    ];
    let glibc = kinds.map(|(name, flags)| compiled(name, READS, &[&HEADERS, flags].concat()));
    glibc
        .into_iter()
        .chain(musl("reads32-musl", READS))
        .collect()
});

/// A package of Debian's for i386, unpacked outside of the machine's own.
fn package(name: &str) -> Option<PathBuf> {
    /// Two tests would unpack it at the same place.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let i386 = Archive {
        architecture: "i386",
        // Without updates, the lists of which change.
        release: Some("bookworm"),
    };
    let tree = Workshop::new(root).and_then(|workshop| package_of(&workshop, i386, name));
    tree.inspect_err(|error| skip(&error.to_string())).ok()
}

/// A static program of musl.
fn musl(name: &str, source: &str) -> Option<PathBuf> {
    let tree = package("musl-dev")?;
    let (include, lib) = ("usr/include/i386-linux-musl", "usr/lib/i386-linux-musl");
    let at = |path: &str| tree.join(path).display().to_string();
    let path = scratch("programs").join(name);
    let file = path.with_extension("c");
    fs::write(&file, source).expect("a source file");
    let mut compiler = Command::new("cc");
    compiler
        .args([
            "-m32",
            "-O1",
            "-static",
            "-nostdinc",
            "-nostdlib",
            "-isystem",
            &at(include),
        ])
        .arg("-o")
        .arg(&path)
        .args([at(&format!("{lib}/crt1.o")), at(&format!("{lib}/crti.o"))])
        .arg(&file)
        .args([
            at(&format!("{lib}/libc.a")),
            "-lgcc".into(),
            "-lgcc_eh".into(),
        ])
        .arg(at(&format!("{lib}/libc.a")))
        .arg(at(&format!("{lib}/crtn.o")));
    let status = compiler.status().expect("a C compiler");
    assert!(status.success(), "{compiler:?}");
    Some(path)
}

/// What a program says under `vdso run` with `options`, which serves all of it.
#[track_caller]
fn said(options: &[&str], program: &Path, arguments: &[&str]) -> String {
    let mut command = vdso(&["run"]);
    command.args(options).arg("--").arg(program).args(arguments);
    let output = command.output().expect("vdso runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_32_bit_program_sees_a_date() {
    for program in &*READERS {
        let said = said(&["--time", "@1700000000", "--freeze"], program, &["times"]);
        assert_eq!(
            said, "1700000000000000000 1700000000.000000 1700000000\n",
            "{program:?}"
        );
    }
}

#[test]
fn a_32_bit_program_sees_an_offset_in_every_wall_clock_and_no_other() {
    for program in &*READERS {
        let said = said(&["--offset", "+1d"], program, &[]);
        assert!(said.lines().count() >= 9, "{program:?}: {said}");
        for line in said.lines() {
            let (of, ahead) = line.split_once(' ').expect("a name and a number");
            let ahead: i128 = ahead.parse().expect("a number");
            let moved = match of {
                "1" | "4" | "6" | "7" | "9" => 0,
                _ => 86_400 * SECOND,
            };
            // Coarse clocks and seconds are behind.
            assert!((ahead - moved).abs() < 2 * SECOND, "{program:?}: {said}");
        }
    }
}

#[test]
fn a_32_bit_program_that_makes_the_calls_itself_sees_a_date_under_strict() {
    let options = ["--strict", "--time", "@1700000000.5", "--freeze"];
    for program in &*READERS {
        assert_eq!(
            said(&options, program, &["calls"]),
            "1700000000500000000 0 1700000000.500000000 0 1700000000.500000 1700000000 1700000000\n",
            "{program:?}"
        );
    }
}

#[test]
fn a_32_bit_program_sees_a_rate() {
    for program in &*READERS {
        let said = said(&["--rate", "1000"], program, &["rate"]);
        let numbers: Vec<i128> = said
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [least, advanced, most] = numbers[..] else {
            panic!("{said}");
        };
        // Nanoseconds are rounded down.
        assert!(
            (1000 * least - 1000..=1000 * most + 1000).contains(&advanced),
            "{program:?}: {said}"
        );
    }
}

#[test]
fn a_32_bit_program_counts_its_own_reads() {
    for program in &*READERS {
        let once = said(
            &["--time", "@1700000000", "--seed-step", "1s"],
            program,
            &["times"],
        );
        let again = said(
            &["--time", "@1700000000", "--seed-step", "1s"],
            program,
            &["times"],
        );
        assert_eq!(once, again, "{program:?}");
    }
}

#[test]
fn each_function_of_i386_and_the_rest_of_its_vdso_work_as_ever() {
    let program = compiled(
        "functions32",
        FUNCTIONS,
        &[
            &HEADERS[..],
            &["-rdynamic", "-fno-omit-frame-pointer", "-ldl"],
        ]
        .concat(),
    );
    let options = ["--time", "@1700000000.5", "--freeze"];
    assert_eq!(
        said(&options, &program, &[]),
        "1700000000.500000000 1700000000.500000000 1700000000.500000 1700000000 1700000000 \
         0.000000001\n-22 -22 0 0\nbacktrace 1\nvdso 1\n"
    );
    // Beside a tracer, which is detached after each program.
    let alone = ["--no-follow", "--time", "@1700000000.5", "--freeze"];
    assert_eq!(said(&alone, &program, &[]), said(&options, &program, &[]));
}

#[test]
fn a_32_bit_program_that_a_64_bit_one_starts_has_its_time_and_one_that_it_starts() {
    let program = compiled("reads32", READS, &HEADERS);
    let script = format!(
        "{0} times; sh -c '{0} times; date -u +%s'",
        program.display()
    );
    let output = output(&[
        "run",
        "--time",
        "@1700000000",
        "--freeze",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let line = "1700000000000000000 1700000000.000000 1700000000\n";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{line}{line}1700000000\n"),
        "{output:?}"
    );
}

#[test]
fn programs_of_debians_i386_see_a_date() {
    let Some(tree) = package("coreutils") else {
        return;
    };
    let said = said(
        &["--time", "2030-01-01T00:00:00Z", "--freeze"],
        &tree.join("bin/date"),
        &["-u", "+%s.%N"],
    );
    assert_eq!(said, "1893456000.000000000\n");
}

const WAITS: &str = include_str!("i386/waits.c");

/// The calls with a time-out, as the program knows them.
const CALLS: [&str; 29] = [
    "nanosleep",
    "clock_nanosleep",
    "clock_nanosleep wall",
    "clock_nanosleep_time64",
    "clock_nanosleep_time64 wall",
    "clock_nanosleep_time64 due",
    "futex",
    "futex bitset",
    "futex wall",
    "futex_time64",
    "futex_time64 wall",
    "poll",
    "ppoll",
    "ppoll_time64",
    "select",
    "pselect6",
    "pselect6_time64",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "sleep",
    "alarm",
    "setitimer",
    "timer_settime",
    "timer_settime64",
    "timerfd_settime",
    "timerfd_settime64",
];

static WAITER: LazyLock<PathBuf> = LazyLock::new(|| compiled("waits32", WAITS, &HEADERS));

/// What a wait of half a minute takes at least, in milliseconds: whole seconds of a deadline are cut
/// off.
const HALF_A_MINUTE: i64 = 29_000;

#[test]
fn each_wait_and_timer_of_a_32_bit_program_lasts_as_long_as_its_clock_says() {
    for call in CALLS {
        let said = said(&["--rate", "300"], &WAITER, &[call]);
        let rest = said.strip_prefix("as expected ");
        let rest = rest.unwrap_or_else(|| panic!("{call}: {said}"));
        let numbers: Vec<i64> = rest
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [shown, real, has_left] = numbers[..] else {
            panic!("{call}: {said}");
        };
        assert!(shown >= HALF_A_MINUTE, "{call}: {said}");
        assert!(real < HALF_A_MINUTE, "{call}: {said}");
        let leaves = call.contains("poll") && call.starts_with('p') && call != "poll"
            || call.contains("select");
        assert_eq!(has_left == 1, leaves, "{call}: {said}");
    }
}

/// A change that comes before the wait is in force when it begins.
#[test]
fn a_change_of_the_clock_reaches_what_waits_in_a_32_bit_program() {
    for (index, call) in [
        "nanosleep",
        "futex wall",
        "alarm",
        "timer_settime",
        "timerfd_settime",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("i386-{}-{index}", std::process::id());
        let mut command = vdso(&["run", "--name", &name, "--"]);
        command.arg(&*WAITER).args([call, "announced"]);
        let mut program = Talk::start(&mut command);
        assert_eq!(program.hear(), "waits", "{call}");
        let changed = output(&["clock", &name, "rate", "1000"]);
        assert!(changed.status.success(), "{changed:?}");
        let said = program.hear();
        assert!(said.starts_with("as expected "), "{call}: {said}");
        let real = said.split(' ').nth(3).map(str::parse::<i64>);
        assert!(
            matches!(real, Some(Ok(real)) if real < HALF_A_MINUTE),
            "{call}: {said}"
        );
    }
}

#[test]
fn a_32_bit_program_skips_idle_time() {
    let said = said(&["--skip-idle"], &WAITER, &["clock_nanosleep_time64"]);
    assert!(said.starts_with("as expected "), "{said}");
}

#[test]
fn a_handler_that_ends_a_32_bit_sleep_leaves_the_time_that_remains() {
    let said = said(&["--rate", "10"], &WAITER, &["interrupted"]);
    let numbers: Vec<i64> = said
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    assert!(
        numbers[..2] == [-1, 1] && (0..=20).contains(&numbers[2]),
        "{said}"
    );
}

#[test]
fn threads_handlers_and_children_of_32_bit_programs_wait_by_their_clock() {
    let source = include_str!("i386/threads.c");
    let glibc = compiled("threads32", source, &[&HEADERS[..], &["-pthread"]].concat());
    for program in [glibc].into_iter().chain(musl("threads32-musl", source)) {
        assert_eq!(
            said(&["--rate", "50"], &program, &[]),
            "1 1 1 5\n",
            "{program:?}"
        );
    }
}

/// A declaration's variables in a 32-bit program that opens the image, published by `vdso`.
#[test]
fn a_32_bit_program_reads_declared_variables() {
    let place = vdsokit_publish::place::base().expect("a place to publish at");
    let place = tempfile::tempdir_in(place).expect("a directory");
    let at = |name: &str| place.path().join(name).display().to_string();
    let declaration = "[vdso]\nsoname = \"libwide.so.1\"\nversion = \"WIDE_1\"\n\
        [var.number]\ntype = \"u64\"\n\
        [var.both.fields.small]\ntype = \"u32\"\n[var.both.fields.large]\ntype = \"i64\"\n";
    fs::write(at("wide.toml"), declaration).expect("a declaration");
    let built = output(&["build", &at("wide.toml"), "--arch", "i386", "-o", &at("")]);
    assert!(built.status.success(), "{built:?}");
    let source = r#"
        #include <dlfcn.h>
        #include <stdio.h>
        #include "wide.h"
        int main(int argc, char **argv) {
            void *image = dlopen(argv[argc - 1], RTLD_NOW);
            uint64_t (*number)(void) = image ? dlsym(image, "wide_number") : 0;
            uint32_t (*both)(struct wide_both *) = image ? dlsym(image, "wide_both") : 0;
            uint32_t (*condition)(void) = image ? dlsym(image, "wide_condition") : 0;
            if (!number || !both || !condition) { puts(dlerror()); return 1; }
            while (getchar() != EOF) {
                struct wide_both now;
                uint32_t state = both(&now);
                printf("%llu %u %lld, state %u, condition %u\n", (unsigned long long) number(),
                    now.small, (long long) now.large, state, condition());
                fflush(stdout);
            }
        }
    "#;
    let include = format!("-I{}", at(""));
    let flags = [&HEADERS, &["-std=c11", include.as_str(), "-ldl"][..]].concat();
    let program = compiled("wide32", source, &flags);
    let image = at("libwide.so.1");
    let mut reader = Talk::start(Command::new(program).arg(&image));
    assert_eq!(reader.ask(""), "0 0 0, state 0, condition 0");
    let mut server = Talk::start(&mut vdso(&["serve", &image, "--stdin", "--json"]));
    assert!(server.hear().contains("live"));
    assert_eq!(reader.ask(""), "0 0 0, state 1, condition 1");
    server.tell("number=18446744073709551615 both.small=7 both.large=-9000000000");
    while reader.ask("") != "18446744073709551615 7 -9000000000, state 1, condition 1" {}
}
