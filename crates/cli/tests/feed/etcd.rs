//! A prefix of one etcd.

use crate::stores::{etcd, etcdctl};
use crate::{Machine, number, put};
use std::sync::atomic::{AtomicBool, Ordering};
use vdsokit_publish::Vdso;

#[test]
fn values_follow_the_prefix_and_deleted_keys_get_their_initial_values() {
    let Some(mut store) = etcd(1, "http", &[]) else {
        return;
    };
    store.server().start();
    let port = store.server().port;
    let (url, machine) = (store.url(), Machine::new());
    etcdctl(port, &["put", "/flags/limit", "5"]);
    etcdctl(port, &["put", "/flagship", "1"]);
    let mut feed = machine.feed(&url, &["--create"]);
    assert_eq!(machine.get("limit"), "5");
    put(&url, &["mode=drain", "wind.speed=2"]);
    machine.wait("mode", "\"drain\"");
    assert_eq!(machine.get("wind"), "speed=2 from=\"\"");
    etcdctl(port, &["del", "/flags/limit"]);
    machine.wait("limit", "100");
    etcdctl(port, &["put", "/flags/limit", "many"]);
    assert!(feed.event("\"refused\"").contains("limit"));
    etcdctl(port, &["put", "/flags/pair", "9"]);
    machine.wait("other", "9");
    assert_eq!(machine.get("limit"), "100");
    // Writes of other parts of the store count as read too.
    let before = machine.revision();
    etcdctl(port, &["put", "/elsewhere", "1"]);
    crate::eventually(|| {
        let revision = machine.revision();
        (revision > before).then_some(()).ok_or(revision)
    });
    feed.stop();
}

#[test]
fn the_writes_of_one_transaction_appear_together() {
    let Some(mut store) = etcd(1, "http", &[]) else {
        return;
    };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let feed = machine.feed(&url, &["--create"]);
    put(&url, &["limit=0", "other=0"]);
    machine.wait("limit", "0");
    let is_over = AtomicBool::new(false);
    let vdso = machine.open();
    let (mut seen, mut torn) = (0, 0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut newest = 0;
            let (mut seen, mut torn) = (0u64, 0u64);
            while !is_over.load(Ordering::Relaxed) {
                let Some((limit, other)) = together(&vdso) else {
                    torn += 1;
                    continue;
                };
                assert_eq!(limit, other, "of one transaction");
                assert!(limit >= newest, "{limit} after {newest}");
                seen += u64::from(limit > newest);
                newest = limit;
            }
            (seen, torn)
        });
        for value in 1..40 {
            put(
                &url,
                &[&format!("limit={value}"), &format!("other={value}")],
            );
        }
        machine.wait("other", "39");
        is_over.store(true, Ordering::Relaxed);
        (seen, torn) = reader.join().unwrap();
    });
    assert!(
        seen > 0,
        "{seen} transactions were seen, {torn} readings repeated"
    );
    feed.stop();
}

/// `limit` and `other` of one revision; `None` while a transaction is applied.
fn together(vdso: &Vdso) -> Option<(u64, u64)> {
    let before = number(vdso, "feed_writes");
    let values = (number(vdso, "limit"), number(vdso, "other"));
    (before.is_multiple_of(2) && number(vdso, "feed_writes") == before).then_some(values)
}

#[test]
fn a_store_that_was_compacted_meanwhile_is_read_again() {
    let Some(mut store) = etcd(1, "http", &[]) else {
        return;
    };
    store.server().start();
    let port = store.server().port;
    let (url, machine) = (store.url(), Machine::new());
    let mut feed = machine.feed(&url, &["--create"]);
    put(&url, &["limit=1", "mode=drain"]);
    machine.wait("mode", "\"drain\"");
    // The feed misses writes, and the revisions that it would go on from.
    feed.program.signal("-STOP");
    store.server().kill();
    store.server().start();
    etcdctl(port, &["del", "/flags/mode"]);
    for limit in 2..9 {
        etcdctl(port, &["put", "/flags/limit", &limit.to_string()]);
    }
    let text = etcdctl(port, &["get", "/flags/limit", "--write-out=json"]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    etcdctl(
        port,
        &["compact", &answer["header"]["revision"].to_string()],
    );
    feed.program.signal("-CONT");
    machine.wait("limit", "8");
    machine.wait("mode", "\"run\"");
    feed.event("\"connected\"");
    feed.stop();
}

#[test]
fn a_store_that_was_made_anew_is_refused() {
    let Some(mut store) = etcd(1, "http", &[]) else {
        return;
    };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let mut feed = machine.feed(&url, &["--create"]);
    for limit in 1..5 {
        put(&url, &[&format!("limit={limit}")]);
    }
    machine.wait("limit", "4");
    store.server().kill();
    store.wipe();
    store.server().start();
    feed.event("\"disconnected\"");
    feed.stop();
    assert_eq!(machine.get("limit"), "4");
    let output = machine.command(&url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(crate::errors(&output).contains("--reset"));
    assert_eq!(machine.get("limit"), "4");
}
