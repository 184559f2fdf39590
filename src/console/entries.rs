//! The list of entries. The URL holds the filter, rows do not move while a person reads them, and the page counts new entries.

mod file;

use std::fmt::Write as _;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

pub(super) use self::file::export;
use super::Console;
use super::failure::Failure;
use super::form::filters;
use super::frame::Frame;
use super::gate::{LIVE, Visit, Visitor};
use super::html::{Count, Dotted, EventName, Moment, Page, State as StateMark};
use super::live::{Live, shown};
use crate::admin::may_select;
use crate::admin::wire::ListQuery;
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::{Counts, EntryReport, Listed, Selection, StateName};

pub(super) const PATH: &str = "/console/entries";

/// Query field with the newest entry of the page when it was first opened.
const UP_TO: &str = "upto";

/// Most new entries that are counted.
const NEW_MAX: usize = 99;

/// How many characters of a reason the list shows.
const REASON_CHARS: usize = 90;

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) entry: EntryReport,
    pub(super) state: StateMark,
    pub(super) received: Moment,
    pub(super) kind: Dotted,
    pub(super) event: EventName,
    /// Its outcome, or what it still waits for.
    pub(super) result: String,
}

impl Row {
    pub(super) fn of(entry: EntryReport) -> Self {
        let result = match (&entry.code, &entry.outcome, &entry.reason) {
            (Some(code), _, Some(reason)) => format!("{code}: {reason}"),
            (Some(code), _, None) => code.clone(),
            (None, Some(outcome), _) => outcome.clone(),
            (None, None, Some(reason)) => reason.clone(),
            (None, None, None) => String::new(),
        };
        let short: String = result.chars().take(REASON_CHARS).collect();
        let result = if short.len() < result.len() { format!("{short}…") } else { short };
        let (kind, event) = (Dotted(entry.event_type.clone()), EventName(entry.event_id.clone()));
        Self { state: StateMark(entry.state), received: Moment(entry.received), kind, event, result, entry }
    }
}

/// A filter in force, with a link to the list without it.
#[derive(Debug)]
struct Chip {
    name: &'static str,
    /// Alternatives.
    values: Vec<String>,
    without: String,
}

/// A list that people often want.
#[derive(Debug)]
struct Preset {
    name: &'static str,
    url: String,
    count: Option<Count>,
    is_open: bool,
}

/// The part of the page that renews itself.
#[derive(Template)]
#[template(path = "entries_rows.html")]
struct List {
    rows: Vec<Row>,
    /// `12 new`, and a link to them.
    new: Option<(String, String)>,
    older: Option<String>,
    is_filtered: bool,
}

#[derive(Template)]
#[template(path = "entries.html")]
struct EntriesPage {
    frame: Frame,
    presets: Vec<Preset>,
    chips: Vec<Chip>,
    fields: Fields,
    states: Vec<Choice>,
    live: Live,
    /// The filters as a query, for actions on all of the list.
    filters: String,
    may_change: bool,
}

/// The contents of the filter's fields.
#[derive(Debug)]
struct Fields {
    types: String,
    codes: String,
    endpoints: String,
    customers: String,
    refs: String,
    since: String,
    until: String,
}

/// A state to choose.
#[derive(Debug)]
struct Choice {
    name: &'static str,
    is_chosen: bool,
}

impl Fields {
    fn of(selection: &Selection) -> Self {
        Self {
            types: only(&selection.types),
            codes: only(&selection.codes),
            endpoints: only(&selection.endpoints),
            customers: only(&selection.customers),
            refs: only(&selection.refs),
            since: selection.since.map(|at| at.to_string()).unwrap_or_default(),
            until: selection.until.map(|at| at.to_string()).unwrap_or_default(),
        }
    }
}

fn choices(selection: &Selection) -> Vec<Choice> {
    let choice = |state: StateName| Choice { name: state.as_str(), is_chosen: selection.states == [state] };
    StateName::ALL.into_iter().map(choice).collect()
}

/// The content of a filter's field. Several alternatives show only in the chips.
fn only(values: &[String]) -> String {
    match values {
        [one] => one.clone(),
        _ => String::new(),
    }
}

/// What a query asks for, if this visitor may ask for it.
fn wanted(visitor: &Visitor, query: &str) -> Result<ListQuery, Failure> {
    let invalid = |error: crate::admin::wire::QueryError| Problem::Invalid { detail: error.to_string() };
    let wanted = ListQuery::parse(&filters(query, &[LIVE, UP_TO, "reveal"])).map_err(invalid)?;
    may_select(&visitor.who, &wanted.selection)?;
    Ok(wanted)
}

/// `GET /console/entries`
pub(super) async fn list(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    let wanted = wanted(&visitor, &query)?;
    let up_to = number(&query, UP_TO);
    let (rows, up_to) = rows(&console, &wanted, up_to).await?;
    let mut again = wanted.to_string();
    if let Some(up_to) = up_to {
        // Writing to memory does not fail.
        let _ = write!(again, "&{UP_TO}={up_to}");
    }
    let live = Live::of(&rows, PATH, &again)?;
    if let Some(shown) = shown(&query) {
        return Ok(live.answer(shown));
    }
    let counts = console.control.context.inbox.counts().await.map_err(Problem::InboxUnavailable)?;
    let page = EntriesPage {
        frame: Frame::new(&console, &visitor, "Entries", "Entries").await,
        presets: presets(&wanted.selection, &counts),
        chips: chips(&wanted.selection),
        fields: Fields::of(&wanted.selection),
        states: choices(&wanted.selection),
        filters: without_page(&wanted.selection),
        live,
        may_change: visitor.may_change(),
    };
    Ok(Page(page).into_response())
}

/// The rows of a page, and its newest entry. When the first page is opened again, it begins where it began.
async fn rows(console: &Console, wanted: &ListQuery, up_to: Option<i64>) -> Result<(List, Option<i64>), Failure> {
    let inbox = &console.control.context.inbox;
    let select = async |after, limit| inbox.list(&wanted.selection, after, limit, false).await;
    let after = wanted.after.or(up_to.map(|last| EntryId(last.saturating_add(1))));
    let page = select(after, wanted.limit).await.map_err(Problem::InboxUnavailable)?;
    let newest = page.entries.first().map(|listed| listed.entry.entry.0);
    let up_to = if wanted.after.is_some() { None } else { up_to.or(newest) };
    let mut new = None;
    if let Some(last) = up_to.filter(|_| after.is_some()) {
        let latest = select(None, NEW_MAX + 1).await.map_err(Problem::InboxUnavailable)?;
        let count = latest.entries.iter().filter(|listed| listed.entry.entry.0 > last).count();
        let text = if count > NEW_MAX { format!("more than {NEW_MAX} new") } else { format!("{count} new") };
        new = (count > 0).then(|| (text, format!("{PATH}?{}", without_page(&wanted.selection))));
    }
    let next = |after: EntryId| {
        let query = ListQuery { selection: wanted.selection.clone(), after: Some(after), ..*wanted };
        format!("{PATH}?{query}")
    };
    let older = page.next.map(next);
    let rows = page.entries.into_iter().map(|Listed { entry, .. }| Row::of(entry)).collect();
    Ok((List { rows, new, older, is_filtered: !wanted.selection.is_empty() }, up_to))
}

fn number(query: &str, name: &str) -> Option<i64> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    value.parse().ok()
}

/// The query of a selection's first page.
pub(super) fn without_page(selection: &Selection) -> String {
    let query = ListQuery { selection: selection.clone(), after: None, limit: 1, reveal: false }.to_string();
    query.strip_prefix("limit=1&reveal=false").unwrap_or_default().trim_start_matches('&').to_owned()
}

fn presets(selection: &Selection, counts: &Counts) -> Vec<Preset> {
    let preset = |name, states: &[StateName]| {
        let chosen = Selection { states: states.to_vec(), ..Selection::default() };
        let count = (!states.is_empty()).then(|| Count(states.iter().map(|state| counts.of(*state)).sum()));
        let query = without_page(&chosen);
        let url = if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") };
        Preset { name, url, count, is_open: *selection == chosen }
    };
    vec![
        preset("All", &[]),
        preset("On their way", &[StateName::Waiting, StateName::Leased, StateName::Submitted]),
        preset("Held", &[StateName::Quarantined]),
        preset("Dead", &[StateName::Dead]),
        preset("Settled", &[StateName::Settled]),
    ]
}

fn chips(selection: &Selection) -> Vec<Chip> {
    let mut chips = Vec::new();
    let mut add = |name, values: Vec<String>, clear: &dyn Fn(&mut Selection)| {
        if !values.is_empty() {
            let mut rest = selection.clone();
            clear(&mut rest);
            let query = without_page(&rest);
            let without = if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") };
            chips.push(Chip { name, values, without });
        }
    };
    let of = |at: Option<crate::domain::clock::Timestamp>| at.iter().map(ToString::to_string).collect::<Vec<_>>();
    let states = selection.states.iter().map(|state| state.as_str().to_owned()).collect();
    add("state", states, &|rest| rest.states.clear());
    add("type", selection.types.clone(), &|rest| rest.types.clear());
    add("code", selection.codes.clone(), &|rest| rest.codes.clear());
    add("event", selection.events.clone(), &|rest| rest.events.clear());
    add("entry", selection.entries.iter().map(ToString::to_string).collect(), &|rest| rest.entries.clear());
    add("endpoint", selection.endpoints.clone(), &|rest| rest.endpoints.clear());
    add("customer", selection.customers.clone(), &|rest| rest.customers.clear());
    add("refers to", selection.refs.clone(), &|rest| rest.refs.clear());
    add("user", selection.users.clone(), &|rest| rest.users.clear());
    add("received from", of(selection.since), &|rest| rest.since = None);
    add("received before", of(selection.until), &|rest| rest.until = None);
    chips
}
