//! Three servers, of which the leader is killed while values are written.

use crate::stores::{Store, etcd, etcdctl, nats};
use crate::{Machine, eventually, put, vdso};
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes 1 to 60 with the leader killed at 20 and back at 40, while a reader on each of two machines
/// checks that no value goes back.
fn no_value_is_lost_or_goes_back(store: &mut Store, leader: impl Fn(&Store) -> usize) {
    let url = store.url();
    let machines = [Machine::new(), Machine::new()];
    let feeds: Vec<_> = machines
        .iter()
        .map(|machine| machine.feed(&url, &["--create", "--replicas", "3"]))
        .collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for machine in &machines {
            put(&url, &["limit=0"]);
            machine.wait("limit", "0");
            scope.spawn(|| machine.read_until(&is_over));
        }
        let mut killed = None;
        for value in 1..=60 {
            if value == 20 {
                let leader = leader(store);
                store.servers[leader].kill();
                killed = Some(leader);
            }
            if value == 40 {
                store.servers[killed.take().unwrap()].start();
            }
            // There is no leader for a while: the writer tries again.
            eventually(|| {
                let output = vdso(&["put", &url, &format!("limit={value}")])
                    .output()
                    .unwrap();
                match output.status.success() {
                    true => Ok(()),
                    false => Err(crate::errors(&output)),
                }
            });
        }
        for machine in &machines {
            machine.wait("limit", "60");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // nats-server 2.9.10 may leave a replica one message ahead of the leader. A feed that got that message
    // is not connected before the leader has written as many.
    eventually(|| {
        put(&url, &["limit=61"]);
        let state =
            |machine: &Machine| ["feed_connected", "feed_lag"].map(|name| machine.get(name));
        let states: Vec<_> = machines.iter().map(state).collect();
        let are_connected = states.iter().all(|state| state == &["true", "0"]);
        are_connected.then_some(()).ok_or(states)
    });
    for machine in &machines {
        machine.wait("limit", "61");
    }
    for feed in feeds {
        feed.stop();
    }
}

#[test]
fn a_killed_leader_of_etcd_loses_nothing() {
    let Some(mut store) = etcd(3, "http", &[]) else {
        return;
    };
    for server in &mut store.servers {
        server.spawn();
    }
    for server in &mut store.servers {
        server.wait();
    }
    no_value_is_lost_or_goes_back(&mut store, |store| {
        let leads = |port: u16| {
            let text = etcdctl(port, &["endpoint", "status", "--write-out=json"]);
            let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
            let status = &answer[0]["Status"];
            status["leader"] == status["header"]["member_id"]
        };
        let leader = store.servers.iter().position(|server| leads(server.port));
        leader.expect("a leader")
    });
}

#[test]
fn a_killed_leader_of_nats_loses_nothing() {
    let Some(mut store) = nats(3, "") else { return };
    for server in &mut store.servers {
        server.spawn();
    }
    for server in &mut store.servers {
        server.wait();
    }
    // The cluster needs a leader before it can keep a stream.
    eventually(|| {
        let logs: String = store.servers.iter().map(|server| server.log()).collect();
        logs.contains("cluster metadata leader")
            .then_some(())
            .ok_or("no leader yet")
    });
    no_value_is_lost_or_goes_back(&mut store, |store| {
        // The server that became leader of the bucket's stream last.
        let elected = |log: &str| {
            log.rfind("stream leader for '$G > KV_flags'")
                .map(|at| log[..at].len())
        };
        let led = store.servers.iter().enumerate();
        let last = led
            .filter_map(|(at, server)| elected(&server.log()).map(|_| at))
            .next_back();
        last.unwrap_or(0)
    });
}
