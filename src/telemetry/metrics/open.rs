//! Metrics whose label values are known at run time only, such as fingerprints of keys. Their number is bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

pub(super) const METADATA: Metadata<'static> = Metadata::new("colony_gateway", Level::INFO, None);

/// Most values of one label. All others count as `other`.
pub const VALUES_MAX: usize = 128;

/// The metrics of one name, each made when its label value is first seen.
struct Family<T> {
    recorder: Arc<PrometheusRecorder>,
    name: &'static str,
    label: &'static str,
    make: fn(&PrometheusRecorder, &Key) -> T,
    known: Mutex<BTreeMap<String, T>>,
}

impl<T: Clone> Family<T> {
    fn of(&self, value: &str) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = known.get(value) {
            return metric.clone();
        }
        let value = if known.len() < VALUES_MAX { value } else { "other" };
        let label = Label::new(self.label, value.to_owned());
        let metric = (self.make)(&self.recorder, &Key::from_parts(self.name, vec![label]));
        known.entry(value.to_owned()).or_insert(metric).clone()
    }
}

/// Counters of one name, by the value of one label. Clones share them.
#[derive(Clone)]
pub struct OpenCounters(Arc<Family<Counter>>);

impl OpenCounters {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>, name: &'static str, label: &'static str) -> Self {
        let make = |recorder: &PrometheusRecorder, key: &Key| {
            let counter = recorder.register_counter(key, &METADATA);
            // It must be seen at zero before it grows, so that a rate is defined.
            counter.absolute(0);
            counter
        };
        Self(Arc::new(Family { recorder, name, label, make, known: Mutex::default() }))
    }

    /// The counter of a value; beyond [`VALUES_MAX`] values, that of `other`.
    pub fn of(&self, value: &str) -> Counter {
        self.0.of(value)
    }
}

/// Gauges of one name, by the value of one label. Clones share them.
#[derive(Clone)]
pub struct OpenGauges(Arc<Family<Gauge>>);

impl OpenGauges {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>, name: &'static str, label: &'static str) -> Self {
        let make = |recorder: &PrometheusRecorder, key: &Key| recorder.register_gauge(key, &METADATA);
        Self(Arc::new(Family { recorder, name, label, make, known: Mutex::default() }))
    }

    /// The gauge of a value; beyond [`VALUES_MAX`] values, that of `other`.
    pub fn of(&self, value: &str) -> Gauge {
        self.0.of(value)
    }
}

/// A gauge that is absent until its value is known, because 0 would pass for a measurement. Clones share it.
#[derive(Clone)]
pub struct LateGauge(Arc<Late>);

struct Late {
    recorder: Arc<PrometheusRecorder>,
    name: &'static str,
    gauge: OnceLock<Gauge>,
}

impl LateGauge {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>, name: &'static str) -> Self {
        Self(Arc::new(Late { recorder, name, gauge: OnceLock::new() }))
    }

    pub fn set(&self, to: f64) {
        let Late { recorder, name, gauge } = &*self.0;
        gauge.get_or_init(|| recorder.register_gauge(&Key::from_static_name(name), &METADATA)).set(to);
    }
}

impl<T> fmt::Debug for Family<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn what_was_not_measured_is_not_there() {
        let (metrics, name) = (Metrics::new(), "colony_gateway_inbox_disk_free_bytes");
        assert!(!metrics.render().contains(name));
        metrics.disk_free.set(7.0);
        assert!(metrics.render().contains(&format!("{name} 7")));
    }

    #[test]
    fn values_beyond_the_bound_count_together() {
        let metrics = Metrics::new();
        for number in 0..VALUES_MAX + 10 {
            metrics.key_uses.of(&format!("key-{number}")).increment(1);
        }
        metrics.key_uses.of("key-0").increment(1);
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.starts_with("colony_gateway_key_uses_total{"));
        assert_eq!(lines.count(), VALUES_MAX + 1);
        assert!(text.contains("colony_gateway_key_uses_total{key=\"key-0\"} 2"), "{text}");
        assert!(text.contains("colony_gateway_key_uses_total{key=\"other\"} 10"), "{text}");
    }
}
