//! Many at once: readers of one vDSO, programs that start under `vdso run`; and a publisher that is stopped
//! for long. Nothing is torn, goes back, or is left behind.
//!
//! `VDSOKIT_ALL=1` starts thousands for a minute; otherwise it is a sample.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{output, said, vdso};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use vdsokit_publish::place;
use vdsokit_vvar::header::{MAGIC, UPDATED_OFFSET};

const DECLARATION: &str = "\
[vdso]
soname = \"libstorm.so.1\"
version = \"STORM_1.0\"
[var.numbers]
type = \"u64[16]\"
";

/// `reader PROCESSES THREADS LAST`: so many processes, each of so many threads, read until they see LAST.
const READER: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "storm.h"

static uint64_t last;
static int processes;

static void *reader(void *ignored)
{
    (void)ignored;
    uint64_t before = 0, now[16];
    for (unsigned round = 1;; round++) {
        storm_numbers(now);
        for (int i = 1; i < 16; i++)
            if (now[i] != now[0])
                return "torn";
        if (now[0] < before)
            return "went back";
        before = now[0];
        if (before == last)
            return 0;
        /* The publisher needs a CPU as well. */
        if (round % 64 == 0)
            usleep(1000 + 20 * processes);
    }
}

static int process(int threads)
{
    pthread_t all[threads];
    char *wrong = 0, *one;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&all[i], 0, reader, 0))
            return 3;
    for (int i = 0; i < threads; i++) {
        pthread_join(all[i], (void **)&one);
        wrong = one ? one : wrong;
    }
    if (wrong)
        puts(wrong);
    return wrong != 0;
}

int main(int count, char **arguments)
{
    (void)count;
    int threads = atoi(arguments[2]), wrong = 0, status;
    processes = atoi(arguments[1]);
    last = strtoull(arguments[3], 0, 10);
    for (int i = 0; i < processes; i++) {
        int child = fork();
        if (child < 0)
            return 2;
        if (child == 0) {
            status = process(threads);
            fflush(stdout);
            _exit(status);
        }
    }
    puts("ready");
    fflush(stdout);
    while (wait(&status) > 0)
        wrong += status != 0;
    printf("%d wrong\n", wrong);
    return wrong != 0;
}
"#;

/// The last number that is published.
const LAST: u64 = 1 << 40;

fn is_whole() -> bool {
    std::env::var_os("VDSOKIT_ALL").is_some()
}

/// A vDSO of 16 numbers in a directory of its own, and its publisher.
struct Published {
    directory: TempDir,
    publisher: Child,
    image: PathBuf,
}

impl Published {
    fn new() -> Published {
        let directory = tempfile::tempdir_in(place::base().expect("a place")).expect("a directory");
        let declaration = directory.path().join("storm.toml");
        fs::write(&declaration, DECLARATION).expect("a declaration");
        let mut build = vdso(&["build", "storm.toml"]);
        assert!(
            build
                .current_dir(&directory)
                .output()
                .expect("vdso runs")
                .status
                .success()
        );
        let image = directory.path().join("libstorm.so.1");
        let mut serve = vdso(&["serve", text(&image), "--stdin"]);
        serve.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut publisher = serve.spawn().expect("vdso runs");
        let mut line = String::new();
        let events = publisher.stdout.as_mut().expect("a pipe");
        BufReader::new(events).read_line(&mut line).expect("text");
        assert!(line.starts_with("live"), "{line}");
        Published {
            directory,
            publisher,
            image,
        }
    }

    fn publish(&mut self, number: u64) {
        let numbers = vec![number.to_string(); 16].join(",");
        let input = self.publisher.stdin.as_mut().expect("a pipe");
        writeln!(input, "numbers={numbers}").expect("it listens");
    }

    /// What `vdso get --json` says of the status.
    fn status(&self) -> serde_json::Value {
        let output = output(&["get", "--json", text(&self.image)]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        json["status"].clone()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = self.publisher.kill();
        let _ = self.publisher.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Publishes while `processes` of `threads` read.
fn storm(processes: usize, threads: usize) {
    let mut published = Published::new();
    let directory = published.directory.path();
    fs::write(directory.join("reader.c"), READER).expect("a source file");
    let mut compiler = Command::new("cc");
    compiler
        .args([
            "-O1",
            "-pthread",
            "-o",
            "reader",
            "reader.c",
            "libstorm.so.1",
        ])
        .arg(format!("-Wl,-rpath,{}", text(directory)))
        .current_dir(directory);
    assert!(compiler.status().expect("a C compiler").success());
    let mut readers = Command::new(directory.join("reader"));
    readers.args([processes.to_string(), threads.to_string(), LAST.to_string()]);
    let mut readers = readers.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(readers.stdout.take().expect("a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("text");
    assert_eq!(line, "ready\n");
    let start = Instant::now();
    let mut updates = 0;
    while updates < 3_000 || is_whole() && start.elapsed() < Duration::from_secs(60) {
        updates += 1;
        published.publish(updates);
    }
    published.publish(LAST);
    let rest: Vec<String> = said.lines().map(|line| line.expect("text")).collect();
    assert_eq!(
        rest,
        ["0 wrong"],
        "{processes} processes of {threads} threads"
    );
    assert!(readers.wait().expect("an end").success());
    println!("{processes} processes of {threads} threads read {updates} updates");
}

#[test]
fn a_storm_of_reading_processes_sees_nothing_torn() {
    storm(if is_whole() { 2_000 } else { 100 }, 1);
}

#[test]
fn a_storm_of_reading_threads_sees_nothing_torn() {
    storm(1, if is_whole() { 200 } else { 50 });
}

#[test]
fn a_publisher_that_is_stopped_for_ten_minutes_is_stale_until_it_goes_on() {
    let mut published = Published::new();
    published.publish(7);
    let process = Pid::from_child(&published.publisher);
    kill_process(process, Signal::STOP).expect("kill");
    let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED)
        .expect("wait")
        .expect("its stop");
    assert!(status.stopped());
    // Ten minutes pass: the last heartbeat was then.
    let bytes = fs::read(&published.image).expect("the image");
    let header = bytes
        .windows(8)
        .position(|word| word == MAGIC.to_ne_bytes());
    let at = header.expect("a header") + UPDATED_OFFSET;
    let word: [u8; 8] = bytes[at..at + 8].try_into().expect("a word");
    let long_ago = u64::from_ne_bytes(word).saturating_sub(600_000_000_000);
    let file = fs::File::options()
        .write(true)
        .open(&published.image)
        .expect("the image");
    file.write_all_at(&long_ago.to_ne_bytes(), at as u64)
        .expect("written");
    let status = published.status();
    assert_eq!(status["state"], "stale", "{status}");
    kill_process(process, Signal::CONT).expect("kill");
    // The next heartbeat comes when the publisher is scheduled.
    while published.status()["state"] != "live" {}
    let last = format!("numbers={}\n", ["7"; 16].join(","));
    while said(&["get", text(&published.image), "numbers"]) != last {}
}

#[test]
fn a_storm_of_forks_and_execs_is_served_and_leaves_nothing() {
    let each = if is_whole() { 500 } else { 15 };
    let name = format!("storm-{}", std::process::id());
    // Eight loops at once: programs, forks alone, and statuses of their own.
    let script = format!(
        "loop() {{ i=0; while [ $i -lt {each} ]; do date +%Y; (exit 3); [ $? = 3 ] || echo wrong; \
         sh -c 'exit 5'; [ $? = 5 ] || echo wrong; i=$((i+1)); done; }}\n\
         for j in 1 2 3 4 5 6 7 8; do loop & done; wait; exit 7"
    );
    let options = [
        "run",
        "--name",
        &name,
        "--time",
        "2038-06-01",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let output = output(&options);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let said_years = String::from_utf8(output.stdout).expect("text");
    let years = said_years.lines().filter(|line| *line == "2038").count();
    assert_eq!((years, said_years.lines().count()), (8 * each, 8 * each));
    // The process that served them ends when the last of them is gone.
    while said(&["clock", "list", "--json"]).contains(&name) {}
    println!("{} programs", 16 * each);
}
