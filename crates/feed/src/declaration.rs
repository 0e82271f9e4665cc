//! The variables that are fed, and those that say how.

use std::collections::BTreeSet;
use vdsokit_build::Declaration;
use vdsokit_build::declaration::{Invalid, Kind};
use vdsokit_publish::Dynamic;
use vdsokit_publish::assign::Assignment;
use vdsokit_vvar::layout::Type;

/// The revision of the store up to which all writes are applied.
pub(crate) const REVISION: &str = "feed_revision";
/// How many revisions the store is ahead.
pub(crate) const LAG: &str = "feed_lag";
/// Whether the store answers.
pub(crate) const CONNECTED: &str = "feed_connected";
/// A sequence count of the writes.
pub(crate) const WRITES: &str = "feed_writes";

/// The key under which a store keeps the declaration of its values, for `put`.
pub(crate) const DECLARATION_KEY: &str = "vdso.toml";

const FEED_VARIABLES: [(&str, &str, &str); 4] = [
    (
        REVISION,
        "u64",
        "Revision of the store up to which all writes are applied",
    ),
    (
        LAG,
        "u64",
        "Revisions that the store was ahead when it last answered",
    ),
    (CONNECTED, "bool", "Whether the store answers"),
    (
        WRITES,
        "u64",
        "Sequence count: odd while a transaction is applied, so that variables read between two \
         equal even numbers are of one revision",
    ),
];

/// The declaration with `feed_revision`, `feed_lag`, `feed_connected` and `feed_writes` after all
/// other variables, unless it has them. Programs that were built against the declaration alone work
/// with it.
///
/// # Errors
/// [`Invalid`] where the prefix and such a name are no function's name.
pub fn with_feed_variables(declaration: &Declaration) -> Result<Declaration, Invalid> {
    let known: BTreeSet<&str> = declaration
        .variables()
        .iter()
        .map(|variable| variable.name.as_str())
        .collect();
    let mut text = declaration.to_toml();
    for (name, ty, doc) in FEED_VARIABLES {
        if !known.contains(name) {
            text += &format!("\n[var.{name}]\ntype = \"{ty}\"\ndoc = \"{doc}\"\n");
        }
    }
    Declaration::parse(declaration.soname(), &text)
}

/// A variable that is fed.
#[derive(Clone, Debug)]
pub struct FedVariable {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) kind: Kind,
    /// The value of a key that does not exist: the declaration's.
    pub(crate) initial: Vec<Assignment>,
}

impl FedVariable {
    /// The variables of a declaration that a store feeds: all but those of the feed itself.
    #[must_use]
    pub fn all(declaration: &Declaration) -> Vec<Self> {
        let variables = declaration.variables().iter();
        variables
            .filter(|variable| FEED_VARIABLES.iter().all(|own| own.0 != variable.name))
            .map(|variable| Self {
                name: variable.name.clone(),
                key: match variable.key.as_str() {
                    "" => variable.name.clone(),
                    key => key.to_owned(),
                },
                initial: initial(&variable.name, &variable.kind, &variable.init),
                kind: variable.kind.clone(),
            })
            .collect()
    }
}

fn initial(name: &str, kind: &Kind, bytes: &[u8]) -> Vec<Assignment> {
    let assignment = |field: Option<&str>, ty: Type, bytes: &[u8]| Assignment {
        name: name.to_owned(),
        field: field.map(str::to_owned),
        value: match Dynamic::from_bytes(ty, bytes) {
            Some(Dynamic::Text(text)) => text,
            Some(value) => value.to_string(),
            None => String::new(),
        },
    };
    match kind {
        Kind::Plain(ty) => vec![assignment(None, *ty, bytes)],
        Kind::Record(fields) => fields
            .iter()
            .map(|field| {
                let end = field.offset + field.ty.size();
                let bytes = bytes.get(field.offset..end).unwrap_or_default();
                assignment(Some(&field.name), field.ty, bytes)
            })
            .collect(),
    }
}
