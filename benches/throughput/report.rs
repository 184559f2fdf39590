//! What came out: medians and spread, as a table or as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::CONNECTIONS;
use crate::measure::BEES;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Events posted, acknowledged and settled.
    pub(crate) events: usize,
    /// From the first webhook to the last acknowledgement.
    pub(crate) acknowledged: Duration,
    /// From the first webhook to the last settled entry.
    pub(crate) settled: Duration,
    /// Processes that carried the events.
    pub(crate) processes: u64,
}

impl Sample {
    /// Events a second.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.settled.as_secs_f64()
    }

    /// Webhooks a second. No rate can be higher; where this one is not much higher, it is the bound.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn intake(&self) -> f64 {
        self.events as f64 / self.acknowledged.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn events_a_process(&self) -> f64 {
        self.events as f64 / self.processes.max(1) as f64
    }
}

/// All measurements of one way, in the order of rounds.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    events: usize,
    pub(crate) samples: Vec<Sample>,
}

/// All measurements on one server: one event a job, and batched.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) server: String,
    pub(crate) rows: [Row; 2],
}

/// Middle, least and greatest of several values.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Self { median, min: *min, max: *max }
    }

    fn json(self) -> Value {
        json!({"median": self.median, "min": self.min, "max": self.max})
    }
}

impl Row {
    pub(crate) fn new(name: &'static str, events: usize) -> Self {
        Self { name, events, samples: Vec::new() }
    }

    fn rates(&self) -> Spread {
        Spread::of(self.samples.iter().map(Sample::rate))
    }

    fn intake(&self) -> Spread {
        Spread::of(self.samples.iter().map(Sample::intake))
    }

    fn events_a_process(&self) -> Spread {
        Spread::of(self.samples.iter().map(Sample::events_a_process))
    }
}

impl Run {
    /// How much faster the second way was than the first, round by round.
    fn ratio(&self) -> Spread {
        let [single, batched] = &self.rows;
        Spread::of(single.samples.iter().zip(&batched.samples).map(|(single, batched)| batched.rate() / single.rate()))
    }
}

/// Everything, with what the machine was like.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) runs: Vec<Run>,
    cores: usize,
    /// Average load of the last minute, before and after; includes what this program causes.
    load: [Option<f64>; 2],
}

impl Report {
    /// Begins.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self { runs: Vec::new(), cores, load: [average_load(), None] }
    }

    /// Ends.
    pub(crate) fn finish(&mut self) {
        self.load[1] = average_load();
    }

    /// For programs: rates in events a second.
    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "events": row.events,
                "events_per_second": row.rates().json(),
                "acknowledged_per_second": row.intake().json(),
                "events_per_process": row.events_a_process().json(),
                "samples": row.samples.iter().map(Sample::rate).collect::<Vec<_>>(),
            })
        };
        let run = |run: &Run| {
            json!({
                "server": run.server,
                "rounds": run.rows[0].samples.len(),
                "rows": run.rows.iter().map(row).collect::<Vec<_>>(),
                "ratio": run.ratio().json(),
            })
        };
        let runs: Vec<Value> = self.runs.iter().map(run).collect();
        json!({"cores": self.cores, "load": self.load, "bees": BEES, "connections": CONNECTIONS, "runs": runs})
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let load = self.load.map(|load| load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}")));
        let mut text = format!(
            "events/s from the first webhook to the last settled entry; {BEES} bees, SQLite, {CONNECTIONS} connections\n\
             {} cores, load {} before and {} after (with this program's own)\n\n\
             | server | jobs | events | rounds | median | min to max | acknowledged/s | events a process | ratio (min to max) |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
            self.cores, load[0], load[1]
        );
        for run in &self.runs {
            let ratio = run.ratio();
            let ratios = ["1".to_owned(), format!("{:.1} ({:.1} to {:.1})", ratio.median, ratio.min, ratio.max)];
            for (row, ratio) in run.rows.iter().zip(ratios) {
                let rates = row.rates();
                // Writing to a text cannot fail.
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {:.0} | {:.0} to {:.0} | {:.0} | {:.0} | {ratio} |",
                    run.server,
                    row.name,
                    row.events,
                    row.samples.len(),
                    rates.median,
                    rates.min,
                    rates.max,
                    row.intake().median,
                    row.events_a_process().median,
                );
            }
        }
        text
    }
}

/// Where the system tells it.
fn average_load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
