//! Links that delay, lose and reorder packets: nothing is lost, nothing goes back, and every reader has the
//! last value when the link is good again.

use crate::stores::{Store, etcd, nats};
use crate::tunnel::Tunnel;
use crate::{Machine, put};
use std::sync::atomic::{AtomicBool, Ordering};

/// A value of some thirty packets.
const WIDE: &str = r#"
[vdso]
soname = "libflags.so.1"
version = "FLAGS_1.0"
[var.limit]
type = "u32"
[var.note]
type = "str[60000]"
"#;

fn a_lossy_link_loses_no_value(mut store: Store) {
    let Some(tunnel) = Tunnel::new() else { return };
    store.listen_everywhere();
    store.server().start();
    let (here, near) = (store.url(), Machine::with_declaration(WIDE));
    let there = store.url_at(&format!("{}.1", tunnel.network.prefix));
    let note = |letter: &str| format!("note={}", letter.repeat(40_000));
    // The bucket, which a feed without a bad link makes.
    near.feed(&here, &["--create"]).stop();
    put(&here, &["limit=1", &note("a")]);
    tunnel.degrade(30, [20, 60]);
    let machines = [(); 2].map(|()| Machine::with_declaration(WIDE));
    let mut feeds = machines.each_ref().map(|machine| {
        let command = machine.command(&there, &["--stale-after", "2s"]);
        tunnel.network.feed(&command)
    });
    for machine in &machines {
        assert_eq!(machine.get("limit"), "1");
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for machine in &machines {
            scope.spawn(|| machine.read_until(&is_over));
        }
        for limit in 2..=20 {
            put(&here, &[&format!("limit={limit}")]);
        }
        put(&here, &[&note("b")]);
        for machine in &machines {
            machine.wait("limit", "20");
            machine.wait("note", &format!("\"{}\"", "b".repeat(40_000)));
        }
        // Nothing arrives any more, until the feeds give up their connections.
        tunnel.degrade(1000, [0, 0]);
        for limit in 21..=25 {
            put(&here, &[&format!("limit={limit}")]);
        }
        for machine in &machines {
            machine.wait("feed_connected", "false");
            assert_eq!(machine.get("limit"), "20");
        }
        tunnel.degrade(0, [0, 0]);
        for (machine, feed) in machines.iter().zip(&mut feeds) {
            feed.event("\"connected\"");
            machine.wait("limit", "25");
            machine.wait("feed_connected", "true");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (lost, reordered) = tunnel.faults();
    assert!(
        lost > 0 && reordered > 0,
        "{lost} lost, {reordered} reordered"
    );
    let revisions = machines.each_ref().map(Machine::revision);
    assert_eq!(revisions[0], revisions[1]);
    feeds.into_iter().for_each(crate::Feed::stop);
}

#[test]
fn a_lossy_link_to_nats_loses_no_value() {
    if let Some(store) = nats(1, "") {
        a_lossy_link_loses_no_value(store);
    }
}

#[test]
fn a_lossy_link_to_etcd_loses_no_value() {
    if let Some(store) = etcd(1, "http", &[]) {
        a_lossy_link_loses_no_value(store);
    }
}
