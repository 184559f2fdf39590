//! Spans of what is done with leased entries, on either route.
//!
//! One entry alone: its span is a part of its delivery's trace. Several: what is done with all of them at once is a trace of
//! its own, linked to every delivery, since none of them is more its cause than the others; and each delivery's trace gets
//! a span that is linked to it.

use crate::domain::ids::{EntryId, ProcessId};
use crate::domain::route::Route;
use crate::domain::trace::TraceContext;
use crate::inbox::{Leased, SubmittedEntry};
use crate::telemetry::trace::{Cause, Moment, Place, Span, SpanKind, Tracer};

/// The spans of one attempt or one submission. They end when dropped, and do nothing while tracing is off.
#[derive(Debug, Default)]
pub(super) struct AttemptSpans {
    /// One span of all entries together.
    whole: Span,
    /// One span of each entry, in order; empty if there is one entry, whose span is the whole.
    each: Vec<Span>,
}

impl AttemptSpans {
    pub(super) fn begin(tracer: &Tracer, route: Route, group: &[Leased]) -> Self {
        if !tracer.is_on() {
            return Self::default();
        }
        let (alone, whole, one, kind) = match route {
            Route::Direct => ("apply", "apply batch", "apply", SpanKind::Internal),
            Route::ColonyOs => ("submit job", "submit job", "submit", SpanKind::Producer),
        };
        if let [only] = group {
            let whole = tracer.begin(alone, kind, Cause { parent: only.trace, links: &[] });
            return Self { whole: described(whole, only, route), each: Vec::new() };
        }
        let links: Vec<TraceContext> = group.iter().filter_map(|leased| leased.trace).collect();
        let mut whole = tracer.begin(whole, kind, Cause { parent: None, links: &links });
        whole.text("gateway.route", route.as_str());
        whole.number("messaging.batch.message_count", group.len());
        let batch: Vec<TraceContext> = whole.context().into_iter().collect();
        let begin = |leased: &Leased| {
            let cause = Cause { parent: leased.trace, links: &batch };
            described(tracer.begin(one, SpanKind::Internal, cause), leased, route)
        };
        Self { whole, each: group.iter().map(begin).collect() }
    }

    /// Where parts of the work belong in the trace.
    pub(super) fn place(&self) -> Place {
        self.whole.place()
    }

    /// The position from which work in other processes continues the trace.
    pub(super) fn context(&self) -> Option<TraceContext> {
        self.whole.context()
    }

    /// Adds a text to every span.
    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.spans().for_each(|span| span.text(key, value));
    }

    /// Adds the outcome of each entry.
    pub(super) fn outcomes<'a>(&mut self, outcomes: impl Iterator<Item = &'a str>) {
        let alone = self.each.is_empty().then_some(&mut self.whole);
        for (span, outcome) in alone.into_iter().chain(&mut self.each).zip(outcomes) {
            span.text("gateway.outcome", outcome);
        }
    }

    /// Records that all of it failed.
    pub(super) fn failed(&mut self, code: &str) {
        self.spans().for_each(|span| span.failed(code));
    }

    fn spans(&mut self) -> impl Iterator<Item = &mut Span> {
        std::iter::once(&mut self.whole).chain(&mut self.each)
    }
}

fn described(mut span: Span, leased: &Leased, route: Route) -> Span {
    span.text("gateway.route", route.as_str());
    span.text("stripe.event_id", leased.event_id.as_str());
    span.text("stripe.event_type", &leased.event_type);
    span.number("gateway.entry", leased.lease.entry().0);
    span.number("gateway.attempt", i64::from(leased.attempts) + 1);
    span
}

/// Spans of the outcomes of a process's entries. They do nothing while tracing is off.
#[derive(Debug)]
pub(super) struct SettledSpans {
    tracer: Tracer,
    process: ProcessId,
    since: Moment,
    /// The entries whose delivery was traced.
    entries: Vec<SubmittedEntry>,
}

impl SettledSpans {
    /// Begins when the end of the process is known.
    pub(super) fn begin(tracer: &Tracer, process: &ProcessId, entries: &[SubmittedEntry]) -> Self {
        let is_traced = |entry: &&SubmittedEntry| tracer.is_on() && entry.trace.is_some();
        let entries = entries.iter().filter(is_traced).cloned().collect();
        Self { tracer: tracer.clone(), process: process.clone(), since: tracer.moment(), entries }
    }

    /// Records that an entry came to its end.
    pub(super) fn ended(&self, entry: EntryId, outcome: &str) {
        self.settle(entry).text("gateway.outcome", outcome);
    }

    /// Records that an entry came back without an outcome.
    pub(super) fn returned(&self, entry: EntryId, reason: &str) {
        self.settle(entry).failed(reason);
    }

    fn settle(&self, entry: EntryId) -> Span {
        let Some(settled) = self.entries.iter().find(|settled| settled.entry == entry) else { return Span::default() };
        let cause = Cause { parent: settled.trace, links: &[] };
        let mut span = self.tracer.begin_at(self.since, "settle", SpanKind::Internal, cause);
        span.text("stripe.event_id", settled.event_id.as_str());
        span.text("stripe.event_type", &settled.event_type);
        span.number("gateway.entry", settled.entry.0);
        span.text("colony.process_id", self.process.as_str());
        span
    }
}
