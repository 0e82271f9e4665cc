//! Redis: the time that it says, and its time-outs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use super::common::{debian, installed, said};
use super::{Server, at_date, directory, script};

#[test]
fn redis_is_asked_for_the_time() {
    let Some(tree) = debian(&["redis-tools", "liblzf1", "libjemalloc2"]) else {
        return;
    };
    let directory = directory();
    // One program with two names, of which the package has the other.
    let program = directory.path().join("redis-server");
    fs::copy(tree.join("usr/bin/redis-check-rdb"), &program).expect("copied");
    let socket = directory.path().join("socket");
    let mut command = at_date();
    command
        .arg(&program)
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .env("LD_LIBRARY_PATH", tree.join("usr/lib/x86_64-linux-gnu"))
        .stdout(Stdio::null());
    let mut server = Server::start(&mut command);
    let mut stream = server.answer(|| UnixStream::connect(&socket).ok());
    stream.write_all(b"TIME\r\n").expect("it listens");
    // An array of two strings: seconds and microseconds.
    let mut lines = BufReader::new(stream.try_clone().expect("the same socket")).lines();
    let lines: Vec<String> = lines.by_ref().take(3).map(|l| l.expect("text")).collect();
    let seconds: u64 = lines[2].parse().expect("a second");
    // The first of June at noon, and the day after.
    let noon = 2_159_006_400;
    assert!((noon..noon + 86_400).contains(&seconds), "{lines:?}");
    stream
        .write_all(b"SHUTDOWN NOSAVE\r\n")
        .expect("it listens");
    assert!(server.end().success());
}

#[test]
fn time_outs_of_redis_end_at_their_time() {
    if !installed("redis-server") {
        return;
    }
    for (option, seconds) in [
        ("--offset=+1y", "1"),
        ("--rate=60", "60"),
        ("--skip-idle", "60"),
    ] {
        let directory = directory();
        let place = directory.path().to_str().expect("a path of text");
        let script = script(&directory, include_str!("redis.sh"));
        let command = ["run", option, "--", "sh", &script, seconds, place];
        assert_eq!(said(&command), "BLPOP\nEXPIRE 1\n", "{option}");
    }
}
