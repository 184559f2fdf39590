//! Health and metrics of a process that works without receiving anything. Tells the components; asking changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::domain::clock::Clock;
use crate::door::Problem;
use crate::lifecycle::Readiness;
use crate::telemetry::health::{Board, Component, Level};
use crate::telemetry::metrics::Metrics;

/// What health and metrics read.
#[derive(Clone, Debug)]
pub struct WorkerState {
    /// Draining.
    pub readiness: Readiness,
    /// What the components said.
    pub board: Board,
    /// The registry.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
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
    components: BTreeMap<&'static str, Component>,
}

/// `/livez`, `/readyz`, the full `/health`, and `/metrics`.
pub(super) fn routes(state: WorkerState) -> Router {
    Router::new()
        .route("/livez", get(alive).fallback(only_get))
        .route("/readyz", get(ready).fallback(only_get))
        .route("/health", get(health).fallback(only_get))
        .route("/metrics", get(metrics).fallback(only_get))
        .with_state(state)
}

async fn only_get() -> Problem {
    Problem::MethodNotAllowed { allow: "GET" }
}

async fn alive() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// Ready: not draining. Work that cannot be done now waits in the colony.
async fn ready(State(state): State<WorkerState>) -> Response {
    if state.readiness.is_ready() {
        Json(Status { status: "ok" }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Status { status: "down" })).into_response()
    }
}

async fn health(State(state): State<WorkerState>) -> Response {
    let ready = state.readiness.is_ready();
    let status = if ready { state.board.worst() } else { Level::Down };
    let code = match status {
        Level::Ok | Level::Degraded => StatusCode::OK,
        Level::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    let version = env!("CARGO_PKG_VERSION");
    (code, Json(Health { status, version, ready, components: state.board.read() })).into_response()
}

async fn metrics(State(state): State<WorkerState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render()).into_response()
}
