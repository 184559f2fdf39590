//! Against a stand-in that speaks TLS, with a certificate for `localhost`.

use std::path::Path;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::postgres::{Class, ConnectError, Link, class_of};

const AUTHORITY: &[u8] = include_bytes!("fixtures/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("fixtures/server.pem");
const KEY: &[u8] = include_bytes!("fixtures/server.key.pem");

/// The path of a fixture, as a URL has it.
fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/postgres/tls/fixtures");
    percent_encoding::utf8_percent_encode(folder.join(name).to_str().unwrap(), percent_encoding::NON_ALPHANUMERIC)
        .to_string()
}

fn chain_of(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap()
}

fn acceptor(asks_clients: bool) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = if asks_clients {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain_of(AUTHORITY));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain_of(CERTIFICATE), key).unwrap()))
}

/// A server that accepts everyone with TLS, or with TLS and a certificate. Returns its port, and the tasks that serve until
/// dropped.
async fn serve(asks_clients: bool) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let acceptor = acceptor(asks_clients);
        let mut let_in = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 8];
            client.read_exact(&mut request).await.unwrap();
            client.write_all(b"S").await.unwrap();
            // A client that does not trust the server disconnects.
            let Ok(mut client) = acceptor.accept(client).await else { continue };
            let mut greeting = [0; 512];
            if client.read(&mut greeting).await.is_ok_and(|read| read > 0) {
                // Authentication is done, and the server is ready.
                drop(client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await);
                let_in.push(client);
            }
        }
    });
    (port, serving)
}

async fn connect(url: &str) -> Result<Link, ConnectError> {
    Link::open(&Address::read(url).unwrap()).await
}

#[tokio::test]
async fn a_server_is_believed_as_far_as_the_url_asks_for_proof() {
    let (port, _serving) = serve(false).await;
    let (ours, other) = (fixture("authority.pem"), fixture("stranger.pem"));
    for (host, query, is_let_in) in [
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ours}"), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={other}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ours}"), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other}"), false),
        ("127.0.0.1", "sslmode=verify-ca".to_owned(), false),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ours}"), false),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ours}&hostaddr=127.0.0.1"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}&hostaddr=127.0.0.1"), false),
        ("localhost", "sslmode=verify-full&hostaddr=127.0.0.1".to_owned(), false),
    ] {
        match connect(&format!("postgres://u:p@{host}:{port}/x?{query}")).await {
            Ok(_) => assert!(is_let_in, "{host} {query}"),
            Err(ConnectError::Driver(error)) => {
                assert!(!is_let_in, "{host} {query}: {error:?}");
                assert_eq!(class_of(&error), Class::Tls, "{host} {query}: {error:?}");
            }
            // A system without authorities cannot verify any server.
            Err(ConnectError::Tls(error)) => {
                assert!(matches!(error, TlsError::NoAuthority(_)) && !is_let_in, "{host} {query}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_of_our_own_lets_us_in() {
    let (port, _serving) = serve(true).await;
    let url = format!("postgres://u@127.0.0.1:{port}/x?sslmode=require");
    connect(&url).await.unwrap_err();
    connect(&format!("{url}&sslcert={}&sslkey={}", fixture("server.pem"), fixture("server.key.pem"))).await.unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_named() {
    for (query, name) in [
        ("sslrootcert=/no/such/file.pem".to_owned(), "sslrootcert /no/such/file.pem"),
        (format!("sslcert=/no/such/file.pem&sslkey={}", fixture("server.key.pem")), "sslcert /no/such/file.pem"),
        (format!("sslcert={0}&sslkey={0}", fixture("server.pem")), "sslkey"),
    ] {
        let error = connect(&format!("postgres://u@127.0.0.1/x?sslmode=require&{query}")).await.unwrap_err();
        assert!(matches!(&error, ConnectError::Tls(TlsError::Unreadable { .. })), "{error:?}");
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
