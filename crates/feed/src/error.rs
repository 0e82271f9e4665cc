//! Why a store can't be read or written.

use miette::Diagnostic;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a store can't be read or written.
#[derive(Debug, Diagnostic, Error)]
#[non_exhaustive]
pub enum Error {
    /// The location is malformed.
    #[error("`{text}` is not the place of a store: {why}")]
    #[diagnostic(help(
        "write nats://HOST:PORT,…/BUCKET or etcd://HOST:PORT,…/PREFIX; tls:// and etcds:// are the \
         same with TLS"
    ))]
    Location {
        /// What was given.
        text: String,
        /// The part that is wrong.
        why: String,
    },

    /// The location contains a user, and perhaps a password.
    #[error(
        "a user's name or password in the location would be on the command line, for all to read"
    )]
    #[diagnostic(help("use --user and --password-file, --token-file, --nkey or --creds"))]
    SecretInLocation,

    /// A file with a secret or a certificate can't be used.
    #[error("{} could not be read", path.display())]
    #[diagnostic(help("name a file that this user can read, in the format that the option has"))]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// No server can be reached.
    #[error("no server of {location} can be reached: {why}")]
    #[diagnostic(help(
        "check the address and the port, the route there, and that the server runs"
    ))]
    Unreachable {
        /// The location.
        location: String,
        /// The last failure.
        why: String,
    },

    /// The TLS handshake failed.
    #[error("no TLS connection to {location}: {why}")]
    #[diagnostic(help(
        "--ca FILE trusts the certificate of a private authority; --cert and --key are for servers \
         that want a client's"
    ))]
    Tls {
        /// The location.
        location: String,
        /// The failure.
        why: String,
    },

    /// The server refused the credentials, or wants some.
    #[error("{location} refused the credentials: {why}")]
    #[diagnostic(help(
        "give --user and --password-file, --token-file, --creds or --nkey of a user who may read this \
         part of the store, and for `vdso put` write it"
    ))]
    Denied {
        /// The location.
        location: String,
        /// The server's answer.
        why: String,
    },

    /// The NATS server has no JetStream.
    #[error("the server of {location} has no JetStream, where buckets are kept")]
    #[diagnostic(help(
        "start it with `nats-server --jetstream`, or enable JetStream for the account"
    ))]
    NoJetStream {
        /// The location.
        location: String,
    },

    /// The bucket does not exist.
    #[error("there is no bucket `{bucket}`")]
    #[diagnostic(help("--create creates it; check the name otherwise"))]
    NoBucket {
        /// The bucket.
        bucket: String,
    },

    /// The store's last revision is older than one that was published.
    #[error(
        "{location} is at revision {found}, and revision {published} was published already: it was \
         restored from a backup, created again, or is another store"
    )]
    #[diagnostic(help("the values stay as they are; --reset accepts the store as it is now"))]
    Older {
        /// The location.
        location: String,
        /// The store's last revision.
        found: u64,
        /// The revision that was published.
        published: u64,
    },

    /// The connection broke, or the server's answers stopped.
    #[error("the connection to {location} ended: {why}")]
    #[diagnostic(help("the last values stay; the connection is made again"))]
    Lost {
        /// The location.
        location: String,
        /// What happened.
        why: String,
    },

    /// The revision from which to go on was compacted away.
    #[error("the store was compacted up to revision {revision}")]
    #[diagnostic(help("all keys are read again"))]
    Compacted {
        /// The oldest revision that is left.
        revision: u64,
    },

    /// The server refused a request.
    #[error("{location} refused the request: {why}")]
    #[diagnostic(help("the server's log may have more"))]
    Refused {
        /// The location.
        location: String,
        /// The server's answer.
        why: String,
    },

    /// `put` has no declaration to check values by.
    #[error("{location} holds no declaration, so the types of its values are unknown")]
    #[diagnostic(help(
        "name it once: `vdso put … --declaration FILE.toml NAME=VALUE` also stores it there"
    ))]
    NoDeclaration {
        /// The location.
        location: String,
    },

    /// An assignment is not for a variable of the declaration.
    #[error("`{name}`: {why}")]
    #[diagnostic(help("nothing was written; `vdso ls` and the declaration have the types"))]
    Value {
        /// The variable, or the field.
        name: String,
        /// Why not.
        why: String,
    },

    /// Other writers changed the record each time before this one could.
    #[error("`{name}` is written by others all the time")]
    #[diagnostic(help("try again, or write all fields of the record"))]
    Contended {
        /// The variable.
        name: String,
    },

    /// A runtime or a thread could not be started.
    #[error("the client could not be started")]
    #[diagnostic(help("the system has no threads or descriptors left: `ulimit -a`"))]
    Start(#[source] io::Error),

    /// The publisher refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Publish(#[from] vdsokit_publish::Error),
}
