//! `/admin/entries`: finding entries, looking at one, and replaying, releasing, dropping or refetching them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};

use super::Control;
use super::orders::{self, may_select, told};
use crate::admin::asked;
use crate::admin::audit::Act;
use crate::admin::body::read_body;
use crate::admin::who::Who;
use crate::admin::wire::{EntriesOrder, ListQuery, ShownEntry};
use crate::domain::counted::counted;
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::{Action, ListedPage, Order, OrderStep, objects_of};
use crate::ledger::desk::{EVENT_OBJECTS_MAX, EventReport, EventWanted};

/// Longest body of a change, in bytes: room for as many ids as a selection may name.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Longest wait for the ledger's answer about an event. After that the entry is shown without it.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(2);

/// Largest body that is searched for references, in bytes; deliveries are smaller.
const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;

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
    may_select(&who, &selection)?;
    let page = control.context.inbox.list(&selection, after, limit, reveal).await.map_err(Problem::InboxUnavailable)?;
    if reveal {
        let (selection, entries) = (told(&selection), page.entries.len());
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "reveal", who = by, peer, selection, entries, "admin");
        control.audit.note(&who, Act::new("reveal", selection).with_result(counted(entries, "entry", "entries")));
    }
    Ok(Json(page))
}

async fn show(
    State(control): State<Arc<Control>>,
    Path(entry): Path<String>,
    RawQuery(query): RawQuery,
    Extension(who): Extension<Who>,
) -> Result<Json<ShownEntry>, Problem> {
    let entry = EntryId(entry.parse().map_err(|_| Problem::NoSuchEntry)?);
    let ListQuery { selection, reveal, .. } = ListQuery::parse(&query.unwrap_or_default()).map_err(invalid)?;
    if !selection.is_empty() {
        return Err(invalid("an entry is named by its number alone; `reveal` shows its body"));
    }
    let story = if reveal {
        control.reveal(&who, entry, None).await?
    } else {
        control.context.inbox.story(entry, false).await.map_err(Problem::InboxUnavailable)?
    };
    let story = story.ok_or(Problem::NoSuchEntry)?;
    let body = control.body(entry).await?;
    let objects = body.map(|body| objects_of(&body, EVENT_OBJECTS_MAX)).unwrap_or_default();
    let (ledger, ledger_fault) = match control.event(&story.entry.event_id, objects).await {
        Ok(report) if reveal => (Some(report), None),
        Ok(report) => (Some(report.masked()), None),
        Err(problem) => (None, Some(problem.code().to_owned())),
    };
    Ok(Json(ShownEntry { story, ledger, ledger_fault }))
}

impl Control {
    /// The body of an entry; `None` if retention removed it.
    ///
    /// # Errors
    /// If the inbox does not answer.
    pub async fn body(&self, entry: EntryId) -> Result<Option<Vec<u8>>, Problem> {
        let bodies = self.context.inbox.bodies(vec![entry], ENTRY_BYTES_MAX).await;
        Ok(bodies.map_err(Problem::InboxUnavailable)?.into_iter().next().flatten())
    }

    /// Everything that the ledger has about an event and the objects that it names, in one question.
    ///
    /// # Errors
    /// If the ledger gives no answer in time, or an error.
    pub async fn event(&self, event: &str, objects: Vec<String>) -> Result<EventReport, Problem> {
        asked(LEDGER_ANSWER_MAX, self.ledger.event(&EventWanted::new(event, objects))).await
    }
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
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let EntriesOrder { selection, all, by, note, dry_run, after } = serde_json::from_slice(&body).map_err(invalid)?;
    let order = Order { action, by: who.orders(by), note };
    orders::check(&selection, all, &order)?;
    control.order(who, &selection, &order, dry_run, after).await.map(Json)
}
