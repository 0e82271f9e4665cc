//! Links that fail: the last values stay, become stale, and are those of the store again later.

use crate::stores::{Store, etcd, nats};
use crate::{Machine, eventually, put};
use std::fs;
use std::process::Command;
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
struct Network {
    name: String,
    here: String,
    /// The first three bytes of both addresses; the last are 1 here and 2 there.
    prefix: String,
}

impl Network {
    /// `None` where none can be made.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let network = Self {
            name: format!("vdso{id}"),
            here: format!("vd{id}"),
            // For tests between networks (RFC 2544).
            prefix: format!("198.18.{}", id % 250),
        };
        let (name, here, prefix) = (&network.name, &network.here, &network.prefix);
        let script = format!(
            "set -e
            ip netns add {name}
            ip link add {here} type veth peer name eth0 netns {name}
            ip addr add {prefix}.1/24 dev {here}
            ip link set {here} up
            ip -n {name} addr add {prefix}.2/24 dev eth0
            ip -n {name} link set eth0 up"
        );
        let made = Command::new("sh").args(["-c", &script]).output().unwrap();
        if made.status.success() {
            return Some(network);
        }
        vdsokit_test_support::skip(&format!("no network namespace: {}", crate::errors(&made)));
        None
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
    let port = store.server().port;
    let config = store.directory.path().join(format!("{port}.conf"));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("listen: \"127.0.0.1", "listen: \"0.0.0.0"),
    )
    .unwrap();
    store.server().start();
    let (here, machine) = (store.url(), Machine::new());
    let there = format!("nats://{}.1:{port}/flags", network.prefix);
    let options = ["--create", "--stale-after", "2s"];
    let command = machine.command(&there, &options);
    let mut inside = Command::new("ip");
    inside
        .args(["netns", "exec", &network.name])
        .arg(command.get_program());
    inside.args(command.get_args());
    let mut feed = Machine::start(inside);
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
