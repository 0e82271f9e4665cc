//! Feeds a published vDSO from a distributed store: a key-value bucket of NATS JetStream, or a
//! prefix of etcd v3.
//!
//! A key is a variable, by the variable's name or the `key` of its declaration. The value of a key
//! is text: a number, a text as it is, an array with commas or in JSON, a record in JSON.
//!
//! # Consistency
//! * Of each key the last write wins, in the order of the store's revisions.
//! * No value is replaced by one of an older revision: neither after a reconnection, nor after a
//!   restart of the feed, nor by a replica that lags. A store whose last revision is older than
//!   what was published before is refused ([`Error::Older`]).
//! * The writes of one etcd transaction are applied without a pause in between, and
//!   `feed_writes` is odd meanwhile: a reader that loads the same even number before and after a
//!   set of variables has them all of one revision.
//! * While the link is down the last values stay. The heartbeat is the time at which the store last
//!   confirmed them, so the vDSO becomes stale.
//!
//! [`Location`] and [`Credentials`] say which store; [`Link::open`] reads it once; a [`Feed`] is
//! the [`Source`](vdsokit_publish::serve::Source) that keeps a publisher up to date.

#![cfg(target_os = "linux")]

mod credentials;
mod declaration;
mod error;
mod etcd;
mod feed;
mod link;
mod location;
mod nats;
mod nats_events;
mod put;
mod table;
mod tls;
mod value;

pub use credentials::Credentials;
pub use declaration::{FedVariable, with_feed_variables};
pub use error::Error;
pub use feed::{Feed, Notice};
pub use link::{Create, Link};
pub use location::Location;
pub use put::put;
