//! Values with a name of their own, and symbols that are never published.

/// A value that goes by a name of its own, whatever the kernel calls it.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it is in the kernel.
    pub expression: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it is, and the file of /proc that shows the same.
    pub doc: &'static str,
}

/// The expression that stands for the time since boot.
pub const UPTIME: &str = "uptime";

/// The names. Sources: kernel/fork.c, kernel/sched/core.c, kernel/sched/loadavg.c,
/// kernel/sched/psi.c, mm/vmstat.c and the functions of fs/proc that print the same,
/// in Linux 6.1 and 6.12.
pub const NAMED: &[Named] = &[
    Named {
        name: "processes",
        expression: "process_counts",
        unit: "",
        doc: "processes, kernel threads included: the numbers in /proc",
    },
    Named {
        name: "threads",
        expression: "nr_threads:i32",
        unit: "",
        doc: "threads: behind the slash in /proc/loadavg",
    },
    Named {
        name: "forks",
        expression: "total_forks:u64",
        unit: "",
        doc: "processes and threads made since boot: `processes` in /proc/stat",
    },
    Named {
        name: "context_switches",
        expression: "runqueues.nr_switches",
        unit: "",
        doc: "since boot, on all CPUs: `ctxt` in /proc/stat",
    },
    Named {
        name: "running",
        expression: "runqueues.nr_running",
        unit: "",
        doc: "threads that run or wait for a CPU: `procs_running` in /proc/stat",
    },
    Named {
        name: "iowait",
        expression: "runqueues.nr_iowait",
        unit: "",
        doc: "threads that wait for I/O: `procs_blocked` in /proc/stat",
    },
    Named {
        name: "free_pages",
        expression: "vm_zone_stat[NR_FREE_PAGES]",
        unit: "pages",
        doc: "free memory: `MemFree` in /proc/meminfo",
    },
    Named {
        name: "free_pages_dma",
        expression: "node_data[0].node_zones[ZONE_DMA].vm_stat[NR_FREE_PAGES]",
        unit: "pages",
        doc: "free memory of node 0 below 16 MiB: /proc/zoneinfo",
    },
    Named {
        name: "free_pages_dma32",
        expression: "node_data[0].node_zones[ZONE_DMA32].vm_stat[NR_FREE_PAGES]",
        unit: "pages",
        doc: "free memory of node 0 below 4 GiB: /proc/zoneinfo",
    },
    Named {
        name: "free_pages_normal",
        expression: "node_data[0].node_zones[ZONE_NORMAL].vm_stat[NR_FREE_PAGES]",
        unit: "pages",
        doc: "free memory of node 0 from 4 GiB on: /proc/zoneinfo",
    },
    Named {
        name: "load_averages",
        expression: "avenrun",
        unit: "1/2048",
        doc: "over 1, 5 and 15 minutes: /proc/loadavg",
    },
    Named {
        name: "pressure",
        expression: "psi_system.avg",
        unit: "% / 2048",
        doc: "share of time stalled over 10, 60 and 300 s, for each state of enum psi_states",
    },
    Named {
        name: "jiffies",
        expression: "jiffies_64:u64",
        unit: "ticks",
        doc: "ticks since some minutes before boot",
    },
    Named {
        name: "uptime",
        expression: UPTIME,
        unit: "ns",
        doc: "CLOCK_BOOTTIME as the tick finds it: the first number in /proc/uptime",
    },
    Named {
        name: "release",
        expression: "init_uts_ns.name.release",
        unit: "",
        doc: "the kernel's release: uname -r",
    },
    Named {
        name: "hostname",
        expression: "init_uts_ns.name.nodename",
        unit: "",
        doc: "the machine's name, outside of UTS namespaces: uname -n",
    },
];

/// Types of symbols that BTF does not describe: until recently it had only
/// per-CPU variables (pahole's `global_var`).
const TYPES: &[(&str, &str)] = &[
    ("avenrun", "u64[3]"),
    ("init_task", "task_struct"),
    ("init_uts_ns", "uts_namespace"),
    ("node_data", "pglist_data*[]"),
    ("psi_system", "psi_group"),
    ("vm_node_stat", "atomic64_t[]"),
    ("vm_zone_stat", "atomic64_t[]"),
];

/// Words in a symbol's name that mark a secret, or an address that hides others.
const SECRETS: &[&str] = &[
    "base", "canary", "crng", "entropy", "guard", "kaslr", "key", "keyring", "keys", "offset",
    "password", "random", "rnd", "secret", "seed", "siphash",
];

/// The row of a name; an expression has none.
#[must_use]
pub fn named(name: &str) -> Option<&'static Named> {
    NAMED.iter().find(|named| named.name == name)
}

/// What a variable is called that was asked for by an expression alone: its symbol and
/// fields, `init_uts_ns_name_release`.
#[must_use]
pub fn plain_name(expression: &str) -> String {
    let text = expression.trim_start();
    // A type in front is no part of the value's name.
    let text = match text.strip_prefix('(') {
        Some(rest) => rest.split_once(')').map_or(rest, |(_, rest)| rest),
        None => text,
    };
    let text = text.split(':').next().unwrap_or_default().trim();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("_")
}

/// The type of a symbol that BTF does not describe.
pub(crate) fn type_of(symbol: &str) -> Option<&'static str> {
    let row = TYPES.iter().find(|(name, _)| *name == symbol);
    row.map(|(_, ty)| *ty)
}

/// Whether a symbol's name marks a secret. What a name does not show is left to the rule
/// about pointers and to the program's own check of each value.
pub(crate) fn is_secret(symbol: &str) -> bool {
    symbol.split('_').any(|word| SECRETS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::{Cast, Expression};

    #[test]
    fn every_row_parses() {
        for named in NAMED {
            Expression::parse(named.expression).unwrap();
            assert!(!is_secret(named.expression));
        }
        for (_, ty) in TYPES {
            Cast::parse(ty).unwrap();
        }
    }

    #[test]
    fn expressions_give_names() {
        for (expression, name) in [
            ("nr_threads:i32", "nr_threads"),
            ("init_uts_ns.name.release", "init_uts_ns_name_release"),
            (
                "(pglist_data*[])node_data[0].node_zones[ZONE_DMA].vm_stat[0]:u64",
                "node_data_0_node_zones_ZONE_DMA_vm_stat_0",
            ),
            ("uptime", "uptime"),
        ] {
            assert_eq!(plain_name(expression), name);
        }
    }

    #[test]
    fn secrets_are_known_by_a_word_of_their_name() {
        for name in [
            "net_secret",
            "__stack_chk_guard",
            "__per_cpu_offset",
            "page_offset_base",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["nr_threads", "keyboard_tasklet", "total_forks"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
