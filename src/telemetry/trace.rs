//! Traces: what happened to one event, from its delivery to the ledger, for an OpenTelemetry collector.
//!
//! Guarantees: without a collector configured nothing of it exists: a [`Tracer`] that is off makes spans that are nothing,
//! allocate nothing and read no clock. With one, the end of a span never waits: it is handed to a bounded queue or
//! dropped and counted. Does not: instrument libraries, follow the `traceparent` of requests from outside, or put anything
//! into a span that the log does not show.
//!
//! The exporter's own requests are not traced, since spans are begun by hand and nowhere else.

mod export;
mod sampler;
mod settings;

use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

pub use export::{Exporting, FLUSH_MAX, SPANS_QUEUED_MAX, TraceSetupError, start};
pub use opentelemetry::trace::SpanKind;
pub use sampler::Sampling;
pub use settings::{TraceSettings, header_map, pairs};

use crate::domain::trace::TraceContext;

/// Begins spans. Clones share their collector; the default is off.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<SdkTracer>);

/// The beginning of something that may deserve a span; empty while tracing is off.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Option<SystemTime>);

/// The cause of a span.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// The span that it is a part of; without one, it begins a trace.
    pub parent: Option<TraceContext>,
    /// Related spans of other traces. A span without a parent is recorded if one of them is.
    pub links: &'a [TraceContext],
}

impl Tracer {
    /// Whether there is a collector.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The present time. Spans carry times only for people, and nothing depends on them, so they need not come from the
    /// gateway's clock.
    pub fn moment(&self) -> Moment {
        Moment(self.0.as_ref().map(|_| opentelemetry::time::now()))
    }

    /// Begins a span. It ends when it is dropped.
    pub fn begin(&self, name: &str, kind: SpanKind, cause: Cause<'_>) -> Span {
        self.begin_at(self.moment(), name, kind, cause)
    }

    /// Begins a span that began a while ago.
    pub fn begin_at(&self, since: Moment, name: &str, kind: SpanKind, cause: Cause<'_>) -> Span {
        let Some(tracer) = &self.0 else { return Span(None) };
        let mut builder = SpanBuilder::from_name(name.to_owned()).with_kind(kind);
        builder.start_time = since.0;
        let links = worth_linking(cause.links);
        if !links.is_empty() {
            builder = builder.with_links(links);
        }
        let parent = cause
            .parent
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(span_context(parent)));
        Span::of(tracer, tracer.build_with_context(builder, &parent))
    }
}

/// Links to recorded spans. One unrecorded span is enough to tell the sampler.
fn worth_linking(contexts: &[TraceContext]) -> Vec<Link> {
    let link = |context: &TraceContext| Link::with_context(span_context(*context));
    let links: Vec<Link> = contexts.iter().filter(|context| context.is_sampled()).map(link).collect();
    if links.is_empty() { contexts.iter().take(1).map(link).collect() } else { links }
}

/// A position from another thread, process or time.
fn span_context(context: TraceContext) -> SpanContext {
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from_bytes(context.trace()), SpanId::from_bytes(context.span()));
    SpanContext::new(trace, span, flags, true, TraceState::NONE)
}

/// A piece of work that takes time. Ends when dropped, and does nothing while tracing is off.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    span: SdkSpan,
    tracer: SdkTracer,
}

impl Span {
    fn of(tracer: &SdkTracer, span: SdkSpan) -> Self {
        Self(Some(Box::new(Open { span, tracer: tracer.clone() })))
    }

    /// Its position, to store or send along.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.0.as_ref()?.span.span_context();
        TraceContext::new(context.trace_id().to_bytes(), context.span_id().to_bytes(), context.is_sampled())
    }

    pub fn place(&self) -> Place {
        Place(self.0.as_ref().map(|open| (open.tracer.clone(), open.span.span_context().clone())))
    }

    fn set(&mut self, attribute: impl FnOnce() -> KeyValue) {
        if let Some(open) = self.0.as_mut().filter(|open| open.span.is_recording()) {
            open.span.set_attribute(attribute());
        }
    }

    /// Adds a text. It must never be one that the log does not show.
    pub fn text(&mut self, key: &'static str, value: &str) {
        self.set(|| KeyValue::new(key, value.to_owned()));
    }

    pub fn number(&mut self, key: &'static str, value: impl TryInto<i64>) {
        self.set(|| KeyValue::new(key, value.try_into().unwrap_or(i64::MAX)));
    }

    /// Records a failure by a stable code.
    pub fn failed(&mut self, code: &str) {
        self.text("error.type", code);
        if let Some(open) = &mut self.0 {
            open.span.set_status(Status::error(code.to_owned()));
        }
    }
}

/// Where parts of a span belong. By default nowhere, and then their spans do nothing.
#[derive(Clone, Debug, Default)]
pub struct Place(Option<(SdkTracer, SpanContext)>);

impl Place {
    pub fn begin(&self, name: &'static str, kind: SpanKind) -> Span {
        let Some((tracer, parent)) = &self.0 else { return Span(None) };
        let parent = Context::new().with_remote_span_context(parent.clone());
        Span::of(tracer, tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &parent))
    }
}

#[cfg(test)]
pub(crate) mod tests;
