//! The first spans of an event: its delivery, and in it the commit.
//!
//! A trace begins here whatever the request says: anyone can post to the door, and a `traceparent` from outside could choose
//! ids and sampling. What is refused before its signature is known to be good leaves no span, for the same reason; the log and
//! the metrics have it.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::domain::trace::TraceContext;
use crate::inbox::Receipt;
use crate::stripe::envelope::Envelope;
use crate::telemetry::trace::{Cause, Moment, Span, SpanKind, Tracer};

/// The span of a delivery with a valid signature. Does nothing while tracing is off.
pub(super) struct Delivery {
    span: Span,
}

impl Delivery {
    /// Begins when the request `arrived`. The path is the configured one, never the one sent.
    pub(super) fn begin(
        tracer: &Tracer,
        arrived: Moment,
        path: &str,
        endpoint: &str,
        event: Option<&Envelope>,
    ) -> Self {
        if !tracer.is_on() {
            return Self { span: Span::default() };
        }
        let cause = Cause { parent: None, links: &[] };
        let mut span = tracer.begin_at(arrived, &format!("POST {path}"), SpanKind::Server, cause);
        span.text("http.request.method", "POST");
        span.text("http.route", path);
        span.text("gateway.endpoint", endpoint);
        if let Some(event) = event {
            span.text("stripe.event_id", event.id.as_str());
            span.text("stripe.event_type", &event.kind);
        }
        Self { span }
    }

    /// The position from which the work on the event continues the trace.
    pub(super) fn context(&self) -> Option<TraceContext> {
        self.span.context()
    }

    /// The span in which the inbox makes the event durable. Ends when it is dropped.
    pub(super) fn commit(&self) -> Span {
        self.span.place().begin("inbox commit", SpanKind::Internal)
    }

    pub(super) fn stored(mut self, receipt: &Receipt, result: &str) {
        self.status(StatusCode::OK);
        self.span.number("gateway.entry", receipt.entry().0);
        self.span.text("gateway.result", result);
    }

    /// Ends with a problem, which it returns.
    pub(super) fn failed(mut self, problem: Problem) -> Problem {
        self.status(problem.status());
        self.span.failed(problem.code());
        problem
    }

    fn status(&mut self, status: StatusCode) {
        self.span.number("http.response.status_code", status.as_u16());
    }
}
