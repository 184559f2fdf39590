//! Charts. The server draws them, so that they need no script and follow the theme, and adds a sentence and a table.

use std::fmt::Write as _;
use std::time::Duration;

use super::html::Prose;
use super::series::{Column, Point};
use crate::domain::counted::lasting;

/// Size of the drawing, in its own units.
const WIDTH: f32 = 720.0;
const HEIGHT: f32 = 150.0;

/// Length of the stroke for a single point.
const LONE: f32 = 6.0;

/// Shown for an unknown value.
const UNKNOWN: &str = "–";

/// Most points drawn of one line; more are merged.
const DRAWN_MAX: usize = 360;

/// Rows of the table.
const ROWS: usize = 10;

/// Longest gap in points that a line bridges: a reading every ten seconds fills every fifth point of two seconds.
const BRIDGED_MAX: usize = 6;

/// The unit of a chart's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    PerSecond,
    Seconds,
    Entries,
}

impl Unit {
    pub(super) fn text(self, value: f32) -> String {
        match self {
            Self::PerSecond => format!("{}/s", digits(value)),
            Self::Seconds if value < 1.0 => format!("{} ms", digits(value * 1000.0)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Entries => digits(value.round()),
        }
    }
}

/// The number with as many digits as a person needs.
fn digits(value: f32) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 10.0 => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        middle if middle < 100.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ => format!("{value:.0}"),
    }
}

/// One line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Its look: a number for colour and dashes.
    pub(super) look: usize,
    pub(super) path: String,
    pub(super) now: String,
}

/// A row of the table: the age, and the values.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) ago: String,
    pub(super) values: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) sentence: Prose<String>,
    pub(super) lines: Vec<Line>,
    /// The value at the upper edge.
    pub(super) top: String,
    pub(super) rows: Vec<Row>,
}

/// The content of a chart.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: Unit,
    pub(super) lines: &'static [(&'static str, Column)],
}

impl Chart {
    /// A chart of points `step` seconds apart, the oldest first.
    #[expect(clippy::cast_precision_loss, reason = "some points are merged into one")]
    pub(super) fn of(plan: &Plan, points: &[Option<Point>], step: f64) -> Self {
        let chunk = points.len().div_ceil(DRAWN_MAX).max(1);
        let columns: Vec<Vec<Option<f32>>> = plan
            .lines
            .iter()
            .map(|(_, column)| points.chunks(chunk).map(|points| greatest(points, *column)).collect())
            .collect();
        let greatest = columns.iter().flatten().flatten().copied().fold(0.0_f32, f32::max);
        let top = round_up(greatest);
        let mut lines: Vec<Line> = Vec::new();
        for ((name, _), values) in plan.lines.iter().zip(&columns) {
            let now = last(values).map_or_else(|| UNKNOWN.to_owned(), |value| plan.unit.text(value));
            lines.push(Line { name, look: lines.len() + 1, path: path(values, top), now });
        }
        let when = if step * (chunk as f64) < 60.0 { "now" } else { "lately" };
        let sentence = match (lines.first(), greatest > 0.0) {
            (Some(first), true) => {
                let value = if first.now == UNKNOWN { "nothing" } else { &first.now };
                format!("{value} {when}, at most {} in this time", plan.unit.text(greatest))
            }
            _ => "nothing in this time".to_owned(),
        };
        let rows = rows(plan, &columns, step * chunk as f64);
        let (id, title, top) = (plan.id, plan.title, plan.unit.text(top));
        Self { id, title, sentence: Prose(sentence), lines, top, rows }
    }
}

fn greatest(points: &[Option<Point>], column: Column) -> Option<f32> {
    points.iter().flatten().filter_map(|point| point.get(column)).reduce(f32::max)
}

fn last(values: &[Option<f32>]) -> Option<f32> {
    values.iter().rev().take(BRIDGED_MAX).find_map(|value| *value)
}

/// The next 1, 2 or 5 followed by zeros, so that the edge is a familiar number.
fn round_up(value: f32) -> f32 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f32.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= value).unwrap_or(10.0);
    step * power
}

/// A line as an SVG path. Gaps stay gaps, and a single point is a short stroke.
#[expect(clippy::cast_precision_loss, reason = "a chart has some hundred points")]
fn path(values: &[Option<f32>], top: f32) -> String {
    let across = WIDTH / (values.len().max(2) - 1) as f32;
    let known: Vec<(usize, f32)> = values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?))).collect();
    let is_near = |one: usize, next: usize| next - one <= BRIDGED_MAX;
    let mut path = String::new();
    for (place, (at, value)) in known.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| known.get(before));
        let follows = before.is_some_and(|(before, _)| is_near(*before, *at));
        let leads = known.get(place + 1).is_some_and(|(next, _)| is_near(*at, *next));
        let (x, y) = (*at as f32 * across, HEIGHT - (value / top).clamp(0.0, 1.0) * HEIGHT);
        // Writing to memory does not fail.
        let _ = match (follows, leads) {
            (true, _) => write!(path, "L{x:.1} {y:.1}"),
            (false, true) => write!(path, "M{x:.1} {y:.1}"),
            (false, false) => write!(path, "M{:.1} {y:.1}h{LONE}", (x - LONE / 2.0).clamp(0.0, WIDTH - LONE)),
        };
    }
    path
}

#[expect(clippy::cast_precision_loss, reason = "a chart has some hundred points")]
fn rows(plan: &Plan, columns: &[Vec<Option<f32>>], step: f64) -> Vec<Row> {
    let length = columns.first().map_or(0, Vec::len);
    let every = length.div_ceil(ROWS).max(1);
    let at = |end: usize| {
        let text = |values: &Vec<Option<f32>>| {
            let slice = values.get(end.saturating_sub(every)..end).unwrap_or_default();
            let greatest = slice.iter().flatten().copied().reduce(f32::max);
            greatest.map_or_else(|| UNKNOWN.to_owned(), |value| plan.unit.text(value))
        };
        let seconds = (length - end) as f64 * step;
        let ago = match seconds {
            0.0..60.0 => "now".to_owned(),
            _ => format!("{} ago", lasting(Duration::from_secs_f64(seconds))),
        };
        Row { ago, values: columns.iter().map(text).collect() }
    };
    (1..=length).rev().step_by(every).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_gap_and_the_edge_is_a_round_number() {
        let values = [Some(1.0), Some(2.0), None, None, None, None, None, None, None, Some(4.0)];
        let path = path(&values, 5.0);
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert_eq!(path.matches('L').count(), 1, "{path}");
        assert!(path.ends_with("M714.0 30.0h6"), "a point alone can be seen: {path}");
        let edges = [0.0, 0.3, 1.2, 34.0, 900.0].map(|value| digits(round_up(value)));
        assert_eq!(edges, ["1", "0.5", "2", "50", "1000"]);
    }

    #[test]
    fn numbers_are_told_in_their_unit() {
        assert_eq!(Unit::PerSecond.text(12.345), "12.3/s");
        assert_eq!(Unit::Seconds.text(0.0042), "4.2 ms");
        assert_eq!((Unit::Seconds.text(2.0), Unit::Entries.text(1234.4)), ("2 s".to_owned(), "1234".to_owned()));
    }
}
