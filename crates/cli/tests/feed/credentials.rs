//! Each way to authenticate: the right secret reads and writes, a wrong one is refused in a sentence with
//! the remedy, and nothing is written.

use crate::stores::nats;
use crate::{Machine, put, refused, vdso};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::fs;

/// Feeds and writes with the secret `right`, and is refused with each of `wrong` and without any. The
/// option names a file that has the secret.
#[track_caller]
fn is_needed(lines: &str, option: &str, right: &str, wrong: &[&str]) {
    let Some(mut store) = nats(1, lines) else {
        return;
    };
    store.server().start();
    let (url, machine) = (store.url(), Machine::new());
    let (image, file) = (machine.path("libflags.so.1"), machine.path("secret"));
    let login = [option, file.to_str().unwrap()];
    let words = &["refused the credentials", option];
    for secret in wrong {
        fs::write(&file, secret).unwrap();
        refused(&mut machine.command(&url, &login), words, &image);
        let mut put = vdso(&["put", &url, "limit=1"]);
        refused(put.args(login), words, &image);
    }
    refused(&mut machine.command(&url, &[]), words, &image);
    fs::write(&file, right).unwrap();
    let feed = machine.feed(&url, &[&login[..], &["--create"]].concat());
    put(&url, &[&login[..], &["limit=3"]].concat());
    machine.wait("limit", "3");
    feed.stop();
}

/// A file that has no secret of its kind is refused as such, without a connection.
#[track_caller]
fn is_malformed(option: &str) {
    let machine = Machine::new();
    let (image, file) = (machine.path("libflags.so.1"), machine.path("secret"));
    fs::write(&file, "no such secret\n").unwrap();
    let login = [option, file.to_str().unwrap()];
    let mut feed = machine.command("nats://localhost:1/flags", &login);
    refused(&mut feed, &["secret could not be read", "format"], &image);
}

#[test]
fn a_token_is_needed_where_the_server_has_one() {
    let lines = "authorization { token: \"right\" }\n";
    is_needed(lines, "--token-file", "right\n", &["wrong\n", "\n"]);
}

#[test]
fn an_nkey_is_needed_where_the_server_knows_one() {
    let (right, wrong) = (KeyPair::new_user(), KeyPair::new_user());
    let key = right.public_key();
    let lines = format!("authorization {{ users: [ {{ nkey: \"{key}\" }} ] }}\n");
    let [right, wrong] = [right, wrong].map(|pair| pair.seed().unwrap() + "\n");
    is_needed(&lines, "--nkey", &right, &[&wrong]);
    is_malformed("--nkey");
}

#[test]
fn a_creds_file_is_needed_where_accounts_are_those_of_an_operator() {
    let (operator, account, system) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_account(),
    );
    let described = |pair: &KeyPair| {
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1,
            "leaf": -1, "wildcards": true, "mem_storage": -1, "disk_storage": -1, "streams": -1,
            "consumer": -1,
        });
        signed(&operator, pair, "account", &json!({"limits": unlimited}))
    };
    let lines = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\n\
         resolver_preload {{ {}: {}, {}: {} }}\n",
        signed(&operator, &operator, "operator", &json!({})),
        system.public_key(),
        account.public_key(),
        described(&account),
        system.public_key(),
        // The system's account may keep no streams.
        signed(
            &operator,
            &system,
            "account",
            &json!({"limits": {
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1,
                "leaf": -1, "wildcards": true,
            }})
        ),
    );
    let user = |account: &KeyPair| {
        let user = KeyPair::new_user();
        let rights = json!({"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1});
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            signed(account, &user, "user", &rights),
            user.seed().unwrap()
        )
    };
    // A user of an account that the operator has not made.
    let wrong = user(&KeyPair::new_account());
    is_needed(&lines, "--creds", &user(&account), &[&wrong]);
    is_malformed("--creds");
}

/// A JWT of NATS (ADR-14): what `issuer` says of `subject`.
fn signed(issuer: &KeyPair, subject: &KeyPair, kind: &str, claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["type"] = kind.into();
    claims["version"] = 2.into();
    let body = json!({
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": kind,
        "nats": claims,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let text = format!("{header}.{}", part(&body));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
