//! Charts of days: drawn here like the others, with a sentence and a table.

use std::fmt::Write as _;

use super::html::tag;
use crate::domain::clock::Timestamp;

/// Size of the drawing, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 150.0;

/// Length of the stroke for a single day.
const STROKE: f64 = 8.0;

/// How many lines look different from each other.
const LOOKS: usize = 4;

/// The days shown, the earliest first, as `YYYY-MM-DD`.
#[derive(Debug)]
pub(super) struct Days(Vec<String>);

impl Days {
    /// The `count` days up to `last`.
    pub(super) fn up_to(last: &str, count: u32) -> Self {
        let Some(end) = Timestamp::parse_rfc3339(&format!("{last}T00:00:00Z")) else { return Self(Vec::new()) };
        let day = |ago: u32| {
            let at = end.minus(std::time::Duration::from_hours(24) * ago).to_string();
            at.get(..10).unwrap_or_default().to_owned()
        };
        Self((0..count).rev().map(day).collect())
    }

    /// The place of a day.
    pub(super) fn place(&self, day: &str) -> Option<usize> {
        self.0.binary_search_by(|known| known.as_str().cmp(day)).ok()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The unit of a chart's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit<'a> {
    /// Minor units of a currency.
    Money(Option<&'a str>),
    Subscriptions,
}

impl Unit<'_> {
    fn text(self, value: i64) -> String {
        match self {
            Self::Money(currency) => tag(value, currency),
            Self::Subscriptions => value.to_string(),
        }
    }
}

/// Values under one name, one per day; `None` for a day without a known value.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<Option<i64>>,
}

/// One line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) look: usize,
    pub(super) path: String,
    pub(super) last: String,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) day: String,
    pub(super) values: Vec<String>,
}

#[derive(Debug)]
pub(super) struct DayChart {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) sentence: String,
    pub(super) top: String,
    pub(super) lines: Vec<Line>,
    /// The newest first.
    pub(super) rows: Vec<Row>,
}

impl DayChart {
    pub(super) fn of(
        (id, title): (&'static str, &'static str),
        days: &Days,
        unit: Unit<'_>,
        sentence: String,
        series: &[Series],
    ) -> Self {
        let known = || series.iter().flat_map(|one| one.values.iter().flatten().copied());
        let (low, high) = (known().min().unwrap_or(0).min(0), known().max().unwrap_or(0).max(1));
        let line = |(at, one): (usize, &Series)| Line {
            name: one.name.clone(),
            look: at % LOOKS + 1,
            path: path(&one.values, low, high),
            last: one.values.iter().rev().flatten().next().map_or_else(|| "–".to_owned(), |value| unit.text(*value)),
        };
        let lines = series.iter().enumerate().map(line).collect();
        let row = |at: usize| {
            let value = |one: &Series| one.values.get(at).copied().flatten();
            let text = |one: &Series| value(one).map_or_else(|| "–".to_owned(), |value| unit.text(value));
            Row { day: days.0.get(at).cloned().unwrap_or_default(), values: series.iter().map(text).collect() }
        };
        let rows = (0..days.len()).rev().map(row).collect();
        Self { id, title, sentence, top: unit.text(high), lines, rows }
    }
}

/// A line as an SVG path. Gaps stay gaps, and a single day is a short stroke.
#[expect(clippy::cast_precision_loss, reason = "a drawing is coarser than any loss")]
fn path(values: &[Option<i64>], low: i64, high: i64) -> String {
    let across = WIDTH / (values.len().max(2) - 1) as f64;
    let span = (high - low).max(1) as f64;
    let (mut path, mut before) = (String::new(), None);
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let is_next = before.is_some_and(|before: usize| at == before + 1);
        let (x, y) = (at as f64 * across, HEIGHT - (value - low) as f64 / span * HEIGHT);
        // Writing to memory does not fail.
        let _ = if is_next {
            write!(path, "L{x:.1} {y:.1}")
        } else {
            let begin = (x - STROKE).max(0.0);
            write!(path, "M{begin:.1} {y:.1}L{:.1} {y:.1}", x.max(begin + STROKE))
        };
        before = Some(at);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_back_over_months_and_lines_keep_their_gaps() {
        let days = Days::up_to("2026-03-01", 3);
        assert_eq!(
            (days.0.as_slice(), days.place("2026-02-28")),
            (&["2026-02-27", "2026-02-28", "2026-03-01"].map(str::to_owned)[..], Some(1))
        );
        assert_eq!(days.place("2026-02-01"), None);
        // Days are in UTC, which has no daylight saving time.
        assert_eq!(Days::up_to("2026-03-09", 3).0, ["2026-03-07", "2026-03-08", "2026-03-09"]);
        assert_eq!(Days::up_to("2026-11-02", 3).0, ["2026-10-31", "2026-11-01", "2026-11-02"]);
        let series = vec![Series { name: "gold".to_owned(), values: vec![Some(100), None, Some(-100)] }];
        let chart = DayChart::of(("net", "Net"), &days, Unit::Money(Some("cad")), String::new(), &series);
        assert_eq!(chart.lines[0].path.matches('M').count(), 2, "{:?}", chart.lines);
        assert_eq!((chart.rows[0].day.as_str(), chart.rows[1].values[0].as_str()), ("2026-03-01", "–"));
        assert!(chart.lines[0].last.contains('1'), "{:?}", chart.lines);
    }
}
