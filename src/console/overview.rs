//! The first page: how the gateway is, in a word, in numbers, in charts and part by part.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::Console;
use super::chart::{Chart, Plan, Unit};
use super::entries::Row;
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Count, Moment, Page, Prose};
use super::live::{Live, shown};
use super::series::{Column, Point, SPANS, Span};
use crate::domain::clock::Timestamp;
use crate::domain::counted::lasting;
use crate::door::Problem;
use crate::inbox::{Counts, Selection};
use crate::telemetry::health::{Component, Level};

pub(super) const PATH: &str = "/console";

/// Entries shown.
const NEWEST: usize = 8;

/// From this many known points on, an hour is worth showing; before that, five minutes.
const HOUR_FROM: usize = 30;

/// The state of the gateway, in words.
#[derive(Debug)]
struct Verdict {
    level: Level,
    mark: &'static str,
    words: String,
    more: Prose<String>,
}

#[derive(Debug)]
struct Tile {
    name: &'static str,
    value: String,
    path: Option<&'static str>,
    is_bad: bool,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    status: &'static str,
    mark: &'static str,
    detail: Prose<String>,
    since: Moment,
}

#[derive(Debug)]
struct Choice {
    name: &'static str,
    is_open: bool,
}

/// The part of the page that renews itself.
#[derive(Template)]
#[template(path = "overview_now.html")]
struct Now {
    verdict: Verdict,
    tiles: Vec<Tile>,
    spans: Vec<Choice>,
    charts: Vec<Chart>,
    parts: Vec<Part>,
    rows: Vec<Row>,
    last_webhook: Option<Moment>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    live: Live,
}

const PLANS: [Plan; 5] = [
    Plan {
        id: "deliveries",
        title: "Deliveries",
        unit: Unit::PerSecond,
        lines: &[
            ("stored", Column::Taken),
            ("known already", Column::Again),
            ("refused signatures", Column::Refused),
            ("other answers", Column::Failed),
        ],
    },
    Plan {
        id: "answers",
        title: "Time to the answer",
        unit: Unit::Seconds,
        lines: &[("99 of 100 are faster", Column::AckSlow), ("half are faster", Column::AckUsual)],
    },
    Plan {
        id: "settled",
        title: "Receipt to record",
        unit: Unit::Seconds,
        lines: &[("95 of 100 are faster", Column::SettleSlow)],
    },
    Plan { id: "backlog", title: "On their way", unit: Unit::Entries, lines: &[("entries", Column::Backlog)] },
    Plan {
        id: "ledger",
        title: "Ledger calls",
        unit: Unit::PerSecond,
        lines: &[("calls", Column::LedgerCalls), ("errors", Column::LedgerErrors)],
    },
];

/// `GET /console`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    let form = Form::parse(&query).ok_or(Problem::InvalidRequest)?;
    let span = form.get("span").and_then(Span::named).unwrap_or_else(|| usual_span(&console));
    let now = now(&console, span).await?;
    let live = Live::of(&now, PATH, &format!("span={}", span.name))?;
    if let Some(shown) = shown(&query) {
        return Ok(live.answer(shown));
    }
    let frame = Frame::new(&console, &visitor, "Overview", "Overview").await;
    Ok(Page(OverviewPage { frame, live }).into_response())
}

/// An hour, once there are enough points for it.
fn usual_span(console: &Console) -> Span {
    let [minutes, hour, ..] = SPANS;
    let known = console.series.points(hour).iter().flatten().count();
    if known >= HOUR_FROM { hour } else { minutes }
}

async fn now(console: &Console, span: Span) -> Result<Now, Failure> {
    let inbox = &console.control.context.inbox;
    let counts = inbox.counts().await.map_err(Problem::InboxUnavailable)?;
    let newest = inbox.select(&Selection::default(), None, NEWEST).await.map_err(Problem::InboxUnavailable)?;
    let (ready, level, components) = console.health.standing();
    let points = console.series.points(span);
    let recent = console.series.points(SPANS[0]);
    let last_webhook = console.series.last().and_then(|reading| reading.last_webhook());
    let spans = SPANS.map(|choice| Choice { name: choice.name, is_open: choice == span });
    Ok(Now {
        verdict: verdict(ready, level, &counts, &components),
        tiles: tiles(console, &counts, &recent),
        spans: spans.into(),
        charts: PLANS.iter().map(|plan| Chart::of(plan, &points, span.step())).collect(),
        parts: components.into_iter().map(part).collect(),
        rows: newest.entries.into_iter().map(Row::of).collect(),
        last_webhook: last_webhook.map(|at| Moment(moment(at))),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a moment in seconds is far below 2^53")]
fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_seconds(seconds as i64)
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Ok => "●",
        Level::Degraded => "▲",
        Level::Down => "✕",
    }
}

fn part((name, component): (&'static str, Component)) -> Part {
    Part {
        name,
        status: component.status.as_str(),
        mark: mark(component.status),
        detail: Prose(component.detail),
        since: Moment(component.since),
    }
}

fn verdict(
    ready: bool,
    level: Level,
    counts: &Counts,
    components: &std::collections::BTreeMap<&'static str, Component>,
) -> Verdict {
    let held = counts.dead + counts.quarantined;
    let worst = components.iter().filter(|(_, part)| part.status != Level::Ok);
    let worst: Vec<_> = worst.filter(|(name, _)| **name != "problems").collect();
    let (words, more) = match worst.first() {
        _ if !ready => ("It takes no webhooks now.".to_owned(), "Stripe sends them again.".to_owned()),
        Some((name, part)) => {
            let others = if worst.len() > 1 { format!(" {} more below.", worst.len() - 1) } else { String::new() };
            (format!("It takes webhooks, but not all is well: {name}."), format!("{}.{others}", part.detail))
        }
        None if held > 0 => {
            let word = if held == 1 { "entry waits" } else { "entries wait" };
            (format!("It works, and {} {word} for your decision.", Count(held)), String::new())
        }
        None => {
            let words = "All is well: webhooks are taken, and what came in reaches the record.";
            (words.to_owned(), String::new())
        }
    };
    Verdict { level, mark: mark(level), words, more: Prose(more) }
}

fn tiles(console: &Console, counts: &Counts, recent: &[Option<Point>]) -> Vec<Tile> {
    let last = |column: Column| recent.iter().rev().flatten().find_map(|point| point.get(column));
    let told = |unit: Unit, value: Option<f32>| value.map_or_else(|| "–".to_owned(), |value| unit.text(value));
    let rate = last(Column::Taken).map(|taken| taken + last(Column::Again).unwrap_or(0.0));
    let now = console.control.context.inbox.clock().now();
    let oldest = counts.oldest.map(|oldest| now.since(oldest).as_secs());
    let held = counts.dead + counts.quarantined;
    let disk = console.series.last().and_then(|reading| reading.disk_free());
    let tile = |name, value: String, path, is_bad| Tile { name, value, path, is_bad };
    vec![
        tile("Deliveries", told(Unit::PerSecond, rate), None, false),
        tile("Answer, p99", told(Unit::Seconds, last(Column::AckSlow)), None, false),
        tile("Receipt to record, p95", told(Unit::Seconds, last(Column::SettleSlow)), None, false),
        tile(
            "On their way",
            Count(counts.backlog()).to_string(),
            Some("/console/entries?state=waiting&state=leased&state=submitted"),
            false,
        ),
        tile("Oldest of them", oldest.map_or_else(|| "–".to_owned(), age), None, false),
        tile("Waiting for you", Count(held).to_string(), Some("/console/problems"), held > 0),
        tile("Route", console.control.context.in_force.get().as_str().to_owned(), None, false),
        tile("Disk free", disk.map_or_else(|| "–".to_owned(), size), None, false),
    ]
}

/// In coarse steps, so that the page does not change only for this.
fn age(seconds: u64) -> String {
    match seconds {
        0..10 => "seconds".to_owned(),
        10..120 => lasting(Duration::from_secs(seconds / 10 * 10)),
        _ => lasting(Duration::from_secs(seconds)),
    }
}

fn size(bytes: f64) -> String {
    let gib = bytes / f64::from(1 << 30);
    if gib < 10.0 { format!("{gib:.1} GiB") } else { format!("{gib:.0} GiB") }
}
