//! Which traces are recorded. The names are those of `OTEL_TRACES_SAMPLER`.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

const NAMES: &str =
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio";

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    root: Root,
    /// Whether a span with a parent is recorded exactly if its parent is.
    parent_based: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Root {
    Always,
    Never,
    Ratio(f64),
}

impl Sampling {
    /// From the name of a sampler, and the share of traces, from 0 to 1, that the ratio samplers record.
    ///
    /// # Errors
    /// If there is no such sampler.
    pub fn named(name: &str, ratio: f64) -> Result<Self, String> {
        let (root, parent_based) = match name {
            "always_on" => (Root::Always, false),
            "always_off" => (Root::Never, false),
            "traceidratio" => (Root::Ratio(ratio), false),
            "parentbased_always_on" => (Root::Always, true),
            "parentbased_always_off" => (Root::Never, true),
            "parentbased_traceidratio" => (Root::Ratio(ratio), true),
            _ => return Err(format!("must be {NAMES}")),
        };
        Ok(Self { root, parent_based })
    }

    pub(super) fn sampler(self) -> Following {
        let root = match self.root {
            Root::Always => Sampler::AlwaysOn,
            Root::Never => Sampler::AlwaysOff,
            Root::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
        };
        Following(if self.parent_based { Sampler::ParentBased(Box::new(root)) } else { root })
    }
}

/// Treats a span without a parent like the spans that it is linked to: a batch's trace is recorded if that of one of its
/// events is. So a recorded event can be followed to its end.
#[derive(Clone, Debug)]
pub(super) struct Following(Sampler);

impl ShouldSample for Following {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = parent.is_none_or(|parent| !parent.span().span_context().is_valid());
        let followed = links.iter().find(|link| link.span_context.is_sampled()).or_else(|| links.first());
        match followed.filter(|_| is_root) {
            Some(link) => {
                let context = Context::new().with_remote_span_context(link.span_context.clone());
                let trace_id = link.span_context.trace_id();
                self.0.should_sample(Some(&context), trace_id, name, kind, attributes, links)
            }
            None => self.0.should_sample(parent, trace_id, name, kind, attributes, links),
        }
    }
}
