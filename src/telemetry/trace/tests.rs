//! What spans follow from what, which are recorded, and that nothing is made of them while tracing is off.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;

/// Keeps the spans that end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Ended {
    pub(crate) fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A tracer that keeps its spans here.
pub(crate) fn tracer(sampler: &str, ratio: f64) -> (Tracer, Ended) {
    let ended = Ended::default();
    let sampling = Sampling::named(sampler, ratio).unwrap();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(ended.clone())
        .with_sampler(sampling.sampler())
        .with_max_links_per_span(256)
        .build();
    (Tracer(Some(provider.tracer("tests"))), ended)
}

const ROOT: Cause<'static> = Cause { parent: None, links: &[] };

fn linked(links: &[TraceContext]) -> Cause<'_> {
    Cause { parent: None, links }
}

fn context(number: u8, sampled: bool) -> TraceContext {
    TraceContext::new([number; 16], [number; 8], sampled).unwrap()
}

#[test]
fn a_tracer_that_is_off_makes_nothing() {
    let tracer = Tracer::default();
    assert!(!tracer.is_on() && tracer.moment().0.is_none());
    let mut span = tracer.begin("anything", SpanKind::Server, linked(&[context(1, true)]));
    span.text("key", "value");
    span.failed("code");
    let part = span.place().begin("part", SpanKind::Internal);
    assert!(span.0.is_none() && part.0.is_none() && span.place().0.is_none());
    assert_eq!((span.context(), part.context()), (None, None));
}

#[test]
fn a_part_belongs_to_its_whole_and_a_follower_to_what_it_follows_from() {
    let (tracer, ended) = tracer("parentbased_always_on", 1.0);
    let mut root = tracer.begin("root", SpanKind::Server, ROOT);
    root.text("a", "b");
    root.number("n", 7_u16);
    let stored = TraceContext::parse(&root.context().unwrap().to_string());
    drop(root.place().begin("part", SpanKind::Internal));
    drop(root);
    let mut follower = tracer.begin("follower", SpanKind::Internal, Cause { parent: stored, links: &[] });
    follower.failed("timed_out");
    drop(follower);
    let [part, root, follower] = ended.take().try_into().unwrap();
    assert_eq!(
        (part.parent_span_id, follower.parent_span_id),
        (root.span_context.span_id(), root.span_context.span_id())
    );
    assert!([&part, &follower].iter().all(|span| span.span_context.trace_id() == root.span_context.trace_id()));
    assert_eq!(root.attributes, [KeyValue::new("a", "b"), KeyValue::new("n", 7_i64)]);
    assert_eq!(follower.status, Status::error("timed_out"));
}

#[test]
fn a_batch_has_a_trace_of_its_own_with_links_to_recorded_events_up_to_the_largest_batch() {
    let (tracer, ended) = tracer("parentbased_always_on", 1.0);
    let mut events: Vec<TraceContext> = (0..=255).map(|number| context(number.max(1), true)).collect();
    events.push(context(9, false));
    drop(tracer.begin("batch", SpanKind::Producer, linked(&events)));
    let [batch] = ended.take().try_into().unwrap();
    assert_eq!((batch.links.len(), batch.links.dropped_count), (256, 0));
    assert!(batch.links.iter().all(|link| link.span_context.is_sampled()));
    assert!(events.iter().all(|event| batch.span_context.trace_id().to_bytes() != event.trace()));
}

#[test]
fn a_batch_is_recorded_when_one_of_its_events_is_whatever_its_own_id() {
    for (sampler, recorded, unrecorded) in [
        ("parentbased_traceidratio", 1, 0),
        ("parentbased_always_off", 1, 0),
        ("parentbased_always_on", 1, 0),
        ("always_on", 1, 1),
        ("always_off", 0, 0),
    ] {
        let (tracer, ended) = tracer(sampler, 0.0);
        let span = tracer.begin("batch", SpanKind::Producer, linked(&[context(1, false), context(2, true)]));
        assert_eq!(span.context().unwrap().is_sampled(), recorded == 1, "{sampler}");
        drop(span);
        assert_eq!(ended.take().len(), recorded, "{sampler}");
        drop(tracer.begin("batch", SpanKind::Producer, linked(&[context(1, false), context(3, false)])));
        assert_eq!(ended.take().len(), unrecorded, "{sampler}");
    }
}

#[test]
fn a_trace_that_is_not_recorded_says_so_to_whoever_follows() {
    let (tracer, ended) = tracer("parentbased_traceidratio", 0.0);
    let root = tracer.begin("root", SpanKind::Server, ROOT);
    assert!(!root.context().unwrap().is_sampled());
    let follower = tracer.begin("follower", SpanKind::Internal, Cause { parent: root.context(), links: &[] });
    assert_eq!(follower.context().unwrap().trace(), root.context().unwrap().trace());
    drop((root, follower));
    assert_eq!(ended.take().len(), 0);
}
