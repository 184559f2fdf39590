//! Health and metrics.
//!
//! The public listener tells a status and nothing else. The admin listener tells the components. Asking changes nothing.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::domain::route::RouteInForce;
use crate::door::Problem;
use crate::inbox::{Inbox, InboxError, StateName};
use crate::lifecycle::Readiness;
use crate::telemetry::health::{Component, Level, worst};
use crate::telemetry::instruments::Instruments;

/// The sources of health and metrics.
#[derive(Clone, Debug)]
pub struct Health {
    pub readiness: Readiness,
    pub instruments: Instruments,
    /// `None` in a process that only works.
    pub receiving: Option<Receiving>,
}

/// The parts of a process that receives webhooks.
#[derive(Clone, Debug)]
pub struct Receiving {
    pub inbox: Inbox,
    pub route: RouteInForce,
}

/// `/livez`, `/readyz`, and `/health` with only the status.
pub(super) fn status_routes(health: Health) -> Router {
    probes(health.clone()).route("/health", get(status).fallback(only_get).with_state(health))
}

/// `/livez`, `/readyz`, the full `/health`, and `/metrics`.
pub(super) fn full_routes(health: Health) -> Router {
    let told = Router::new()
        .route("/health", get(components).fallback(only_get))
        .route("/metrics", get(metrics).fallback(only_get));
    probes(health.clone()).merge(told.with_state(health))
}

fn probes(health: Health) -> Router {
    Router::new()
        .route("/livez", get(alive).fallback(only_get))
        .route("/readyz", get(ready).fallback(only_get).with_state(health))
}

async fn alive() -> Json<StatusAnswer> {
    Json(StatusAnswer { status: "ok" })
}

async fn only_get() -> Problem {
    Problem::MethodNotAllowed { allow: "GET" }
}

#[derive(Serialize)]
struct StatusAnswer {
    status: &'static str,
}

#[derive(Serialize)]
struct HealthAnswer {
    status: Level,
    version: &'static str,
    ready: bool,
    #[serde(flatten)]
    receiving: Option<ReceivingAnswer>,
    components: BTreeMap<&'static str, Component>,
}

#[derive(Serialize)]
struct ReceivingAnswer {
    waiting_for: Vec<&'static str>,
    route: &'static str,
    /// `None` if the inbox does not answer.
    inbox: Option<InboxAnswer>,
}

#[derive(Serialize)]
struct InboxAnswer {
    writable: bool,
    waiting: u64,
    leased: u64,
    submitted: u64,
    settled: u64,
    dead: u64,
    quarantined: u64,
    /// Whether some of these are estimates, because there are so many.
    estimated: bool,
    oldest_seconds: Option<f64>,
}

impl Health {
    /// The metrics for Prometheus.
    pub async fn metrics(&self) -> String {
        if let Some(receiving) = &self.receiving {
            receiving.observe(&self.instruments).await;
        }
        self.instruments.metrics.render()
    }

    /// Whether the process is ready, its level, and the state of each component.
    pub fn standing(&self) -> (bool, Level, BTreeMap<&'static str, Component>) {
        let (ready, components) = (self.is_ready(), self.instruments.board.read());
        (ready, self.level(ready, &components), components)
    }

    /// Ready means: every latch is released, the process is not draining, and the inbox takes writes. A colony or a ledger
    /// that is down changes nothing here: webhooks are still made durable, and their work waits.
    fn is_ready(&self) -> bool {
        let takes_writes = self.receiving.as_ref().is_none_or(|receiving| receiving.inbox.takes_deliveries());
        self.readiness.is_ready() && takes_writes
    }

    /// The overall level. A process that receives webhooks is never down because of another part.
    fn level(&self, ready: bool, components: &BTreeMap<&'static str, Component>) -> Level {
        match (ready, &self.receiving) {
            (false, _) => Level::Down,
            (true, Some(_)) => worst(components).min(Level::Degraded),
            (true, None) => worst(components),
        }
    }
}

impl Receiving {
    async fn counts(&self, instruments: &Instruments) -> Result<InboxAnswer, InboxError> {
        let counts = self.inbox.counts().await?;
        let now = instruments.clock.now();
        Ok(InboxAnswer {
            writable: self.inbox.stats().writable(),
            waiting: counts.waiting,
            leased: counts.leased,
            submitted: counts.submitted,
            settled: counts.settled,
            dead: counts.dead,
            quarantined: counts.quarantined,
            estimated: counts.is_estimate,
            oldest_seconds: counts.oldest.map(|oldest| now.since(oldest).as_secs_f64()),
        })
    }
}

fn code(level: Level) -> StatusCode {
    match level {
        Level::Ok | Level::Degraded => StatusCode::OK,
        Level::Down => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn ready(State(health): State<Health>) -> Response {
    if health.is_ready() {
        Json(StatusAnswer { status: "ok" }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(StatusAnswer { status: "down" })).into_response()
    }
}

async fn status(State(health): State<Health>) -> Response {
    let level = health.level(health.is_ready(), &health.instruments.board.read());
    (code(level), Json(StatusAnswer { status: level.as_str() })).into_response()
}

async fn components(State(health): State<Health>) -> Response {
    let mut inbox_answers = true;
    let receiving = match &health.receiving {
        Some(receiving) => {
            let inbox = receiving.counts(&health.instruments).await.ok();
            inbox_answers = inbox.is_some();
            let waiting_for = health.readiness.waiting_for();
            Some(ReceivingAnswer { waiting_for, route: receiving.route.get().as_str(), inbox })
        }
        None => None,
    };
    // Read once, so that the status matches the components beside it.
    let (ready, components) = (health.is_ready(), health.instruments.board.read());
    let takes = health.receiving.as_ref().is_some_and(|receiving| receiving.inbox.takes_deliveries());
    let level = match (inbox_answers, takes) {
        (true, _) => health.level(ready, &components),
        // Webhooks are stored in the file beside the database, but nothing is worked on.
        (false, true) => health.level(ready, &components).max(Level::Degraded),
        (false, false) => Level::Down,
    };
    let answer = HealthAnswer { status: level, version: env!("CARGO_PKG_VERSION"), ready, receiving, components };
    (code(level), Json(answer)).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics().await).into_response()
}

impl Receiving {
    /// Gauges are read when they are requested.
    #[expect(clippy::cast_precision_loss, reason = "gauges are doubles; counts stay far below 2^53")]
    async fn observe(&self, instruments: &Instruments) {
        let (metrics, stats) = (&instruments.metrics, self.inbox.stats());
        metrics.inbox_commits.absolute(stats.commits());
        metrics.inbox_failures.absolute(stats.failures());
        metrics.inbox_writable.set(f64::from(u8::from(stats.writable())));
        if let Ok(counts) = self.inbox.counts().await {
            for name in StateName::ALL {
                metrics.inbox_entries.set(name.as_str(), counts.of(name) as f64);
            }
            let oldest = counts.oldest.map(|oldest| instruments.clock.now().since(oldest).as_secs_f64());
            metrics.inbox_oldest.set(oldest.unwrap_or(0.0));
        }
    }
}
