//! Links that fail: the last values stay, become stale, and are those of the store again later.

use crate::stores::{Store, etcd, nats};
use crate::{Machine, eventually, put};
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
