//! One event: how it came, what became of it and why, what the ledger has of it, what people decided, and its body.

mod ledger;
mod outline;

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::Body as RequestBody;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};

use self::ledger::LedgerWord;
use self::outline::Outline;
pub(super) use self::outline::Outlines;
use super::Console;
use super::body::{Body, Change};
use super::entries::{self, Row, without_page};
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::{Visit, Visitor};
use super::html::{EventName, Moment, Page, Prose, State as StateMark, took};
use super::live::{Live, shown};
use crate::admin::ProcessLine;
use crate::domain::clock::Timestamp;
use crate::domain::counted::counted;
use crate::domain::ids::{EntryId, ProcessId};
use crate::domain::outcome::StateName;
use crate::door::Problem;
use crate::inbox::{Action, ERASED, EntryStory, Order, PastOrder, PastStep, Selection, StepKind, advice};
use crate::ledger::desk::{EventFinding, EventReport};
use crate::revenue::rows::Decision;

/// Longest reason for a look at a body, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// How long a revealed body stays on the screen, in seconds.
const REVEALED_SECONDS: u32 = 60;

/// Most other entries of the same event that are listed.
const SIBLINGS_MAX: usize = 20;

/// Something that happened.
#[derive(Debug)]
struct Step {
    at: Option<Moment>,
    title: String,
    detail: String,
    is_bad: bool,
}

/// An order that a person may give.
#[derive(Debug)]
struct Offer {
    action: Action,
    label: &'static str,
    /// Why it makes no sense now.
    refused: Option<Prose<&'static str>>,
}

/// The part of the page that renews itself.
#[derive(Template)]
#[template(path = "entry_state.html")]
struct Standing {
    story: EntryStory,
    state: StateMark,
    steps: Vec<Step>,
    took: Option<String>,
    advice: Option<Prose<&'static str>>,
    ledger: LedgerWord,
}

#[derive(Template)]
#[template(path = "entry.html")]
struct EntryPage {
    frame: Frame,
    live: Live,
    story: EntryStory,
    event: EventName,
    offers: Vec<Offer>,
    siblings: Vec<Row>,
    body: Body,
    changes: Vec<Change>,
    /// What the rules in force say of it now; `None` if it is not an event.
    rules: Option<Vec<Decision>>,
    /// What checks found; `None` if the ledger did not answer.
    findings: Option<Vec<EventFinding>>,
    /// Links to the entries of the same endpoint, and of the same customer.
    of_endpoint: String,
    of_customer: String,
    /// Link to the event at Stripe.
    dashboard: Option<String>,
    may_change: bool,
    revealed: bool,
    hides_after: u32,
    /// When its person was erased, if that is why there is no body.
    erased: Option<Moment>,
}

/// `GET /console/entries/{id}`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    Path(entry): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let (entry, inbox) = (number(&entry)?, &console.control.context.inbox);
    if let Some(shown) = shown(&query.unwrap_or_default()) {
        let story = inbox.story_without_body(entry).await.map_err(Problem::InboxUnavailable)?;
        let story = story.ok_or(Problem::NoSuchEntry)?;
        let outline = match console.outlines.of(entry, inbox.clock().now()) {
            Some(known) => known,
            None => outline(&console, entry, console.control.body(entry).await?.as_deref()),
        };
        let answer = ask(&console, &story, &outline).await;
        return Ok(live(&console, story, &outline, &answer).await?.answer(shown));
    }
    let story = inbox.story(entry, false).await.map_err(Problem::InboxUnavailable)?;
    let story = story.ok_or(Problem::NoSuchEntry)?;
    page(&console, &visitor, story, false).await
}

/// `POST /console/entries/{id}/reveal`: shows the page with its body, for a reason, once.
pub(super) async fn reveal(
    State(console): State<Console>,
    Extension(visitor): Visit,
    Path(entry): Path<String>,
    body: RequestBody,
) -> Result<Response, Failure> {
    let entry = number(&entry)?;
    let form = Form::read(body).await?;
    let Some(reason) = form.get("reason").filter(|reason| reason.len() <= REASON_BYTES_MAX) else {
        let detail = format!("A look at a body needs a reason of at most {REASON_BYTES_MAX} bytes.");
        return Err(Problem::Invalid { detail }.into());
    };
    let story = console.control.reveal(&visitor.who, entry, Some(reason)).await?;
    page(&console, &visitor, story.ok_or(Problem::NoSuchEntry)?, true).await
}

fn number(entry: &str) -> Result<EntryId, Failure> {
    Ok(EntryId(entry.parse().map_err(|_| Problem::NoSuchEntry)?))
}

fn path(entry: EntryId) -> String {
    format!("/console/entries/{entry}")
}

/// The references in a body, kept for when the page renews itself.
fn outline(console: &Console, entry: EntryId, body: Option<&[u8]>) -> Arc<Outline> {
    let outline = Arc::new(Outline::of(body));
    console.outlines.keep(entry, Arc::clone(&outline), console.control.context.inbox.clock().now());
    outline
}

/// Asks for everything that the ledger has about the event of an entry whose body has these references.
async fn ask(console: &Console, story: &EntryStory, outline: &Outline) -> Result<EventReport, Problem> {
    console.control.event(&story.entry.event_id, outline.objects.clone()).await
}

async fn live(
    console: &Console,
    story: EntryStory,
    outline: &Outline,
    answer: &Result<EventReport, Problem>,
) -> Result<Live, Failure> {
    let entry = story.entry.entry;
    let ledger = LedgerWord::of(answer, &story, outline, console.control.context.inbox.clock().now());
    let process = match (&story.entry.process, &console.control.desk.executors) {
        (Some(process), Some(executors)) => executors.process(&ProcessId::new(process.as_str())).await,
        _ => None,
    };
    let is_held = matches!(story.entry.state, StateName::Dead | StateName::Quarantined);
    let advice = is_held.then(|| Prose(advice(story.entry.state, story.entry.code.as_deref().unwrap_or_default())));
    let standing = Standing {
        state: StateMark(story.entry.state),
        steps: steps(&story, process.as_ref()),
        took: story.took_ms.map(took),
        advice,
        ledger,
        story,
    };
    Live::of(&standing, &path(entry), "")
}

async fn page(console: &Console, visitor: &Visitor, story: EntryStory, revealed: bool) -> Result<Response, Failure> {
    let inbox = &console.control.context.inbox;
    let entry = story.entry.entry;
    let bytes = console.control.body(entry).await?;
    let outline = outline(console, entry, bytes.as_deref());
    let answer = ask(console, &story, &outline).await;
    let rules = bytes.as_deref().and_then(|body| console.control.desk.validator.try_rules(body, None).ok());
    let body = Body::of(bytes.as_deref(), revealed);
    let same = Selection { events: vec![story.entry.event_id.clone()], ..Selection::default() };
    let siblings = inbox.select(&same, None, SIBLINGS_MAX).await.map_err(Problem::InboxUnavailable)?;
    let siblings = siblings.entries.into_iter().filter(|other| other.entry != entry).map(Row::of).collect();
    let list = |selection| format!("{}?{}", entries::PATH, without_page(&selection));
    let customer = story.body.as_ref().and_then(|body| body.subject.customer.clone());
    let page = EntryPage {
        frame: Frame::new(console, visitor, "Entries", format!("Entry {entry}")).await,
        live: live(console, story.clone(), &outline, &answer).await?,
        offers: if visitor.may_change() { offers(console, entry).await? } else { Vec::new() },
        siblings,
        event: EventName(story.entry.event_id.clone()),
        changes: body.changes(),
        rules: rules.map(|tried| tried.review.decisions),
        findings: answer.ok().map(|report| report.findings),
        body,
        of_endpoint: list(Selection { endpoints: vec![story.entry.endpoint.clone()], ..Selection::default() }),
        of_customer: list(Selection { customers: customer.into_iter().collect(), ..Selection::default() }),
        dashboard: dashboard(&story),
        may_change: visitor.may_change(),
        revealed,
        hides_after: REVEALED_SECONDS,
        erased: story.erased.map(Moment),
        story,
    };
    Ok(Page(page).into_response())
}

/// Each order, tried as a dry run.
async fn offers(console: &Console, entry: EntryId) -> Result<Vec<Offer>, Failure> {
    let labels = [
        (Action::Replay, "Replay"),
        (Action::Release, "Release"),
        (Action::Drop, "Drop"),
        (Action::Refetch, "Fetch from Stripe and replay"),
    ];
    let selection = Selection { entries: vec![entry], ..Selection::default() };
    let mut offers = Vec::new();
    for (action, label) in labels {
        if action == Action::Refetch && console.control.refetch.is_none() {
            continue;
        }
        let order = Order { action, by: None, note: None };
        let step = console.control.context.inbox.operate(&selection, &order, true, None).await;
        let step = step.map_err(Problem::InboxUnavailable)?;
        let refused = step.entries.first().and_then(|entry| entry.refused).map(|refusal| Prose(refusal.explain()));
        offers.push(Offer { action, label, refused });
    }
    Ok(offers)
}

fn dashboard(story: &EntryStory) -> Option<String> {
    let event = story.entry.event_id.strip_prefix("evt_")?;
    let is_plain = event.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mode = if story.entry.livemode == Some(false) { "test/" } else { "" };
    is_plain.then(|| format!("https://dashboard.stripe.com/{mode}events/evt_{event}"))
}

/// The known steps of its life, in order.
fn steps(story: &EntryStory, process: Option<&ProcessLine>) -> Vec<Step> {
    let entry = &story.entry;
    let step = |at: Option<Timestamp>, title: &str, detail: String, is_bad| Step {
        at: at.map(Moment),
        title: title.to_owned(),
        detail,
        is_bad,
    };
    let how = if entry.source == "reconcile" {
        format!("Stripe listed it; no delivery had come in. Endpoint {}.", entry.endpoint)
    } else {
        format!("Endpoint {}, signed with the secret {}.", entry.endpoint, entry.secret)
    };
    let mut steps = vec![step(Some(entry.received), "Received and durable", how, false)];
    steps.extend(history(story));
    if entry.attempts > 0 || entry.crashes > 0 {
        let detail = format!(
            "{}, {} of the process during work on it.",
            counted(entry.attempts, "failed attempt", "failed attempts"),
            counted(entry.crashes, "crash", "crashes")
        );
        steps.push(step(None, "Tried", detail, true));
    }
    if let Some(id) = &entry.process {
        let told = process.map(told).unwrap_or_default();
        steps.push(step(None, "Given to the colony", format!("Process {id}{told}."), false));
    }
    let is_step = entry.due.is_some() && story.steps.last().map(|step| &step.reason) == entry.reason.as_ref();
    // A drop says what it dropped, and so does the order before it.
    let is_known = is_step || story.orders.last().map(|order| &order.was) == entry.reason.as_ref();
    let reason = if is_known { String::new() } else { entry.reason.clone().unwrap_or_default() };
    let (title, is_bad) = match entry.state {
        StateName::Waiting => ("Waits for its next attempt", false),
        StateName::Leased => ("Is being worked on", false),
        StateName::Submitted => ("Is with a process of the colony", false),
        StateName::Settled => ("Settled", false),
        StateName::Dead => ("Given up", true),
        StateName::Quarantined => ("Held back", true),
    };
    let named = entry.code.as_ref().or(entry.outcome.as_ref()).map(|code| format!(": {code}")).unwrap_or_default();
    let at = entry.ended.or(entry.due);
    steps.push(step(at, &format!("{title}{named}"), reason, is_bad));
    steps
}

/// Orders of people and unsuccessful attempts, in order.
fn history(story: &EntryStory) -> Vec<Step> {
    let order = |order: &PastOrder| {
        let by = order.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let note = order.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        let (title, detail) = match order.action.as_str() {
            ERASED => ("Its person was erased".to_owned(), "The body was removed.".to_owned()),
            action => (format!("Ordered: {action}{by}{note}"), format!("It {}.", order.was)),
        };
        (order.at, Step { at: Some(Moment(order.at)), title, detail, is_bad: false })
    };
    // The end that it is still at comes last, with its state.
    let is_told = |step: &PastStep| {
        let is_end = matches!(step.kind, StepKind::Dead | StepKind::Quarantined);
        is_end && story.entry.ended.is_some() && story.entry.code == step.code
    };
    let shown = match story.steps.split_last() {
        Some((last, before)) if is_told(last) => before,
        _ => &story.steps,
    };
    let step = |step: &PastStep| {
        let title = match step.kind {
            StepKind::Retry => "Tried, to be tried again",
            StepKind::RetryAlone => "Tried, to be tried again alone",
            StepKind::AwaitsStripe => "Waits for Stripe",
            StepKind::AwaitsBee => "Waits for a bee",
            StepKind::LeaseEnded => "Its lease ended without a result",
            StepKind::Dead => "Given up",
            StepKind::Quarantined => "Held back",
        };
        let code = step.code.as_ref().map(|code| format!(": {code}")).unwrap_or_default();
        let again = if step.times > 1 { format!(", {} times until {}", step.times, step.last) } else { String::new() };
        let detail = step.reason.clone();
        (step.at, Step { at: Some(Moment(step.at)), title: format!("{title}{code}{again}"), detail, is_bad: true })
    };
    let mut told: Vec<(Timestamp, Step)> = story.orders.iter().map(order).collect();
    told.extend(shown.iter().map(step));
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, step)| step).collect()
}

/// What the Colonies server says of a process, in words.
fn told(process: &ProcessLine) -> String {
    let ProcessLine { state, executor, waited, ran, retries } = process;
    let millis = |time: &Duration| took(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let parts = [
        executor.as_ref().map(|executor| format!("by {executor}")),
        waited.as_ref().map(|waited| format!("waited {}", millis(waited))),
        ran.as_ref().map(|ran| format!("ran {}", millis(ran))),
        (*retries > 0).then(|| format!("{retries} leases ended without a result")),
    ];
    let parts = parts.into_iter().flatten().map(|part| format!(", {part}"));
    format!(": {state}{}", parts.collect::<String>())
}
