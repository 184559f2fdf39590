//! The span of a process that a bee works on.
//!
//! Its parent comes with the job and is not attested: a colony's server or a member between could put any other there. It
//! is therefore read strictly, decides about nothing but where spans are shown, and only for a job that is believed.

use colonies::messages::Process;

use crate::domain::outcome::OutcomeName;
use crate::job;
use crate::pipeline::Judged;
use crate::telemetry::trace::{Cause, Moment, Place, Span, SpanKind, Tracer};

/// The outcome in a span of an event that is left to the gateway.
pub(super) const UNDECIDED: &str = "undecided";

/// The span of a bee's work on one process. It ends when dropped, and does nothing while tracing is off.
#[derive(Debug, Default)]
pub(super) struct JobSpan(Span);

impl JobSpan {
    /// Begins when the bee got the process and had verified its attestation.
    pub(super) fn begin(tracer: &Tracer, since: Moment, process: &Process, events: usize) -> Self {
        if !tracer.is_on() {
            return Self::default();
        }
        let cause = Cause { parent: job::trace_of(process), links: &[] };
        let mut span = tracer.begin_at(since, "run job", SpanKind::Consumer, cause);
        span.text("colony.process_id", process.id().as_str());
        span.number("messaging.batch.message_count", events);
        Self(span)
    }

    pub(super) fn place(&self) -> Place {
        self.0.place()
    }

    /// Counts the events by outcome.
    pub(super) fn outcomes(&mut self, judged: &[Option<Judged>]) {
        const KEYS: [(&str, &str); 7] = [
            (OutcomeName::Applied.as_str(), "gateway.outcome.applied"),
            (OutcomeName::Stale.as_str(), "gateway.outcome.stale"),
            (OutcomeName::Duplicate.as_str(), "gateway.outcome.duplicate"),
            (OutcomeName::Ignored.as_str(), "gateway.outcome.ignored"),
            (OutcomeName::Quarantined.as_str(), "gateway.outcome.quarantined"),
            (OutcomeName::Failed.as_str(), "gateway.outcome.failed"),
            (UNDECIDED, "gateway.outcome.undecided"),
        ];
        for (name, key) in KEYS {
            let is_this = |judged: &&Option<Judged>| {
                judged.as_ref().and_then(|judged| judged.end.name()).unwrap_or(UNDECIDED) == name
            };
            let count = judged.iter().filter(is_this).count();
            if count > 0 {
                self.0.number(key, count);
            }
        }
    }

    /// Records that time ran out.
    pub(super) fn out_of_time(&mut self) {
        self.0.failed("out_of_time");
    }
}
