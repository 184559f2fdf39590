//! One reading of the metrics, from the text that Prometheus gets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ring::{Column, Point};

/// Bounds of a histogram's buckets, in seconds, each with the number below it.
type Buckets = Vec<(f64, f64)>;

/// The metrics that charts and tiles need.
#[derive(Clone, Debug, Default)]
pub(in crate::console) struct Reading {
    /// Sums over labels, by name and, where it matters, by label.
    values: BTreeMap<String, f64>,
    ack: Buckets,
    settle: Buckets,
}

const REQUESTS: &str = "colony_gateway_webhook_requests_total";
const ACK: &str = "colony_gateway_webhook_duration_seconds_bucket";
const SETTLE: &str = "colony_gateway_settle_duration_seconds_bucket";
const ENTRIES: &str = "colony_gateway_inbox_entries";
const LEDGER_CALLS: &str = "colony_gateway_ledger_duration_seconds_count";
const LEDGER_ERRORS: &str = "colony_gateway_ledger_errors_total";
const LAST_WEBHOOK: &str = "colony_gateway_last_webhook_timestamp_seconds";
const DISK: &str = "colony_gateway_inbox_disk_free_bytes";

/// States of unfinished entries.
const ON_THEIR_WAY: [&str; 3] = ["waiting", "leased", "submitted"];

impl Reading {
    pub(in crate::console) fn of(text: &str) -> Self {
        let mut reading = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let label = labels.split('"').nth(1).unwrap_or_default();
            match name {
                ACK => reading.ack.extend(bound(label).map(|bound| (bound, value))),
                SETTLE => reading.settle.extend(bound(label).map(|bound| (bound, value))),
                REQUESTS | ENTRIES => *reading.values.entry(format!("{name} {label}")).or_default() += value,
                LEDGER_CALLS | LEDGER_ERRORS | LAST_WEBHOOK | DISK => {
                    *reading.values.entry(name.to_owned()).or_default() += value;
                }
                _ => {}
            }
        }
        reading
    }

    fn value(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(0.0)
    }

    fn answered(&self, results: &[&str]) -> f64 {
        results.iter().map(|result| self.value(&format!("{REQUESTS} {result}"))).sum()
    }

    /// Unfinished entries.
    fn backlog(&self) -> f64 {
        ON_THEIR_WAY.iter().map(|state| self.value(&format!("{ENTRIES} {state}"))).sum()
    }

    /// When the last webhook was acknowledged, in seconds since 1970.
    pub(in crate::console) fn last_webhook(&self) -> Option<f64> {
        Some(self.value(LAST_WEBHOOK)).filter(|at| *at > 0.0)
    }

    /// Bytes free on the inbox's disk.
    pub(in crate::console) fn disk_free(&self) -> Option<f64> {
        self.values.get(DISK).copied()
    }

    /// The changes since `before`, which was `passed` ago. `None` if no time has passed.
    #[expect(clippy::cast_possible_truncation, reason = "charts need no more than the digits of a single")]
    pub(super) fn since(&self, before: &Self, passed: Duration) -> Option<Point> {
        let seconds = passed.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let rate = |now: f64, then: f64| ((now - then).max(0.0) / seconds) as f32;
        let of = |results: &[&str]| rate(self.answered(results), before.answered(results));
        let all: f64 = self.values.iter().filter(|(name, _)| name.starts_with(REQUESTS)).map(|(_, value)| value).sum();
        let all_before: f64 =
            before.values.iter().filter(|(name, _)| name.starts_with(REQUESTS)).map(|(_, value)| value).sum();
        let (taken, again, refused) = (of(&["ok", "held"]), of(&["duplicate"]), of(&["invalid_signature"]));
        let mut point = Point::unknown();
        point.set(Column::Taken, taken);
        point.set(Column::Again, again);
        point.set(Column::Refused, refused);
        point.set(Column::Failed, (rate(all, all_before) - taken - again - refused).max(0.0));
        point.set(Column::Backlog, self.backlog() as f32);
        point.set(Column::LedgerCalls, rate(self.value(LEDGER_CALLS), before.value(LEDGER_CALLS)));
        point.set(Column::LedgerErrors, rate(self.value(LEDGER_ERRORS), before.value(LEDGER_ERRORS)));
        for (column, share, now, then) in [
            (Column::AckUsual, 0.5, &self.ack, &before.ack),
            (Column::AckSlow, 0.99, &self.ack, &before.ack),
            (Column::SettleSlow, 0.95, &self.settle, &before.settle),
        ] {
            if let Some(seconds) = quantile(share, now, then) {
                point.set(column, seconds as f32);
            }
        }
        Some(point)
    }
}

fn bound(label: &str) -> Option<f64> {
    if label == "+Inf" { Some(f64::INFINITY) } else { label.parse().ok() }
}

/// The quantile of the observations between two readings, in seconds, as Prometheus computes it; `None` if there were none.
fn quantile(share: f64, now: &Buckets, then: &Buckets) -> Option<f64> {
    let before =
        |bound: f64| then.iter().find(|(known, _)| known.total_cmp(&bound).is_eq()).map_or(0.0, |(_, count)| *count);
    let came: Buckets = now.iter().map(|(bound, count)| (*bound, count - before(*bound))).collect();
    let total = came.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in came {
        if count >= share * total {
            // Above the last bound nothing is known.
            let is_last = bound.is_infinite() || count <= below;
            return Some(if is_last {
                lower
            } else {
                lower + (bound - lower) * (share * total - below) / (count - below)
            });
        }
        (lower, below) = (bound, count);
    }
    Some(lower)
}
