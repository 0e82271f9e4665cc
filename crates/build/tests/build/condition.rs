//! `PREFIX_condition()` of a built image agrees with the table in `vdsokit_vvar::header`.

use crate::aarch64::AARCH64;
use crate::loongarch64;
use crate::riscv64::RISCV64;
use crate::support::emulated::Emulated;
use crate::support::{built, compile, shared};
use rustix::time::{ClockId, clock_gettime};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use vdsokit_build::{Architecture, Declaration};
use vdsokit_vvar::scalar::Scalar;

const READER: &str = r#"
    #include <inttypes.h>
    #include <stdio.h>
    #include "heart.h"
    int main(void) {
        while (getchar() != EOF) {
            printf("%" PRIu32 " %" PRIu64 "\n", heart_condition(), heart_stale_after());
            fflush(stdout);
        }
        return 0;
    }
"#;

const SECOND: u64 = 1_000_000_000;
/// Longer than any test takes.
const LONG: u64 = 100_000 * SECOND;

fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * SECOND + now.tv_nsec as u64
}

/// A declaration whose functions begin with `heart_`.
fn heart() -> Declaration {
    let text =
        "[vdso]\nsoname = \"libheart.so\"\nversion = \"HEART_1\"\n[var.rate]\ntype = \"u8\"\n";
    Declaration::parse("heart.toml", text).unwrap()
}

/// Compares what the reader prints with each row of the table.
fn agrees(cc: &str, arch: Architecture, flags: &[&str], run: impl FnOnce(&Path) -> Command) {
    let (directory, image) = built(&heart(), arch);
    let flags = [flags, &["-Wl,-rpath,$ORIGIN", "-lheart"]].concat();
    let program = compile(cc, directory.path(), READER, &flags);
    let mut reader = run(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut requests = reader.stdin.take().unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    follows_table(&image, || {
        requests.write_all(b"\n").unwrap();
        lines.next().unwrap().unwrap()
    });
    drop(requests);
    assert!(reader.wait().unwrap().success());
}

/// Stores each row of the table into the image's pages and compares what `read` returns: the
/// condition and the time after which values are stale.
fn follows_table(image: &Path, mut read: impl FnMut() -> String) {
    let pages = shared::pages(image);
    let now = now();
    for (state, updated, stale_after, condition) in [
        (0, 0, 0, 0),
        (0, now, 1, 0),
        (1, now, 0, 1),
        (1, 0, 0, 1),
        (1, now, LONG, 1),
        // The limit itself is not in the past yet.
        (1, now, now - 1, 1),
        (1, 0, u64::MAX, 1),
        (1, now - 10, 1, 2),
        (1, 0, 1, 2),
        // A heartbeat from the future.
        (1, now + LONG, 0, 2),
        (1, now + LONG, LONG, 2),
        (1, u64::MAX, 0, 2),
        (2, now, LONG, 3),
        (2, 0, 0, 3),
        (3, now, LONG, 4),
        // States that this version does not know.
        (4, now, LONG, 3),
        (u32::MAX, now, LONG, 3),
    ] {
        u32::store(pages.scalar::<u32>(12).unwrap(), state);
        u64::store(pages.scalar::<u64>(40).unwrap(), updated);
        u64::store(pages.scalar::<u64>(48).unwrap(), stale_after);
        let line = read();
        let row = format!("state {state}, updated {updated}, stale_after {stale_after}, now {now}");
        assert_eq!(line, format!("{condition} {stale_after}"), "{row}");
    }
}

#[test]
fn follows_from_state_heartbeat_and_clock() {
    let host = Architecture::host().expect("no image can be built for this machine");
    agrees("cc", host, &[], |program| Command::new(program));
}

fn agrees_emulated(emulated: &Emulated) {
    emulated.prepare();
    let run = |program: &Path| emulated.command(program);
    agrees(emulated.compiler, emulated.architecture, &[], run);
}

#[test]
fn follows_from_state_heartbeat_and_clock_on_aarch64() {
    agrees_emulated(&AARCH64);
}

#[test]
fn follows_from_state_heartbeat_and_clock_on_riscv() {
    agrees_emulated(&RISCV64);
}

#[test]
fn follows_from_state_heartbeat_and_clock_on_loongarch() {
    let (_directory, image) = built(&heart(), Architecture::Loongarch64);
    let mut caller = loongarch64::Caller::start(&image);
    follows_table(&image, || {
        let condition = caller.call("heart_condition").integer as u32;
        format!("{condition} {}", caller.call("heart_stale_after").integer)
    });
    caller.end();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn follows_from_state_heartbeat_and_clock_on_i386() {
    agrees("cc", Architecture::I386, &["-m32"], |program| {
        Command::new(program)
    });
}

/// A function whose system call is refused cannot tell the time.
#[test]
fn is_stale_when_the_clock_cannot_be_read() {
    let declaration = heart();
    let host = Architecture::host().expect("no image can be built for this machine");
    let (directory, image) = built(&declaration, host);
    let source = r#"
        #define _GNU_SOURCE
        #include <errno.h>
        #include <linux/filter.h>
        #include <linux/seccomp.h>
        #include <stddef.h>
        #include <sys/prctl.h>
        #include <sys/syscall.h>
        #include "heart.h"
        int main(void) {
            struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            };
            struct sock_fprog filter = { 4, code };
            if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 101;
            if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) return 102;
            return heart_condition();
        }
    "#;
    let flags = ["-Wl,-rpath,$ORIGIN", "-lheart"];
    let program = compile("cc", directory.path(), source, &flags);
    let pages = shared::pages(&image);
    u64::store(pages.scalar::<u64>(40).unwrap(), now());
    u32::store(pages.scalar::<u32>(12).unwrap(), 1);
    assert_eq!(Command::new(program).status().unwrap().code(), Some(2));
}
