//! MariaDB, whose time-outs are waits for conditions until a time of the wall clock.

use std::fs;
use std::process::Command;

use super::common::{debian, printed, vdso};
use super::{Way, directory, script};

/// What MariaDB needs beside what every Debian has.
const PACKAGES: [&str; 9] = [
    "mariadb-server-core",
    "mariadb-client-core",
    "libaio1",
    "libedit2",
    "libmariadb3",
    "libncurses6",
    "libnuma1",
    "libpcre2-8-0",
    "liburing2",
];

/// What ends at its time, and the errors of what is ended so.
const NAMES: [&str; 6] = [
    "sleep",
    "get_lock",
    "max_statement_time",
    "innodb_lock_wait_timeout",
    "lock_wait_timeout",
    "event",
];
const ERRORS: [&str; 3] = [
    "ERROR 1969 (70100)",
    "ERROR 1205 (HY000)",
    "ERROR 1205 (HY000)",
];

#[test]
fn time_outs_of_mariadb_end_at_their_time() {
    let Some(tree) = debian(&PACKAGES) else {
        return;
    };
    let directory = directory();
    let script = script(&directory, include_str!("mariadb.sh"));
    let place = |command: &mut Command| {
        let libraries = tree.join("usr/lib/x86_64-linux-gnu");
        command
            .env("LD_LIBRARY_PATH", libraries)
            .env("TREE", &tree)
            .current_dir(directory.path());
        printed(command)
    };
    place(Command::new("bash").args([&script, "install"]));
    for way in Way::all() {
        let seconds = way.seconds.to_string();
        let said = place(&mut vdso(&[
            "run", way.option, "--", "bash", &script, &seconds,
        ]));
        let (lasted, errors) = said.split_once("\n\n").expect(&said);
        way.lasted(lasted, &NAMES);
        let errors: Vec<&str> = errors.lines().collect();
        assert_eq!(errors, ERRORS, "{}", way.option);
    }
    fs::remove_dir_all(directory.path().join("data")).expect("its data");
}
