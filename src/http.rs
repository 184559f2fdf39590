//! The front door: webhooks, health, metrics.
//!
//! Architecture invariant: nothing here reaches a Colonies server, a bee or the ledger. The request path depends on the
//! local disk alone, and only a [`Receipt`](crate::inbox::Receipt) becomes a 200.

mod admin;
mod body;
mod control;
mod erase;
mod log;
mod operator;
mod problem;
mod reconcile;
mod server;
mod site;
mod trace;
mod webhook;
mod worker;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

pub use admin::AdminState;
pub use control::Control;
pub use operator::Operator;
pub use problem::Problem;
pub use reconcile::{ReconcileControl, Reconciling};
pub use server::{ServerOptions, serve};
pub use site::Site;
pub use webhook::{WebhookOptions, Webhooks};
pub use worker::WorkerState;

use crate::stripe::endpoint::Endpoint;
use log::RequestLog;
use webhook::Intake;

/// What the public listener serves: the webhook paths and the probes, which tell a status only.
pub fn public_site(webhooks: Webhooks, endpoints: Vec<Endpoint>, state: AdminState) -> Site {
    let log = request_log(&state);
    let intake = Intake::new(webhooks, endpoints, log.clone());
    Site::new(intake, finish(admin::status_routes(state), log))
}

/// What the admin listener serves: metrics, the full health, and with a token the operator's switch.
pub fn admin_router(state: AdminState, controls: Controls) -> Router {
    let log = RequestLog { webhooks: false, ..request_log(&state) };
    finish(admin_routes(state, controls), log)
}

/// What a process that only works serves: metrics and the full health.
pub fn worker_router(state: WorkerState) -> Router {
    let log = RequestLog { clock: state.clock.clone(), metrics: Arc::clone(&state.metrics), webhooks: false };
    finish(worker::routes(state), log)
}

/// Everything on one address, for when public and admin listener are the same.
pub fn combined_site(webhooks: Webhooks, endpoints: Vec<Endpoint>, state: AdminState, controls: Controls) -> Site {
    let log = request_log(&state);
    let intake = Intake::new(webhooks, endpoints, log.clone());
    Site::new(intake, finish(admin_routes(state, controls), log))
}

/// What an operator with the token may do; nothing of it is there without a token.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    /// Entries, the route, and what stands in their way.
    pub control: Option<Control>,
    /// Comparing with Stripe.
    pub reconcile: Option<ReconcileControl>,
}

fn admin_routes(state: AdminState, controls: Controls) -> Router {
    let mut router = admin::health_routes(state.clone()).merge(admin::metrics_routes(state));
    if let Some(control) = controls.control {
        router = router.merge(erase::routes(control.operator.clone(), control.inbox.clone()));
        router = router.merge(control::routes(control));
    }
    if let Some(control) = controls.reconcile {
        router = router.merge(reconcile::routes(control));
    }
    router
}

fn request_log(state: &AdminState) -> RequestLog {
    RequestLog { clock: state.clock.clone(), metrics: Arc::clone(&state.metrics), webhooks: true }
}

fn finish(router: Router, log: RequestLog) -> Router {
    router
        .fallback(|| async { Problem::NotFound })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn_with_state(log, log::layer))
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::Internal.into_response()
}
