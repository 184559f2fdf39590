//! Health and metrics.
//!
//! The public listener tells a status and nothing else. The admin listener tells the components. Asking changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::domain::clock::Clock;
use crate::domain::route::RouteInForce;
use crate::door::Problem;
use crate::inbox::{Inbox, InboxError, StateName};
use crate::lifecycle::Readiness;
use crate::telemetry::health::{Board, Component, Level};
use crate::telemetry::metrics::Metrics;

/// What health and metrics read.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Its counts are part of the answer.
    pub inbox: Inbox,
    /// Latches and draining.
    pub readiness: Readiness,
    /// What the components said.
    pub board: Board,
    /// The registry.
    pub metrics: Arc<Metrics>,
    /// The route in force.
    pub route: RouteInForce,
    /// Time.
    pub clock: Clock,
}

/// `/livez`, `/readyz`, and `/health` with the status alone.
pub(super) fn status_routes(state: AdminState) -> Router {
    probes(state.clone()).route("/health", get(status).fallback(only_get).with_state(state))
}

/// `/livez`, `/readyz`, and the full `/health`.
pub(super) fn health_routes(state: AdminState) -> Router {
    probes(state.clone()).route("/health", get(health).fallback(only_get).with_state(state))
}

/// `/metrics`
pub(super) fn metrics_routes(state: AdminState) -> Router {
    Router::new().route("/metrics", get(metrics).fallback(only_get).with_state(state))
}

fn probes(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(alive).fallback(only_get))
        .route("/readyz", get(ready).fallback(only_get).with_state(state))
}

async fn alive() -> Json<Status> {
    Json(Status { status: "ok" })
}

async fn only_get() -> Problem {
    Problem::MethodNotAllowed { allow: "GET" }
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Health {
    status: Level,
    version: &'static str,
    ready: bool,
    waiting_for: Vec<&'static str>,
    route: &'static str,
    inbox: Option<InboxHealth>,
    components: BTreeMap<&'static str, Component>,
}

#[derive(Serialize)]
struct InboxHealth {
    writable: bool,
    waiting: u64,
    leased: u64,
    submitted: u64,
    settled: u64,
    dead: u64,
    quarantined: u64,
    oldest_seconds: Option<f64>,
}

/// Ready: every latch released, not draining, the inbox takes writes. A colony or a ledger that is down changes nothing
/// here, since webhooks are still made durable.
fn is_ready(state: &AdminState) -> bool {
    state.readiness.is_ready() && state.inbox.stats().writable()
}

fn level(state: &AdminState) -> Level {
    if is_ready(state) { state.board.worst().min(Level::Degraded) } else { Level::Down }
}

fn code(level: Level) -> StatusCode {
    match level {
        Level::Ok | Level::Degraded => StatusCode::OK,
        Level::Down => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn ready(State(state): State<AdminState>) -> Response {
    if is_ready(&state) {
        Json(Status { status: "ok" }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Status { status: "down" })).into_response()
    }
}

async fn status(State(state): State<AdminState>) -> Response {
    let level = level(&state);
    (code(level), Json(Status { status: level.as_str() })).into_response()
}

async fn health(State(state): State<AdminState>) -> Response {
    let inbox = inbox(&state).await.ok();
    let level = if inbox.is_some() { level(&state) } else { Level::Down };
    let health = Health {
        status: level,
        version: env!("CARGO_PKG_VERSION"),
        ready: is_ready(&state),
        waiting_for: state.readiness.waiting_for(),
        route: state.route.get().as_str(),
        inbox,
        components: state.board.read(),
    };
    (code(level), Json(health)).into_response()
}

async fn inbox(state: &AdminState) -> Result<InboxHealth, InboxError> {
    let counts = state.inbox.counts().await?;
    let now = state.clock.now();
    Ok(InboxHealth {
        writable: state.inbox.stats().writable(),
        waiting: counts.waiting,
        leased: counts.leased,
        submitted: counts.submitted,
        settled: counts.settled,
        dead: counts.dead,
        quarantined: counts.quarantined,
        oldest_seconds: counts.oldest.map(|oldest| now.since(oldest).as_secs_f64()),
    })
}

async fn metrics(State(state): State<AdminState>) -> Response {
    observe(&state).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render()).into_response()
}

/// Gauges are read when they are asked for.
#[expect(clippy::cast_precision_loss, reason = "gauges are doubles; counts stay far below 2^53")]
async fn observe(state: &AdminState) {
    let (metrics, stats) = (&state.metrics, state.inbox.stats());
    metrics.inbox_commits.absolute(stats.commits());
    metrics.inbox_failures.absolute(stats.failures());
    metrics.inbox_writable.set(f64::from(u8::from(stats.writable())));
    if let Ok(counts) = state.inbox.counts().await {
        for name in StateName::ALL {
            metrics.inbox_entries.set(name.as_str(), counts.of(name) as f64);
        }
        let oldest = counts.oldest.map(|oldest| state.clock.now().since(oldest).as_secs_f64());
        metrics.inbox_oldest.set(oldest.unwrap_or(0.0));
    }
}
