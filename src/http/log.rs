//! One structured line a request. The fields are documented in [`crate::telemetry::logging`].

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Inner;
use crate::domain::clock::Clock;
use crate::domain::ids::EntryId;
use crate::domain::trace::TraceContext;
use crate::stripe::envelope::Envelope;
use crate::telemetry::metrics::Metrics;

/// What a handler lets the log line know of a stored delivery.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) result: &'static str,
    pub(super) entry: EntryId,
    pub(super) event: Option<Arc<Envelope>>,
    pub(super) trace: Option<TraceContext>,
}

/// What the layer needs.
#[derive(Clone, Debug)]
pub(super) struct RequestLog {
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    /// Webhook requests are counted; admin requests are only logged.
    pub(super) webhooks: bool,
}

pub(super) async fn layer(State(log): State<RequestLog>, request: Request, next: Next) -> Response {
    let started: Instant = log.clock.instant();
    let method = request.method().clone();
    // The path as configured, never as sent: that could hold anything.
    let path =
        request.extensions().get::<MatchedPath>().map_or_else(|| Arc::from("-"), |path| Arc::from(path.as_str()));
    let response = next.run(request).await;
    let duration = log.clock.instant().duration_since(started);
    let status = response.status().as_u16();
    let path: &str = &path;
    let duration_ms = duration.as_secs_f64() * 1000.0;
    let result = if let Some(stored) = response.extensions().get::<Stored>() {
        let event = stored.event.as_deref();
        tracing::info!(
            target: "request",
            %method,
            path,
            status,
            code = stored.result,
            event_id = event.map(|event| event.id.as_str()),
            event_type = event.map(|event| event.kind.as_str()),
            entry = stored.entry.0,
            trace_id = stored.trace.map(|trace| trace.trace_id()),
            duration_ms,
            "request"
        );
        stored.result
    } else if let Some(Inner { code, reason }) = response.extensions().get::<Inner>() {
        tracing::warn!(target: "request", %method, path, status, code, reason, duration_ms, "request");
        code
    } else {
        tracing::debug!(target: "request", %method, path, status, duration_ms, "request");
        ""
    };
    if log.webhooks && !result.is_empty() {
        log.metrics.webhook_requests.of(result).increment(1);
        Metrics::observe(&log.metrics.webhook_seconds, duration);
    }
    response
}
