//! A prefix of etcd v3.
//!
//! Revisions are the store's: each transaction has one, and all keys that it wrote have it. Writes come
//! from a watch, whose answers never divide a revision. A linearizable read, which needs the majority
//! of the cluster, says what the last revision is.

mod http;

use crate::credentials::Credentials;
use crate::declaration::DECLARATION_KEY;
use crate::error::Error;
use crate::link::{ANSWER_TIMEOUT, Event, PROBE_PERIOD, boottime, lost};
use crate::location::Location;
use crate::table::{Batch, Content, Head, Write};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Connection, Lines, Member};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Keys in one answer of the first reading.
const PAGE: usize = 1000;

/// A watch of a prefix, and a second connection for questions.
pub(crate) struct Etcd {
    location: Location,
    watch: Lines,
    questions: Option<Connection>,
    question: Option<BoxFuture<'static, (Connection, Result<Head, Error>)>>,
    tick: Interval,
}

impl Etcd {
    /// Stores the declaration, unless there is one.
    pub(crate) async fn create(
        location: &Location,
        credentials: &Credentials,
        declaration: &str,
    ) -> Result<(), Error> {
        let mut client = Client::connect(location, credentials).await?;
        client
            .write(&[(DECLARATION_KEY, declaration.as_bytes(), Some(0))])
            .await
            .map(drop)
    }

    /// Connects and reads all keys.
    pub(crate) async fn open(
        location: &Location,
        credentials: &Credentials,
        published: u64,
    ) -> Result<(Self, (Batch, Head)), Error> {
        let (member, mut connection) = Member::find(location, credentials, ANSWER_TIMEOUT).await?;
        let asked = boottime();
        let mut writes = Vec::new();
        let mut revision = None;
        let mut from = location.part.clone().into_bytes();
        loop {
            let mut request = range(location, &from);
            request["limit"] = PAGE.to_string().into();
            if let Some(revision) = revision {
                // The pages are of one revision.
                request["revision"] = u64::to_string(&revision).into();
            }
            let answer = connection.call("/v3/kv/range", &request).await?;
            let found = number(&answer["header"]["revision"]);
            if found < published {
                return Err(Error::Older {
                    location: location.to_string(),
                    found,
                    published,
                });
            }
            revision.get_or_insert(found);
            let keys = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice);
            writes.extend(keys.iter().filter_map(|kv| write(location, kv, true)));
            match (keys.last(), answer["more"].as_bool()) {
                (Some(last), Some(true)) => {
                    from = decode(&last["key"]);
                    // The key that follows it immediately.
                    from.push(0);
                }
                _ => break,
            }
        }
        let revision = revision.unwrap_or(0);
        let head = Head {
            revision,
            content: Content::Newest {
                revision: writes.iter().map(|one| one.revision).max().unwrap_or(0),
                count: writes.len() as u64,
            },
            age: boottime() - asked,
        };
        let batch = Batch {
            revision,
            writes,
            is_whole: true,
        };
        let session = Self::watch(location, &member, connection, revision).await?;
        Ok((session, (batch, head)))
    }

    /// Connects, and goes on behind `revision`. A question may remain unanswered for `patience`.
    pub(crate) async fn resume(
        location: &Location,
        credentials: &Credentials,
        revision: u64,
        patience: Duration,
    ) -> Result<Self, Error> {
        let (member, connection) = Member::find(location, credentials, patience).await?;
        Self::watch(location, &member, connection, revision).await
    }

    async fn watch(
        location: &Location,
        member: &Member,
        questions: Connection,
        revision: u64,
    ) -> Result<Self, Error> {
        let mut request = range(location, location.part.as_bytes());
        request["start_revision"] = (revision + 1).to_string().into();
        let connection = member.connect().await?;
        let request = json!({"create_request": request});
        let watch = connection.stream("/v3/watch", &request).await?;
        let mut tick = interval(PROBE_PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            location: location.clone(),
            watch,
            questions: Some(questions),
            question: None,
            tick,
        })
    }

    /// The next writes or answer. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            tokio::select! {
                line = self.watch.next() => {
                    if let Some(batch) = self.batch(&line?)? {
                        return Ok(Event::Writes(batch));
                    }
                }
                _ = self.tick.tick(), if self.question.is_none() => {
                    if let Some(connection) = self.questions.take() {
                        self.question = Some(ask(connection, self.location.clone()).boxed());
                    }
                }
                (connection, head) = answer(&mut self.question) => {
                    self.question = None;
                    self.questions = Some(connection);
                    return head.map(Event::Head);
                }
            }
        }
    }

    /// The writes of an answer of the watch; `None` where it has none.
    fn batch(&self, line: &Value) -> Result<Option<Batch>, Error> {
        if !line["error"].is_null() {
            return Err(self
                .watch
                .connection()
                .refusal(&line["error"], "the watch failed"));
        }
        let result = &line["result"];
        if result["canceled"].as_bool() == Some(true) {
            let revision = number(&result["compact_revision"]);
            return Err(match revision {
                0 => {
                    let why = result["cancel_reason"].as_str();
                    lost(&self.location, why.unwrap_or("the watch was cancelled"))
                }
                revision => Error::Compacted { revision },
            });
        }
        let Some(events) = result["events"].as_array() else {
            return Ok(None);
        };
        let writes: Vec<Write> = events
            .iter()
            .filter_map(|event| {
                // Puts are 0, which JSON leaves out.
                let exists = event["type"].as_str() != Some("DELETE");
                write(&self.location, &event["kv"], exists)
            })
            .collect();
        let revision = writes.iter().map(|one| one.revision).max();
        Ok(revision.map(|revision| Batch {
            revision,
            writes,
            is_whole: false,
        }))
    }
}

/// Waits for the answer to a question; forever where there is none.
async fn answer<T>(question: &mut Option<BoxFuture<'static, T>>) -> T {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

/// Asks for the last revision, the newest key and the number of keys.
async fn ask(mut connection: Connection, location: Location) -> (Connection, Result<Head, Error>) {
    let asked = boottime();
    let mut request = range(&location, location.part.as_bytes());
    request["limit"] = "1".into();
    request["keys_only"] = true.into();
    request["sort_target"] = "MOD".into();
    request["sort_order"] = "DESCEND".into();
    let answer = connection.call("/v3/kv/range", &request).await;
    let head = answer.map(|answer| Head {
        revision: number(&answer["header"]["revision"]),
        content: Content::Newest {
            revision: number(&answer["kvs"][0]["mod_revision"]),
            count: number(&answer["count"]),
        },
        age: boottime() - asked,
    });
    (connection, head)
}

/// A client that reads and writes single keys.
pub(crate) struct Client {
    location: Location,
    connection: Connection,
}

impl Client {
    pub(crate) async fn connect(
        location: &Location,
        credentials: &Credentials,
    ) -> Result<Self, Error> {
        let (_, connection) = Member::find(location, credentials, ANSWER_TIMEOUT).await?;
        Ok(Self {
            location: location.clone(),
            connection,
        })
    }

    /// A key's value and revision.
    pub(crate) async fn read(&mut self, key: &str) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let request = json!({"key": encode(&self.full(key))});
        let answer = self.connection.call("/v3/kv/range", &request).await?;
        let found = &answer["kvs"][0];
        Ok(found
            .is_object()
            .then(|| (decode(&found["value"]), number(&found["mod_revision"]))))
    }

    /// Writes keys in one transaction, if each still has the revision that is named with it; 0 is a
    /// key that does not exist. Returns the transaction's revision, or `None` if one had another.
    pub(crate) async fn write(
        &mut self,
        writes: &[(&str, &[u8], Option<u64>)],
    ) -> Result<Option<u64>, Error> {
        let compare: Vec<Value> = writes
            .iter()
            .filter_map(|(key, _, revision)| {
                Some(json!({
                    "key": encode(&self.full(key)),
                    "target": "MOD",
                    "result": "EQUAL",
                    "mod_revision": (*revision)?.to_string(),
                }))
            })
            .collect();
        let puts: Vec<Value> = writes
            .iter()
            .map(|(key, value, _)| {
                let put = json!({"key": encode(&self.full(key)), "value": encode(value)});
                json!({"request_put": put})
            })
            .collect();
        let request = json!({"compare": compare, "success": puts});
        let answer = self.connection.call("/v3/kv/txn", &request).await?;
        let is_written = answer["succeeded"].as_bool() == Some(true);
        Ok(is_written.then(|| number(&answer["header"]["revision"])))
    }

    fn full(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.location.part).into_bytes()
    }
}

/// The keys from `from` to the end of the prefix.
fn range(location: &Location, from: &[u8]) -> Value {
    json!({"key": encode(from), "range_end": encode(&end(location.part.as_bytes()))})
}

/// The first key behind all that begin with the prefix.
fn end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    // etcd's name for the end of all keys.
    vec![0]
}

/// A key and its value. Keys that are not UTF-8 are no variable's.
fn write(location: &Location, kv: &Value, exists: bool) -> Option<Write> {
    let key = String::from_utf8(decode(&kv["key"])).ok()?;
    Some(Write {
        key: key.strip_prefix(&location.part)?.to_owned(),
        revision: number(&kv["mod_revision"]),
        value: exists.then(|| Bytes::from(decode(&kv["value"]))),
    })
}

fn encode(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// Bytes; empty ones are left out of the JSON.
fn decode(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    STANDARD.decode(text).unwrap_or_default()
}

/// A 64-bit number, which is a string in the JSON; 0 is left out.
fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or(value.as_u64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key() {
        assert_eq!(end(b"/flags/"), b"/flags0");
        assert_eq!(end(b"a\xff"), b"b");
        assert_eq!(end(b"\xff\xff"), [0]);
    }
}
