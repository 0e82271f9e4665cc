//! TLS with the system's certificates, a private authority's, and a client's own.

use crate::credentials::Credentials;
use crate::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The configuration for a server whose certificate the system's authorities or `ca` have signed.
pub(crate) fn config(credentials: &Credentials) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // A system without certificates is usual in containers; `ca` may be all that is wanted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &credentials.ca {
        for certificate in certificates(file)? {
            roots
                .add(certificate)
                .map_err(|error| unreadable(file, error))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Start(io::Error::other(error)))?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&credentials.cert, &credentials.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    builder
        .with_client_auth_cert(certificates(cert)?, private)
        .map_err(|error| unreadable(cert, error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(file, error))
}

fn unreadable(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::File {
        path: file.to_owned(),
        source: io::Error::other(error),
    }
}
