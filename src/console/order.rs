//! Orders of people: a dry run that changes nothing, then the order with a note, its progress and its result.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{self, Path, RawQuery};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::entries::without_page;
use super::failure::Failure;
use super::form::{Form, filters};
use super::frame::Frame;
use super::gate::{LIVE, Visit};
use super::html::{Count, Dotted, EventName, Moment, Page, Prose, State};
use super::live::{Live, shown};
use crate::admin::wire::ListQuery;
use crate::admin::{ENTRIES_NAMED_MAX, Operation, may_select};
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::{Action, Order, OrderedEntry, Refusal, Selection};

const OPERATIONS: &str = "/console/operations";

/// Longest dry run. If it has not looked at everything by then, the page says so.
const DRY_RUN_MAX: Duration = Duration::from_secs(2);

/// How long the answer to an order waits for its end, so that small orders show their result at once.
const END_MAX: Duration = Duration::from_secs(1);

/// Most entries that a dry run lists.
const NAMED_MAX: usize = 20;

/// Query fields that are not filters.
const MINE: [&str; 5] = ["action", "undo", LIVE, "reveal", "upto"];

/// Entries that the order would not change, and why.
#[derive(Debug)]
struct Stays {
    count: Count,
    why: Prose<&'static str>,
}

/// An entry that would change.
#[derive(Debug)]
struct Row {
    entry: EntryId,
    kind: Dotted,
    event: EventName,
    state: State,
    code: Option<String>,
}

impl Row {
    fn of(ordered: OrderedEntry) -> Self {
        let OrderedEntry { entry, event_id, event_type, state, code, .. } = ordered;
        Self { entry, kind: Dotted(event_type), event: EventName(event_id), state: State(state), code }
    }
}

#[derive(Template)]
#[template(path = "order.html")]
struct PreviewPage {
    frame: Frame,
    action: Action,
    /// The word on the button, such as `Drop`.
    verb: &'static str,
    /// The participle, such as `dropped`.
    done: &'static str,
    change: Count,
    matched: Count,
    stays: Vec<Stays>,
    /// The first of them.
    named: Vec<Row>,
    /// Whether there are more than were looked at.
    is_part: bool,
    /// The selection as a query.
    selection: String,
    may_change: bool,
    needs_note: bool,
}

#[derive(Template)]
#[template(path = "operation_state.html")]
struct Progress {
    operation: Operation,
    ordered: Moment,
    ended: Option<Moment>,
    stays: Vec<Stays>,
    may_change: bool,
    may_undo: bool,
}

#[derive(Debug)]
struct OperationRow {
    ordered: Moment,
    operation: Operation,
}

/// The part of the page that renews itself.
#[derive(Template)]
#[template(path = "operations_list.html")]
struct OperationList {
    rows: Vec<OperationRow>,
}

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    frame: Frame,
    live: Live,
}

#[derive(Template)]
#[template(path = "operation.html")]
struct OperationPage {
    frame: Frame,
    operation: Operation,
    live: Live,
}

fn action(form: &Form) -> Result<Action, Failure> {
    let detail = |error: crate::domain::named::UnknownName| Problem::Invalid { detail: format!("action: {error}") };
    Ok(form.get("action").unwrap_or_default().parse().map_err(detail)?)
}

fn selection(query: &str) -> Result<Selection, Failure> {
    let invalid = |error: crate::admin::wire::QueryError| Problem::Invalid { detail: error.to_string() };
    Ok(ListQuery::parse(&filters(query, &MINE)).map_err(invalid)?.selection)
}

/// `GET /console/orders`: shows what an order would do.
pub(super) async fn preview(
    extract::State(console): extract::State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    let form = Form::parse(&query).ok_or(Problem::InvalidRequest)?;
    let action = action(&form)?;
    let mut selection = match form.get("undo") {
        Some(operation) => undo(&console, operation)?,
        None => selection(&query)?,
    };
    may_select(&visitor.who, &selection)?;
    // The order must not include entries that arrive after the look.
    if !selection.is_by_id() && selection.until.is_none() {
        selection.until = Some(console.control.context.inbox.clock().now().plus(Duration::from_millis(1)));
    }
    let order = Order { action, by: visitor.who.orders(None), note: None };
    let total = console.control.preview(&visitor.who, &selection, &order, DRY_RUN_MAX).await?;
    let (change, matched) = (total.changed(), total.entries.len());
    let stays = stays(total.entries.iter().filter_map(|entry| entry.refused).map(|refusal| (refusal, 1)));
    let (verb, done) = match action {
        Action::Replay => ("Replay", "replayed"),
        Action::Release => ("Release", "released"),
        Action::Drop => ("Drop", "dropped"),
        Action::Refetch => ("Fetch and replay", "fetched from Stripe and replayed"),
    };
    let page = PreviewPage {
        frame: Frame::new(&console, &visitor, "Problems", format!("Dry run: {}", action.as_str())).await,
        action,
        verb,
        done,
        change: Count(change as u64),
        matched: Count(matched as u64),
        stays,
        named: total.entries.into_iter().filter(|entry| entry.refused.is_none()).take(NAMED_MAX).map(Row::of).collect(),
        is_part: total.next.is_some(),
        selection: without_page(&selection),
        may_change: visitor.may_change(),
        needs_note: action == Action::Drop,
    };
    Ok(Page(page).into_response())
}

/// The entries that an operation changed, to take them up again.
fn undo(console: &Console, operation: &str) -> Result<Selection, Failure> {
    let id = operation.parse().map_err(|_| Problem::NotFound)?;
    let operation = console.control.operations.get(id).ok_or(Problem::NotFound)?;
    Ok(Selection { entries: operation.entries, ..Selection::default() })
}

fn stays(refused: impl Iterator<Item = (Refusal, usize)>) -> Vec<Stays> {
    let mut counted = std::collections::BTreeMap::<Refusal, usize>::new();
    for (refusal, count) in refused {
        *counted.entry(refusal).or_default() += count;
    }
    counted
        .into_iter()
        .map(|(refusal, count)| Stays { count: Count(count as u64), why: Prose(refusal.explain()) })
        .collect()
}

/// `POST /console/orders`: gives the order and redirects to its result.
pub(super) async fn give(
    extract::State(console): extract::State<Console>,
    Extension(visitor): Visit,
    body: Body,
) -> Result<Response, Failure> {
    let form = Form::read(body).await?;
    let action = action(&form)?;
    let selection = selection(form.get("selection").unwrap_or_default())?;
    let note = form.get("note").map(str::to_owned);
    let order = Order { action, by: visitor.who.orders(None), note };
    let id = console.control.operate(&visitor.who, selection, false, order)?;
    // If it has not ended yet, the page shows its progress.
    let _ = tokio::time::timeout(END_MAX, console.control.operations.ended(id)).await;
    Ok(Redirect::to(&path(id)).into_response())
}

fn path(id: u64) -> String {
    format!("{OPERATIONS}/{id}")
}

/// `GET /console/operations`: the remembered operations, the newest first.
pub(super) async fn operations(
    extract::State(console): extract::State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let row = |operation: Operation| OperationRow { ordered: Moment(operation.ordered), operation };
    let list = OperationList { rows: console.control.operations.list().into_iter().map(row).collect() };
    let live = Live::of(&list, OPERATIONS, "")?;
    if let Some(shown) = shown(&query.unwrap_or_default()) {
        return Ok(live.answer(shown));
    }
    let frame = Frame::new(&console, &visitor, "Problems", "Operations").await;
    Ok(Page(OperationsPage { frame, live }).into_response())
}

/// `GET /console/operations/{id}`
pub(super) async fn operation(
    extract::State(console): extract::State<Console>,
    Extension(visitor): Visit,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let id = id.parse().map_err(|_| Problem::NotFound)?;
    let operation = console.control.operations.get(id).ok_or(Problem::NotFound)?;
    let progress = Progress {
        ordered: Moment(operation.ordered),
        ended: operation.ended.map(Moment),
        stays: stays(operation.refused.iter().map(|(refusal, count)| (*refusal, *count))),
        may_change: visitor.may_change(),
        may_undo: operation.action == Action::Drop.as_str()
            && operation.changed > 0
            && operation.changed <= ENTRIES_NAMED_MAX,
        operation: operation.clone(),
    };
    let live = Live::of(&progress, &path(id), "")?;
    if let Some(shown) = shown(&query.unwrap_or_default()) {
        return Ok(live.answer(shown));
    }
    let title = format!("Operation {id}: {}", operation.action);
    let frame = Frame::new(&console, &visitor, "Problems", title).await;
    Ok(Page(OperationPage { frame, operation, live }).into_response())
}

/// `POST /console/operations/{id}/stop`
pub(super) async fn stop(
    extract::State(console): extract::State<Console>,
    Extension(visitor): Visit,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let id = id.parse().map_err(|_| Problem::NotFound)?;
    console.control.stop_operation(&visitor.who, id)?;
    let _ = tokio::time::timeout(END_MAX, console.control.operations.ended(id)).await;
    Ok(Redirect::to(&path(id)).into_response())
}
