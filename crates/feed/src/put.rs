//! Writing values into a store, checked by their declaration.

use crate::credentials::Credentials;
use crate::declaration::{DECLARATION_KEY, FedVariable};
use crate::error::Error;
use crate::etcd::Client;
use crate::link::{lost, runtime};
use crate::location::{Kind, Location};
use crate::nats;
use crate::nats_events::Events;
use crate::value;
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::new as jetstream;
use futures_util::TryFutureExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use vdsokit_build::Declaration;
use vdsokit_build::declaration::Kind as Shape;
use vdsokit_publish::Dynamic;
use vdsokit_publish::assign::Assignment;
use vdsokit_vvar::layout::Type;

/// How often a record is tried again that another writer changes at the same time.
const ATTEMPTS: usize = 16;

/// Writes values into a store. All of them are checked before the first is written. A record of which
/// only some fields are assigned keeps the others; that is tried again while others write it.
///
/// The declaration is the store's own; `declaration`, TOML, is used and stored where it is given. In etcd
/// all keys are written in one transaction, in NATS one after the other. Returns the revision of the last
/// write.
///
/// # Errors
/// [`Error::NoDeclaration`], [`Error::Value`] for an unknown variable or a value that does not fit, and
/// those of the connection. After [`Error::Value`] nothing was written.
pub fn put(
    location: &Location,
    credentials: &Credentials,
    declaration: Option<&str>,
    assignments: &[Assignment],
) -> Result<u64, Error> {
    runtime()?.block_on(async {
        let mut client = Writer::connect(location, credentials).await?;
        let stored = match declaration {
            Some(_) => None,
            None => client.read(DECLARATION_KEY).await?.map(|(bytes, _)| bytes),
        };
        let stored = stored.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let Some(text) = declaration.map(str::to_owned).or(stored) else {
            return Err(Error::NoDeclaration {
                location: location.to_string(),
            });
        };
        let parsed = Declaration::parse(DECLARATION_KEY, &text).map_err(|error| Error::Value {
            name: DECLARATION_KEY.into(),
            why: error.to_string(),
        })?;
        let variables = FedVariable::all(&parsed);
        let changes = plan(&variables, assignments)?;
        let mut revision = 0;
        if declaration.is_some() {
            let written = client
                .write(&[(DECLARATION_KEY, text.as_bytes(), None)])
                .await?;
            revision = written.unwrap_or(revision);
        }
        for _ in 0..ATTEMPTS {
            let mut values = Vec::new();
            for change in &changes {
                values.push(change.value(&mut client).await?);
            }
            let writes: Vec<_> = changes
                .iter()
                .zip(&values)
                .map(|(change, (text, at))| (change.variable.key.as_str(), text.as_bytes(), *at))
                .collect();
            if writes.is_empty() {
                return Ok(revision);
            }
            if let Some(revision) = client.write(&writes).await? {
                return Ok(revision);
            }
        }
        Err(Error::Contended {
            name: changes
                .first()
                .map_or("", |change| &change.variable.name)
                .into(),
        })
    })
}

/// What is assigned to one variable.
struct Change<'v> {
    variable: &'v FedVariable,
    assignments: Vec<Assignment>,
}

fn plan<'v>(
    variables: &'v [FedVariable],
    assignments: &[Assignment],
) -> Result<Vec<Change<'v>>, Error> {
    let mut changes: Vec<Change<'v>> = Vec::new();
    for assignment in assignments {
        let name = match &assignment.field {
            Some(field) => format!("{}.{field}", assignment.name),
            None => assignment.name.clone(),
        };
        let value_error = |why: String| Error::Value {
            name: name.clone(),
            why,
        };
        let variable = variables
            .iter()
            .find(|variable| variable.name == assignment.name)
            .ok_or_else(|| value_error("the declaration has no such variable".into()))?;
        let ty = ty(&variable.kind, assignment.field.as_deref()).map_err(&value_error)?;
        Dynamic::check(ty, &assignment.value)
            .map_err(|why| value_error(format!("{:?} is not a {ty}: {why}", assignment.value)))?;
        match changes
            .iter_mut()
            .find(|one| one.variable.name == variable.name)
        {
            Some(change) => change.assignments.push(assignment.clone()),
            None => changes.push(Change {
                variable,
                assignments: vec![assignment.clone()],
            }),
        }
    }
    Ok(changes)
}

fn ty(kind: &Shape, field: Option<&str>) -> Result<Type, String> {
    match (kind, field) {
        (Shape::Plain(ty), None) => Ok(*ty),
        (Shape::Plain(_), Some(_)) => Err("the variable has no fields".into()),
        (Shape::Record(_), None) => {
            Err("it is a record: assign its fields, name.field=value".into())
        }
        (Shape::Record(fields), Some(name)) => {
            let field = fields.iter().find(|field| field.name == name);
            field
                .map(|field| field.ty)
                .ok_or_else(|| "the record has no such field".into())
        }
    }
}

impl Change<'_> {
    /// The key's new value, and the revision that the key must still have where the value depends on
    /// the one before.
    async fn value(&self, client: &mut Writer) -> Result<(String, Option<u64>), Error> {
        let kind = &self.variable.kind;
        let assigned: BTreeSet<_> = self.assignments.iter().map(|one| &one.field).collect();
        // The last assignment to a field wins, as in `vdso set`.
        let newest = |others: &[Assignment]| {
            let mut all: Vec<Assignment> = self.assignments.iter().rev().cloned().collect();
            all.extend_from_slice(others);
            value::text(kind, &all)
        };
        if assigned.len() >= kind.fields().len() {
            return Ok((newest(&[]), None));
        }
        let (before, revision) = match client.read(&self.variable.key).await? {
            Some((bytes, revision)) => {
                let before = value::assignments(&self.variable.name, kind, &bytes);
                // A value that does not fit is replaced as one that does not exist is.
                (
                    before.unwrap_or_else(|_| self.variable.initial.clone()),
                    revision,
                )
            }
            None => (self.variable.initial.clone(), 0),
        };
        Ok((newest(&before), Some(revision)))
    }
}

/// A client that reads and writes single keys.
enum Writer {
    Nats(Box<Store>, Location, Arc<Events>),
    Etcd(Box<Client>),
}

impl Writer {
    async fn connect(location: &Location, credentials: &Credentials) -> Result<Self, Error> {
        Ok(match location.kind {
            Kind::Nats => {
                let (client, events) = nats::connect(location, credentials).await?;
                let context = jetstream(client);
                let opened = nats::open_store(&context, location);
                let store = events.unless_denied(location, opened).await?;
                Self::Nats(Box::new(store), location.clone(), events)
            }
            Kind::Etcd => Self::Etcd(Box::new(Client::connect(location, credentials).await?)),
        })
    }

    /// A key's value and revision.
    async fn read(&mut self, key: &str) -> Result<Option<(Vec<u8>, u64)>, Error> {
        match self {
            Self::Nats(store, location, events) => {
                let entry = store.entry(key).map_err(|error| lost(location, error));
                let entry = events.unless_denied(location, entry).await?;
                let entry = entry.filter(|entry| entry.operation == Operation::Put);
                Ok(entry.map(|entry| (entry.value.to_vec(), entry.revision)))
            }
            Self::Etcd(client) => client.read(key).await,
        }
    }

    /// Writes keys, each with the revision that it must still have; 0 is a key that does not exist.
    /// Returns the last write's revision, or `None` where a key had another revision.
    async fn write(&mut self, writes: &[(&str, &[u8], Option<u64>)]) -> Result<Option<u64>, Error> {
        match self {
            Self::Etcd(client) => client.write(writes).await,
            Self::Nats(store, location, events) => {
                let written = write_to_bucket(store, location, writes);
                events.unless_denied(location, written).await
            }
        }
    }
}

/// [`Writer::write`] for NATS. Each write is acknowledged by the stream's leader before the next is made.
async fn write_to_bucket(
    store: &Store,
    location: &Location,
    writes: &[(&str, &[u8], Option<u64>)],
) -> Result<Option<u64>, Error> {
    let mut last = 0;
    for &(key, value, at) in writes {
        let value = value.to_vec().into();
        last = match at {
            None => {
                let written = store.put(key, value).await;
                written.map_err(|error| nats::refused(location, &error))?
            }
            Some(0) => match store.create(key, value).await {
                Ok(revision) => revision,
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                    return Ok(None);
                }
                Err(error) => return Err(nats::refused(location, &error)),
            },
            Some(at) => match store.update(key, value, at).await {
                Ok(revision) => revision,
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    return Ok(None);
                }
                Err(error) => return Err(nats::refused(location, &error)),
            },
        };
    }
    Ok(Some(last))
}
