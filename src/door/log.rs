//! One structured line a request. The fields are documented in [`crate::telemetry::logging`].

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::peer::Peer;
use super::problem::LoggedReason;
use super::quiet::Quiet;
use crate::domain::ids::EntryId;
use crate::domain::trace::TraceContext;
use crate::stripe::envelope::Envelope;
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;

/// What the line says of a stored delivery.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) result: &'static str,
    pub(super) entry: EntryId,
    pub(super) event: Option<Arc<Envelope>>,
    pub(super) trace: Option<TraceContext>,
}

/// Longest method that is logged unchanged, in bytes; standard ones are shorter. A head may hold one of 16 KB.
const METHOD_BYTES_MAX: usize = 16;

#[derive(Clone, Debug)]
pub struct RequestLog {
    instruments: Instruments,
    /// Whether everyone can reach the listener. Refused requests there count as webhook requests.
    public: bool,
    quiet: Arc<Quiet>,
}

/// The line of a request in progress.
pub(super) struct RequestLine<'a> {
    log: &'a RequestLog,
    started: Instant,
    method: Method,
    path: &'a str,
    peer: Option<Peer>,
}

impl RequestLog {
    /// The log of a public listener, or of one for operators, which logs every request except those with wrong tokens.
    pub fn new(instruments: Instruments, public: bool) -> Self {
        Self { instruments, public, quiet: Arc::default() }
    }

    /// Begins a line. The path is a configured one, never the one sent, which could hold anything.
    pub(super) fn begin<'a>(&'a self, method: Method, path: &'a str, peer: Option<Peer>) -> RequestLine<'a> {
        RequestLine { log: self, started: self.instruments.clock.instant(), method, path, peer }
    }
}

impl RequestLine<'_> {
    pub(super) fn stored(self, stored: &Stored) {
        let Self { log, started, method, path, .. } = self;
        let duration = log.instruments.clock.instant().duration_since(started);
        let event = stored.event.as_deref();
        tracing::info!(
            target: "request",
            %method,
            path,
            status = 200,
            code = stored.result,
            event_id = event.map(|event| event.id.as_str()),
            event_type = event.map(|event| event.kind.as_str()),
            entry = stored.entry.0,
            trace_id = stored.trace.map(|trace| trace.trace_id()),
            duration_ms = duration.as_secs_f64() * 1000.0,
            "request"
        );
        log.instruments.metrics.webhook_requests.of(stored.result).increment(1);
        Metrics::observe(&log.instruments.metrics.webhook_seconds, duration);
    }

    /// The request got any other answer.
    pub(super) fn answered(self, response: &Response) {
        let Self { log, started, method, path, peer } = self;
        let now = log.instruments.clock.instant();
        let duration = now.duration_since(started);
        let method = short(&method);
        let duration_ms = duration.as_secs_f64() * 1000.0;
        let status = response.status().as_u16();
        let Some(LoggedReason { code, reason }) = response.extensions().get::<LoggedReason>() else {
            tracing::debug!(target: "request", method, path, status, duration_ms, "request");
            return;
        };
        let few = log.public || matches!(*code, "unauthorized" | "too_many_attempts");
        let left_out = if few { log.quiet.admit(code, now) } else { Some(0) };
        if let Some(left_out) = left_out {
            let left_out = (left_out > 0).then_some(left_out);
            let peer = peer.map(|peer| peer.address().to_string());
            tracing::warn!(
                target: "request", method, path, status, code, reason, duration_ms, peer, left_out, "request"
            );
        } else {
            tracing::debug!(target: "request", method, path, status, code, reason, duration_ms, "request");
        }
        if log.public {
            log.instruments.metrics.webhook_requests.of(code).increment(1);
            Metrics::observe(&log.instruments.metrics.webhook_seconds, duration);
        }
    }
}

/// A method, cut if it is not a known one.
fn short(method: &Method) -> &str {
    // Methods are ASCII.
    method.as_str().get(..METHOD_BYTES_MAX).unwrap_or(method.as_str())
}

/// The layer for every path that the router answers.
pub(super) async fn layer(State(log): State<RequestLog>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let peer = request.extensions().get::<Peer>().copied();
    let line = log.begin(request.method().clone(), path.as_ref().map_or("-", MatchedPath::as_str), peer);
    let response = next.run(request).await;
    line.answered(&response);
    response
}
