//! TLS to a database, with as much proof of who answers as the URL asks for.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::address::{Address, Pem, Proof};
use super::stream::Tls;

/// Why TLS is not possible as the URL wants it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{which} {pem:?} cannot be read: {source}")]
    Unreadable {
        which: &'static str,
        pem: Pem,
        #[source]
        source: pem::Error,
    },
    #[error("this machine trusts no certificate authority: name one with sslrootcert, or install the system's ({0})")]
    NoAuthority(String),
    #[error("TLS cannot be set up as the URL wants it: {0}")]
    Unusable(#[from] Error),
}

/// TLS for one database. Files are read now, and not again.
///
/// # Errors
/// What is wrong with the trusted authorities, or with the gateway's own certificate.
pub(super) fn settings(address: &Address) -> Result<Tls, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let lenient = |authorities| Arc::new(Lenient { provider: Arc::clone(&provider), authorities });
    let verifier: Arc<dyn ServerCertVerifier> = match address.proof() {
        Proof::None => lenient(None),
        proof @ (Proof::Authority | Proof::Name) => {
            let roots = Arc::new(authorities(address.roots())?);
            let strict = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| TlsError::NoAuthority(error.to_string()))?;
            if proof == Proof::Authority { lenient(Some(strict)) } else { strict }
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match address.identity() {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("sslcert", certificate)?;
            let unreadable = |source| TlsError::Unreadable { which: "sslkey", pem: key.clone(), source };
            let key = PrivateKeyDer::from_pem_slice(&contents(key).map_err(unreadable)?).map_err(unreadable)?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    Ok(Tls(Arc::new(config)))
}

/// The named authorities, or the system's.
fn authorities(named: Option<&Pem>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match named {
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        Some(pem) => roots.add_parsable_certificates(certificates("sslrootcert", pem)?),
    };
    Ok(roots)
}

fn certificates(which: &'static str, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { which, pem: pem.clone(), source };
    let contents = contents(pem).map_err(unreadable)?;
    CertificateDer::pem_slice_iter(&contents).collect::<Result<_, _>>().map_err(unreadable)
}

fn contents(pem: &Pem) -> Result<Cow<'_, [u8]>, pem::Error> {
    match pem {
        Pem::Text(text) => Ok(Cow::Borrowed(text.as_bytes())),
        Pem::File(path) => std::fs::read(path).map(Cow::Owned).map_err(|error: io::Error| pem::Error::Io(error)),
    }
}

/// Requires less proof than a trusted certificate for the host's name. The server must still prove that it has the key of
/// its certificate.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// One of these authorities must have signed the certificate, for any name, as for `sslmode=verify-ca`. Without any,
    /// every server is accepted, as for `sslmode=require`.
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(certificate, others, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
