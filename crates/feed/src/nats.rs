//! A key-value bucket of NATS JetStream (NATS ADR-8).
//!
//! Revisions are the sequence numbers of the bucket's stream. Writes come from an ordered consumer,
//! which a replica may serve that lags; the stream's leader is asked for its last revision.

use crate::credentials::{Credentials, secret, seed};
use crate::declaration::DECLARATION_KEY;
use crate::error::Error;
use crate::link::{ANSWER_TIMEOUT, Create, Event, PROBE_PERIOD, VALUE_TIMEOUT, boottime, lost};
use crate::location::Location;
use crate::nats_events::Events;
use crate::table::{Batch, Content, Head, Write};
use crate::tls;
use async_nats::connection::State;
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::kv::{CreateErrorKind, Entry, Operation, Store, Watch};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, LastRawMessageErrorKind};
use async_nats::jetstream::{ErrorCode, new as jetstream};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// A connection to a bucket.
pub(crate) struct Nats {
    location: Location,
    store: Store,
    watch: Watch,
    events: Arc<Events>,
    /// The newest revision that was received.
    newest: u64,
    tick: Interval,
    question: Option<Question>,
    /// How long a question may remain unanswered.
    patience: Duration,
    // Dropped last: its connection ends with it.
    _client: Client,
}

/// A question for the stream's state that is not answered yet.
struct Question {
    asked: u64,
    /// The newest revision at that time: an older answer is of a stream that went back.
    newest: u64,
    answer: BoxFuture<'static, Option<Info>>,
}

impl Nats {
    /// Creates the bucket and stores the declaration, unless they exist.
    pub(crate) async fn create(
        location: &Location,
        credentials: &Credentials,
        new: &Create,
    ) -> Result<(), Error> {
        let (client, events) = connect(location, credentials).await?;
        let context = jetstream(client);
        let created = Self::create_in(&context, location, new);
        events.unless_denied(location, created).await
    }

    async fn create_in(context: &Context, location: &Location, new: &Create) -> Result<(), Error> {
        let store = match open_store(context, location).await {
            Err(Error::NoBucket { .. }) => {
                // `create_key_value` first reads the account's limits, in a form that nats-server
                // 2.9 does not have.
                let created = context
                    .create_stream(bucket(&location.part, new.replicas))
                    .await;
                created.map_err(|error| refused(location, &error))?;
                open_store(context, location).await?
            }
            store => store?,
        };
        let value = new.declaration.clone().into();
        match store.create(DECLARATION_KEY, value).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(refused(location, &error)),
        }
    }

    /// Connects and reads all keys.
    pub(crate) async fn open(
        location: &Location,
        credentials: &Credentials,
        published: u64,
    ) -> Result<(Self, (Batch, Head)), Error> {
        let (client, events) = connect(location, credentials).await?;
        let opened = Self::read_all(location, client, events.clone(), published);
        events.unless_denied(location, opened).await
    }

    async fn read_all(
        location: &Location,
        client: Client,
        events: Arc<Events>,
        published: u64,
    ) -> Result<(Self, (Batch, Head)), Error> {
        let store = open_store(&jetstream_of(client.clone()), location).await?;
        let asked = boottime();
        let info = timeout(ANSWER_TIMEOUT, store.stream.get_info()).await;
        let info = info.map_err(|_| lost(location, "the stream's leader does not answer"))?;
        let state = info.map_err(|error| lost(location, error))?.state;
        if state.last_sequence < published {
            return Err(Error::Older {
                location: location.to_string(),
                found: state.last_sequence,
                published,
            });
        }
        let last = last_existing(&store, location).await?;
        let watch = store.watch_with_history(">").await;
        let mut watch = watch.map_err(|error| lost(location, error))?;
        let mut writes = Vec::new();
        let mut revision = 0;
        let mut pending = u64::from(last > 0);
        // A replica that lags ends its list early; then the list goes on with the keys that follow.
        while pending > 0 || revision < last {
            let entry = timeout(VALUE_TIMEOUT, watch.next())
                .await
                .map_err(|_| lost(location, "it stopped while keys were read"))?
                .ok_or_else(|| lost(location, "the watch ended"))?
                .map_err(|error| lost(location, error))?;
            (revision, pending) = (entry.revision, entry.delta);
            writes.push(write(entry));
        }
        let revision = revision.max(state.last_sequence);
        let head = Head {
            revision,
            content: Content::Keys(writes.len() as u64),
            age: boottime() - asked,
        };
        let batch = Batch {
            revision,
            writes,
            is_whole: true,
        };
        let session = Self::new(
            location,
            client,
            store,
            watch,
            events,
            revision,
            ANSWER_TIMEOUT,
        );
        Ok((session, (batch, head)))
    }

    /// Connects, and goes on behind `revision`. A question may remain unanswered for `patience`.
    pub(crate) async fn resume(
        location: &Location,
        credentials: &Credentials,
        revision: u64,
        patience: Duration,
    ) -> Result<Self, Error> {
        let (client, events) = connect(location, credentials).await?;
        let watched = async {
            let store = open_store(&jetstream_of(client.clone()), location).await?;
            let watch = store.watch_all_from_revision(revision + 1).await;
            Ok((store, watch.map_err(|error| lost(location, error))?))
        };
        let (store, watch) = events.unless_denied(location, watched).await?;
        Ok(Self::new(
            location, client, store, watch, events, revision, patience,
        ))
    }

    fn new(
        location: &Location,
        client: Client,
        store: Store,
        watch: Watch,
        events: Arc<Events>,
        newest: u64,
        patience: Duration,
    ) -> Self {
        let mut tick = interval(PROBE_PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            location: location.clone(),
            store,
            watch,
            events,
            newest,
            tick,
            question: None,
            patience,
            _client: client,
        }
    }

    /// The next write or answer. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            tokio::select! {
                entry = self.watch.next() => {
                    let entry = entry
                        .ok_or_else(|| lost(&self.location, "the watch ended"))?
                        .map_err(|error| lost(&self.location, error))?;
                    self.newest = self.newest.max(entry.revision);
                    return Ok(Event::Writes(Batch {
                        revision: entry.revision,
                        writes: vec![write(entry)],
                        is_whole: false,
                    }));
                }
                () = self.events.ended() => {
                    return Err(lost(&self.location, "the server closed it"));
                }
                _ = self.tick.tick(), if self.question.is_none() => {
                    let (stream, patience) = (self.store.stream.clone(), self.patience);
                    self.question = Some(Question {
                        asked: boottime(),
                        newest: self.newest,
                        answer: async move {
                            timeout(patience, stream.get_info()).await.ok()?.ok()
                        }
                        .boxed(),
                    });
                }
                head = answer(&mut self.question, &self.location) => {
                    self.question = None;
                    return head.map(Event::Head);
                }
            }
        }
    }
}

/// Waits for the answer to a question; forever where there is none.
async fn answer(question: &mut Option<Question>, location: &Location) -> Result<Head, Error> {
    let Some(question) = question else {
        return std::future::pending().await;
    };
    let info = (&mut question.answer).await;
    let state = info
        .ok_or_else(|| lost(location, "the stream's leader does not answer"))?
        .state;
    if state.last_sequence < question.newest {
        return Err(Error::Older {
            location: location.to_string(),
            found: state.last_sequence,
            published: question.newest,
        });
    }
    Ok(Head {
        revision: state.last_sequence,
        content: Content::Keys(state.subjects_count),
        age: boottime() - question.asked,
    })
}

/// The stream of a bucket of this name (ADR-8, "Bucket"), with the last value of each key alone.
fn bucket(name: &str, replicas: usize) -> Config {
    Config {
        name: format!("KV_{name}"),
        description: Some("Values for vDSOs".into()),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        num_replicas: replicas,
        ..Config::default()
    }
}

fn write(entry: Entry) -> Write {
    Write {
        key: entry.key,
        revision: entry.revision,
        value: (entry.operation == Operation::Put).then_some(entry.value),
    }
}

/// The revision of the newest write that was not purged, from the stream's leader; 0 is none.
async fn last_existing(store: &Store, location: &Location) -> Result<u64, Error> {
    let subject = format!("{}>", store.prefix);
    match store.stream.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => Ok(message.sequence),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
        Err(error) => Err(lost(location, error)),
    }
}

/// Connects to one of the servers.
pub(crate) async fn connect(
    location: &Location,
    credentials: &Credentials,
) -> Result<(Client, Arc<Events>), Error> {
    let events = Arc::new(Events::default());
    let received = events.clone();
    let mut options = ConnectOptions::new()
        .name("vdso feed")
        .connection_timeout(ANSWER_TIMEOUT)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .require_tls(location.has_tls)
        .tls_client_config(tls::config(credentials)?)
        .event_callback(move |event| {
            received.receive(event);
            std::future::ready(())
        });
    if let Some((user, password)) = credentials.password()? {
        options = options.user_and_password(user, password);
    }
    if let Some(file) = &credentials.token_file {
        options = options.token(secret(file)?);
    }
    if let Some(file) = &credentials.nkey {
        options = options.nkey(seed(file)?);
    }
    if let Some(file) = &credentials.creds {
        let opened = options.credentials_file(file).await;
        options = opened.map_err(|source| Error::File {
            path: file.clone(),
            source,
        })?;
    }
    let servers: Vec<ServerAddr> = location
        .servers
        .iter()
        .map(|server| format!("nats://{server}").parse())
        .collect::<Result<_, _>>()
        .map_err(|error: std::io::Error| unreachable(location, error))?;
    let connected = timeout(ANSWER_TIMEOUT * 2, options.connect(servers)).await;
    let connected = connected.map_err(|_| unreachable(location, "no answer"))?;
    let client = connected.map_err(|error| {
        let why = with_causes(&error);
        let location = location.to_string();
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Error::Denied { location, why }
            }
            ConnectErrorKind::Tls => Error::Tls { location, why },
            // What rustls refuses comes as an error of the connection.
            ConnectErrorKind::Io if is_of_tls(&error) => Error::Tls { location, why },
            _ => Error::Unreachable { location, why },
        }
    })?;
    if client.connection_state() != State::Connected {
        return Err(unreachable(location, "it is not connected"));
    }
    Ok((client, events))
}

/// The interface of JetStream. A request whose answer is a value may take long.
fn jetstream_of(client: Client) -> Context {
    let mut context = jetstream(client);
    context.set_timeout(VALUE_TIMEOUT);
    context
}

/// Opens the bucket.
pub(crate) async fn open_store(context: &Context, location: &Location) -> Result<Store, Error> {
    let bucket = &location.part;
    let found = timeout(ANSWER_TIMEOUT, context.get_stream(format!("KV_{bucket}"))).await;
    let found = found.map_err(|_| lost(location, "JetStream does not answer"))?;
    if let Err(error) = found {
        return Err(match error.kind() {
            GetStreamErrorKind::JetStream(answer) => match answer.error_code() {
                ErrorCode::STREAM_NOT_FOUND => Error::NoBucket {
                    bucket: bucket.clone(),
                },
                ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                    no_jetstream(location)
                }
                _ => refused(location, &error),
            },
            _ if is_without_responders(&error) => no_jetstream(location),
            _ => lost(location, with_causes(&error)),
        });
    }
    let store = context.get_key_value(bucket).await;
    store.map_err(|error| refused(location, &error))
}

/// Whether nothing listens at the subjects of JetStream's interface.
fn is_without_responders(error: &(dyn std::error::Error + 'static)) -> bool {
    // The client has one sentence for it on requests, and another on those of JetStream.
    let text = with_causes(error);
    text.contains("no responders") || text.contains("JetStream resource does not exist")
}

/// Whether rustls is among the causes.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut inner = causes.filter_map(|error| error.downcast_ref::<std::io::Error>()?.get_ref());
    inner.any(|error| error.is::<tokio_rustls::rustls::Error>())
}

fn no_jetstream(location: &Location) -> Error {
    Error::NoJetStream {
        location: location.to_string(),
    }
}

fn unreachable(location: &Location, why: impl ToString) -> Error {
    Error::Unreachable {
        location: location.to_string(),
        why: why.to_string(),
    }
}

pub(crate) fn refused(location: &Location, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Refused {
        location: location.to_string(),
        why: with_causes(error),
    }
}

/// An error and what caused it, unless the error says so itself.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
