//! Wall time that Debian's chronyd keeps, and the interval in which the true time lies.
//!
//! The emulator's time is the true one: each instruction takes the same number of its nanoseconds, and
//! the processor's counter counts those nanoseconds (`icount`; QEMU, target/i386/tcg,
//! `helper_rdtsc`). The guest's kernel does not know that. Its clock starts somewhere else and runs at
//! another rate, by [`DRIFT`]. A server of NTP in this process tells the true time over a slow and
//! asymmetric path, and chronyd sets the kernel's clock by it.

use crate::real_time::{Publisher, ticks};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vdsokit::{Clock, ClockId, Unbounded};

/// How much faster than true time the kernel's clock is before chronyd knows.
const DRIFT: f64 = 80e-6;

/// How far the kernel's clock is behind at first. chronyd corrects it slowly, so that the clock is wrong
/// for a while in which it is synchronised.
const OFFSET: Duration = Duration::from_millis(40);

/// The longest delays of the path to the server and of the one back. NTP takes them for equal.
const DELAYS: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(1)];

/// How often the interval is compared with the true time while the server answers.
const SAMPLES: usize = 10_000;
/// And after it has stopped.
const SILENT_SAMPLES: usize = 2_000;
/// The time between two samples.
const PERIOD: Duration = Duration::from_millis(20);

/// The widest interval that is still of use here, at the median: the path's delay, which the bound has to
/// contain, and what the clock may drift between two answers of the server.
const USEFUL: u64 = 15_000_000;

/// True time, by the processor's counter.
#[derive(Clone, Copy)]
struct Truth {
    /// A value of the counter, and the true time then, in nanoseconds since 1970.
    start: (u64, i128),
}

impl Truth {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + OFFSET;
        Self {
            start: (ticks(), now.as_nanos() as i128),
        }
    }

    fn at(self, ticks: u64) -> i128 {
        let passed = ticks - self.start.0;
        self.start.1 + i128::from(passed) - (passed as f64 * DRIFT) as i128
    }

    fn now(self) -> i128 {
        self.at(ticks())
    }
}

/// A server of NTP (RFC 5905, figure 8) of stratum 1.
struct Server {
    address: SocketAddr,
    answers: Arc<AtomicBool>,
}

impl Server {
    fn start(truth: Truth) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let answers = Arc::new(AtomicBool::new(true));
        let is_on = answers.clone();
        std::thread::spawn(move || {
            let mut random = 1_u32;
            let mut delay = |longest: Duration| {
                // Numerical Recipes' generator; its upper bits are good enough.
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                std::thread::sleep(longest.mul_f64(f64::from(random >> 8) / f64::from(1 << 24)));
            };
            let mut question = [0; 256];
            while let Ok((length, client)) = socket.recv_from(&mut question) {
                if length < 48 || !is_on.load(Ordering::Relaxed) {
                    continue;
                }
                delay(DELAYS[0]);
                let received = timestamp(truth.now());
                let mut answer = [0; 48];
                // No leap second, version 4, server; stratum 1; as often as is liked; 2⁻²⁰ s.
                answer[..4].copy_from_slice(&[0x24, 1, question[2], 0xec]);
                answer[12..16].copy_from_slice(b"LAB\0");
                answer[16..24].copy_from_slice(&received);
                answer[24..32].copy_from_slice(&question[40..48]);
                answer[32..40].copy_from_slice(&received);
                answer[40..48].copy_from_slice(&timestamp(truth.now()));
                delay(DELAYS[1]);
                // A client that is gone needs no answer.
                let _ = socket.send_to(&answer, client);
            }
        });
        Self { address, answers }
    }
}

/// Seconds since 1900 and 2⁻³² s.
fn timestamp(nanoseconds: i128) -> [u8; 8] {
    const FROM_1900_TO_1970: i128 = 2_208_988_800;
    let seconds = nanoseconds / 1_000_000_000 + FROM_1900_TO_1970;
    let fraction = ((nanoseconds % 1_000_000_000) << 32) / 1_000_000_000;
    (((seconds << 32) | fraction) as u64).to_be_bytes()
}

/// chronyd, which ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(server: &Server) -> Self {
        // `rtcsync` is what makes chronyd tell the kernel that its clock is synchronised, as in Debian's
        // own configuration.
        let text = format!(
            "server {} port {} iburst minpoll 0 maxpoll 3\n\
             rtcsync\ncorrtimeratio 30\nport 0\ncmdport 0\nbindcmdaddress /\nuser root\n\
             pidfile /tmp/chronyd.pid\n",
            server.address.ip(),
            server.address.port()
        );
        fs::write("/tmp/chrony.conf", text).unwrap();
        // It looks its user up.
        fs::create_dir_all("/etc").unwrap();
        fs::write("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n").unwrap();
        fs::write("/etc/group", "root:x:0:\n").unwrap();
        let command = Command::new("/bin/chronyd")
            .args(["-d", "-f", "/tmp/chrony.conf"])
            .spawn();
        Self(command.unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Intervals that were compared with the true time.
#[derive(Default)]
struct Compared {
    widths: Vec<u64>,
    /// How many did not contain it.
    violations: usize,
    /// The largest part of the half width that the middle of an interval was away from the truth.
    worst: f64,
}

impl Compared {
    /// An interval that was asked for between two readings of the true time.
    fn add(&mut self, before: i128, (earliest, latest): (i128, i128), after: i128) {
        self.widths.push((latest - earliest) as u64);
        self.violations += usize::from(earliest > after || latest < before);
        let (middle, truth) = ((earliest + latest) / 2, (before + after) / 2);
        let half = (latest - earliest) as f64 / 2.0;
        self.worst = self.worst.max((middle - truth).abs() as f64 / half);
    }

    fn width(&self, hundredths: usize) -> u64 {
        let mut sorted = self.widths.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * hundredths / 100]
    }

    #[track_caller]
    fn contains_the_truth(&self, what: &str) {
        println!(
            "{what}: {} intervals, {} without the true time; {:.3} ms wide at the median, {:.3} at 99 %, \
             {:.3} at most; the true time was at most {:.0} % of the half width from the middle",
            self.widths.len(),
            self.violations,
            self.width(50) as f64 / 1e6,
            self.width(99) as f64 / 1e6,
            self.width(100) as f64 / 1e6,
            self.worst * 100.0
        );
        assert_eq!(self.violations, 0, "{what}");
    }
}

/// Asks `vdsokit::Clock` so many times.
fn by_the_library(truth: Truth, samples: usize) -> Compared {
    let clock = Clock::new();
    let mut compared = Compared::default();
    for _ in 0..samples {
        let before = truth.now();
        let (earliest, latest) = clock.bounds(ClockId::Realtime).unwrap();
        let after = truth.now();
        let interval = (earliest.as_nanos() as i128, latest.as_nanos() as i128);
        compared.add(before, interval, after);
        std::thread::sleep(PERIOD);
    }
    compared
}

/// Asks `vdso_clock_bound` of the published image, in a program in C.
fn by_the_image(truth: Truth, image: &std::path::Path, samples: usize) -> Compared {
    let output = Command::new("/bin/bound")
        .arg(image)
        .args([samples.to_string(), PERIOD.as_micros().to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut compared = Compared::default();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let words: Vec<i128> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [before, earliest, latest, after] = words[..] else {
            panic!("{line}");
        };
        let at = |ticks: i128| truth.at(ticks as u64);
        compared.add(at(before), (earliest, latest), at(after));
    }
    assert_eq!(compared.widths.len(), samples);
    compared
}

/// Seconds of the emulated real-time clock.
fn rtc() -> u64 {
    let text = fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").unwrap();
    text.trim().parse().unwrap()
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm wall-time-chrony"]
fn the_interval_contains_the_true_time() {
    // chronyd sets the clock of the machine that it runs on.
    let init = fs::read_link("/proc/1/exe").unwrap();
    assert_eq!(init.to_str(), Some("/init"), "this is not the lab");
    let up = Command::new("/bin/ifconfig").args(["lo", "up"]).status();
    assert!(up.unwrap().success());

    let (clock, truth) = (Clock::new(), Truth::new());
    let (rtc_at_first, ticks_at_first) = (rtc(), ticks());
    assert_eq!(
        clock.bounds(ClockId::Realtime),
        Err(Unbounded::NotSynchronised)
    );
    let server = Server::start(truth);
    let publisher = Publisher::start(
        Command::new("vdso").args(["serve", "clock", "--source", "counter", "--json"]),
    );
    let mut daemon = Daemon::start(&server);
    let clock = Clock::new();
    // The lab's limit ends a daemon that never synchronises.
    while clock.bounds(ClockId::Realtime) == Err(Unbounded::NotSynchronised) {
        assert_eq!(daemon.0.try_wait().unwrap(), None);
        std::thread::sleep(PERIOD);
    }
    by_the_image(truth, &publisher.file(), SAMPLES / 10).contains_the_truth("the first of C's");
    let kept = by_the_library(truth, SAMPLES);
    kept.contains_the_truth("Clock::bounds");
    assert!(kept.width(50) < USEFUL);
    let kept = by_the_image(truth, &publisher.file(), SAMPLES);
    kept.contains_the_truth("vdso_clock_bound");
    assert!(kept.width(50) < USEFUL);

    // The kernel widens the interval by 500 ppm meanwhile (kernel/time/ntp.c, `MAXFREQ`).
    server.answers.store(false, Ordering::Relaxed);
    let silent = by_the_library(truth, SILENT_SAMPLES);
    silent.contains_the_truth("a silent server");
    assert!(silent.widths.last() > silent.widths.first());

    // The counter, and with it the true time, is the emulator's time: so says its real-time clock.
    let by_counter = (ticks() - ticks_at_first) / 1_000_000_000;
    let by_rtc = rtc() - rtc_at_first;
    println!("{by_rtc} s by the real-time clock, {by_counter} s by the counter");
    assert!(by_rtc.abs_diff(by_counter) <= 1);
}
