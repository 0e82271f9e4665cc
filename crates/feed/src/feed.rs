//! The source of a fed publisher: a thread that follows the store, and the heartbeat that it earns.

use crate::credentials::Credentials;
use crate::declaration::FedVariable;
use crate::error::Error;
use crate::link::{ANSWER_TIMEOUT, Event, Link, Session, VALUE_TIMEOUT};
use crate::location::Location;
use crate::table::Table;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;
use vdsokit_publish::Publisher;
use vdsokit_publish::serve::{End, Source, Update};

/// What happens to a feed besides values.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A value does not fit its declaration and was not written.
    Refused {
        /// The key.
        key: String,
        /// The revision of its value.
        revision: u64,
        /// Why it does not fit.
        why: String,
    },
    /// A key has no variable. Reported once.
    UnknownKey {
        /// The key.
        key: String,
    },
    /// The connection ended, or could not be made again.
    Disconnected(Error),
    /// The store answers again.
    Connected {
        /// The revision up to which all writes are applied.
        revision: u64,
    },
}

/// Receives notices, in the thread of the feed.
type Report = Box<dyn FnMut(Notice) + Send>;

/// The time between two heartbeats of the main loop. They are as old as the store's last answer.
const PERIOD: Duration = Duration::from_millis(100);

/// The shortest and the longest time between two attempts to connect.
const DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Keeps a publisher's variables at the values of a store.
pub struct Feed {
    table: Arc<Mutex<Table>>,
    stale_after: Duration,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Applies what the link has read, and follows the store from there on in a thread of its own.
    /// When `reload` becomes readable, the connection is made again, with the credentials as they
    /// are then.
    ///
    /// # Errors
    /// [`Error::Publish`] where the publisher lacks the feed's variables, [`Error::Start`].
    pub fn start(
        link: Link,
        publisher: &Publisher,
        variables: Vec<FedVariable>,
        stale_after: Duration,
        reload: UnixStream,
        report: impl FnMut(Notice) + Send + 'static,
    ) -> Result<Self, Error> {
        let mut report: Report = Box::new(report);
        let Link {
            runtime,
            location,
            credentials,
            session,
            first,
            head,
        } = link;
        let mut table = Table::new(publisher, variables)?;
        table.apply(first, &mut report);
        // The first reading is whole, so there is nothing to read again.
        let _ = table.heard(head);
        let table = Arc::new(Mutex::new(table));
        let stop = Arc::new(Notify::new());
        reload.set_nonblocking(true).map_err(Error::Start)?;
        let follower = Follower {
            location,
            credentials,
            table: table.clone(),
            report,
            reload: Arc::new(Notify::new()),
        };
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("feed".into())
            .spawn(move || {
                runtime.block_on(async {
                    let notify = follower.reload.clone();
                    tokio::spawn(forward(reload, notify));
                    tokio::select! {
                        () = follower.run(session) => {}
                        () = stopped.notified() => {}
                    }
                });
                // Without waiting for a name that is being resolved.
                runtime.shutdown_background();
            })
            .map_err(Error::Start)?;
        Ok(Self {
            table,
            stale_after,
            stop,
            thread: Some(thread),
        })
    }
}

/// Notifies of each time that the stream becomes readable.
async fn forward(stream: UnixStream, notify: Arc<Notify>) {
    let Ok(stream) = tokio::net::UnixStream::from_std(stream) else {
        return;
    };
    let mut bytes = [0; 64];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => notify.notify_one(),
            Err(_) => {}
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source for Feed {
    type Error = Error;

    fn period(&self) -> Duration {
        PERIOD
    }

    fn stale_after(&self) -> Duration {
        self.stale_after
    }

    fn update(&mut self, _: &Publisher) -> Result<Update, Error> {
        Ok(Update::AsOf(lock(&self.table).confirmed()))
    }

    fn finish(&mut self, _: &Publisher, _: End) -> Result<(), Error> {
        self.end();
        Ok(())
    }
}

impl Feed {
    fn end(&mut self) {
        lock(&self.table).close();
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed; there is nothing else that it returns.
            let _ = thread.join();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.end();
    }
}

/// What follows the store over reconnections.
struct Follower {
    location: Location,
    credentials: Credentials,
    table: Arc<Mutex<Table>>,
    report: Report,
    reload: Arc<Notify>,
}

impl Follower {
    async fn run(mut self, mut session: Session) {
        let mut patience = ANSWER_TIMEOUT;
        loop {
            let (end, has_received) = self.follow(&mut session).await;
            // A value that a slow link carries for longer than an answer may take delays the answer.
            patience = match has_received {
                true => ANSWER_TIMEOUT,
                false => (patience * 2).min(VALUE_TIMEOUT),
            };
            drop(session);
            lock(&self.table).disconnect();
            // A store that went back says so again at each reading, and never at a resumption.
            let is_whole = matches!(end, Some(Error::Compacted { .. } | Error::Older { .. }));
            if let Some(error) = end {
                (self.report)(Notice::Disconnected(error));
            }
            session = self.reconnect(is_whole, patience).await;
            let revision = lock(&self.table).revision();
            (self.report)(Notice::Connected { revision });
        }
    }

    /// Applies events until the connection ends. Returns why, `None` when it is to be made again, and
    /// whether there was an event.
    async fn follow(&mut self, session: &mut Session) -> (Option<Error>, bool) {
        let mut has_received = false;
        loop {
            let event = tokio::select! {
                event = session.next() => event,
                () = self.reload.notified() => return (None, true),
            };
            match event {
                Ok(Event::Writes(batch)) => lock(&self.table).apply(batch, &mut self.report),
                Ok(Event::Head(head)) => {
                    if !lock(&self.table).heard(head) {
                        let revision = head.revision;
                        return (Some(Error::Compacted { revision }), true);
                    }
                }
                Err(error) => return (Some(error), has_received),
            }
            has_received = true;
        }
    }

    async fn reconnect(&mut self, mut is_whole: bool, patience: Duration) -> Session {
        let (mut delay, most) = DELAYS;
        let mut reported = String::new();
        loop {
            let revision = lock(&self.table).revision();
            let opened = match is_whole {
                true => Session::open(&self.location, &self.credentials, revision).await,
                false => Session::resume(&self.location, &self.credentials, revision, patience)
                    .await
                    .map(|session| (session, None)),
            };
            match opened {
                Ok((session, first)) => {
                    if let Some((batch, head)) = first {
                        let mut table = lock(&self.table);
                        table.apply(batch, &mut self.report);
                        let _ = table.heard(head);
                    }
                    return session;
                }
                Err(Error::Compacted { .. }) if !is_whole => is_whole = true,
                Err(error) => {
                    let text = error.to_string();
                    if text != reported {
                        (self.report)(Notice::Disconnected(error));
                        reported = text;
                    }
                    // Full jitter, so that the feeds of a fleet do not return all at once
                    // (Brooker, "Exponential Backoff And Jitter").
                    let wait = tokio::time::sleep(delay.mul_f64(fraction()));
                    tokio::select! {
                        () = wait => {}
                        () = self.reload.notified() => {}
                    }
                    delay = (delay * 2).min(most);
                }
            }
        }
    }
}

/// A number from 0 to 1 that differs from process to process and from call to call.
fn fraction() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds it with the system's random numbers.
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
