//! Comparing with Stripe: up to when events are compared, whose turn it is, runs and what they found, and ordering one. Beside
//! it, shadow mode in words.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Count, Moment, Page, took};
use super::live::{Live, shown};
use crate::domain::clock::Timestamp;
use crate::domain::counted::counted;
use crate::door::Problem;
use crate::ledger::shadow::ShadowReport;
use crate::reconcile::{
    EventsReport, Example, HORIZON, HORIZON_WARNING, PastRun, ReconcileOrder, ReconcileReport, ReconcileScope,
    RecountReport, SubscriptionsReport,
};
use crate::telemetry::labelled;

const PATH: &str = "/console/reconcile";

/// Longest wait for the ledger's answer about shadow mode.
const SHADOW_MAX: Duration = Duration::from_secs(5);

/// Most subscriptions named for one cause.
const SUBJECTS_MAX: usize = 10;

const DAY_SECONDS: u64 = 24 * 60 * 60;

const CURSOR_AGE: &str = "colony_gateway_reconcile_cursor_age_seconds";

/// A number and its meaning.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    count: Count,
    is_bad: bool,
}

/// The results of a run, part by part.
#[derive(Debug)]
struct Report {
    title: String,
    dry_run: bool,
    is_in_order: bool,
    events: Option<(Vec<Figure>, EventsReport)>,
    subscriptions: Option<(Vec<Figure>, SubscriptionsReport)>,
    counts: Option<(Vec<Figure>, RecountReport)>,
    mended: Vec<(String, u64)>,
    examples: Vec<Example>,
}

#[derive(Debug)]
struct RunRow {
    number: u64,
    began: Moment,
    took: String,
    what: String,
    found: String,
    is_in_order: bool,
}

/// The part of the page that renews itself.
#[derive(Template)]
#[template(path = "reconcile_now.html")]
struct Now {
    is_running: bool,
    leads: Option<bool>,
    cursor: Option<Moment>,
    /// `2 h 5 min`
    age: String,
    /// Days left until Stripe no longer lists events that were not compared.
    days_left: String,
    is_late: bool,
    horizon: u64,
    progress: Option<(u64, u64)>,
    report: Option<Report>,
    past: Vec<RunRow>,
}

#[derive(Template)]
#[template(path = "reconcile.html")]
struct ReconcilePage {
    frame: Frame,
    /// `None` without a Stripe key.
    live: Option<Live>,
    is_shadow: bool,
    may_change: bool,
}

/// A cause in words.
#[derive(Debug)]
struct CauseRow {
    rows: Count,
    sentence: &'static str,
    blocks: bool,
    subjects: String,
}

#[derive(Template)]
#[template(path = "shadow.html")]
struct ShadowPage {
    frame: Frame,
    /// The ledger's report, or the reason why the ledger did not give one.
    report: Result<ShadowReport, String>,
    causes: Vec<CauseRow>,
    total: Count,
}

/// `GET /console/reconcile`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let live = match now(&console) {
        Some(now) => Some(Live::of(&now, PATH, "")?),
        None => None,
    };
    if let (Some(shown), Some(_)) = (shown(&query.unwrap_or_default()), &live) {
        return live.map(|live| live.answer(shown)).ok_or_else(|| Problem::NotFound.into());
    }
    let page = ReconcilePage {
        frame: Frame::new(&console, &visitor, "Reconcile", "Reconcile").await,
        live,
        is_shadow: console.control.desk.settings.started().shadow.is_some(),
        may_change: visitor.may_change(),
    };
    Ok(Page(page).into_response())
}

fn now(console: &Console) -> Option<Now> {
    let handle = console.control.reconcile.as_ref()?;
    let status = handle.status();
    let metrics = console.control.context.instruments.metrics.render();
    let now = console.control.context.inbox.clock().now();
    let age = labelled::value(&metrics, CURSOR_AGE).filter(|age| *age > 0.0).map(Duration::from_secs_f64);
    let left = HORIZON.saturating_sub(age.unwrap_or_default());
    let progress = status.report.as_ref().filter(|_| status.running).and_then(|report| report.events.as_ref());
    let title = if status.running { "This run so far" } else { "The last run" };
    Some(Now {
        is_running: status.running,
        leads: status.leads,
        // To the minute, so that the page does not change only for this.
        cursor: age.map(|age| Moment(Timestamp::from_seconds(now.minus(age).seconds() / 60 * 60))),
        age: took(u64::try_from(age.unwrap_or_default().as_millis()).unwrap_or(u64::MAX) / 60_000 * 60_000),
        days_left: counted(left.as_secs() / DAY_SECONDS, "day is left", "days are left"),
        is_late: age.is_some_and(|age| age > HORIZON_WARNING),
        horizon: HORIZON.as_secs() / DAY_SECONDS,
        progress: progress.map(|events| (events.span_seconds.1, events.span_seconds.0)).filter(|(_, all)| *all > 0),
        report: status.report.map(|report| told(title.to_owned(), report)),
        past: handle.past().into_iter().map(run_row).collect(),
    })
}

fn figure(name: &'static str, count: u64, is_bad: bool) -> Figure {
    Figure { name, count: Count(count), is_bad: is_bad && count > 0 }
}

fn told(title: String, report: ReconcileReport) -> Report {
    let is_in_order = report.is_in_order();
    let ReconcileReport { dry_run, events, subscriptions, counts } = report;
    let mended = counts.iter().flat_map(|counts| &counts.mended);
    let mended = mended.map(|(kind, rows)| (kind.clone(), rows.replaced + rows.added + rows.removed)).collect();
    Report {
        title,
        dry_run,
        is_in_order,
        examples: subscriptions.as_ref().map(|found| found.examples.clone()).unwrap_or_default(),
        mended,
        events: events.map(|found| (of_events(&found, dry_run), found)),
        subscriptions: subscriptions.map(|found| (of_subscriptions(&found), found)),
        counts: counts.map(|found| (of_counts(&found), found)),
    }
}

fn of_events(found: &EventsReport, dry_run: bool) -> Vec<Figure> {
    let inserted = if dry_run { "would be taken in" } else { "taken in" };
    let inserts = if dry_run { found.missing } else { found.inserted };
    vec![
        figure("listed by Stripe", found.seen, false),
        figure("known to the ledger", found.known, false),
        figure("on their way", found.in_hand, false),
        figure("never arrived", found.missing, true),
        figure(inserted, inserts, false),
        figure("dropped by a person", found.dropped, false),
        figure("of other endpoints", found.foreign, false),
        figure("that change nothing", found.unmapped, false),
    ]
}

fn of_subscriptions(found: &SubscriptionsReport) -> Vec<Figure> {
    vec![
        figure("listed by Stripe", found.seen, false),
        figure("the same here", found.in_order, false),
        figure("missing here", found.missing, true),
        figure("different here", found.different, true),
        figure("repaired", found.repaired, false),
        figure("changed meanwhile", found.overtaken, false),
        figure("not repaired", found.failed, true),
        figure("unknown to Stripe", found.unknown_at_stripe, true),
    ]
}

fn of_counts(found: &RecountReport) -> Vec<Figure> {
    vec![
        figure("events looked at", found.events, false),
        figure("counted again", found.counted, false),
        figure("rows compared", found.rows, false),
        figure("rows wrong by older rules", found.total(), true),
        figure("changed meanwhile", found.overtaken, false),
        figure("without a payload", found.without_payload, false),
    ]
}

fn run_row(run: PastRun) -> RunRow {
    let PastRun { number, began, ended, report } = run;
    let mut what = Vec::new();
    let mut found = Vec::new();
    if let Some(events) = &report.events {
        what.push("events");
        found.push(format!("{} of {} never arrived", events.missing, counted(events.seen, "event", "events")));
        found.extend(events.error.clone());
    }
    if let Some(subscriptions) = &report.subscriptions {
        what.push("subscriptions");
        let wrong = subscriptions.missing + subscriptions.different;
        found.push(format!("{wrong} of {} differed", counted(subscriptions.seen, "subscription", "subscriptions")));
        found.extend(subscriptions.error.clone());
    }
    if let Some(counts) = &report.counts {
        what.push("counts");
        found.push(counted(counts.total(), "row was wrong", "rows were wrong"));
        found.extend(counts.error.clone());
    }
    let millis = u64::try_from(ended.since(began).as_millis()).unwrap_or(u64::MAX);
    let dry = if report.dry_run { ", dry run" } else { "" };
    RunRow {
        number,
        began: Moment(began),
        took: took(millis),
        what: format!("{}{dry}", what.join(", ")),
        found: found.join("; "),
        is_in_order: report.is_in_order(),
    }
}

/// `POST /console/reconcile`: orders a run, or a dry run.
pub(super) async fn order(
    State(console): State<Console>,
    Extension(visitor): Visit,
    body: Body,
) -> Result<Redirect, Failure> {
    let form = Form::read(body).await?;
    let what = match form.get("what") {
        Some("events") => ReconcileScope::Events,
        Some("subscriptions") => ReconcileScope::Subscriptions,
        Some("counts") => ReconcileScope::Counts,
        Some("all") => ReconcileScope::All,
        _ => {
            let detail = "what: must be events, subscriptions, counts or all".to_owned();
            return Err(Problem::Invalid { detail }.into());
        }
    };
    let dry_run = form.get("run") != Some("now");
    console.control.compare(&visitor.who, ReconcileOrder { what, since_ms: None, dry_run })?;
    Ok(Redirect::to(PATH))
}

/// `GET /console/shadow`: what a takeover would change, in words. Names no users.
pub(super) async fn shadow(State(console): State<Console>, Extension(visitor): Visit) -> Result<Response, Failure> {
    let asked = tokio::time::timeout(SHADOW_MAX, console.control.ledger.shadow_report(0)).await;
    let report = match asked {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(crate::domain::causes::chain(&error)),
        Err(_) => Err(format!("no answer within {} s", SHADOW_MAX.as_secs())),
    };
    let causes = report.iter().flat_map(|report| &report.causes);
    let causes = causes.map(|count| {
        // For profiles the subject is a user, who is hidden.
        let named = count.subjects.iter().filter(|subject| subject.starts_with("sub_"));
        CauseRow {
            rows: Count(count.rows),
            sentence: count.cause.as_sentence(count.rows),
            blocks: count.cause.blocks(),
            subjects: named.take(SUBJECTS_MAX).cloned().collect::<Vec<_>>().join(", "),
        }
    });
    let page = ShadowPage {
        causes: causes.collect(),
        total: Count(report.as_ref().map_or(0, ShadowReport::total)),
        frame: Frame::new(&console, &visitor, "Reconcile", "Shadow mode").await,
        report,
    };
    Ok(Page(page).into_response())
}
