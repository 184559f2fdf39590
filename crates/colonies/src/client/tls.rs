//! Whom the client trusts behind `https`: the system's roots, or those of one file. Uses ring for this client alone
//! and leaves the process-wide provider untouched.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Certificate authorities to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those of the operating system.
    #[default]
    System,
    /// Only those of a PEM file.
    File(PathBuf),
}

/// The TLS settings of a client that trusts `roots`.
pub(super) fn config(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(TlsError::Versions)?.with_root_certificates(roots).with_no_client_auth())
}

/// Reads the trusted certificates. Blocks on the file system.
pub(super) fn load(roots: &Roots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(TlsError::NoSystemRoots { source: found.errors.into_iter().next() });
            }
        }
        Roots::File(path) => {
            let pem = std::fs::read(path).map_err(|source| TlsError::File { path: path.clone(), source })?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|source| TlsError::Pem { path: path.clone(), source })?;
                store.add(certificate).map_err(|source| TlsError::Certificate { path: path.clone(), source })?;
            }
            if store.is_empty() {
                return Err(TlsError::NoCertificate { path: path.clone() });
            }
        }
    }
    Ok(store)
}

/// Why there is no authority to trust.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operating system offers none.
    #[error("this system has no root certificates; install ca-certificates or name a file of roots")]
    NoSystemRoots {
        /// The first error, if there was one.
        #[source]
        source: Option<rustls_native_certs::Error>,
    },
    /// The file cannot be read.
    #[error("the file of root certificates {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not PEM.
    #[error("the file of root certificates {} is not PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file holds a certificate that cannot be a root.
    #[error("the file {} holds a certificate that cannot be a root", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The file holds no certificate.
    #[error("the file {} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The provider offers no protocol version.
    #[error("TLS cannot be set up")]
    Versions(#[source] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<RootCertStore, TlsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(&Roots::File(file.path().to_owned()))
    }

    #[test]
    fn a_file_that_brings_no_root_is_refused_with_its_reason() {
        let missing = load(&Roots::File(PathBuf::from("no/such/file.pem")));
        assert!(matches!(missing, Err(TlsError::File { .. })));
        assert!(matches!(load_text(""), Err(TlsError::NoCertificate { .. })));
        assert!(matches!(load_text("-----BEGIN CERTIFICATE-----\n!!\n"), Err(TlsError::Pem { .. })));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(load_text(garbage), Err(TlsError::Certificate { .. })));
    }
}
