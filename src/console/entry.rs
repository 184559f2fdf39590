//! One event: how it came, what became of it and why, what the ledger says, what people decided, and its body.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::Body as RequestBody;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::Console;
use super::body::{Body, Change};
use super::entries::{self, Row, without_page};
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::{Visit, Visitor};
use super::html::{EventName, Moment, Page, Prose, State as StateMark, took};
use super::live::{Live, shown};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::outcome::StateName;
use crate::door::Problem;
use crate::inbox::{Action, EntryStory, Order, Selection, advice};
use crate::ledger::witness::Recorded;

/// Longest wait for the ledger. The page comes without its word.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(2);

/// Longest reason for a look at a body, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// How long a revealed body stays on the screen, in seconds.
const REVEALED_SECONDS: u32 = 60;

/// Largest body that is read for its page, in bytes; deliveries are smaller.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Entries of the same event that are named.
const SIBLINGS_MAX: usize = 20;

/// Something that happened.
#[derive(Debug)]
struct Step {
    at: Option<Moment>,
    title: String,
    detail: String,
    is_bad: bool,
}

/// What a person may order.
#[derive(Debug)]
struct Offer {
    action: Action,
    label: &'static str,
    /// Why it makes no sense now.
    refused: Option<Prose<&'static str>>,
}

/// What the ledger says of the event.
#[derive(Debug)]
enum Word {
    Recorded(Recorded),
    Unknown,
    NoAnswer,
}

/// The part that renews itself.
#[derive(Template)]
#[template(path = "entry_state.html")]
struct Standing {
    story: EntryStory,
    state: StateMark,
    steps: Vec<Step>,
    took: Option<String>,
    advice: Option<Prose<&'static str>>,
    word: Word,
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
    /// The entries of the same endpoint, and of the same customer.
    of_endpoint: String,
    of_customer: String,
    /// Where Stripe shows the event.
    dashboard: Option<String>,
    may_change: bool,
    revealed: bool,
    hides_after: u32,
}

/// `GET /console/entries/{id}`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    Path(entry): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let entry = number(&entry)?;
    let story = console.control.context.inbox.story(entry, false).await.map_err(Problem::InboxUnavailable)?;
    let story = story.ok_or(Problem::NoSuchEntry)?;
    if let Some(shown) = shown(&query.unwrap_or_default()) {
        return Ok(live(&console, story).await?.answer(shown));
    }
    page(&console, &visitor, story, false).await
}

/// `POST /console/entries/{id}/reveal`: the page with its body, for a reason, once.
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

async fn live(console: &Console, story: EntryStory) -> Result<Live, Failure> {
    let entry = story.entry.entry;
    let asked = [story.entry.event_id.clone()];
    let word = match tokio::time::timeout(LEDGER_ANSWER_MAX, console.control.ledger.witness(&asked)).await {
        Ok(Ok(testimony)) => testimony.events.into_iter().next().map_or(Word::Unknown, Word::Recorded),
        Ok(Err(_)) | Err(_) => Word::NoAnswer,
    };
    let is_held = matches!(story.entry.state, StateName::Dead | StateName::Quarantined);
    let advice = is_held.then(|| Prose(advice(story.entry.state, story.entry.code.as_deref().unwrap_or_default())));
    let standing = Standing {
        state: StateMark(story.entry.state),
        steps: steps(&story),
        took: story.took_ms.map(took),
        advice,
        word,
        story,
    };
    Live::of(&standing, &path(entry), "")
}

async fn page(console: &Console, visitor: &Visitor, story: EntryStory, revealed: bool) -> Result<Response, Failure> {
    let inbox = &console.control.context.inbox;
    let entry = story.entry.entry;
    let bodies = inbox.bodies(vec![entry], BODY_BYTES_MAX).await.map_err(Problem::InboxUnavailable)?;
    let body = Body::of(bodies.into_iter().next().flatten().as_deref(), revealed);
    let same = Selection { events: vec![story.entry.event_id.clone()], ..Selection::default() };
    let siblings = inbox.select(&same, None, SIBLINGS_MAX).await.map_err(Problem::InboxUnavailable)?;
    let siblings = siblings.entries.into_iter().filter(|other| other.entry != entry).map(Row::of).collect();
    let list = |selection| format!("{}?{}", entries::PATH, without_page(&selection));
    let customer = story.body.as_ref().and_then(|body| body.subject.customer.clone());
    let page = EntryPage {
        frame: Frame::new(console, visitor, "Entries", format!("Entry {entry}")).await,
        live: live(console, story.clone()).await?,
        offers: if visitor.may_change() { offers(console, entry).await? } else { Vec::new() },
        siblings,
        event: EventName(story.entry.event_id.clone()),
        changes: body.changes(),
        body,
        of_endpoint: list(Selection { endpoints: vec![story.entry.endpoint.clone()], ..Selection::default() }),
        of_customer: list(Selection { customers: customer.into_iter().collect(), ..Selection::default() }),
        dashboard: dashboard(&story),
        may_change: visitor.may_change(),
        revealed,
        hides_after: REVEALED_SECONDS,
        story,
    };
    Ok(Page(page).into_response())
}

/// Each order as a dry run.
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

/// What is known of its life, in order.
fn steps(story: &EntryStory) -> Vec<Step> {
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
    for order in &story.orders {
        let by = order.by.as_deref().map(|by| format!("by {by}")).unwrap_or_default();
        let note = order.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        let title = format!("Ordered: {} {by}{note}", order.action);
        steps.push(step(Some(order.at), title.trim_end(), format!("It {}.", order.was), false));
    }
    if entry.attempts > 0 || entry.crashes > 0 {
        let detail = format!("{} failed attempts, {} crashes of the process meanwhile.", entry.attempts, entry.crashes);
        steps.push(step(None, "Tried", detail, true));
    }
    if let Some(process) = &entry.process {
        steps.push(step(None, "Given to the colony", format!("Process {process}."), false));
    }
    let reason = entry.reason.clone().unwrap_or_default();
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
