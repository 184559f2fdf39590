//! The summary that `simulate` ends with.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use crate::cli::traffic::Snapshot;
use crate::domain::counted::counted;

/// What came of the traffic.
#[derive(Clone, Debug)]
pub(super) struct SimulationReport {
    seed: u64,
    took: Duration,
    result: Snapshot,
}

impl SimulationReport {
    pub(super) fn new(seed: u64, took: Duration, result: Snapshot) -> Self {
        Self { seed, took, result }
    }

    /// Whether something was delivered and every answer was as expected.
    pub(super) fn is_good(&self) -> bool {
        self.result.unexpected == 0 && self.result.sent > 0
    }

    /// One line with a JSON object, or a table.
    pub(super) fn print(&self, out: &mut dyn Write, as_json: bool) -> io::Result<()> {
        if as_json { self.print_json(out) } else { self.print_table(out) }
    }

    fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut fields = json!({
            "seed": self.seed,
            "seconds": self.took.as_secs_f64(),
            "requests_per_second": self.per_second(),
            "latency_ms": {"p50": self.quantile(500), "p99": self.quantile(990), "max": self.max()},
        });
        let counters = serde_json::to_value(&self.result)?;
        if let (Some(fields), serde_json::Value::Object(counters)) = (fields.as_object_mut(), counters) {
            fields.extend(counters);
        }
        writeln!(out, "{fields}")
    }

    fn print_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let result = &self.result;
        let mut line = |name: &str, value: &str| writeln!(out, "{name:<12} {value}");
        line("seed", &self.seed.to_string())?;
        line(
            "sent",
            &format!("{} in {:.1} s ({:.0} a second)", result.sent, self.took.as_secs_f64(), self.per_second()),
        )?;
        let (genuine, duplicates, forged) = (result.genuine, result.duplicates, result.forged);
        line(
            "as expected",
            &format!(
                "{}, {}, {}",
                counted(genuine, "event", "events"),
                counted(duplicates, "duplicate", "duplicates"),
                counted(forged, "forgery", "forgeries")
            ),
        )?;
        line("2xx", &result.accepted.to_string())?;
        line("4xx", &result.refused.to_string())?;
        line("5xx", &result.failed.to_string())?;
        if result.other + result.unanswered > 0 {
            line(
                "other",
                &format!(
                    "{}, {} without an answer",
                    counted(result.other, "answer", "answers"),
                    counted(result.unanswered, "request", "requests")
                ),
            )?;
        }
        line("retried", &result.retried.to_string())?;
        if result.abandoned > 0 {
            line("abandoned", &format!("{} (interrupted while waiting to try again)", result.abandoned))?;
        }
        let (p50, p99, max) = (self.quantile(500), self.quantile(990), self.max());
        line("latency", &format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"))?;
        line("unexpected", &result.unexpected.to_string())?;
        for sample in &result.samples {
            line("", sample)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    fn per_second(&self) -> f64 {
        self.result.sent as f64 / self.took.as_secs_f64().max(0.001)
    }

    /// Milliseconds; 0 if there was no answer.
    fn quantile(&self, per_mille: u64) -> f64 {
        milliseconds(self.result.latencies.quantile(per_mille).unwrap_or_default())
    }

    fn max(&self) -> f64 {
        milliseconds(self.result.latencies.max())
    }
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}
