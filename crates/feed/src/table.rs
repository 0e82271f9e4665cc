//! The state of a feed: which revision of each key is applied, and how it gets into the pages.

use crate::declaration::{CONNECTED, DECLARATION_KEY, FedVariable, LAG, REVISION, WRITES};
use crate::error::Error;
use crate::feed::Notice;
use crate::value;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use vdsokit_build::declaration::Kind;
use vdsokit_publish::{Assigner, Publisher, ScalarAssigner, VarWriter};
use vdsokit_vvar::layout::Type;

/// A write of one key; without a value it was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) revision: u64,
    pub(crate) value: Option<Bytes>,
}

/// Writes that are applied together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// All writes up to this revision are in this batch or an earlier one.
    pub(crate) revision: u64,
    pub(crate) writes: Vec<Write>,
    /// Whether these are all keys that exist: a key that is not among them was deleted.
    pub(crate) is_whole: bool,
}

/// The store's answer to the question for its last revision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    /// What tells a copy of the keys from the store's own.
    pub(crate) content: Content,
    /// Nanoseconds of `CLOCK_BOOTTIME` since the question was sent.
    pub(crate) age: u64,
}

/// What identifies the content of a store at a revision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// The number of keys, deleted ones whose marks are left included. Marks and keys can go without a
    /// write (purges, ages), so another number means that keys have to be read again.
    Keys(u64),
    /// The newest revision of a key that exists, and the number of these. Both are as they were if and
    /// only if nothing was written since: a write makes the revision newer unless its key is deleted
    /// again, and a key that is deleted lowers the number.
    Newest { revision: u64, count: u64 },
}

#[derive(Clone, Copy)]
struct Known {
    revision: u64,
    exists: bool,
}

/// A variable, and the place of a scalar: it is looked up once, as a reader waits for each write.
struct Fed {
    variable: FedVariable,
    scalar: Option<ScalarAssigner>,
}

impl Fed {
    fn new(publisher: &Publisher, variable: FedVariable) -> Result<Self, Error> {
        let scalar = match variable.kind {
            Kind::Plain(Type::Scalar(_)) => Some(publisher.scalar(&variable.name)?),
            _ => None,
        };
        Ok(Self { variable, scalar })
    }
}

/// Keys, revisions, and the variables that they are written to.
pub(crate) struct Table {
    variables: Vec<Fed>,
    /// The index of the variable of each key.
    by_key: HashMap<String, usize>,
    known: HashMap<String, Known>,
    revision: u64,
    /// The revision of the last whole reading.
    read_at: u64,
    /// An answer whose revision is not reached yet.
    unreached: Option<Head>,
    /// `CLOCK_BOOTTIME` at which all applied values were the store's own; 0 is never.
    confirmed: u64,
    is_closed: bool,
    pages: Pages,
}

/// The handles that the feed writes through.
struct Pages {
    assigner: Assigner,
    revision: VarWriter<u64>,
    lag: VarWriter<u64>,
    connected: VarWriter<bool>,
    writes: VarWriter<u64>,
}

impl Table {
    pub(crate) fn new(publisher: &Publisher, variables: Vec<FedVariable>) -> Result<Self, Error> {
        let pages = Pages {
            assigner: publisher.assigner(),
            revision: publisher.var(REVISION)?,
            lag: publisher.var(LAG)?,
            connected: publisher.var(CONNECTED)?,
            writes: publisher.var(WRITES)?,
        };
        let variables = variables.into_iter();
        let variables = variables.map(|variable| Fed::new(publisher, variable));
        let variables = variables.collect::<Result<Vec<_>, _>>()?;
        let keys = variables.iter().enumerate();
        Ok(Self {
            by_key: keys
                .map(|(index, fed)| (fed.variable.key.clone(), index))
                .collect(),
            variables,
            known: HashMap::new(),
            revision: 0,
            read_at: 0,
            unreached: None,
            confirmed: 0,
            is_closed: false,
            pages,
        })
    }

    /// The revision up to which all writes are applied.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// No write is applied from now on: the publisher ends.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.pages.connected.set(false);
    }

    pub(crate) fn disconnect(&mut self) {
        self.unreached = None;
        self.pages.connected.set(false);
    }

    /// Applies the writes that are newer than what is known of their keys.
    pub(crate) fn apply(&mut self, batch: Batch, mut notice: impl FnMut(Notice)) {
        if self.is_closed {
            return;
        }
        // A publisher that died in a batch has left an odd number.
        let before = self.pages.writes.get() & !1;
        self.pages.writes.set(before.wrapping_add(1));
        if batch.is_whole {
            self.delete_others(&batch, &mut notice);
            self.read_at = batch.revision;
        }
        for write in &batch.writes {
            let newest = self.known.get_mut(&write.key);
            let known = newest.as_ref().map_or(0, |known| known.revision);
            // A whole reading may have another value at the revision that is known: after a leader's death
            // a replica of a NATS stream may have delivered a write that the next leader does not have.
            let is_old = match batch.is_whole {
                true => write.revision < known,
                false => write.revision <= known.max(self.read_at),
            };
            if is_old {
                continue;
            }
            let is_new = newest.is_none();
            let now = Known {
                revision: write.revision,
                exists: write.value.is_some(),
            };
            match newest {
                Some(known) => *known = now,
                None => drop(self.known.insert(write.key.clone(), now)),
            }
            if let Some(problem) = self.write(write, is_new) {
                notice(problem);
            }
        }
        self.revision = self.revision.max(batch.revision);
        self.pages.revision.set(self.revision);
        self.pages.writes.set(before.wrapping_add(2));
        if let Some(head) = self.unreached.filter(|head| head.revision <= self.revision) {
            self.confirm(head);
        }
    }

    /// Gives the variables of all keys that a whole reading lacks their initial values.
    fn delete_others(&mut self, batch: &Batch, mut notice: impl FnMut(Notice)) {
        let found: BTreeSet<&str> = batch.writes.iter().map(|one| one.key.as_str()).collect();
        self.known.retain(|key, _| found.contains(key.as_str()));
        let lacking = self
            .by_key
            .keys()
            .filter(|key| !found.contains(key.as_str()));
        for key in lacking {
            let deletion = Write {
                key: key.clone(),
                revision: batch.revision,
                value: None,
            };
            if let Some(problem) = self.write(&deletion, false) {
                notice(problem);
            }
        }
    }

    /// Writes one variable. Returns why it was not written.
    fn write(&self, write: &Write, is_new: bool) -> Option<Notice> {
        let Some(fed) = self.by_key.get(&write.key).map(|at| &self.variables[*at]) else {
            let is_reported = is_new && write.value.is_some() && write.key != DECLARATION_KEY;
            return is_reported.then(|| Notice::UnknownKey {
                key: write.key.clone(),
            });
        };
        let (variable, assigner) = (&fed.variable, &self.pages.assigner);
        let assigned = match (&write.value, &fed.scalar) {
            (Some(bytes), Some(scalar)) => value::utf8(bytes).and_then(|text| {
                let assigned = scalar.assign(text.trim());
                assigned.map_err(|error| error.to_string())
            }),
            (Some(bytes), None) => value::assignments(&variable.name, &variable.kind, bytes)
                .and_then(|all| assigner.assign(&all).map_err(|error| error.to_string())),
            (None, _) => assigner
                .assign(&variable.initial)
                .map_err(|error| error.to_string()),
        };
        assigned.err().map(|why| Notice::Refused {
            key: write.key.clone(),
            revision: write.revision,
            why,
        })
    }

    /// Takes note of the store's last revision. Returns false where keys have to be read again.
    #[must_use]
    pub(crate) fn heard(&mut self, head: Head) -> bool {
        if self.is_closed {
            return true;
        }
        self.pages.connected.set(true);
        if let Content::Newest { revision, count } = head.content
            && head.revision > self.revision
            && self.newest() == (revision, count)
        {
            // The writes in between are of other parts of the store.
            self.revision = head.revision;
            self.pages.revision.set(head.revision);
        }
        let lag = head.revision.saturating_sub(self.revision);
        self.pages.lag.set(lag);
        if lag > 0 {
            self.unreached = Some(head);
            return true;
        }
        if let Content::Keys(count) = head.content
            && head.revision == self.revision
            && count != self.known.len() as u64
        {
            return false;
        }
        self.confirm(head);
        true
    }

    fn newest(&self) -> (u64, u64) {
        let existing = self.known.values().filter(|known| known.exists);
        existing.fold((0, 0), |(newest, count), known| {
            (newest.max(known.revision), count + 1)
        })
    }

    fn confirm(&mut self, head: Head) {
        self.unreached = None;
        self.pages.lag.set(0);
        let asked = self.pages.assigner.boottime().saturating_sub(head.age);
        self.confirmed = self.confirmed.max(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::with_feed_variables;
    use vdsokit_build::{Architecture, Declaration};

    fn batch(is_whole: bool, revision: u64, value: &str) -> Batch {
        let write = Write {
            key: "limit".into(),
            revision,
            value: Some(value.to_owned().into()),
        };
        Batch {
            revision,
            writes: vec![write],
            is_whole,
        }
    }

    /// A replica of a NATS stream delivered a write that the stream's next leader did not have. The leader's
    /// own write with this revision was taken for known.
    #[test]
    fn a_whole_reading_has_the_value_of_a_revision_that_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let declaration = "[vdso]\nsoname = \"libflags.so.1\"\nprefix = \"flags\"\nversion = \"FLAGS_1\"\n[var.limit]\ntype = \"u32\"\n";
        let declaration = Declaration::parse("libflags.so.1", declaration).unwrap();
        let declaration = with_feed_variables(&declaration).unwrap();
        let file = directory.path().join("libflags.so.1");
        let image = vdsokit_build::image(&declaration, Architecture::host().unwrap()).unwrap();
        let publisher = Publisher::create(&file, &image).unwrap();
        let variables = FedVariable::all(&declaration);
        let mut table = Table::new(&publisher, variables).unwrap();
        let limit = publisher.var::<u32>("limit").unwrap();
        let mut apply = |batch, expected| {
            table.apply(batch, |notice| panic!("{notice:?}"));
            assert_eq!(limit.get(), expected);
        };
        apply(batch(true, 63, "1"), 1);
        apply(batch(false, 64, "2"), 2);
        apply(batch(false, 64, "3"), 2);
        apply(batch(true, 63, "4"), 2);
        apply(batch(true, 64, "3"), 3);
    }
}
