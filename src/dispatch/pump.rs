//! The loop between inbox and ledger: lease, work, conclude, wait.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::batch::{Batch, BatchOptions, Down, Work, Worked};
use super::colony::{ColonyRoute, Way};
use super::conclude::{self, PAUSE};
use crate::domain::backoff::Backoff;
use crate::domain::clock::Clock;
use crate::inbox::{Inbox, LeaseRequest, Leased};
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::Metrics;

/// Longest sleep of an idle pump. Arrivals wake it at once; this is for leases that end.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Bounds of a pump.
#[derive(Clone, Copy, Debug)]
pub struct PumpOptions {
    /// Most entries in a batch.
    pub batch_entries_max: usize,
    /// Most bytes of bodies in a batch.
    pub batch_bytes_max: usize,
    /// How long a lease lasts.
    pub lease: Duration,
    /// Longest call of the ledger.
    pub call_timeout: Duration,
    /// Failed attempts after which an entry is dead.
    pub attempts_max: u32,
    /// Waits between attempts of one entry.
    pub backoff: Backoff,
}

/// Brings entries to their end. Several may share an inbox.
#[derive(Clone)]
pub struct Pump {
    inbox: Inbox,
    work: Arc<dyn Work>,
    colony: Option<ColonyRoute>,
    options: PumpOptions,
    metrics: Arc<Metrics>,
    board: Board,
    clock: Clock,
    /// Clones share what they learned of the ledger.
    last_success: Arc<Mutex<Option<Instant>>>,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Pump {
    /// A pump between `inbox` and `work`.
    pub fn new(
        inbox: Inbox,
        work: Arc<dyn Work>,
        options: PumpOptions,
        metrics: Arc<Metrics>,
        board: Board,
        clock: Clock,
    ) -> Self {
        board.set("ledger", Level::Ok, "not asked yet", clock.now());
        Self { inbox, work, colony: None, options, metrics, board, clock, last_success: Arc::default() }
    }

    /// Sends entries through a colony while that route is in force.
    #[must_use]
    pub fn with_colony(self, colony: ColonyRoute) -> Self {
        Self { colony: Some(colony), ..self }
    }

    /// Runs until draining begins, then finishes the batch in hand.
    pub async fn run(self, draining: CancellationToken) -> Result<(), Infallible> {
        let mut random = fastrand::Rng::new();
        let mut limit = self.options.batch_entries_max;
        let mut failures = 0_u32;
        while !draining.is_cancelled() {
            let way = match &self.colony {
                Some(colony) => colony.way(&draining).await,
                None => Some(Way::Direct),
            };
            let Some(way) = way else { break };
            let entries_max = match way {
                Way::Colony { .. } => self.options.batch_entries_max,
                Way::Direct => limit,
            };
            let request =
                LeaseRequest { entries_max, bytes_max: self.options.batch_bytes_max, duration: self.options.lease };
            let leased = match self.inbox.lease(request).await {
                Ok(leased) => leased,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "inbox gives out no entries");
                    failures += 1;
                    pause(PAUSE.wait(failures, &mut random), &draining).await;
                    continue;
                }
            };
            if leased.is_empty() {
                // An idle pump keeps no place in the colony.
                drop(way);
                self.idle(&draining).await;
                continue;
            }
            if leased.len() == entries_max {
                // There is probably more: let another pump take it.
                self.inbox.wake();
            }
            let since = self.clock.instant();
            let Some(leased) = self.carry(way, leased, &mut random).await else { continue };
            let worked = self.work_on(leased, since, &mut random).await;
            // Said before the conclusions are written, which may take long on the same disk.
            match &worked.down {
                Some(down) => self.ledger_down(down),
                None => self.ledger_up(),
            }
            conclude::conclude(&self.inbox, worked.conclusions, &mut random).await;
            if let Some(down) = worked.down {
                failures += 1;
                limit = (limit / 2).max(1);
                pause(down.after.max(PAUSE.wait(failures, &mut random)), &draining).await;
            } else {
                failures = 0;
                limit = (limit * 2).min(self.options.batch_entries_max);
            }
        }
        Ok(())
    }

    /// Sends a batch through the colony if that is its way. Gives back what is to go the direct one.
    async fn carry(&self, way: Way, leased: Vec<Leased>, random: &mut fastrand::Rng) -> Option<Vec<Leased>> {
        match (way, &self.colony) {
            (Way::Colony { slot, admission }, Some(colony)) => {
                colony.carry(slot, admission, leased, random).await.err()
            }
            (Way::Colony { .. } | Way::Direct, _) => Some(leased),
        }
    }

    /// Works on a batch whose leases began at `since`.
    async fn work_on(&self, leased: Vec<Leased>, since: Instant, random: &mut fastrand::Rng) -> Worked {
        let spent = self.clock.instant().duration_since(since);
        let options = BatchOptions {
            call_timeout: self.options.call_timeout,
            work_max: self.options.lease.saturating_sub(self.options.call_timeout).saturating_sub(spent),
            attempts_max: self.options.attempts_max,
            backoff: self.options.backoff,
        };
        let batch = Batch {
            work: &self.work,
            options: &options,
            clock: &self.clock,
            metrics: &self.metrics,
            last_success: *self.last_success.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let worked = batch.run(leased, random).await;
        if worked.progress {
            *self.last_success.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.instant());
        }
        worked
    }

    async fn idle(&self, draining: &CancellationToken) {
        let due = self.inbox.next_due().await.ok().flatten();
        let sleep = due.map_or(IDLE_MAX, |due| due.since(self.clock.now()).min(IDLE_MAX));
        tokio::select! {
            () = self.inbox.arrival() => {}
            // A millisecond, so that an entry that is due within this one is not asked for in a tight loop.
            () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => {}
            () = draining.cancelled() => {}
        }
    }

    fn ledger_down(&self, down: &Down) {
        let detail = down.error.to_string();
        if self.board.set("ledger", Level::Degraded, &detail, self.clock.now()) {
            tracing::error!(
                error = &down.error as &dyn std::error::Error,
                "the ledger takes nothing; webhooks are still stored, and their entries wait"
            );
        }
    }

    fn ledger_up(&self) {
        if self.board.set("ledger", Level::Ok, "takes entries", self.clock.now()) {
            tracing::info!("the ledger takes entries again");
        }
    }
}

async fn pause(duration: Duration, draining: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = draining.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
