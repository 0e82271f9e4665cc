//! One sentence each, the remedy, status 1, and nothing written.

use crate::stores::{etcd, etcdctl, free_ports, nats};
use crate::{Machine, refused, vdso};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

#[test]
fn locations_and_servers_that_do_not_exist_are_refused() {
    let machine = Machine::new();
    let image = machine.path("libflags.so.1");
    let port = free_ports(1)[0];
    for (store, words) in [
        (
            "redis://a/flags".to_owned(),
            &["`redis` is not a known scheme", "nats://"][..],
        ),
        ("nats://localhost".into(), &["bucket"]),
        (
            "nats://me:secret@localhost/flags".into(),
            &["command line", "--password-file"],
        ),
        (
            format!("nats://localhost:{port}/flags"),
            &["can be reached", "refused", "route"],
        ),
        (
            format!("etcd://localhost:{port}/flags/"),
            &["can be reached", "refused", "route"],
        ),
        (
            "nats://does-not-exist.invalid/flags".into(),
            &["can be reached"],
        ),
    ] {
        refused(&mut machine.command(&store, &[]), words, &image);
        let mut put = vdso(&["put", &store, "limit=1"]);
        refused(&mut put, words, &image);
    }
}

#[test]
fn a_missing_bucket_and_a_server_without_jetstream_are_refused() {
    let Some(mut store) = nats(1, "") else { return };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let image = machine.path("libflags.so.1");
    refused(
        &mut machine.command(&url, &[]),
        &["no bucket `flags`", "--create"],
        &image,
    );
    refused(&mut vdso(&["put", &url, "limit=1"]), &["no bucket"], &image);
    store.server().kill();
    let port = store.server().port;
    let config = store.directory.path().join(format!("{port}.conf"));
    fs::write(&config, format!("listen: \"127.0.0.1:{port}\"\n")).unwrap();
    store.server().start();
    let words = &["no JetStream", "--jetstream"];
    refused(&mut machine.command(&url, &[]), words, &image);
}

#[test]
fn a_wrong_password_is_refused() {
    let machine = Machine::new();
    let image = machine.path("libflags.so.1");
    let file = machine.path("password");
    fs::write(&file, "wrong\n").unwrap();
    let login = ["--user", "root", "--password-file", file.to_str().unwrap()];
    let words = &["refused the credentials", "--password-file"];
    if let Some(mut store) = nats(1, "authorization { user: root, password: right }\n") {
        store.server().start();
        refused(&mut machine.command(&store.url(), &login), words, &image);
        refused(&mut machine.command(&store.url(), &[]), words, &image);
    }
    if let Some(mut store) = etcd(1, "http", &[]) {
        store.server().start();
        let port = store.server().port;
        etcdctl(port, &["user", "add", "root:right"]);
        etcdctl(port, &["user", "grant-role", "root", "root"]);
        etcdctl(port, &["auth", "enable"]);
        refused(&mut machine.command(&store.url(), &login), words, &image);
        refused(&mut machine.command(&store.url(), &[]), words, &image);
        fs::write(&file, "right\n").unwrap();
        machine.feed(&store.url(), &login).stop();
    }
}

#[test]
fn a_store_without_a_declaration_is_refused_by_put() {
    let Some(mut store) = etcd(1, "http", &[]) else {
        return;
    };
    store.server().start();
    let machine = Machine::new();
    let image = machine.path("libflags.so.1");
    let mut put = vdso(&["put", &store.url(), "limit=1"]);
    refused(&mut put, &["holds no declaration", "--declaration"], &image);
}

/// A bucket with room for 4 KiB, by JetStream's interface itself: `--create` sets no limit.
fn small_bucket(port: u16) {
    let stream = r#"{"name":"KV_flags","subjects":["$KV.flags.>"],"max_msgs_per_subject":1,
        "max_bytes":4096,"discard":"new","allow_rollup_hdrs":true,"deny_delete":true,
        "allow_direct":true,"retention":"limits","storage":"file","num_replicas":1}"#;
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\n\
         PUB $JS.API.STREAM.CREATE.KV_flags answer {}\r\n{stream}\r\n",
        stream.len()
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(connection).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("MSG")).unwrap();
    let answer = lines.next().unwrap();
    assert!(answer.contains("\"created\""), "{answer}");
}

/// Writes a key without `vdso put`, which takes no such value.
fn publish(port: u16, key: &str, value: &[u8]) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "CONNECT {{\"verbose\":false}}\r\nPUB $KV.flags.{key} {}\r\n",
        value.len()
    );
    let request = [head.as_bytes(), value, b"\r\nPING\r\n"].concat();
    connection.write_all(&request).unwrap();
    // The server answers in order.
    let mut lines = BufReader::new(connection).lines().map(Result::unwrap);
    lines.find(|line| line == "PONG").unwrap();
}

#[test]
fn a_value_that_is_not_utf_8_is_refused_with_its_key_and_revision() {
    let Some(mut store) = nats(1, "") else { return };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let mut feed = machine.feed(&url, &["--create"]);
    publish(store.server().port, "mode", b"ab\xff");
    let event = feed.event("\"refused\"");
    for word in ["\"mode\"", "\"revision\":2", "not UTF-8 from byte 2 on"] {
        assert!(event.contains(word), "{event}");
    }
    publish(store.server().port, "limit", b"7");
    machine.wait("limit", "7");
    assert_eq!(machine.get("mode"), "\"run\"");
    feed.stop();
}

#[test]
fn a_put_that_a_full_bucket_does_not_take_fails() {
    let Some(mut store) = nats(1, "") else { return };
    store.server().start();
    small_bucket(store.server().port);
    let (url, machine) = (store.url(), Machine::new());
    let image = machine.path("libflags.so.1");
    let declaration = machine.path("flags.toml");
    let wide = fs::read_to_string(&declaration).unwrap();
    fs::write(&declaration, wide.replace("str[16]", "str[16000]")).unwrap();
    let declaration = ["--declaration", declaration.to_str().unwrap()];
    crate::put(&url, &[&declaration[..], &["mode=small"]].concat());
    let long = format!("mode={}", "x".repeat(9000));
    let mut put = vdso(&["put", &url, &long]);
    refused(&mut put, &["maximum bytes exceeded", "help:"], &image);
    // The value is the one before.
    let feed = machine.feed(&url, &[]);
    assert_eq!(machine.get("mode"), "\"small\"");
    feed.stop();
}

#[test]
fn a_put_without_the_permission_to_write_fails() {
    let users = "authorization { users: [
        { user: writer, password: w },
        { user: reader, password: r, permissions: {
            publish: [\"$JS.API.>\"], subscribe: [\"_INBOX.>\"] } } ] }\n";
    let Some(mut store) = nats(1, users) else {
        return;
    };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let image = machine.path("libflags.so.1");
    let login = |user: &str| {
        let file = machine.path(user);
        fs::write(&file, &user[..1]).unwrap();
        let file = file.to_str().unwrap().to_owned();
        [
            "--user".to_owned(),
            user.to_owned(),
            "--password-file".to_owned(),
            file,
        ]
    };
    let (writer, reader) = (login("writer"), login("reader"));
    let writer: Vec<&str> = writer.iter().map(String::as_str).collect();
    let reader: Vec<&str> = reader.iter().map(String::as_str).collect();
    let feed = machine.feed(&url, &[&writer[..], &["--create"]].concat());
    crate::put(&url, &[&writer[..], &["limit=1"]].concat());
    feed.stop();
    fs::remove_file(&image).unwrap();
    let mut put = vdso(&["put", &url]);
    put.args(&reader).arg("limit=2");
    refused(
        &mut put,
        &["refused the credentials", "$KV.flags.limit", "write it"],
        &image,
    );
    // Reading takes no more than that.
    let feed = machine.feed(&url, &reader);
    assert_eq!(machine.get("limit"), "1");
    feed.stop();
}

/// Makes a certificate authority, and a certificate of it for localhost, server's and client's.
fn certificates(machine: &Machine) -> bool {
    let script = "set -e
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -keyout ca.key -out ca.pem -subj /CN=authority -addext basicConstraints=critical,CA:TRUE
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -keyout key.pem -out request.pem -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile ext -out cert.pem";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .current_dir(machine.directory.path());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", crate::errors(&output));
    true
}

#[test]
fn tls_wants_the_authority_and_the_clients_certificate() {
    let machine = Machine::new();
    let image = machine.path("libflags.so.1");
    assert!(certificates(&machine));
    let path = |name: &str| machine.path(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    let all = ["--ca", &ca, "--cert", &cert, "--key", &key];
    let tls = format!(
        "tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true }}\n"
    );
    let options = [
        "--client-cert-auth",
        "--trusted-ca-file",
        &ca,
        "--cert-file",
        &cert,
        "--key-file",
        &key,
    ];
    let stores = [nats(1, &tls), etcd(1, "https", &options)];
    for mut store in stores.into_iter().flatten().map(|store| store.with_tls()) {
        store.server().start();
        let url = store.url();
        refused(&mut machine.command(&url, &[]), &["TLS", "--ca"], &image);
        let mut create = all.to_vec();
        create.push("--create");
        let feed = machine.feed(&url, &create);
        let mut put = all.to_vec();
        put.push("limit=12");
        crate::put(&url, &put);
        machine.wait("limit", "12");
        feed.stop();
        fs::remove_file(&image).unwrap();
        let mut wrong = all.to_vec();
        wrong[1] = "/dev/null/ca.pem";
        refused(
            &mut machine.command(&url, &wrong),
            &["/dev/null/ca.pem could not be read"],
            &image,
        );
    }
}
