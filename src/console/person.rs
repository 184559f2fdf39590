//! The support desk: what a person has now and why, or why not; masked until an operator reveals it with a reason.
//!
//! A person is named by a customer or a subscription of Stripe's. No address contains the user's own id.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::Console;
use super::entries::{self, Row, without_page};
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::{Visit, Visitor};
use super::html::{Dotted, Moment, Page, Prose, tag};
use crate::admin::{Act, asked};
use crate::domain::clock::Timestamp;
use crate::door::Problem;
use crate::inbox::Selection;
use crate::ledger::desk::{PERSON_ROWS_MAX, PersonReport, PersonSubscription, Whom};
use crate::ledger::explain::explain;

pub(super) const PATH: &str = "/console/people";

/// Longest wait for the ledger.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Longest reason for a look, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// How long revealed data stays on the screen, in seconds.
const REVEALED_SECONDS: u32 = 60;

/// Most entries of the inbox that are shown.
const ENTRIES_MAX: usize = 20;

/// Why the person has access, or has none.
#[derive(Debug)]
struct Why {
    subject: String,
    mark: &'static str,
    level: &'static str,
    words: Prose<String>,
    advice: Prose<&'static str>,
}

/// A user, perhaps masked by dots.
#[derive(Clone, Debug)]
struct User {
    place: usize,
    /// The id, if it was revealed.
    shown: Option<String>,
}

#[derive(Debug)]
struct Subscription {
    line: PersonSubscription,
    owner: Option<User>,
    monthly: String,
    until: Option<Moment>,
    /// Since when Stripe's statement about it is true.
    since: Option<Moment>,
    mark: &'static str,
    level: &'static str,
}

#[derive(Debug)]
struct Claim {
    subject: String,
    user: User,
    evidence: Dotted,
    /// In words, the strongest first.
    strength: &'static str,
}

#[derive(Debug)]
struct Money {
    at: Moment,
    kind: String,
    key: String,
    amount: String,
    status: String,
    livemode: bool,
}

#[derive(Debug)]
struct Event {
    at: Moment,
    id: String,
    kind: Dotted,
    outcome: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    id: String,
    has_access: bool,
    words: String,
    whys: Vec<Why>,
    users: Vec<User>,
    report: PersonReport,
    subscriptions: Vec<Subscription>,
    claims: Vec<Claim>,
    money: Vec<Money>,
    events: Vec<Event>,
    entries: Vec<Row>,
    all_entries: String,
    revealed: bool,
    may_change: bool,
    hides_after: u32,
    /// Most rows of a kind, which a full list says.
    rows_max: usize,
}

/// `GET /console/people/{id}`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    page(&console, &visitor, &id, false).await
}

/// `POST /console/people/{id}/reveal`: shows the page with the user's id, for a reason, once.
pub(super) async fn reveal(
    State(console): State<Console>,
    Extension(visitor): Visit,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Failure> {
    visitor.who.may_reveal()?;
    let form = Form::read(body).await?;
    let Some(reason) = form.get("reason").filter(|reason| reason.len() <= REASON_BYTES_MAX) else {
        let detail = format!("A look at a person needs a reason of at most {REASON_BYTES_MAX} bytes.");
        return Err(Problem::Invalid { detail }.into());
    };
    named(&id)?;
    let (by, peer, person) = (&*visitor.who.name, visitor.who.peer(), id.as_str());
    tracing::info!(target: "audit", action = "reveal", who = by, peer, person, reason, "console");
    let act = Act { note: Some(reason), ..Act::new("reveal", format!("person {person}")) };
    console.control.audit.note(&visitor.who, act);
    page(&console, &visitor, &id, true).await
}

/// What the ledger holds.
///
/// # Errors
/// If it gives no answer in time, or an error.
pub(super) async fn report(console: &Console, whom: &Whom) -> Result<PersonReport, Failure> {
    Ok(asked(LEDGER_ANSWER_MAX, console.control.ledger.person(whom)).await?)
}

fn named(id: &str) -> Result<Whom, Failure> {
    match Whom::named(id) {
        // The id of a user must not be in an address.
        Whom::User(_) => Err(Problem::NotFound.into()),
        whom => Ok(whom),
    }
}

async fn page(console: &Console, visitor: &Visitor, id: &str, revealed: bool) -> Result<Response, Failure> {
    let report = report(console, &named(id)?).await?;
    // A database's message about a row may name the user.
    let report = if revealed { report } else { report.masked() };
    let clock = console.control.context.inbox.clock();
    let told = explain(&report, clock.now());
    let refs = report.customers.iter().map(|customer| customer.id.clone());
    let refs: Vec<String> =
        refs.chain(report.subscriptions.iter().map(|one| one.id.clone())).chain([id.to_owned()]).collect();
    let chosen = Selection { refs, ..Selection::default() };
    let entries = console.control.context.inbox.select(&chosen, None, ENTRIES_MAX).await;
    let entries = entries.map_err(Problem::InboxUnavailable)?;
    let user = |id: &str| {
        let place = report.users.iter().position(|known| known == id).map_or(0, |at| at + 1);
        User { place, shown: revealed.then(|| id.to_owned()) }
    };
    let whys = told.lines.into_iter().map(|line| {
        let (mark, level) = if line.gives { ("●", "ok") } else { ("✕", "down") };
        Why { subject: line.subject, mark, level, words: Prose(line.why), advice: Prose(line.advice) }
    });
    let page = PersonPage {
        frame: Frame::new(console, visitor, "People", format!("Person {id}")).await,
        id: id.to_owned(),
        has_access: told.has_access,
        words: told.words,
        whys: whys.collect(),
        users: report.users.iter().map(|id| user(id)).collect(),
        subscriptions: report.subscriptions.iter().map(|line| subscription(line, &user)).collect(),
        claims: claims(&report, &user),
        money: money(&report),
        events: events(&report),
        entries: entries.entries.into_iter().map(Row::of).collect(),
        all_entries: format!("{}?{}", entries::PATH, without_page(&chosen)),
        revealed,
        may_change: visitor.may_change(),
        hides_after: REVEALED_SECONDS,
        rows_max: PERSON_ROWS_MAX as usize,
        report,
    };
    Ok(Page(page).into_response())
}

fn subscription(line: &PersonSubscription, user: &dyn Fn(&str) -> User) -> Subscription {
    let moment = |at: Option<i64>| at.map(|at| Moment(Timestamp::from_millis(at)));
    let (mark, level) = if line.gives && line.user_id.is_some() { ("●", "ok") } else { ("○", "settled") };
    Subscription {
        owner: line.user_id.as_deref().map(user),
        monthly: tag(line.mrr_minor, line.currency.as_deref()),
        until: moment(line.ended_at_ms.or(line.current_period_end_ms)),
        since: line.version.split('.').nth(1).and_then(|at| at.parse().ok()).and_then(|at| moment(Some(at))),
        mark,
        level,
        line: line.clone(),
    }
}

fn claims(report: &PersonReport, user: &dyn Fn(&str) -> User) -> Vec<Claim> {
    let strength = |rank| match rank {
        90 => "an operator's word about the subscription",
        80 => "the subscription itself",
        70 => "the session that made it",
        60 => "an operator's word about the customer",
        50 => "the customer",
        45 => "an invoice of the subscription",
        40 => "another purchase",
        35 => "the session's reference",
        30 => "another session's reference",
        _ => "the rows of before",
    };
    let claim = |claim: &crate::ledger::desk::PersonClaim| Claim {
        subject: claim.subject.clone(),
        user: user(&claim.user_id),
        evidence: Dotted(claim.evidence.clone()),
        strength: strength(claim.rank),
    };
    report.claims.iter().map(claim).collect()
}

fn money(report: &PersonReport) -> Vec<Money> {
    let row = |line: &crate::ledger::desk::PersonMoney| Money {
        at: Moment(Timestamp::from_millis(line.occurred_at_ms)),
        kind: line.kind.replace('_', " "),
        key: line.key.clone(),
        amount: tag(line.amount_minor, Some(&line.currency)),
        status: line.status.clone().unwrap_or_default(),
        livemode: line.livemode,
    };
    report.money.iter().map(row).collect()
}

fn events(report: &PersonReport) -> Vec<Event> {
    let row = |line: &crate::ledger::desk::PersonEvent| Event {
        at: Moment(Timestamp::from_millis(line.created_ms)),
        id: line.id.clone(),
        kind: Dotted(line.kind.clone()),
        outcome: line.outcome.clone(),
        reason: match (&line.rule, &line.reason) {
            (Some(rule), Some(reason)) => format!("{rule}: {reason}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        },
    };
    report.events.iter().map(row).collect()
}
