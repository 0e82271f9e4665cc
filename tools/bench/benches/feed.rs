//! From a write in the store to a reader's load on 1 and 8 machines, beside the callback of a plain
//! client's own watch on the same machines in the same run; and how many updates a second one vDSO takes.
//!
//! `cargo bench -p vdsokit-bench --bench feed`, as root, with nats-server. A machine is a network namespace
//! with a link of its own to the server. This machine carries all of them, the server, and the writer.

use async_nats::jetstream;
use futures_util::StreamExt;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_feed::{Create, Credentials, FedVariable, Feed, Link, Location, with_feed_variables};
use vdsokit_figures::{Figure, finish};
use vdsokit_publish::serve::Serve;
use vdsokit_publish::{Publisher, Vdso, place};

/// Writes whose delay is measured.
const WRITES: u64 = 1000;
/// Writes a second, and for how long.
const RATE: (u64, Duration) = (10_000, Duration::from_secs(60));
const KEYS: usize = 1000;

/// The server's address in the namespace of the benchmark.
const HERE: &str = "127.0.0.1";

const DECLARATION: &str = "[vdso]\nsoname = \"libbench.so\"\nversion = \"BENCH\"\n\
                           [var.now]\ntype = \"u64\"\n";

/// A machine's network namespace, and a link between it and the server's.
struct Network {
    name: String,
    /// The server's address on that link.
    server: String,
}

impl Network {
    fn new(index: usize) -> Option<Self> {
        let id = std::process::id();
        // For tests between networks (RFC 2544). Each link has four addresses.
        let prefix = format!("198.19.{}", id % 250);
        let (server, own) = (4 * index + 1, 4 * index + 2);
        let network = Self {
            name: format!("vdsobench{id}-{index}"),
            server: format!("{prefix}.{server}"),
        };
        let (name, link) = (&network.name, format!("vb{id}-{index}"));
        let script = format!(
            "ip netns add {name} &&
             ip link add {link} type veth peer name eth0 netns {name} &&
             ip addr add {prefix}.{server}/30 dev {link} &&
             ip link set {link} up &&
             ip -n {name} addr add {prefix}.{own}/30 dev eth0 &&
             ip -n {name} link set eth0 up"
        );
        let made = Command::new("sh").args(["-c", &script]).status();
        made.is_ok_and(|made| made.success()).then_some(network)
    }

    /// Starts a thread in the namespace. Threads that it starts are in it too.
    fn thread<T: Send + 'static>(
        &self,
        main: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = std::fs::File::open(format!("/run/netns/{}", self.name));
        let file = file.expect("the namespace");
        std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(file.as_fd(), kind).expect("the rights of root");
            main()
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The link goes with it.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// nats-server, ended with the benchmark.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn server(directory: &Path) -> Option<Server> {
    let free = TcpListener::bind("127.0.0.1:0").ok()?;
    let port = free.local_addr().ok()?.port();
    drop(free);
    let mut command = Command::new("/usr/sbin/nats-server");
    command
        .args([
            "--jetstream",
            "--addr",
            "0.0.0.0",
            "--port",
            &port.to_string(),
            "--store_dir",
        ])
        .arg(directory)
        .stderr(Stdio::null());
    let process = command.spawn().ok()?;
    let server = Server { process, port };
    while std::net::TcpStream::connect(server.at(HERE)).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(server)
}

fn nanoseconds() -> u64 {
    vdsokit::Instant::now().nanoseconds()
}

/// A publisher that is fed, until the stream is closed.
struct Machine {
    vdso: Vdso,
    _stop: UnixStream,
    reload: UnixStream,
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
        let variables = FedVariable::all(declaration);
        let ten = Duration::from_secs(10);
        let feed = Feed::start(link, &publisher, variables, ten, hangup, |_| {}).expect("a feed");
        std::thread::spawn(move || {
            let serve = Serve {
                lines: None,
                stop: read.as_fd(),
            };
            serve.run(publisher, feed, |_, _| {}).map(drop)
        });
        Self {
            vdso: Vdso::open(&path).expect("a vDSO"),
            _stop: stop,
            reload,
            _directory: directory,
        }
    }

    /// Has the feed connect again, and waits until it is connected.
    fn connect_again(&self) {
        let is_connected = self.vdso.var::<bool>("feed_connected");
        let is_connected = is_connected.expect("the variable");
        (&self.reload).write_all(b"\0").expect("it is open");
        for state in [false, true] {
            while is_connected.get() != state {
                std::thread::yield_now();
            }
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

/// The delays of a plain client's callback, and of a load, on all of the machines. The server serves its
/// watches in an order that depends on when they began, so for half of the writes the feeds' began first, and
/// for the others the plain clients'.
fn delays(server: &Server, machines: &[(Network, Machine)]) -> (Delays, Delays) {
    let is_over = Arc::new(AtomicBool::new(false));
    let watching = Arc::new(AtomicU64::new(0));
    let plain = machines.iter().map(|(network, _)| {
        let (server, watching) = (server.at(&network.server), watching.clone());
        network.thread(move || {
            runtime().block_on(async {
                let context = jetstream::new(client(&server).await);
                let store = context.get_key_value("bench").await.expect("a bucket");
                let mut watch = store.watch("now").await.expect("a watch");
                watching.fetch_add(1, Relaxed);
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
    });
    let plain: Vec<_> = plain.collect();
    while (watching.load(Relaxed) as usize) < machines.len() {
        std::thread::yield_now();
    }
    let readers = {
        let vars: Vec<_> = machines
            .iter()
            .map(|(_, machine)| machine.vdso.var::<u64>("now").expect("the variable"))
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
        let store = jetstream::new(client(&server.at(HERE)).await)
            .get_key_value("bench")
            .await;
        let store = store.expect("a bucket");
        for count in 0..WRITES {
            if count == WRITES / 2 {
                machines
                    .iter()
                    .for_each(|(_, machine)| machine.connect_again());
            }
            let value = nanoseconds().to_string();
            store.put("now", value.into()).await.expect("written");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let plain = plain.into_iter();
    let plain = plain.flat_map(|client| client.join().expect("the client"));
    let plain = plain.collect();
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
    assert_eq!(link.missing(&FedVariable::all(&declaration)), [""; 0]);
    took
}

fn main() -> ExitCode {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(server) = server(directory.path()) else {
        return finish(&[Figure::skipped("feed", "there is no nats-server")]);
    };
    let mut figures = Vec::new();
    let mut machines = Vec::new();
    for count in [1, 8] {
        while machines.len() < count {
            let Some(network) = Network::new(machines.len()) else {
                return finish(&[Figure::skipped("feed", "no network namespace can be made")]);
            };
            let store = format!("nats://{}/bench", server.at(&network.server));
            let machine = network.thread(move || {
                let declaration = Declaration::parse("bench", DECLARATION);
                Machine::start(&store, &declaration.expect("a declaration"))
            });
            let machine = machine.join().expect("a machine");
            machines.push((network, machine));
        }
        let (plain, loads) = delays(&server, &machines);
        for (name, of) in [("p50", 0.5), ("p99", 0.99)] {
            let (load, callback) = (loads.quantile(of), plain.quantile(of));
            let title = format!("write to load, machines: {count}, {name}");
            figures.push(Figure::number(&title, load, "us", None));
            figures.push(Figure::number(
                format!("{title} : a client's callback"),
                load / callback,
                "x",
                1.1,
            ));
        }
    }
    machines.truncate(1);
    let (oldest, rate) = oldest(&server.at(HERE), &machines[0].1);
    figures.push(Figure::number("writes a second", rate, "", None));
    figures.push(Figure::number(
        "oldest value at that rate",
        oldest,
        "ms",
        1000.0,
    ));
    let first = first_reading(&server.at(HERE));
    figures.push(Figure::number(
        "first reading of 1000 keys",
        first,
        "ms",
        1000.0,
    ));
    finish(&figures)
}
