//! What the ledger has of an event, in words: what it recorded, the present state of the event's objects, and what users got
//! from it.
//!
//! Guarantee: names no user. It reports a ledger that does not answer as such, never as one that has nothing.

use askama::Template;

use super::super::html::{Moment, Prose, tag};
use super::outline::Outline;
use crate::domain::clock::Timestamp;
use crate::domain::outcome::StateName;
use crate::door::Problem;
use crate::inbox::EntryStory;
use crate::ledger::desk::{
    Age, Content, EventDecision, EventRecord, EventReport, EventSubscription, PersonReport, PublicTables, RowVersion,
};
use crate::ledger::explain::{Line, explain, remedy};
use crate::ledger::report::Reason;

/// What the ledger has about the event.
#[derive(Debug, Template)]
#[template(path = "entry_ledger.html")]
pub(super) struct LedgerWord {
    recorded: Option<RecordedLine>,
    /// Its meaning, in sentences.
    words: Vec<&'static str>,
    rows: Vec<RowLine>,
    access: Vec<AccessLine>,
    decisions: Vec<EventDecision>,
}

#[derive(Debug)]
struct RecordedLine {
    outcome: String,
    at: Moment,
    rule: Option<String>,
    reason: Option<String>,
}

/// A row of the ledger.
#[derive(Debug)]
struct RowLine {
    kind: String,
    id: String,
    /// The path of the person's page, if there is one.
    path: Option<String>,
    is_test: bool,
    says: String,
    source: Source,
}

/// The origin of a row.
#[derive(Debug)]
struct Source {
    words: &'static str,
    /// The other event.
    event: Option<String>,
    is_own: bool,
}

/// What a user has from a subscription, or why not.
#[derive(Debug)]
struct AccessLine {
    subject: String,
    gives: bool,
    why: Prose<String>,
    advice: Prose<&'static str>,
    tables: &'static str,
    /// What also decides about access beside the truth, if a rule held an event of the subscription.
    vouched: Option<Source>,
}

impl LedgerWord {
    /// From the ledger's answer about the event of an entry, and the references in the entry's body.
    pub(super) fn of(
        answer: &Result<EventReport, Problem>,
        story: &EntryStory,
        outline: &Outline,
        now: Timestamp,
    ) -> Self {
        let (recorded, rows, access, decisions) = (None, Vec::new(), Vec::new(), Vec::new());
        let report = match answer {
            Ok(report) => report,
            Err(problem) => return Self { recorded, words: vec![silence(problem)], rows, access, decisions },
        };
        let is_event = !story.entry.event_id.starts_with("sha256:");
        if report.event.is_none() && !is_event {
            let words = vec!["These bytes are no event, so that the ledger has nothing of them."];
            return Self { recorded, words, rows, access, decisions };
        }
        let id = &story.entry.event_id;
        let (rows, access) = (rows_of(report, id), access_of(report, id, now));
        let mut words = match &report.event {
            Some(event) => vec![meaning(event)],
            None => vec![unrecorded(story)],
        };
        words.extend(report.event.as_ref().and_then(|event| gone(event.content)));
        if outline.is_thin {
            words.push(
                "It named its object alone; what the ledger has of it is what Stripe answered about that object.",
            );
        }
        if outline.is_removed {
            words.push(match story.erased {
                Some(_) => "The body was removed from the inbox when its person was erased, so that only the object of the event is looked for here.",
                None => "Retention has removed the body from the inbox, so that only the object of the event is looked for here.",
            });
        }
        if rows.is_empty() {
            words.push("None of its objects has a row in the ledger.");
        }
        if access.is_empty() {
            words.push("It leads to no subscription that the ledger knows, so that no user has access by it.");
        } else if report.has_tables && report.shadow {
            words.push("Shadow mode is on: the public tables are not written.");
        }
        Self {
            recorded: report.event.as_ref().map(RecordedLine::of),
            words,
            rows,
            access,
            decisions: report.decisions.clone(),
        }
    }
}

impl RecordedLine {
    fn of(event: &EventRecord) -> Self {
        Self {
            outcome: event.outcome.clone(),
            at: Moment(Timestamp::from_millis(event.recorded_at_ms)),
            rule: event.rule.clone(),
            reason: event.reason.clone(),
        }
    }
}

const fn silence(problem: &Problem) -> &'static str {
    match problem {
        Problem::LedgerSilent => {
            "The ledger gave no answer in time. Whether it has the event, and what it made of it, is not known now."
        }
        _ => {
            "The ledger answered with an error, which the log has. Whether it has the event, and what it made of it, is not known now."
        }
    }
}

/// The meaning of an outcome.
fn meaning(event: &EventRecord) -> &'static str {
    match event.outcome.as_str() {
        "applied" => "It was taken into the record.",
        "stale" => "All that it says was known from newer events already.",
        "ignored" => "Nothing is made of events of this type.",
        "quarantined" => "A rule holds it: it gives no access until a person releases it.",
        "dropped" => "A person dropped it: it gives no user access.",
        _ => "",
    }
}

/// Why an event is not recorded, as far as its entry tells.
fn unrecorded(story: &EntryStory) -> &'static str {
    match story.entry.state {
        StateName::Waiting | StateName::Leased | StateName::Submitted => {
            "The ledger has not recorded the event yet: its entry is still on its way."
        }
        StateName::Dead => "The ledger has not recorded the event: its entry was given up before.",
        StateName::Quarantined => "The ledger has not recorded the event: its entry was held back before.",
        StateName::Settled if story.entry.outcome.as_deref() == Some(crate::domain::outcome::DROPPED) => {
            "The ledger has not recorded the event: a person dropped its entry, and the ledger is told of that in a moment."
        }
        StateName::Settled => {
            "The ledger does not know the event, although its entry is settled: the ledger is another one than it was, or was \
             restored. A replay writes it again."
        }
    }
}

/// Why the ledger has no payload of an event.
const fn gone(content: Content) -> Option<&'static str> {
    match content {
        Content::Whole => None,
        Content::Expired => {
            Some("Its payload was older than the ledger keeps payloads. The rows that came of it stand.")
        }
        Content::Erased => Some(
            "The data of its person was erased on request: the ledger keeps which event it was, and nothing of what it said.",
        ),
    }
}

/// The ledger's rows about the objects that an event names.
fn rows_of(report: &EventReport, id: &str) -> Vec<RowLine> {
    let mut rows = Vec::new();
    for one in report.subscriptions.iter().filter(|one| one.is_named) {
        let line = &one.line;
        let tier = line.tier.as_deref().map(|tier| format!(", {tier}")).unwrap_or_default();
        rows.push(RowLine {
            kind: "subscription".to_owned(),
            id: line.id.clone(),
            path: Some(person(&line.id)),
            is_test: !line.livemode,
            says: format!("{}{tier}", line.status),
            source: source(report, id, &line.version, line.source == "fetch"),
        });
    }
    for customer in &report.customers {
        rows.push(RowLine {
            kind: "customer".to_owned(),
            id: customer.id.clone(),
            path: Some(person(&customer.id)),
            is_test: !customer.livemode,
            says: if customer.deleted { "deleted at Stripe".to_owned() } else { String::new() },
            source: source(report, id, &customer.version, customer.source == "fetch"),
        });
    }
    for money in &report.money {
        let status = money.status.as_deref().map(|status| format!(", {status}")).unwrap_or_default();
        rows.push(RowLine {
            kind: money.kind.replace('_', " "),
            id: money.key.clone(),
            path: None,
            is_test: !money.livemode,
            says: format!("{}{status}", tag(money.amount_minor, Some(&money.currency))),
            source: source(report, id, &money.version, false),
        });
    }
    rows
}

fn person(id: &str) -> String {
    format!("{}/{id}", super::super::person::PATH)
}

/// The origin of a row, compared with the event `id`.
fn source(report: &EventReport, id: &str, version: &str, is_fetched: bool) -> Source {
    let row = RowVersion(version);
    let age = report.age(id, row);
    let event = Some(row.event().to_owned()).filter(|event| event.starts_with("evt_") && age != Age::Own);
    let words = match (age, &event) {
        (Age::Own, _) if is_fetched => "this event, by what Stripe answered then",
        (Age::Own, _) => "this event",
        (Age::Newer, Some(_)) => "a newer event,",
        (Age::SameMoment, Some(_)) => "another event of the same moment,",
        (Age::Older, Some(_)) => "an older event,",
        (Age::Unknown, Some(_)) => "another event,",
        (Age::Newer, None) => "what the gateway asked or was told later",
        (Age::SameMoment | Age::Older | Age::Unknown, None) => "what the gateway asked or was told itself",
    };
    Source { words, event, is_own: age == Age::Own }
}

/// What each subscription gives now, and why no more.
fn access_of(report: &EventReport, id: &str, now: Timestamp) -> Vec<AccessLine> {
    let subscriptions: Vec<_> = report.subscriptions.iter().map(|one| one.line.clone()).collect();
    if subscriptions.is_empty() {
        return Vec::new();
    }
    let events = report.event.iter().map(|event| event.of_person(id)).collect();
    let told = explain(&PersonReport { subscriptions, events, ..PersonReport::default() }, now);
    let line = |(one, line): (&EventSubscription, Line)| {
        let is_unfit = line.gives && one.tables == Some(PublicTables::Unfit);
        let (why, advice) = if is_unfit {
            ("The user's id does not fit the columns of the public tables.".to_owned(), remedy(Reason::Unfit))
        } else {
            (line.why, line.advice)
        };
        let vouched = one.line.vouched.as_ref().filter(|_| one.line.doubted);
        AccessLine {
            subject: line.subject,
            gives: line.gives && !is_unfit,
            why: Prose(why),
            advice: Prose(advice),
            tables: one.tables.filter(|_| !report.shadow).map(tables).unwrap_or_default(),
            vouched: vouched.map(|vouched| source(report, id, &vouched.version, false)),
        }
    };
    report.subscriptions.iter().zip(told.lines).map(line).collect()
}

const fn tables(tables: PublicTables) -> &'static str {
    match tables {
        PublicTables::Shown => "The public tables show it.",
        PublicTables::Waits => "The public tables will show in a moment what its user has.",
        PublicTables::Refused => {
            "The public tables do not take what its user has, and it is tried again: the page of the person says why."
        }
        PublicTables::Another => "The public tables show another subscription of the same user.",
        // The line itself says so.
        PublicTables::Unfit => "",
    }
}
