//! The Guardian: its rules with their hits, what they said last, and trying rules on an event without putting them into force.

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Console;
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::{Visit, Visitor};
use super::html::{Count, Dotted, Moment, Page};
use super::live::{Live, shown};
use crate::admin::{RuleInForce, Trial, TrialRules, TrialSubject};
use crate::revenue::guardian::PastDecision;

const PATH: &str = "/console/guardian";

/// Decisions shown; the admin API has more.
const DECISIONS_MAX: usize = 20;

/// Longest form of a trial, in bytes: an event and rules, in percent encoding.
const TRIAL_BYTES_MAX: usize = 2 * 1024 * 1024;

#[derive(Debug)]
struct RuleRow {
    rule: RuleInForce,
    hits: Count,
    last: Option<Moment>,
}

#[derive(Debug)]
struct DecisionRow {
    at: Moment,
    kind: Dotted,
    /// Link to the event's entry.
    link: String,
    decision: PastDecision,
}

/// The part of the page that renews itself.
#[derive(Template)]
#[template(path = "guardian_now.html")]
struct Now {
    rules: Vec<RuleRow>,
    decisions: Vec<DecisionRow>,
    approved: Count,
    flagged: Count,
    blocked: Count,
    since: Moment,
}

/// A trial and its result.
#[derive(Debug)]
struct Tried {
    trial: Trial,
    /// What was tried, in words.
    subject: String,
    rules: &'static str,
}

#[derive(Template)]
#[template(path = "guardian.html")]
struct GuardianPage {
    frame: Frame,
    live: Live,
    tried: Option<Tried>,
    /// Why there is no result.
    trouble: Option<String>,
    has_file: bool,
    fields: Fields,
    may_change: bool,
}

/// The contents of the form's fields.
#[derive(Debug, Default)]
struct Fields {
    entry: String,
    event: String,
    rules: String,
    from: String,
}

/// `GET /console/guardian`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    if let Some(shown) = shown(&query) {
        return Ok(live(&console)?.answer(shown));
    }
    let form = Form::parse(&query).unwrap_or_default();
    let fields = Fields { entry: form.get("entry").unwrap_or_default().to_owned(), ..Fields::default() };
    page(&console, &visitor, None, None, fields).await
}

/// `POST /console/guardian/try`. Puts nothing into force and counts nothing. Only the audit notes that a person tried.
pub(super) async fn attempt(
    State(console): State<Console>,
    Extension(visitor): Visit,
    body: Body,
) -> Result<Response, Failure> {
    let form = Form::read_up_to(body, TRIAL_BYTES_MAX).await?;
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let fields = Fields { entry: text("entry"), event: text("event"), rules: text("rules"), from: text("from") };
    let asked = subject(&fields).and_then(|subject| Ok((subject, rules(&fields)?)));
    let (subject, rules) = match asked {
        Ok(asked) => asked,
        Err(trouble) => return page(&console, &visitor, None, Some(trouble), fields).await,
    };
    let words = match &subject {
        TrialSubject::Entry(entry) => format!("entry {entry}"),
        TrialSubject::Pasted(_) => "the pasted event".to_owned(),
    };
    let under = match &rules {
        TrialRules::InForce => "the rules in force",
        TrialRules::File => "the rules of the file as it is now",
        TrialRules::Pasted(_) => "the pasted rules",
    };
    match console.control.try_rules(&visitor.who, subject, rules).await? {
        Ok(trial) => {
            let tried = Tried { trial, subject: words, rules: under };
            page(&console, &visitor, Some(tried), None, fields).await
        }
        Err(trouble) => page(&console, &visitor, None, Some(trouble), fields).await,
    }
}

fn subject(fields: &Fields) -> Result<TrialSubject, String> {
    match (fields.entry.is_empty(), fields.event.is_empty()) {
        (false, true) => {
            let number = fields.entry.trim_start_matches('#').parse();
            number
                .map(|entry| TrialSubject::Entry(crate::domain::ids::EntryId(entry)))
                .map_err(|_| format!("{:?} is no number of an entry.", fields.entry))
        }
        (true, false) => Ok(TrialSubject::Pasted(fields.event.clone().into())),
        (true, true) => Err("Name an entry, or paste an event.".to_owned()),
        (false, false) => Err("Name an entry or paste an event, not both.".to_owned()),
    }
}

fn rules(fields: &Fields) -> Result<TrialRules, String> {
    match (fields.from.as_str(), fields.rules.is_empty()) {
        ("file", true) => Ok(TrialRules::File),
        ("pasted", true) => Err("Paste the rules that are to be tried.".to_owned()),
        ("pasted", false) => Ok(TrialRules::Pasted(fields.rules.clone())),
        (_, true) => Ok(TrialRules::InForce),
        (_, false) => {
            let trouble = "Rules are pasted, and others are chosen. Choose those pasted below, or empty their field.";
            Err(trouble.to_owned())
        }
    }
}

fn live(console: &Console) -> Result<Live, Failure> {
    let control = &console.control;
    let guardian = control.desk.validator.guardian();
    let counts = guardian.counts();
    let rule = |rule: RuleInForce| RuleRow { hits: Count(rule.hits), last: rule.last_hit.map(Moment), rule };
    let decision = |decision: PastDecision| DecisionRow {
        at: Moment(decision.at),
        kind: Dotted(decision.event_type.clone()),
        link: format!("/console/search?q={}", utf8_percent_encode(&decision.event_id, NON_ALPHANUMERIC)),
        decision,
    };
    let now = Now {
        rules: control.rules().into_iter().map(rule).collect(),
        decisions: guardian.latest().into_iter().take(DECISIONS_MAX).map(decision).collect(),
        approved: Count(counts.approved),
        flagged: Count(counts.flagged),
        blocked: Count(counts.blocked),
        since: Moment(control.desk.since),
    };
    Live::of(&now, PATH, "")
}

async fn page(
    console: &Console,
    visitor: &Visitor,
    tried: Option<Tried>,
    trouble: Option<String>,
    fields: Fields,
) -> Result<Response, Failure> {
    let config = console.control.desk.settings.latest();
    let page = GuardianPage {
        frame: Frame::new(console, visitor, "Guardian", "Guardian").await,
        live: live(console)?,
        has_file: config.revenue.guardian_rules.is_some(),
        tried,
        trouble,
        fields,
        may_change: visitor.may_change(),
    };
    Ok(Page(page).into_response())
}
