//! What waits for a person: entries that were given up or held back, grouped by reason, and paid subscriptions that give no
//! user access.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::Console;
use super::entries::without_page;
use super::failure::Failure;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Count, Moment, Page, Prose, State as StateMark};
use super::live::{Live, shown};
use crate::admin::{Operation, asked};
use crate::domain::outcome::StateName;
use crate::door::Problem;
use crate::inbox::{ProblemGroup, Selection};
use crate::ledger::report::NotShown;

const PATH: &str = "/console/problems";

/// Longest wait for the ledger. After that, only the inbox's entries are shown.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(2);

/// Most subscriptions that are named.
const NAMED_MAX: u32 = 20;

/// Most operations that are listed.
const OPERATIONS_MAX: usize = 5;

/// Entries that ended the same way.
#[derive(Debug)]
struct Group {
    problem: ProblemGroup,
    state: StateMark,
    count: Count,
    oldest: Moment,
    newest: Moment,
    /// The entries as a query.
    query: String,
    advice: Prose<String>,
    is_held: bool,
}

impl From<ProblemGroup> for Group {
    fn from(problem: ProblemGroup) -> Self {
        let codes = if problem.code.is_empty() { Vec::new() } else { vec![problem.code.clone()] };
        let types = vec![problem.event_type.clone()];
        let chosen = Selection { states: vec![problem.state], codes, types, ..Selection::default() };
        Self {
            state: StateMark(problem.state),
            count: Count(problem.count),
            oldest: Moment(problem.oldest),
            newest: Moment(problem.newest),
            query: without_page(&chosen),
            advice: Prose(problem.advice.clone()),
            is_held: problem.state == StateName::Quarantined,
            problem,
        }
    }
}

/// A subscription that should give a user access.
#[derive(Debug)]
struct Unowned {
    id: String,
    why: Prose<&'static str>,
}

#[derive(Template)]
#[template(path = "problems_groups.html")]
struct Overview {
    entries: Count,
    groups: Vec<Group>,
    may_change: bool,
    /// `None` if the ledger did not answer.
    unowned: Option<Vec<Unowned>>,
    /// How many more there are than are named.
    more_unowned: u64,
    /// How many entries are in groups that are not listed.
    more_entries: u64,
    not_shown: Option<NotShown>,
    operations: Vec<Operation>,
}

#[derive(Template)]
#[template(path = "problems.html")]
struct ProblemsPage {
    frame: Frame,
    live: Live,
}

/// `GET /console/problems`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let control = &console.control;
    let problems = control.context.inbox.problems().await.map_err(Problem::InboxUnavailable)?;
    let attention = asked(LEDGER_ANSWER_MAX, control.ledger.attention(NAMED_MAX)).await.ok();
    let told = Overview {
        more_entries: problems.entries.saturating_sub(problems.groups.iter().map(|group| group.count).sum()),
        more_unowned: attention
            .as_ref()
            .map_or(0, |told| told.reasons.values().sum::<u64>().saturating_sub(told.unowned.len() as u64)),
        entries: Count(problems.entries),
        groups: problems.groups.into_iter().map(Group::from).collect(),
        may_change: visitor.may_change(),
        not_shown: attention.as_ref().map(|told| told.not_shown).filter(|users| users.entitled + users.others > 0),
        unowned: attention.map(|told| {
            let unowned = told.unowned.into_iter();
            unowned.map(|line| Unowned { why: Prose(line.reason.advice()), id: line.id }).collect()
        }),
        operations: control.operations.list().into_iter().take(OPERATIONS_MAX).collect(),
    };
    let live = Live::of(&told, PATH, "")?;
    if let Some(shown) = shown(&query.unwrap_or_default()) {
        return Ok(live.answer(shown));
    }
    let frame = Frame::new(&console, &visitor, "Problems", "Problems").await;
    Ok(Page(ProblemsPage { frame, live }).into_response())
}
