//! The front door: deliveries come in here, and nothing else does.
//!
//! Architecture invariant: nothing here reaches a Colonies server, a bee or the ledger. The request path depends on the
//! local disk alone, and only a [`Receipt`](crate::inbox::Receipt) becomes a 200.

mod body;
mod connections;
mod log;
mod peer;
mod problem;
mod quiet;
mod server;
mod shares;
mod site;
mod stall;
mod trace;
mod webhook;

use std::any::Any;

use axum::Router;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

pub use log::RequestLog;
pub use peer::Peer;
pub use problem::Problem;
pub use server::serve;
pub use site::Site;
pub use webhook::Webhooks;

use crate::stripe::endpoint::Endpoint;
use webhook::Intake;

/// Builds the public listener: the webhook paths, and a finished router for all other paths.
pub fn site(webhooks: Webhooks, endpoints: Vec<Endpoint>, others: Router) -> Site {
    let log = RequestLog::new(webhooks.instruments.clone(), true);
    Site::new(Intake::new(webhooks, endpoints, log), others)
}

/// Completes a router: answers unknown paths and panics with a [`Problem`], and logs a line for every request.
pub fn finish(router: Router, log: RequestLog) -> Router {
    router
        .fallback(|| async { Problem::NotFound })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn_with_state(log, log::layer))
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::Internal.into_response()
}
