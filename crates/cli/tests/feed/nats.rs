//! A bucket on one nats-server.

use crate::stores::nats;
use crate::{Machine, errors, put, vdso};
use std::fs;

#[test]
fn values_follow_the_bucket_and_a_restart_goes_on() {
    let Some(mut store) = nats(1, "") else { return };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let mut feed = machine.feed(&url, &["--create"]);
    assert_eq!(machine.get("limit"), "100");
    assert_eq!(machine.get("wind"), "speed=0.5 from=\"\"");
    put(
        &url,
        &["limit=250", "mode=drain", "weights=1,2.5", "other=7"],
    );
    machine.wait("other", "7");
    assert_eq!(machine.get("limit"), "250");
    assert_eq!(machine.get("mode"), "\"drain\"");
    assert_eq!(machine.get("weights"), "1,2.5");
    // A field alone: the others keep their values, of the declaration and then of the store.
    put(&url, &["wind.speed=3"]);
    put(&url, &["wind.from=NW"]);
    machine.wait("wind", "speed=3 from=\"NW\"");
    assert_eq!(machine.get("feed_connected"), "true");
    let revision = machine.revision();

    // The values stay over a restart of the store, and go on.
    store.server().kill();
    machine.wait("feed_connected", "false");
    store.server().start();
    feed.event("\"connected\"");
    put(&url, &["limit=251"]);
    machine.wait("limit", "251");
    assert!(machine.revision() > revision);
    feed.stop();
    put(&url, &["mode=full"]);
    let feed = machine.feed(&url, &[]);
    assert_eq!(machine.get("mode"), "\"full\"");
    feed.stop();
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_the_others_go_on() {
    let Some(mut store) = nats(1, "") else { return };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let mut feed = machine.feed(&url, &["--create"]);
    put(&url, &["limit=250"]);
    // By another declaration, which does not agree with this machine's.
    let wide = Machine::with_declaration(
        "[vdso]\nsoname = \"libx.so\"\nversion = \"X\"\n[var.limit]\ntype = \"i64\"\n\
         [var.mode]\ntype = \"str[64]\"\n[var.wind]\ntype = \"str[64]\"\n[var.nobody]\ntype = \"u8\"\n",
    );
    let declaration = wide.path("flags.toml");
    let declaration = declaration.to_str().unwrap();
    let long = "x".repeat(40);
    put(
        &url,
        &[
            "--declaration",
            declaration,
            "limit=-5",
            &format!("mode={long}"),
        ],
    );
    put(&url, &["wind={\"speed\":1}", "nobody=1"]);
    let refused = feed.event("\"limit\"");
    for word in ["\"refused\"", "\"revision\":", "invalid digit"] {
        assert!(refused.contains(word), "{refused}");
    }
    assert!(feed.event("\"mode\"").contains("room for 15"));
    assert!(feed.event("\"wind\"").contains("`from` is missing"));
    feed.event("\"unknown_key\"");
    assert_eq!(machine.get("limit"), "250");
    let own = machine.path("flags.toml");
    put(&url, &["--declaration", own.to_str().unwrap(), "limit=251"]);
    machine.wait("limit", "251");
    feed.stop();
}

#[test]
fn put_refuses_what_does_not_fit_and_writes_nothing() {
    let Some(mut store) = nats(1, "") else { return };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let feed = machine.feed(&url, &["--create"]);
    for (assignments, word) in [
        (&["mode=ok", "limit=-1"][..], "`limit`: \"-1\" is not a u32"),
        (&["mode=ok", "nothing=1"], "no such variable"),
        (&["mode=ok", "wind=1"], "assign its fields"),
        (&["mode=ok", "wind.height=1"], "no such field"),
        (&["mode=ok", "feed_revision=1"], "no such variable"),
    ] {
        let output = vdso(&["put", &url]).args(assignments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{assignments:?}");
        assert!(errors(&output).contains(word), "{}", errors(&output));
    }
    put(&url, &["limit=1"]);
    machine.wait("limit", "1");
    assert_eq!(machine.get("mode"), "\"run\"");
    feed.stop();
}

#[test]
fn a_store_that_was_made_anew_is_refused_until_reset() {
    let Some(mut store) = nats(1, "") else { return };
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
    // The running feed finds no bucket, then one whose last revision is older.
    feed.event("no bucket");
    let other = Machine::new();
    let second = other.feed(&url, &["--create"]);
    put(&url, &["limit=77"]);
    feed.event("was published already");
    assert_eq!(machine.get("limit"), "4");
    feed.stop();
    let output = machine.command(&url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("--reset"), "{}", errors(&output));
    assert_eq!(machine.get("limit"), "4");
    let feed = machine.feed(&url, &["--reset"]);
    assert_eq!(machine.get("limit"), "77");
    feed.stop();
    second.stop();
}

#[test]
fn sighup_reads_a_new_password() {
    let lines = "authorization { user: me, password: $PASSWORD }\n";
    let with = |password: &str| lines.replace("$PASSWORD", password);
    let Some(mut store) = nats(1, &with("one")) else {
        return;
    };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let file = machine.path("password");
    fs::write(&file, "one\n").unwrap();
    let login = ["--user", "me", "--password-file", file.to_str().unwrap()];
    let mut feed = machine.feed(&url, &[&login[..], &["--create"]].concat());
    store.server().kill();
    let port = store.server().port;
    let config = store.directory.path().join(format!("{port}.conf"));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("password: one", "password: two")).unwrap();
    store.server().start();
    feed.event("refused the credentials");
    fs::write(&file, "two\n").unwrap();
    feed.program.signal("-HUP");
    feed.event("\"connected\"");
    put(&url, &[&login[..], &["limit=3"]].concat());
    machine.wait("limit", "3");
    feed.stop();
}
