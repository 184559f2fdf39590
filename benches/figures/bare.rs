//! The peers: an axum server that reads the body, checks its signature and answers, and one that writes a row before it
//! answers. The first parses and stores nothing.
//!
//! The runtime, the HTTP library and the check of signatures are the gateway's.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::stripe::signature::{SigningSecret, check_header};

use crate::gateway::SECRET;
use crate::inserts::Inserts;

struct Peer {
    secrets: Vec<SigningSecret>,
    clock: Clock,
    /// Where each event is written, if it is.
    inserts: Option<Inserts>,
}

/// Serves until it is killed. Says its address on standard output. With a database, each event is written to it.
pub(crate) fn serve(database: Option<&str>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let (secret, _) = SigningSecret::parse(SECRET)?;
        let inserts = match database {
            Some(url) => Some(Inserts::open(url).await?),
            None => None,
        };
        let peer = Arc::new(Peer { secrets: vec![secret], clock: Clock::system(), inserts });
        let router = Router::new().route("/webhooks/stripe", post(receive)).with_state(peer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router)
            .await?;
        Ok(())
    })
}

async fn receive(State(peer): State<Arc<Peer>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let values = headers.get_all("stripe-signature").iter().map(axum::http::HeaderValue::as_bytes);
    let verified = check_header(values)
        .and_then(|header| header.verify(body.clone(), &peer.secrets, peer.clock.now(), Duration::from_mins(5)));
    if verified.is_err() {
        return (StatusCode::BAD_REQUEST, "");
    }
    let stored = match &peer.inserts {
        Some(inserts) => insert(inserts, &body).await,
        None => Ok(()),
    };
    match stored {
        Ok(()) => (StatusCode::OK, r#"{"received":true,"method":"direct"}"#),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

/// What of an event the handler looks at.
#[derive(serde::Deserialize)]
struct Head<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    created: i64,
}

async fn insert(inserts: &Inserts, body: &[u8]) -> anyhow::Result<()> {
    let head: Head<'_> = serde_json::from_slice(body)?;
    let text = std::str::from_utf8(body)?;
    inserts.insert(head.id, head.kind, head.created, text).await
}
