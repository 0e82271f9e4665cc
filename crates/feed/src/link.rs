//! One connection to a store, of whichever kind.

use crate::credentials::Credentials;
use crate::declaration::FedVariable;
use crate::error::Error;
use crate::etcd::Etcd;
use crate::location::{Kind, Location};
use crate::nats::Nats;
use crate::table::{Batch, Head};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A store that was read once and can be followed from there on.
pub struct Link {
    pub(crate) runtime: Runtime,
    pub(crate) location: Location,
    pub(crate) credentials: Credentials,
    pub(crate) session: Session,
    pub(crate) first: Batch,
    pub(crate) head: Head,
}

/// The time between two questions for the store's last revision.
pub(crate) const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// How long a server may take to answer before the connection counts as lost.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The same where one value may have to arrive before the answer does: the largest one, over a link of
/// 30 kbit/s. A session whose questions remained unanswered is followed by one that waits longer, up to
/// this time.
pub(crate) const VALUE_TIMEOUT: Duration = Duration::from_secs(30);

impl Link {
    /// Connects and reads all keys. `published` is the revision that was published before, or 0.
    ///
    /// With `create`, a bucket that does not exist is created, and the declaration is stored for
    /// [`put`](crate::put()) unless one is.
    ///
    /// # Errors
    /// Any of [`Error`] but [`Error::Compacted`].
    pub fn open(
        location: &Location,
        credentials: &Credentials,
        published: u64,
        create: Option<&Create>,
    ) -> Result<Self, Error> {
        let runtime = runtime()?;
        let opened = runtime.block_on(async {
            if let Some(new) = create {
                match location.kind {
                    Kind::Nats => Nats::create(location, credentials, new).await?,
                    Kind::Etcd => Etcd::create(location, credentials, &new.declaration).await?,
                }
            }
            Session::open(location, credentials, published).await
        });
        let (session, first) = opened?;
        let Some((first, head)) = first else {
            return Err(lost(location, "nothing was read"));
        };
        Ok(Self {
            runtime,
            location: location.clone(),
            credentials: credentials.clone(),
            session,
            first,
            head,
        })
    }

    /// The keys of these variables that do not exist.
    #[must_use]
    pub fn missing<'v>(&self, variables: &'v [FedVariable]) -> Vec<&'v str> {
        let existing = self.first.writes.iter().filter(|one| one.value.is_some());
        let existing: BTreeSet<&str> = existing.map(|one| one.key.as_str()).collect();
        let keys = variables.iter().map(|variable| variable.key.as_str());
        keys.filter(|key| !existing.contains(key)).collect()
    }
}

/// What a store gets that has none of it.
#[derive(Clone, Debug)]
pub struct Create {
    /// The declaration in TOML.
    pub declaration: String,
    /// The number of servers that keep a bucket (NATS); one that is killed is missed by none if there
    /// are three. etcd keeps everything on all members.
    pub replicas: usize,
}

pub(crate) fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Start)
}

/// What a session has to tell.
pub(crate) enum Event {
    Writes(Batch),
    Head(Head),
}

/// A connection from which writes come.
pub(crate) enum Session {
    Nats(Box<Nats>),
    Etcd(Box<Etcd>),
}

impl Session {
    /// Connects and reads all keys. Fails with [`Error::Older`] where the store's last revision is
    /// older than `published`.
    pub(crate) async fn open(
        location: &Location,
        credentials: &Credentials,
        published: u64,
    ) -> Result<(Self, Option<(Batch, Head)>), Error> {
        Ok(match location.kind {
            Kind::Nats => {
                let (session, first) = Nats::open(location, credentials, published).await?;
                (Self::Nats(Box::new(session)), Some(first))
            }
            Kind::Etcd => {
                let (session, first) = Etcd::open(location, credentials, published).await?;
                (Self::Etcd(Box::new(session)), Some(first))
            }
        })
    }

    /// Connects, and goes on behind `revision`. A question may remain unanswered for `patience`.
    pub(crate) async fn resume(
        location: &Location,
        credentials: &Credentials,
        revision: u64,
        patience: Duration,
    ) -> Result<Self, Error> {
        Ok(match location.kind {
            Kind::Nats => {
                let session = Nats::resume(location, credentials, revision, patience).await?;
                Self::Nats(Box::new(session))
            }
            Kind::Etcd => {
                let session = Etcd::resume(location, credentials, revision, patience).await?;
                Self::Etcd(Box::new(session))
            }
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        match self {
            Self::Nats(session) => session.next().await,
            Self::Etcd(session) => session.next().await,
        }
    }
}

pub(crate) fn lost(location: &Location, why: impl ToString) -> Error {
    Error::Lost {
        location: location.to_string(),
        why: why.to_string(),
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`, which counts the time that the machine sleeps.
pub(crate) fn boottime() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative (clock_gettime(2)).
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
