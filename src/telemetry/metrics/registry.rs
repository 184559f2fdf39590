//! Series of one name by the value of a label, and how they are registered.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::open::{LateGauge, METADATA, OpenCounters, OpenGauges};

/// Counters of one name, by the value of one label.
#[derive(Clone)]
pub struct CounterFamily {
    known: Vec<(&'static str, Counter)>,
    other: Counter,
}

impl CounterFamily {
    /// The counter of a value. Undeclared values count as `other`.
    pub fn of(&self, value: &str) -> &Counter {
        self.known.iter().find(|(known, _)| *known == value).map_or(&self.other, |(_, counter)| counter)
    }
}

/// Gauges of one name, by the value of one label.
#[derive(Clone)]
pub struct GaugeFamily(Vec<(&'static str, Gauge)>);

impl GaugeFamily {
    /// Sets the gauge of a declared value.
    pub fn set(&self, value: &str, to: f64) {
        if let Some((_, gauge)) = self.0.iter().find(|(known, _)| *known == value) {
            gauge.set(to);
        }
    }
}

/// Registers metrics and their descriptions. Every series of a family starts at zero.
pub(super) struct Registry<'a>(pub(super) &'a Arc<PrometheusRecorder>);

impl Registry<'_> {
    fn describe(name: &'static str, help: &'static str) -> (KeyName, metrics::SharedString) {
        (KeyName::from_const_str(name), metrics::SharedString::const_str(help))
    }

    pub(super) fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        let (key, help) = Self::describe(name, help);
        self.0.describe_counter(key, None, help);
        self.0.register_counter(&Key::from_static_name(name), &METADATA)
    }

    pub(super) fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        let (key, help) = Self::describe(name, help);
        self.0.describe_gauge(key, None, help);
        self.0.register_gauge(&Key::from_static_name(name), &METADATA)
    }

    pub(super) fn late_gauge(&self, name: &'static str, help: &'static str) -> LateGauge {
        let (key, help) = Self::describe(name, help);
        self.0.describe_gauge(key, None, help);
        LateGauge::new(Arc::clone(self.0), name)
    }

    pub(super) fn histogram(&self, name: &'static str, help: &'static str) -> Histogram {
        let (key, help) = Self::describe(name, help);
        self.0.describe_histogram(key, None, help);
        self.0.register_histogram(&Key::from_static_name(name), &METADATA)
    }

    pub(super) fn open_counters(&self, name: &'static str, help: &'static str, label: &'static str) -> OpenCounters {
        let (key, help) = Self::describe(name, help);
        self.0.describe_counter(key, None, help);
        OpenCounters::new(Arc::clone(self.0), name, label)
    }

    pub(super) fn open_gauges(&self, name: &'static str, help: &'static str, label: &'static str) -> OpenGauges {
        let (key, help) = Self::describe(name, help);
        self.0.describe_gauge(key, None, help);
        OpenGauges::new(Arc::clone(self.0), name, label)
    }

    pub(super) fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[&'static str],
    ) -> CounterFamily {
        let (key, help) = Self::describe(name, help);
        self.0.describe_counter(key, None, help);
        let counter = |value: &'static str| {
            let counter = self.0.register_counter(&Key::from_parts(name, vec![Label::new(label, value)]), &METADATA);
            counter.absolute(0);
            counter
        };
        CounterFamily { known: values.iter().map(|value| (*value, counter(value))).collect(), other: counter("other") }
    }

    pub(super) fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[&'static str],
    ) -> GaugeFamily {
        let (key, help) = Self::describe(name, help);
        self.0.describe_gauge(key, None, help);
        let gauge = |value: &'static str| {
            let gauge = self.0.register_gauge(&Key::from_parts(name, vec![Label::new(label, value)]), &METADATA);
            gauge.set(0.0);
            gauge
        };
        GaugeFamily(values.iter().map(|value| (*value, gauge(value))).collect())
    }
}
