//! What came out: medians and spread, as a table or as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Middle, least and greatest of several values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
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

    fn text(self) -> String {
        format!("{} ({} to {})", short(self.median), short(self.min), short(self.max))
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What a row is to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// The ratio, at least.
    RatioMin(f64),
    /// The ratio, at most.
    RatioMax(f64),
    /// The gateway's own value, less than.
    Below(f64),
    /// Shown beside the others; nothing is asked of it.
    Nothing,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: String,
    /// What both values are in.
    pub(crate) unit: &'static str,
    /// The gateway's values, one a round.
    pub(crate) ours: Vec<f64>,
    /// Who the peer is, with its values, one a round.
    pub(crate) theirs: Option<(&'static str, Vec<f64>)>,
    pub(crate) reach: Reach,
}

impl Row {
    /// The gateway's value divided by the peer's, round by round.
    fn ratio(&self) -> Option<Spread> {
        let (_, theirs) = self.theirs.as_ref()?;
        Some(Spread::of(self.ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs)))
    }

    fn is_reached(&self) -> Option<bool> {
        let (ours, ratio) = (Spread::of(self.ours.iter().copied()).median, self.ratio().map(|ratio| ratio.median));
        match self.reach {
            Reach::RatioMin(least) => ratio.map(|ratio| ratio >= least),
            Reach::RatioMax(most) => ratio.map(|ratio| ratio <= most),
            Reach::Below(most) => Some(ours < most),
            Reach::Nothing => None,
        }
    }

    fn reach(&self) -> String {
        match self.reach {
            Reach::RatioMin(least) => format!("at least {least} times"),
            Reach::RatioMax(most) => format!("at most {most} times"),
            Reach::Below(most) => format!("below {most} {}", self.unit),
            Reach::Nothing => String::new(),
        }
    }

    /// As a line of the table.
    pub(crate) fn line(&self) -> String {
        let (peer, theirs) = self
            .theirs
            .as_ref()
            .map_or(("-", String::new()), |(peer, theirs)| (*peer, Spread::of(theirs.iter().copied()).text()));
        let reached = match self.is_reached() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        format!(
            "| {} | {} | {} | {peer} | {theirs} | {} | {} | {reached} |",
            self.name,
            self.unit,
            Spread::of(self.ours.iter().copied()).text(),
            self.ratio().map(Spread::text).unwrap_or_default(),
            self.reach(),
        )
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "gateway": Spread::of(self.ours.iter().copied()).json(),
            "gateway_rounds": self.ours,
            "peer": self.theirs.as_ref().map(|(peer, _)| peer),
            "peer_values": self.theirs.as_ref().map(|(_, theirs)| Spread::of(theirs.iter().copied()).json()),
            "peer_rounds": self.theirs.as_ref().map(|(_, theirs)| theirs),
            "ratio": self.ratio().map(Spread::json),
            "reach": self.reach(),
            "reached": self.is_reached(),
        })
    }
}

/// Everything, with what the machine was like.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    /// Which of Cargo's profiles the gateway was built with.
    profile: String,
    cores: usize,
    /// Average load of the last minute, before and after; includes what this program causes.
    load: [Option<f64>; 2],
}

impl Report {
    /// Begins. `profile` is what the gateway's binary was built with.
    pub(crate) fn new(profile: String) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self { rows: Vec::new(), profile, cores, load: [average_load(), None] }
    }

    /// Ends.
    pub(crate) fn finish(&mut self) {
        self.load[1] = average_load();
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({"profile": self.profile, "cores": self.cores, "load": self.load, "rows": rows})
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let load = self.load.map(|load| load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}")));
        let mut text = format!(
            "Medians of the rounds (least to greatest). Profile {}, {} cores, load {} before and {} after (with this program's own).\n\n\
             | figure | in | gateway | peer | peer's | ratio | to reach | reached |\n\
             |---|---|--:|---|--:|--:|---|---|\n",
            self.profile, self.cores, load[0], load[1]
        );
        for row in &self.rows {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{}", row.line());
        }
        text
    }
}

/// Where the system tells it.
fn average_load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
