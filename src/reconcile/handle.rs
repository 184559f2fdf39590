//! The one run that there may be at a time: ordering it, claiming it, telling how it goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::report::{ReconcileOrder, ReconcileReport, ReconcileStatus};
use crate::domain::clock::Timestamp;

/// Orders runs and reports their state. Clones share it.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<ReconcileOrder>,
    pub(super) status: Arc<Mutex<ReconcileStatus>>,
    past: Arc<Mutex<VecDeque<PastRun>>>,
}

/// How many runs are remembered.
const PAST_MAX: usize = 20;

/// A run that ended.
#[derive(Clone, Debug)]
pub struct PastRun {
    pub number: u64,
    pub began: Timestamp,
    pub ended: Timestamp,
    pub report: ReconcileReport,
}

/// Why an order was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// A run is under way.
    #[error("a run is under way")]
    Busy,
    #[error("the gateway ends")]
    Ending,
}

impl Handle {
    /// Orders a run and returns its status.
    pub fn start(&self, order: ReconcileOrder) -> Result<ReconcileStatus, OrderRefused> {
        if !claim(&self.status) {
            return Err(OrderRefused::Busy);
        }
        if self.orders.try_send(order).is_err() {
            lock(&self.status).running = false;
            return Err(OrderRefused::Ending);
        }
        Ok(self.status())
    }

    /// Runs that ended since the start, the newest first.
    pub fn past(&self) -> Vec<PastRun> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Notes the end of the present run.
    pub(super) fn finish(&self, report: &ReconcileReport, began: Timestamp, ended: Timestamp) {
        let mut status = lock(&self.status);
        status.running = false;
        status.report = Some(report.clone());
        status.ended = Some(ended.to_string());
        let run = PastRun { number: status.runs, began, ended, report: report.clone() };
        drop(status);
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.truncate(PAST_MAX - 1);
        past.push_front(run);
    }

    /// The present state.
    pub fn status(&self) -> ReconcileStatus {
        lock(&self.status).clone()
    }
}

pub(super) fn lock(status: &Mutex<ReconcileStatus>) -> MutexGuard<'_, ReconcileStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims the only run that is allowed at a time.
pub(super) fn claim(status: &Mutex<ReconcileStatus>) -> bool {
    let mut status = lock(status);
    if status.running {
        return false;
    }
    status.running = true;
    status.runs += 1;
    status.report = None;
    status.ended = None;
    true
}

/// A handle, and the runner's end of it. At most one order waits, because a second is refused.
pub fn handle() -> (Handle, mpsc::Receiver<ReconcileOrder>) {
    let (orders, taken) = mpsc::channel(1);
    (Handle { orders, status: Arc::default(), past: Arc::default() }, taken)
}
