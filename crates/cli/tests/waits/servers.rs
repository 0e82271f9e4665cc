//! Servers, whose time-outs are polls of a loop or timers.

use super::{installed, said, scratch, source, text};

#[test]
fn time_outs_of_redis_end_at_their_time() {
    if !installed("redis-server") {
        return;
    }
    let script = source("redis.sh", include_str!("redis.sh"));
    for (options, seconds) in [
        ("--offset=+1d", "1"),
        ("--rate=60", "60"),
        ("--skip-idle", "60"),
    ] {
        let directory = scratch(&format!("redis{options}"));
        let program = ["--", "sh", &script, seconds, text(&directory)];
        let command = [&["run", options][..], &program].concat();
        assert_eq!(said(&command), "BLPOP\nEXPIRE 1\n", "{options}");
    }
}
