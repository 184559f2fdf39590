//! `/admin/operations`: orders about all entries of a selection. The gateway carries them out even if the browser is closed.
//!
//! Guarantees: one runs at a time, in steps between which webhooks come first; each can be stopped between two steps, and ends
//! there when the gateway drains; each leaves one audit line when it ends, whichever way. What they were is kept in memory, a
//! bounded number of them.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Control;
use super::orders::{OrderAudit, STEP_PAUSE, without_people};
use crate::admin::audit::Act;
use crate::admin::body::read_body;
use crate::admin::who::Who;
use crate::admin::wire::OperationOrder;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::EntryId;
use crate::domain::named::named;
use crate::door::Problem;
use crate::inbox::{Action, Order, OrderStep, Refusal, Selection};
use crate::lifecycle::Shutdown;

/// Longest body of an order, in bytes: room for as many ids as a selection may name.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// How many operations may wait for their turn. One more is refused.
const QUEUE_MAX: usize = 16;

/// How many ended operations are remembered.
const KEPT_MAX: usize = 50;

/// How many changed entries an operation remembers, to name them again. It counts all of them.
pub const ENTRIES_NAMED_MAX: usize = 500;

named! {
    /// The progress of an operation.
    pub enum OperationState {
        /// It waits for its turn.
        Queued = "queued",
        Running = "running",
        /// It has finished all selected entries.
        Done = "done",
        /// A person, or the end of the gateway, stopped it. What it changed stays changed.
        Stopped = "stopped",
        /// It met an error. What it changed stays changed.
        Failed = "failed",
    }
}

/// The state of an operation, without persons.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    pub id: u64,
    pub action: &'static str,
    pub selection: Selection,
    pub by: Option<String>,
    pub note: Option<String>,
    pub state: &'static str,
    pub ordered: Timestamp,
    pub ended: Option<Timestamp>,
    /// Entries that it looked at and that match the selection.
    pub matched: usize,
    pub changed: usize,
    /// Entries that it did not change, by reason.
    pub refused: BTreeMap<Refusal, usize>,
    /// The first entries that it changed.
    pub entries: Vec<EntryId>,
    /// Why it failed.
    pub error: Option<&'static str>,
}

impl Operation {
    /// Whether it can still change something.
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }
}

#[derive(Debug)]
struct Kept {
    operation: Operation,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Job {
    id: u64,
    who: Who,
    order: Order,
    selection: Selection,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<(u64, VecDeque<Kept>)>,
    changes: watch::Sender<u64>,
    clock: Clock,
}

/// The operations of a gateway. Clones share them.
#[derive(Clone, Debug)]
pub struct Operations {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

/// Carries out operations.
#[derive(Debug)]
pub struct OperationRunner {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (u64, VecDeque<Kept>)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, id: u64, change: impl FnOnce(&mut Operation)) {
        if let Some(kept) = self.lock().1.iter_mut().find(|kept| kept.operation.id == id) {
            change(&mut kept.operation);
        }
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Operations {
    pub fn new(clock: Clock) -> (Self, OperationRunner) {
        let (jobs, taken) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::new(Shared { kept: Mutex::default(), changes: watch::Sender::new(0), clock });
        (Self { shared: Arc::clone(&shared), jobs }, OperationRunner { shared, jobs: taken })
    }

    /// Orders an operation and returns its number.
    ///
    /// # Errors
    /// [`Problem::Busy`] if too many are waiting, [`Problem::ShuttingDown`] if the gateway is ending.
    pub fn start(&self, who: Who, selection: Selection, order: Order) -> Result<u64, Problem> {
        let room = self.jobs.try_reserve().map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(()) => Problem::Busy,
            mpsc::error::TrySendError::Closed(()) => Problem::ShuttingDown,
        })?;
        let mut kept = self.shared.lock();
        kept.0 += 1;
        let (id, stop) = (kept.0, CancellationToken::new());
        let operation = Operation {
            id,
            action: order.action.as_str(),
            selection: without_people(&selection),
            by: order.by.clone(),
            note: order.note.clone(),
            state: OperationState::Queued.as_str(),
            ordered: self.shared.clock.now(),
            ended: None,
            matched: 0,
            changed: 0,
            refused: BTreeMap::new(),
            entries: Vec::new(),
            error: None,
        };
        kept.1.push_front(Kept { operation, stop: stop.clone() });
        while kept.1.len() > KEPT_MAX && kept.1.back().is_some_and(|last| !last.operation.is_open()) {
            kept.1.pop_back();
        }
        room.send(Job { id, who, order, selection, stop });
        Ok(id)
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Operation> {
        self.shared.lock().1.iter().map(|kept| kept.operation.clone()).collect()
    }

    pub fn get(&self, id: u64) -> Option<Operation> {
        let kept = self.shared.lock();
        kept.1.iter().find(|kept| kept.operation.id == id).map(|kept| kept.operation.clone())
    }

    /// Makes an operation end before its next step. `None` if it is unknown.
    pub fn stop(&self, id: u64) -> Option<Operation> {
        let kept = self.shared.lock();
        let found = kept.1.iter().find(|kept| kept.operation.id == id)?;
        found.stop.cancel();
        Some(found.operation.clone())
    }

    /// Waits until an operation has ended, or is unknown.
    pub async fn ended(&self, id: u64) {
        let mut changes = self.shared.changes.subscribe();
        while self.get(id).is_some_and(|operation| operation.is_open()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl OperationRunner {
    /// Carries out orders one after the other, until draining begins.
    ///
    /// # Errors
    /// None occur.
    pub async fn run(mut self, control: Control, shutdown: Shutdown) -> Result<(), Infallible> {
        loop {
            let job = tokio::select! {
                biased;
                () = shutdown.draining() => return Ok(()),
                job = self.jobs.recv() => job,
            };
            match job {
                Some(job) => self.work(&control, job, &shutdown).await,
                None => return Ok(()),
            }
        }
    }

    async fn work(&self, control: &Control, job: Job, shutdown: &Shutdown) {
        let Job { id, who, order, selection, stop } = job;
        let (who, order, selection) = (&who, &order, &selection);
        self.shared.update(id, |operation| operation.state = OperationState::Running.as_str());
        let mut audit = OrderAudit::new(&control.audit, who, order, selection, false);
        let mut after = None;
        let (state, error) = loop {
            if stop.is_cancelled() || shutdown.is_draining() {
                break (OperationState::Stopped, None);
            }
            match control.step(selection, order, false, after).await {
                Ok(step) => {
                    audit.add(&step);
                    self.shared.update(id, |operation| operation.add(&audit, &step));
                    after = step.next;
                }
                Err(problem) => break (OperationState::Failed, Some(problem.title())),
            }
            if after.is_none() {
                break (OperationState::Done, None);
            }
            tokio::select! {
                () = tokio::time::sleep(STEP_PAUSE) => {}
                () = stop.cancelled() => {}
                () = shutdown.draining() => {}
            }
        };
        // The audit line is written before any reader sees the end.
        drop(audit);
        let now = self.shared.clock.now();
        self.shared.update(id, |operation| {
            operation.state = state.as_str();
            operation.ended = Some(now);
            operation.error = error;
        });
    }
}

impl Operation {
    fn add(&mut self, audit: &OrderAudit<'_>, step: &OrderStep) {
        (self.matched, self.changed) = (audit.matched, audit.changed);
        self.refused.clone_from(&audit.refused);
        let room = ENTRIES_NAMED_MAX.saturating_sub(self.entries.len());
        let changed = step.entries.iter().filter(|entry| entry.refused.is_none()).map(|entry| entry.entry);
        self.entries.extend(changed.take(room));
    }
}

#[derive(Serialize)]
struct Listed {
    operations: Vec<Operation>,
}

/// `/admin/operations` and what is below it.
pub(super) fn routes(control: Arc<Control>) -> Router {
    let only_get = || async { Problem::MethodNotAllowed { allow: "GET" } };
    let only_post = || async { Problem::MethodNotAllowed { allow: "POST" } };
    let both = || async { Problem::MethodNotAllowed { allow: "GET, POST" } };
    Router::new()
        .route("/admin/operations", get(list).post(order).fallback(both))
        .route("/admin/operations/{id}", get(show).fallback(only_get))
        .route("/admin/operations/{id}/stop", post(stop).fallback(only_post))
        .with_state(control)
}

async fn list(State(control): State<Arc<Control>>) -> Json<Listed> {
    Json(Listed { operations: control.operations.list() })
}

async fn show(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Result<Json<Operation>, Problem> {
    let id = id.parse().map_err(|_| Problem::NotFound)?;
    control.operations.get(id).map(Json).ok_or(Problem::NotFound)
}

async fn stop(
    State(control): State<Arc<Control>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Operation>, Problem> {
    let id = id.parse().map_err(|_| Problem::NotFound)?;
    control.stop_operation(&who, id).map(Json)
}

async fn order(
    State(control): State<Arc<Control>>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Result<(StatusCode, Json<Operation>), Problem> {
    let invalid = |error: &dyn std::fmt::Display| Problem::Invalid { detail: error.to_string() };
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let OperationOrder { action, selection, all, by, note } =
        serde_json::from_slice(&body).map_err(|error| invalid(&error))?;
    let action: Action = action.parse().map_err(|error| invalid(&format!("action: {error}")))?;
    let by = who.orders(by);
    let id = control.operate(&who, selection, all, Order { action, by, note })?;
    let operation = control.operations.get(id).ok_or(Problem::Internal)?;
    Ok((StatusCode::ACCEPTED, Json(operation)))
}

impl Control {
    /// Orders an operation and returns its number.
    ///
    /// # Errors
    /// If it makes no sense, needs a Stripe key that is not configured, or too many are waiting.
    pub fn operate(&self, who: &Who, selection: Selection, all: bool, order: Order) -> Result<u64, Problem> {
        super::orders::check(&selection, all, &order)?;
        if order.action == Action::Refetch && self.refetch.is_none() {
            return Err(Problem::NotConfigured);
        }
        self.operations.start(who.clone(), selection, order)
    }

    /// Makes an operation end before its next step.
    ///
    /// # Errors
    /// If no operation has this number.
    pub fn stop_operation(&self, who: &Who, id: u64) -> Result<Operation, Problem> {
        let operation = self.operations.stop(id).ok_or(Problem::NotFound)?;
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "stop", who = by, peer, operation = id, "admin");
        self.audit.note(who, Act::new("stop", format!("operation {id}")));
        Ok(operation)
    }
}
