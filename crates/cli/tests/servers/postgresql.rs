//! PostgreSQL, whose time-outs are interval timers and waits for sockets.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::common::{debian, printed};
use super::{DATE, Server, Way, YEAR, directory, script};

/// What PostgreSQL needs beside what every Debian has.
const POSTGRES: [&str; 14] = [
    "postgresql-15",
    "postgresql-client-15",
    "libgssapi-krb5-2",
    "libicu72",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libldap-2.5-0",
    "libpq5",
    "libsasl2-2",
    "libssl3",
    "libxml2",
    "libxslt1.1",
];

/// Where PostgreSQL's programs, its data and its socket are, and who runs them: it refuses to
/// be root.
struct Postgres {
    home: tempfile::TempDir,
    is_root: bool,
}

/// The user who owns nothing.
const NOBODY: u32 = 65534;

impl Postgres {
    /// Initialises a data directory.
    fn new(tree: &Path) -> Postgres {
        let postgres = Postgres {
            home: directory(),
            is_root: rustix::process::geteuid().is_root(),
        };
        let home = postgres.home.path();
        // The cache may be where only its owner can look.
        for part in ["usr/lib", "usr/share/postgresql"] {
            let to = home.join(part);
            fs::create_dir_all(&to).expect("a directory");
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(tree.join(part).join(".")).arg(&to);
            assert!(copy.status().expect("cp runs").success(), "{copy:?}");
        }
        let data = home.join("data");
        fs::create_dir(&data).expect("a directory");
        if postgres.is_root {
            fs::set_permissions(home, fs::Permissions::from_mode(0o755)).expect("permissions");
            for given in [home, &data] {
                chown(given, Some(NOBODY), Some(NOBODY)).expect("the owner is changed");
            }
        }
        let mut initialise = postgres.command(None, "initdb");
        initialise
            .args([
                "--no-sync",
                "--no-locale",
                "--encoding=UTF8",
                "--auth=trust",
            ])
            .args(["--username=test", "--pgdata"])
            .arg(&data);
        let output = initialise.output().expect("initdb starts");
        assert!(output.status.success(), "{output:?}");
        postgres
    }

    /// One of its programs, started through what comes before it.
    fn command(&self, before: Option<&Path>, program: &str) -> Command {
        let mut words = self.user();
        if let Some(before) = before {
            words.push(before.into());
            words.extend(["run", "--time", DATE, "--"].map(Into::into));
        }
        words.push(self.programs().join(program).into());
        self.prepared(&words)
    }

    fn programs(&self) -> PathBuf {
        self.home.path().join("usr/lib/postgresql/15/bin")
    }

    /// What starts a program as the user who runs it.
    fn user(&self) -> Vec<OsString> {
        if !self.is_root {
            return Vec::new();
        }
        let words = format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
        words.split(' ').map(Into::into).collect()
    }

    fn prepared(&self, words: &[OsString]) -> Command {
        let home = self.home.path();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("LD_LIBRARY_PATH", home.join("usr/lib/x86_64-linux-gnu"))
            .current_dir(home)
            .stdin(Stdio::null());
        command
    }

    fn ask(&self, question: &str) -> Output {
        let mut client = self.command(None, "psql");
        client
            .args([
                "--username=test",
                "--dbname=postgres",
                "--tuples-only",
                "--no-align",
            ])
            .args(["--host", self.socket().to_str().expect("a path of text")])
            .args(["--command", question]);
        client.output().expect("psql starts")
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("data")
    }
}

#[test]
fn postgresql_is_asked_for_the_time() {
    let Some(tree) = debian(&POSTGRES) else {
        return;
    };
    let postgres = Postgres::new(&tree);
    let own = postgres.home.path().join("vdso");
    fs::copy(env!("CARGO_BIN_EXE_vdso"), &own).expect("copied");
    let mut command = postgres.command(Some(&own), "postgres");
    command
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-D"])
        .arg(postgres.socket())
        .arg("-k")
        .arg(postgres.socket())
        .stderr(Stdio::null());
    let mut server = Server::start(&mut command);
    // Each connection is served by a process of its own.
    let answer = server.answer(|| {
        let output = postgres.ask("select extract(year from now() at time zone 'UTC')");
        output.status.success().then_some(output)
    });
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), YEAR);
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert!(server.end().success());
}

/// What ends at its time, and the errors of what is ended so.
const NAMES: [&str; 4] = [
    "pg_sleep",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
];
const ERRORS: [&str; 3] = [
    "ERROR:  canceling statement due to statement timeout",
    "ERROR:  canceling statement due to lock timeout",
    "FATAL:  terminating connection due to idle-in-transaction timeout",
];

#[test]
fn time_outs_of_postgresql_end_at_their_time() {
    let Some(tree) = debian(&POSTGRES) else {
        return;
    };
    let postgres = Postgres::new(&tree);
    let script = script(&postgres.home, include_str!("postgresql.sh"));
    for way in Way::all() {
        let mut words: Vec<OsString> = vec![env!("CARGO_BIN_EXE_vdso").into()];
        words.extend(["run", way.option, "--"].map(Into::into));
        words.extend(postgres.user());
        words.extend(["bash", &script].map(Into::into));
        words.push(format!("{}", way.seconds * 1000.0).into());
        words.push(postgres.programs().into());
        let said = printed(&mut postgres.prepared(&words));
        let (lasted, errors) = said.split_once("\n\n").expect(&said);
        way.lasted(lasted, &NAMES);
        let errors: Vec<&str> = errors.lines().collect();
        assert_eq!(errors, ERRORS, "{}", way.option);
    }
}
