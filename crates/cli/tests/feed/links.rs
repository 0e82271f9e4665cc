//! Links that fail: the last values stay, become stale, and are those of the store again later.

use crate::stores::{Store, etcd, nats};
use crate::{Feed, Machine, eventually, number, put};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use vdsokit_publish::Condition;

/// A server that does not answer is what a cut link looks like: no packet comes.
fn a_silent_server_makes_the_values_stale(mut store: Store) {
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let mut feed = machine.feed(&url, &["--create", "--stale-after", "2s"]);
    put(&url, &["limit=5"]);
    machine.wait("limit", "5");
    let condition = |wanted: Condition| {
        eventually(|| {
            let status = machine.open().status();
            (status.condition == wanted)
                .then_some(())
                .ok_or(status.condition)
        });
    };
    condition(Condition::Live);
    store.server().signal("-STOP");
    condition(Condition::Stale);
    machine.wait("feed_connected", "false");
    assert_eq!(machine.get("limit"), "5");
    store.server().signal("-CONT");
    feed.event("\"connected\"");
    condition(Condition::Live);
    machine.wait("feed_connected", "true");
    put(&url, &["limit=6"]);
    machine.wait("limit", "6");
    feed.stop();
    assert_eq!(machine.open().status().condition, Condition::Stopped);
}

#[test]
fn a_silent_nats_server_makes_the_values_stale() {
    if let Some(store) = nats(1, "") {
        a_silent_server_makes_the_values_stale(store);
    }
}

#[test]
fn a_silent_etcd_makes_the_values_stale() {
    if let Some(store) = etcd(1, "http", &[]) {
        a_silent_server_makes_the_values_stale(store);
    }
}

/// A network namespace, and a pair of interfaces between it and this one.
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) here: String,
    /// The first three bytes of both addresses; the last are 1 here and 2 there.
    pub(crate) prefix: String,
}

impl Network {
    /// A namespace and a pair of Ethernet interfaces. `None` where none can be made.
    fn new() -> Option<Self> {
        Self::by(|Self { name, here, prefix }| {
            format!(
                "ip link add {here} type veth peer name eth0 netns {name}
                ip addr add {prefix}.1/24 dev {here}
                ip link set {here} up
                ip -n {name} addr add {prefix}.2/24 dev eth0
                ip -n {name} link set eth0 up"
            )
        })
    }

    /// A namespace, and the interfaces that a shell script makes. `None` where there can be none.
    pub(crate) fn by(interfaces: impl FnOnce(&Self) -> String) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            name: format!("vdso{id}-{count}"),
            here: format!("vd{id}-{count}"),
            // For tests between networks (RFC 2544).
            prefix: format!("198.18.{}", (id * 4 + count) % 250),
        };
        let script = format!("set -e\nip netns add {}\n", network.name) + &interfaces(&network);
        let made = Command::new("sh").args(["-c", &script]).output().unwrap();
        if made.status.success() {
            return Some(network);
        }
        vdsokit_test_support::skip(&format!("no network namespace: {}", crate::errors(&made)));
        None
    }

    /// Makes the link slow in the direction from here: 100 kbit/s.
    fn slow_down(&self) {
        let here = &self.here;
        let script = format!("tc qdisc add dev {here} root tbf rate 100kbit burst 3000 latency 1s");
        let made = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(made.status.success(), "{}", crate::errors(&made));
    }

    /// Starts the command in the namespace, and returns when its vDSO is live.
    pub(crate) fn feed(&self, command: &Command) -> Feed {
        let mut inside = Command::new("ip");
        inside
            .args(["netns", "exec", &self.name])
            .arg(command.get_program());
        inside.args(command.get_args());
        Machine::start(inside)
    }

    fn link(&self, state: &str) {
        let mut command = Command::new("ip");
        command.args(["link", "set", &self.here, state]);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The interfaces go with it, unless a part was never made.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

#[test]
fn a_cut_link_loses_no_value() {
    let Some(network) = Network::new() else {
        return;
    };
    let Some(mut store) = nats(1, "") else { return };
    store.listen_everywhere();
    store.server().start();
    let (here, machine) = (store.url(), Machine::new());
    let there = store.url_at(&format!("{}.1", network.prefix));
    let options = ["--create", "--stale-after", "2s"];
    let mut feed = network.feed(&machine.command(&there, &options));
    put(&here, &["limit=1"]);
    machine.wait("limit", "1");
    network.link("down");
    put(&here, &["limit=2", "mode=drain"]);
    machine.wait("feed_connected", "false");
    eventually(|| {
        let condition = machine.open().status().condition;
        (condition == Condition::Stale)
            .then_some(())
            .ok_or(condition)
    });
    put(&here, &["limit=3"]);
    assert_eq!(machine.get("limit"), "1");
    network.link("up");
    feed.event("\"connected\"");
    machine.wait("limit", "3");
    assert_eq!(machine.get("mode"), "\"drain\"");
    feed.stop();
}

/// The first reading takes longer than an answer may, and so do writes that come faster than the link
/// carries them. It lasts half a minute, most of it in waiting for the link: `VDSOKIT_ALL=1` runs it.
fn a_slow_link_loses_no_value(mut store: Store) {
    if std::env::var_os("VDSOKIT_ALL").is_none() {
        return;
    }
    let Some(network) = Network::new() else {
        return;
    };
    store.listen_everywhere();
    store.server().start();
    let (here, machine) = (store.url(), Machine::with_declaration(WIDE));
    let there = store.url_at(&format!("{}.1", network.prefix));
    let file = machine.path("flags.toml");
    let note = |letter: &str| format!("note={}", letter.repeat(50_000));
    // The bucket, which a feed without a slow link makes.
    machine.feed(&here, &["--create"]).stop();
    put(
        &here,
        &["--declaration", file.to_str().unwrap(), &note("a")],
    );
    network.slow_down();
    let machine = Machine::with_declaration(WIDE);
    let feed = network.feed(&machine.command(&there, &[]));
    assert_eq!(machine.get("note").len(), 50_002);
    for limit in 1..=20 {
        put(&here, &[&format!("limit={limit}")]);
    }
    put(&here, &[&note("b"), "limit=21"]);
    let vdso = machine.open();
    let mut newest = 0;
    eventually(|| {
        let limit = number(&vdso, "limit");
        assert!(limit >= newest, "{limit} after {newest}");
        newest = limit;
        (limit == 21).then_some(()).ok_or(limit)
    });
    machine.wait("note", &format!("\"{}\"", "b".repeat(50_000)));
    machine.wait("feed_connected", "true");
    feed.stop();
}

/// A value that a slow link carries for seconds.
const WIDE: &str = r#"
[vdso]
soname = "libflags.so.1"
version = "FLAGS_1.0"
[var.limit]
type = "u32"
[var.note]
type = "str[60000]"
"#;

#[test]
fn a_slow_link_to_nats_loses_no_value() {
    if let Some(store) = nats(1, "") {
        a_slow_link_loses_no_value(store);
    }
}

#[test]
fn a_slow_link_to_etcd_loses_no_value() {
    if let Some(store) = etcd(1, "http", &[]) {
        a_slow_link_loses_no_value(store);
    }
}
