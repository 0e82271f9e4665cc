//! The values of /proc, read by other code than the publisher's.

use std::fs;

/// The current value of the variable `name` in /proc; memory in bytes.
pub(super) fn value(name: &str) -> Option<String> {
    let word = |file: &str, index: usize| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        text.split_whitespace().nth(index).map(str::to_owned)
    };
    let row = |file: &str, key: &str| -> Option<u64> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let memory = |key: &str| Some((row("/proc/meminfo", key)? * 1024).to_string());
    match name {
        "processes" => {
            let names = fs::read_dir("/proc")
                .ok()?
                .flatten()
                .map(|entry| entry.file_name());
            let is_number = |name: &std::ffi::OsString| {
                name.to_str()
                    .is_some_and(|name| name.parse::<u32>().is_ok())
            };
            Some(names.filter(is_number).count().to_string())
        }
        "threads" => Some(word("/proc/loadavg", 3)?.split_once('/')?.1.to_owned()),
        "running" => Some(word("/proc/loadavg", 3)?.split_once('/')?.0.to_owned()),
        "load.one" => word("/proc/loadavg", 0),
        "memory_total" => memory("MemTotal:"),
        "memory_available" => memory("MemAvailable:"),
        "free_pages" => Some(row("/proc/vmstat", "nr_free_pages ")?.to_string()),
        "uptime" => word("/proc/uptime", 0),
        "context_switches" => Some(row("/proc/stat", "ctxt ")?.to_string()),
        "forks" => Some(row("/proc/stat", "processes ")?.to_string()),
        _ => None,
    }
}
