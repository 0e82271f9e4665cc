//! How a client authenticates to a store. Secrets are in files, which are read at each connection.

use crate::error::Error;
use nkeys::KeyPair;
use std::io;
use std::path::{Path, PathBuf};
use vdsokit_elf::file::read_text;

/// Files with secrets and certificates, all of them optional.
///
/// They are read at each connection, so that a renewed one holds from the next connection on.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The user whose password is in [`password_file`](Self::password_file).
    pub user: Option<String>,
    /// A file with a password.
    pub password_file: Option<PathBuf>,
    /// A file with a token (NATS).
    pub token_file: Option<PathBuf>,
    /// A file with a JWT and its seed, as `nsc` writes it (NATS).
    pub creds: Option<PathBuf>,
    /// A file with the seed of an NKey (NATS).
    pub nkey: Option<PathBuf>,
    /// Certificates in PEM that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate in PEM.
    pub cert: Option<PathBuf>,
    /// The key of that certificate in PEM.
    pub key: Option<PathBuf>,
}

impl Credentials {
    /// User and password, where there are any.
    pub(crate) fn password(&self) -> Result<Option<(String, String)>, Error> {
        match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => Ok(Some((user.clone(), secret(file)?))),
            _ => Ok(None),
        }
    }
}

/// The first line of a file.
pub(crate) fn secret(file: &Path) -> Result<String, Error> {
    const MOST: u64 = 64 << 10;
    let text = read_text(file, MOST).map_err(|source| Error::File {
        path: file.to_owned(),
        source,
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The first line of a file, if it is the seed of an NKey. The client would find out no earlier than at the
/// server's challenge, and say that the connection failed.
pub(crate) fn seed(file: &Path) -> Result<String, Error> {
    let seed = secret(file)?;
    match KeyPair::from_seed(&seed) {
        Ok(_) => Ok(seed),
        Err(error) => Err(Error::File {
            path: file.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        }),
    }
}
