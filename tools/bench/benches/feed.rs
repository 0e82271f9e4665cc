//! From a write in the store to a reader's load, beside the callback of a plain client's own watch in the
//! same run; and how many updates a second one vDSO takes.
//!
//! `cargo bench -p vdsokit-bench --bench feed`, with nats-server on this machine, which then carries the
//! server, the writer, the client, all feeds and all readers.

use async_nats::jetstream;
use futures_util::StreamExt;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_feed::{Create, Credentials, Feed, Link, Location, Variable, with_feed_variables};
use vdsokit_figures::{Figure, finish};
use vdsokit_publish::serve::Serve;
use vdsokit_publish::{Publisher, Vdso, place};

/// Writes whose delay is measured.
const WRITES: u64 = 400;
/// Writes a second, and for how long.
const RATE: (u64, Duration) = (10_000, Duration::from_secs(10));
const KEYS: usize = 1000;

const DECLARATION: &str = "[vdso]\nsoname = \"libbench.so\"\nversion = \"BENCH\"\n\
                           [var.now]\ntype = \"u64\"\n";

/// nats-server, ended with the benchmark.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(directory: &Path) -> Option<Server> {
    let free = TcpListener::bind("127.0.0.1:0").ok()?;
    let port = free.local_addr().ok()?.port().to_string();
    drop(free);
    let mut command = Command::new("/usr/sbin/nats-server");
    command
        .args([
            "--jetstream",
            "--addr",
            "127.0.0.1",
            "--port",
            &port,
            "--store_dir",
        ])
        .arg(directory)
        .stderr(Stdio::null());
    let server = Server(command.spawn().ok()?, format!("127.0.0.1:{port}"));
    while std::net::TcpStream::connect(&server.1).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(server)
}

fn nanoseconds() -> u64 {
    vdsokit::Instant::now().nanoseconds()
}

/// A machine: a publisher that is fed, until the stream is closed.
struct Machine {
    vdso: Vdso,
    _stop: UnixStream,
    _reload: UnixStream,
    _directory: tempfile::TempDir,
}

impl Machine {
    fn start(store: &str, declaration: &Declaration) -> Self {
        let directory = tempfile::tempdir_in(place::base().expect("a place")).expect("a directory");
        let path = directory.path().join("libbench.so");
        let location: Location = store.parse().expect("a location");
        let create = Create {
            declaration: declaration.to_toml(),
            replicas: 1,
        };
        let credentials = Credentials::default();
        let link = Link::open(&location, &credentials, 0, Some(&create)).expect("a store");
        let complete = with_feed_variables(declaration).expect("names");
        let host = Architecture::host().expect("an architecture");
        let publisher = Publisher::create(&path, &image(&complete, host).expect("an image"));
        let publisher = publisher.expect("a publisher");
        let (stop, read) = UnixStream::pair().expect("a pair");
        let (reload, hangup) = UnixStream::pair().expect("a pair");
        let variables = Variable::all(declaration);
        let ten = Duration::from_secs(10);
        let feed = Feed::start(link, &publisher, variables, ten, hangup, |_| {}).expect("a feed");
        std::thread::spawn(move || {
            let serve = Serve {
                lines: None,
                stop: std::os::fd::AsFd::as_fd(&read),
            };
            serve.run(publisher, feed, |_, _| {}).map(drop)
        });
        Self {
            vdso: Vdso::open(&path).expect("a vDSO"),
            _stop: stop,
            _reload: reload,
            _directory: directory,
        }
    }
}

/// The delays of all writes, in microseconds, sorted.
struct Delays(Vec<f64>);

impl Delays {
    fn quantile(&self, of: f64) -> f64 {
        let at = (self.0.len() as f64 * of) as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    fn sorted(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self(all)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

async fn client(server: &str) -> async_nats::Client {
    async_nats::connect(server).await.expect("a server")
}

/// The delays of a plain client's callback, and of a load on each of the machines.
fn delays(server: &str, machines: &[Machine]) -> (Delays, Delays) {
    let is_over = Arc::new(AtomicBool::new(false));
    let called = Arc::new(AtomicU64::new(0));
    let plain = {
        let (server, called) = (server.to_owned(), called.clone());
        std::thread::spawn(move || {
            runtime().block_on(async {
                let context = jetstream::new(client(&server).await);
                let store = context.get_key_value("bench").await.expect("a bucket");
                let mut watch = store.watch("now").await.expect("a watch");
                called.store(1, Relaxed);
                let mut all = Vec::new();
                while (all.len() as u64) < WRITES {
                    let entry = watch.next().await.expect("a write").expect("a write");
                    let now = nanoseconds();
                    let text = String::from_utf8_lossy(&entry.value).into_owned();
                    all.push((now - text.parse::<u64>().expect("a number")) as f64 / 1e3);
                }
                all
            })
        })
    };
    while called.load(Relaxed) == 0 {
        std::thread::yield_now();
    }
    let readers = {
        let vars: Vec<_> = machines
            .iter()
            .map(|machine| machine.vdso.var::<u64>("now").expect("the variable"))
            .collect();
        let is_over = is_over.clone();
        std::thread::spawn(move || {
            let mut last: Vec<u64> = vars.iter().map(vdsokit::Var::get).collect();
            let mut all = Vec::new();
            while !is_over.load(Relaxed) {
                for (var, last) in vars.iter().zip(&mut last) {
                    let value = var.get();
                    if value != *last {
                        all.push((nanoseconds() - value) as f64 / 1e3);
                        *last = value;
                    }
                }
                std::thread::yield_now();
            }
            all
        })
    };
    runtime().block_on(async {
        let store = jetstream::new(client(server).await)
            .get_key_value("bench")
            .await;
        let store = store.expect("a bucket");
        for _ in 0..WRITES {
            let value = nanoseconds().to_string();
            store.put("now", value.into()).await.expect("written");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let plain = plain.join().expect("the client");
    std::thread::sleep(Duration::from_millis(200));
    is_over.store(true, Relaxed);
    let loads = readers.join().expect("the readers");
    (Delays::sorted(plain), Delays::sorted(loads))
}

/// The oldest value that a reader saw, in milliseconds, while values were written at the rate.
fn oldest(server: &str, machine: &Machine) -> (f64, f64) {
    let var = machine.vdso.var::<u64>("now").expect("the variable");
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = {
        let is_over = is_over.clone();
        std::thread::spawn(move || {
            let before = var.get();
            while var.get() == before {
                std::thread::yield_now();
            }
            let mut oldest = 0;
            while !is_over.load(Relaxed) {
                oldest = oldest.max(nanoseconds() - var.get());
                std::thread::sleep(Duration::from_micros(200));
            }
            oldest
        })
    };
    let written = runtime().block_on(async {
        let client = client(server).await;
        let start = Instant::now();
        let mut written = 0;
        while start.elapsed() < RATE.1 {
            let due = start.elapsed().as_millis() as u64 * RATE.0 / 1000;
            for _ in written..due {
                let value = nanoseconds().to_string();
                client
                    .publish("$KV.bench.now", value.into())
                    .await
                    .expect("sent");
            }
            written = written.max(due);
            client.flush().await.expect("sent");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        written as f64 / start.elapsed().as_secs_f64()
    });
    is_over.store(true, Relaxed);
    (reader.join().expect("the reader") as f64 / 1e6, written)
}

/// The time to read all keys of a bucket first, in milliseconds.
fn first_reading(server: &str) -> f64 {
    let mut text = "[vdso]\nsoname = \"libbench.so\"\nversion = \"BENCH\"\n".to_owned();
    for key in 0..KEYS {
        text += &format!("[var.v{key}]\ntype = \"u64\"\n");
    }
    let declaration = Declaration::parse("bench", &text).expect("a declaration");
    let store = format!("nats://{server}/many");
    drop(Machine::start(&store, &declaration));
    runtime().block_on(async {
        let client = client(server).await;
        for key in 0..KEYS {
            let subject = format!("$KV.many.v{key}");
            client
                .publish(subject, key.to_string().into())
                .await
                .expect("sent");
        }
        client.flush().await.expect("sent");
        let store = jetstream::new(client).get_key_value("many").await;
        let last = format!("v{}", KEYS - 1);
        let store = store.expect("a bucket");
        while store.get(&last).await.expect("an answer").is_none() {}
    });
    let location = store.parse().expect("a location");
    let start = Instant::now();
    let link = Link::open(&location, &Credentials::default(), 0, None).expect("a store");
    let took = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(link.missing(&Variable::all(&declaration)), [""; 0]);
    took
}

fn main() -> ExitCode {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(server) = server(directory.path()) else {
        return finish(&[Figure::skipped("feed", "there is no nats-server")]);
    };
    let declaration = Declaration::parse("bench", DECLARATION).expect("a declaration");
    let store = format!("nats://{}/bench", server.1);
    let mut figures = Vec::new();
    let mut machines = vec![Machine::start(&store, &declaration)];
    for count in [1, 8] {
        while machines.len() < count {
            machines.push(Machine::start(&store, &declaration));
        }
        let (plain, loads) = delays(&server.1, &machines);
        for (name, of) in [("p50", 0.5), ("p99", 0.99)] {
            let (load, callback) = (loads.quantile(of), plain.quantile(of));
            let title = format!("write to load, machines: {count}, {name}");
            figures.push(Figure::number(&title, load, "us", None));
            // Loads of 8 machines follow 8 processes' turns; the client has one.
            let bound = (count == 1 && of == 0.5).then_some(1.1);
            figures.push(Figure::number(
                format!("{title} : a client's callback"),
                load / callback,
                "x",
                bound,
            ));
        }
    }
    machines.truncate(1);
    let (oldest, rate) = oldest(&server.1, &machines[0]);
    figures.push(Figure::number("writes a second", rate, "", None));
    figures.push(Figure::number(
        "oldest value at that rate",
        oldest,
        "ms",
        1000.0,
    ));
    let first = first_reading(&server.1);
    figures.push(Figure::number(
        "first reading of 1000 keys",
        first,
        "ms",
        1000.0,
    ));
    finish(&figures)
}
