//! Where a store is: `nats://HOST:PORT,…/BUCKET` and `etcd://HOST:PORT,…/PREFIX`.

use crate::error::Error;
use hyper::http::uri::Authority;
use std::fmt;
use std::str::FromStr;

/// A store and a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub(crate) kind: Kind,
    /// Host and port of each server; at least one.
    pub(crate) servers: Vec<Authority>,
    pub(crate) has_tls: bool,
    /// The bucket, or the prefix with its leading slash.
    pub(crate) part: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nats,
    Etcd,
}

/// The schemes, each with its store, whether it means TLS, and the port.
const SCHEMES: [(&str, Kind, bool, u16); 4] = [
    ("nats", Kind::Nats, false, 4222),
    ("tls", Kind::Nats, true, 4222),
    ("etcd", Kind::Etcd, false, 2379),
    ("etcds", Kind::Etcd, true, 2379),
];

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::Location {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| invalid("it has no scheme"))?;
        let known = SCHEMES.iter().find(|known| known.0 == scheme);
        let (_, kind, has_tls, port) =
            *known.ok_or_else(|| invalid(&format!("`{scheme}` is not a known scheme")))?;
        let (servers, part) = rest.split_once('/').unwrap_or((rest, ""));
        if servers.contains('@') {
            // Every user of the machine can read a command line in /proc.
            return Err(Error::SecretInLocation);
        }
        let servers: Vec<Authority> = servers
            .split(',')
            .map(|server| authority(server, port))
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("a server is not `HOST` or `HOST:PORT`"))?;
        let part = match kind {
            Kind::Nats => {
                let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                if part.is_empty() || !part.chars().all(is_valid) {
                    return Err(invalid(
                        "the bucket behind the servers must be letters, digits, `-` and `_`",
                    ));
                }
                part.to_owned()
            }
            Kind::Etcd if part.is_empty() => {
                return Err(invalid("there is no prefix of keys behind the servers"));
            }
            Kind::Etcd => format!("/{part}"),
        };
        Ok(Self {
            kind,
            servers,
            has_tls,
            part,
        })
    }
}

fn authority(server: &str, port: u16) -> Option<Authority> {
    let authority: Authority = server.parse().ok()?;
    match authority.port() {
        Some(_) => authority.port_u16().map(|_| authority),
        None => format!("{authority}:{port}").parse().ok(),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES
            .iter()
            .find(|known| known.1 == self.kind && known.2 == self.has_tls);
        let servers: Vec<&str> = self.servers.iter().map(Authority::as_str).collect();
        let slash = if self.kind == Kind::Nats { "/" } else { "" };
        write!(
            f,
            "{}://{}{slash}{}",
            scheme.map_or("", |known| known.0),
            servers.join(","),
            self.part
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_have_ports_and_print_as_they_are_read() {
        for (text, printed) in [
            ("nats://a/flags", "nats://a:4222/flags"),
            ("nats://a:1,[::1]:2/flags", "nats://a:1,[::1]:2/flags"),
            ("tls://a/flags", "tls://a:4222/flags"),
            ("etcd://a,b:1/flags/", "etcd://a:2379,b:1/flags/"),
            ("etcds://a/x/y", "etcds://a:2379/x/y"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), printed);
        }
    }

    #[test]
    fn wrong_locations_are_refused_with_the_reason() {
        for (text, word) in [
            ("flags", "scheme"),
            ("redis://a/flags", "redis"),
            ("nats://a", "bucket"),
            ("nats://a/b.c", "bucket"),
            ("nats:///flags", "HOST"),
            ("nats://a:port/flags", "HOST"),
            ("etcd://a:99999/flags", "HOST"),
            ("etcd://a/", "prefix"),
            ("nats://me:secret@a/flags", "command line"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
