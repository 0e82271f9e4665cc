//! Programs that no one here wrote, on a delivered vDSO: all of them read its time.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{SAID, compiled, debian, images, installed, on, scratch, succeed, text};

/// Runs `command` on both images; each run has to succeed and to print `expect`.
#[track_caller]
fn says(command: &[&str], expect: &str) {
    for image in images().each() {
        let said = succeed(&mut on(image, command));
        assert_eq!(said.trim(), expect, "{command:?} on {}", image.display());
    }
}

#[track_caller]
fn python(script: &str, expect: &str) {
    if installed("python3").is_some() {
        says(&["python3", "-c", script], expect);
    }
}

#[test]
fn date() {
    says(&["date", "+%s"], SAID);
    says(
        &["date", "-u", "--iso-8601=seconds"],
        "2038-01-01T00:00:00+00:00",
    );
}

#[test]
fn a_shell_its_children_and_a_pipeline() {
    says(&["bash", "-c", "printf '%(%s)T' -1"], SAID);
    says(&["sh", "-c", "(exec date +%s | cat | tr 2 2) & wait"], SAID);
    says(&["sh", "-c", "exec env nice sh -c 'exec date +%s'"], SAID);
    says(&["xargs", "-a", "/dev/null", "-I{}", "true"], "");
}

#[test]
fn a_script_run_by_its_first_line() {
    let script = scratch("scripts").join("say");
    fs::write(&script, "#!/usr/bin/env sh\ndate +%s\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    says(&[text(&script)], SAID);
}

#[test]
fn coreutils() {
    let directory = scratch("coreutils");
    let file = directory.join("file");
    let touch = format!(
        "touch {0} && stat -c %n {0} && timeout 60 date +%s",
        text(&file)
    );
    says(&["sh", "-c", &touch], &format!("{}\n{SAID}", text(&file)));
}

#[test]
fn python_threads() {
    python(
        "import threading, time\n\
         said = []\n\
         threads = [threading.Thread(target=lambda: said.append(int(time.time()))) for _ in range(16)]\n\
         [t.start() for t in threads]; [t.join() for t in threads]\n\
         print(*set(said), len(said))",
        &format!("{SAID} 16"),
    );
}

#[test]
fn python_processes() {
    python(
        "import multiprocessing, time\n\
         def say(_): return int(time.time())\n\
         for way in 'fork', 'forkserver':\n\
         \x20   with multiprocessing.get_context(way).Pool(3) as pool: print(*set(pool.map(abs, [1, -1])), *set(pool.map(say, range(9)) if way == 'fork' else []))",
        &format!("1 {SAID}\n1"),
    );
    python(
        "import os, subprocess, threading\n\
         def start(): print(subprocess.check_output(['date', '+%s']).decode(), end='', flush=True)\n\
         ts = [threading.Thread(target=start) for _ in range(4)]\n\
         [t.start() for t in ts]; [t.join() for t in ts]\n\
         os.waitpid(os.posix_spawnp('date', ['date', '+%s'], os.environ), 0)",
        &[SAID; 5].join("\n"),
    );
}

#[test]
fn python_and_the_other_clocks() {
    python(
        "import time, datetime\n\
         a = time.monotonic(); b = time.clock_gettime(time.CLOCK_BOOTTIME)\n\
         print(0 < a < 2e9 and 0 < b < 2e9, datetime.datetime.now(datetime.timezone.utc).year)",
        "True 2038",
    );
}

#[test]
fn node() {
    if installed("node").is_some() {
        let script = "console.log(Date.now() / 1000, \
                      require('child_process').execSync('date +%s').toString().trim())";
        says(&["node", "-e", script], &format!("{SAID} {SAID}"));
    }
}

#[test]
fn every_way_to_make_a_process() {
    let program = compiled("starts", &[]);
    says(
        &[text(&program), "/bin/date", "+%s"],
        &[SAID; 12].join("\n"),
    );
}

#[test]
fn a_vfork_goes_on_however_its_child_begins() {
    let program = compiled("vforks", &["-pthread"]);
    let date = ["/bin/date", "+%s"];
    let says = |way: &str, expect: &str| {
        says(&[&[text(&program), way], &date[..]].concat(), expect);
    };
    says("ends", &format!("5 6 7 8 9\n{SAID}"));
    says("signal", &format!("9 1\n{SAID}"));
    says("threads", &format!("joined\n{SAID}"));
    // The thread in vfork(2) is the leader, whose id the other thread's program takes over.
    says("replaced", SAID);
}

#[test]
fn exec_by_a_thread_that_is_not_the_leader() {
    let program = compiled("leader", &["-pthread"]);
    says(&[text(&program), "/bin/sh", "-c", "date +%s"], SAID);
}

#[test]
fn a_static_program_of_glibc() {
    let program = compiled("clock", &["-static"]);
    says(&[text(&program)], SAID);
    says(&["sh", "-c", text(&program)], SAID);
}

#[test]
fn a_static_program_of_musl() {
    let Some(musl) = debian(&["musl-dev"]) else {
        return;
    };
    let library = musl.join("usr/lib/x86_64-linux-musl");
    let crt = library.join("crt1.o");
    let include = musl.join("usr/include/x86_64-linux-musl");
    let program = compiled(
        "clock",
        &[
            "-static",
            "-nostdinc",
            "-isystem",
            text(&include),
            "-nostdlib",
            text(&crt),
            "-L",
            text(&library),
            "-lc",
        ],
    );
    says(&[text(&program)], SAID);
}

#[test]
fn a_go_program() {
    let Some(root) = debian(&["golang-1.19-go", "golang-1.19-src"]) else {
        return;
    };
    let root = root.join("usr/lib/go-1.19");
    let directory = scratch("go/program");
    let source = "package main\nimport (\"fmt\"; \"time\")\nfunc main() { fmt.Println(time.Now().Unix()) }\n";
    fs::write(directory.join("main.go"), source).expect("a source file");
    let program = directory.join("main");
    succeed(
        Command::new(root.join("bin/go"))
            .args(["build", "-o", text(&program), "main.go"])
            .current_dir(&directory)
            .env("GOROOT", &root)
            .env("GOCACHE", scratch("go/cache"))
            .env("GO111MODULE", "off")
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-p=1"),
    );
    says(&[text(&program)], SAID);
}

#[test]
fn make_of_200_processes() {
    if installed("make").is_none() {
        return;
    }
    let makefile = scratch("make").join("Makefile");
    let text_of =
        "T := $(addprefix t,$(shell seq 200))\nall: $(T)\n$(T): ; @date +%s\n.PHONY: all $(T)\n";
    fs::write(&makefile, text_of).expect("a makefile");
    says(
        &["make", "-s", "-j4", "-f", text(&makefile)],
        &[SAID; 200].join("\n"),
    );
}

#[test]
fn without_following_only_the_first_program_has_it() {
    let mut runner = Command::new(common::runner());
    runner.arg("--alone").arg(&images().plain);
    let said = succeed(runner.args(["bash", "-c", "printf '%(%s)T\\n' -1; date +%s"]));
    let (first, second) = said.split_once('\n').expect("two lines");
    assert_eq!(first, SAID);
    assert_ne!(second.trim(), SAID);
}
