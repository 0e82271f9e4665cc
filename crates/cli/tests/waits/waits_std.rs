//! Waits for some seconds in each way of Rust's standard library, and prints how long each lasted
//! by both clocks.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

fn check(name: &str, wait: impl FnOnce()) {
    let (start, wall) = (Instant::now(), SystemTime::now());
    wait();
    let passed = start.elapsed().as_secs_f64();
    let shown = wall.elapsed().expect("no step back").as_secs_f64();
    println!("{name} {passed} {shown}");
}

fn main() {
    let seconds = std::env::args().nth(1).expect("a number of seconds");
    let span = Duration::from_secs_f64(seconds.parse().expect("a number"));
    check("sleep", || thread::sleep(span));
    check("park_timeout", || thread::park_timeout(span));
    check("wait_timeout", || {
        let (mutex, condition) = (Mutex::new(()), Condvar::new());
        let lock = mutex.lock().expect("not poisoned");
        drop(condition.wait_timeout(lock, span));
    });
    check("recv_timeout", || {
        let (_sender, receiver) = mpsc::channel::<()>();
        assert!(receiver.recv_timeout(span).is_err());
    });
    check("read_timeout", || {
        let (mut silent, _other) = UnixStream::pair().expect("sockets");
        silent.set_read_timeout(Some(span)).expect("a time-out");
        assert!(silent.read(&mut [0]).is_err());
    });
}
