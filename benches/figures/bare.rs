//! The peer: an axum server that reads the body, checks its signature and answers. Nothing is parsed or stored.
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

struct Peer {
    secrets: Vec<SigningSecret>,
    clock: Clock,
}

/// Serves until it is killed. Says its address on standard output.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let (secret, _) = SigningSecret::parse(SECRET)?;
        let peer = Arc::new(Peer { secrets: vec![secret], clock: Clock::system() });
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
        .and_then(|header| header.verify(body, &peer.secrets, peer.clock.now(), Duration::from_mins(5)));
    match verified {
        Ok(_) => (StatusCode::OK, r#"{"received":true,"method":"direct"}"#),
        Err(_) => (StatusCode::BAD_REQUEST, ""),
    }
}
