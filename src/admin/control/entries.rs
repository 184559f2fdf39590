//! `/admin/entries`: finding entries, looking at one, and replaying, releasing, dropping or refetching them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};

use super::Control;
use crate::admin::operator::Who;
use crate::admin::wire::{EntriesOrder, ListQuery};
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::{Action, EntryStory, ListedPage, Order, OrderStep, Refusal, Selection};

/// Longest body of a change, in bytes: room for as many ids as a selection may name.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Steps that one request makes. Whoever wants more asks again, from where it ended.
const STEPS_MAX: usize = 5;

/// Between two steps, so that webhooks come first.
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// One audit line, written when the work ends in whichever way, a request that was given up included.
struct OrderAudit<'a> {
    who: &'a Who,
    order: &'a Order,
    selection: &'a Selection,
    dry_run: bool,
    matched: usize,
    changed: usize,
    refused: BTreeMap<Refusal, usize>,
}

impl Drop for OrderAudit<'_> {
    fn drop(&mut self) {
        let Self { who, order, selection, dry_run, matched, changed, refused } = self;
        tracing::info!(
            target: "audit",
            action = order.action.as_str(),
            who = &*who.name,
            peer = who.peer(),
            selection = told(selection),
            by = order.by,
            note = order.note,
            dry_run,
            matched,
            changed,
            refused = refused.values().sum::<usize>(),
            "admin"
        );
    }
}

/// A selection for the log, without people.
fn told(selection: &Selection) -> String {
    let users = selection.users.iter().map(|_| "(redacted)".to_owned()).collect();
    serde_json::to_string(&Selection { users, ..selection.clone() }).unwrap_or_default()
}

/// The error of a selection or of a query, for the operator.
fn invalid(error: impl std::fmt::Display) -> Problem {
    Problem::Invalid { detail: error.to_string() }
}

/// `/admin/entries` and what is below it.
pub(super) fn routes(control: Arc<Control>) -> Router {
    let only_get = || async { Problem::MethodNotAllowed { allow: "GET" } };
    let only_post = || async { Problem::MethodNotAllowed { allow: "POST" } };
    Router::new()
        .route("/admin/entries", get(list).fallback(only_get))
        .route("/admin/entries/{id}", get(show).fallback(only_get))
        .route("/admin/entries/replay", post(replay).fallback(only_post))
        .route("/admin/entries/release", post(release).fallback(only_post))
        .route("/admin/entries/drop", post(drop_entries).fallback(only_post))
        .route("/admin/entries/refetch", post(refetch).fallback(only_post))
        .with_state(control)
}

async fn list(
    State(control): State<Arc<Control>>,
    RawQuery(query): RawQuery,
    Extension(who): Extension<Who>,
) -> Result<Json<ListedPage>, Problem> {
    let ListQuery { selection, after, limit, reveal } =
        ListQuery::parse(&query.unwrap_or_default()).map_err(invalid)?;
    if reveal {
        who.may_reveal()?;
    }
    let page = control.context.inbox.list(&selection, after, limit, reveal).await.map_err(Problem::InboxUnavailable)?;
    if reveal {
        let (selection, entries) = (told(&selection), page.entries.len());
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "reveal", who = by, peer, selection, entries, "admin");
    }
    Ok(Json(page))
}

async fn show(
    State(control): State<Arc<Control>>,
    Path(entry): Path<String>,
    RawQuery(query): RawQuery,
    Extension(who): Extension<Who>,
) -> Result<Json<EntryStory>, Problem> {
    let entry = EntryId(entry.parse().map_err(|_| Problem::NoSuchEntry)?);
    let ListQuery { selection, reveal, .. } = ListQuery::parse(&query.unwrap_or_default()).map_err(invalid)?;
    if !selection.is_empty() {
        return Err(invalid("an entry is named by its number alone; `reveal` shows its body"));
    }
    if reveal {
        who.may_reveal()?;
    }
    let story = control.context.inbox.story(entry, reveal).await.map_err(Problem::InboxUnavailable)?;
    let story = story.ok_or(Problem::NoSuchEntry)?;
    if reveal {
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "reveal", who = by, peer, entry = entry.0, entries = 1, "admin");
    }
    Ok(Json(story))
}

async fn replay(control: State<Arc<Control>>, who: Extension<Who>, body: Body) -> Result<Json<OrderStep>, Problem> {
    change(&control, &who, body, Action::Replay).await
}

async fn release(control: State<Arc<Control>>, who: Extension<Who>, body: Body) -> Result<Json<OrderStep>, Problem> {
    change(&control, &who, body, Action::Release).await
}

async fn drop_entries(
    control: State<Arc<Control>>,
    who: Extension<Who>,
    body: Body,
) -> Result<Json<OrderStep>, Problem> {
    change(&control, &who, body, Action::Drop).await
}

async fn refetch(control: State<Arc<Control>>, who: Extension<Who>, body: Body) -> Result<Json<OrderStep>, Problem> {
    change(&control, &who, body, Action::Refetch).await
}

async fn change(control: &Control, who: &Who, body: Body, action: Action) -> Result<Json<OrderStep>, Problem> {
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::InvalidRequest)?;
    let EntriesOrder { selection, all, by, note, dry_run, after } = serde_json::from_slice(&body).map_err(invalid)?;
    selection.check().map_err(invalid)?;
    if selection.is_empty() && !all {
        return Err(invalid("nothing is selected: name entries, or say \"all\": true"));
    }
    if action == Action::Drop && note.as_deref().is_none_or(|note| note.trim().is_empty()) {
        return Err(invalid("a drop needs a note that says why"));
    }
    let order = Order { action, by: who.orders(by), note };
    let (order, selection) = (&order, &selection);
    let mut audit = OrderAudit { who, order, selection, dry_run, matched: 0, changed: 0, refused: BTreeMap::new() };
    let mut total = OrderStep { entries: Vec::new(), next: after };
    for number in 0..STEPS_MAX {
        if number > 0 {
            tokio::time::sleep(STEP_PAUSE).await;
        }
        let step = match (action, &control.refetch) {
            (Action::Refetch, None) => return Err(Problem::NotConfigured),
            (Action::Refetch, Some(refetch)) => refetch.operate(selection, order, dry_run, total.next).await,
            _ => control.context.inbox.operate(selection, order, dry_run, total.next).await,
        };
        let step = step.map_err(Problem::InboxUnavailable)?;
        audit.matched += step.entries.len();
        for entry in &step.entries {
            match entry.refused {
                Some(refusal) => *audit.refused.entry(refusal).or_default() += 1,
                None => audit.changed += usize::from(!dry_run),
            }
        }
        if !dry_run {
            control.context.instruments.metrics.interventions.of(action.as_str()).increment(step.changed() as u64);
        }
        total.entries.extend(step.entries);
        total.next = step.next;
        // Each refetched entry takes a question to Stripe, which whoever asks would wait for.
        if total.next.is_none() || action == Action::Refetch {
            break;
        }
    }
    Ok(Json(total))
}
