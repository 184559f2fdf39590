//! The loop between inbox and ledger: lease, work, conclude, wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, BatchOptions, Down, Worked};
use super::colony::{ColonyRoute, Way};
use super::conclude::{self, PAUSE};
use super::front::{Front, Leases, Linger, Next};
use super::pause::Pause;
use crate::domain::backoff::Backoff;
use crate::domain::breaker::{BreakerOpen, Permit};
use crate::domain::clock::Clock;
use crate::domain::route::Route;
use crate::inbox::{Conclusion, Inbox, LeaseRequest, Leased, Taken};
use crate::pipeline::{OtherKeys, Pipeline};
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Longest sleep of an idle pump. Arrivals wake it at once; this is for leases that end.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Name on the health board.
const COMPONENT: &str = "dispatch";

/// A pump looks at least this often whether a pause is over, and entries that wait for its end are due again after it.
const PAUSED_RECHECK: Duration = Duration::from_secs(1);

/// And no more often than this while another pump probes.
const PROBE_RECHECK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub struct PumpOptions {
    pub batch_entries_max: usize,
    /// Most bytes of bodies in a batch.
    pub batch_bytes_max: usize,
    /// Least time between leases while events keep coming.
    pub linger: Linger,
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
    pipeline: Pipeline,
    colony: Option<ColonyRoute>,
    options: PumpOptions,
    metrics: Arc<Metrics>,
    board: Board,
    clock: Clock,
    /// Clones share what they learned of the ledger.
    pause: Pause,
    /// Clones take turns at the front.
    front: Front,
    tracer: Tracer,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Pump {
    /// A pump between `inbox` and `pipeline`.
    pub fn new(
        inbox: Inbox,
        pipeline: Pipeline,
        options: PumpOptions,
        metrics: Arc<Metrics>,
        board: Board,
        clock: Clock,
    ) -> Self {
        board.set(COMPONENT, Level::Ok, "works", clock.now());
        let pause = Pause::new(clock.clone());
        let (front, tracer) = (Front::default(), Tracer::default());
        Self { inbox, pipeline, colony: None, options, metrics, board, clock, pause, front, tracer }
    }

    /// Shares the pause with others, such as an operator who ends it.
    #[must_use]
    pub fn with_pause(self, pause: Pause) -> Self {
        Self { pause, ..self }
    }

    /// Makes spans of its work.
    #[must_use]
    pub fn with_tracer(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
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
        while let Some(mut front) = self.come_to_front(&draining).await {
            let way = match &self.colony {
                Some(colony) => colony.way(&draining).await,
                None => Some(Way::Direct),
            };
            let Some(way) = way else { break };
            let (entries_max, permit) = match way {
                Way::Colony { .. } => (self.options.batch_entries_max, None),
                Way::Direct => match self.pause.admit() {
                    Ok(permit) => (if permit.is_probe() { 1 } else { limit }, Some(permit)),
                    Err(open) => {
                        self.wait_out(open, &draining).await;
                        continue;
                    }
                },
            };
            let request =
                LeaseRequest { entries_max, bytes_max: self.options.batch_bytes_max, duration: self.options.lease };
            let Taken { entries: leased, next_due } = match self.inbox.lease(request).await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the inbox gives no entries");
                    failures += 1;
                    pause(PAUSE.wait(failures, &mut random), &draining).await;
                    continue;
                }
            };
            let since = self.clock.instant();
            front.note((leased.len(), entries_max), next_due, (self.clock.now(), since));
            if front.is_waiting() {
                self.inbox.keep_arrivals(request);
            }
            if leased.is_empty() {
                // A waiting pump must keep neither a place in the colony nor the right to probe: it gives both back here.
                continue;
            }
            drop(front);
            let leased = self.carry(way, leased, &mut random).await;
            let Some((leased, permit)) = self.admit_rest(leased, permit, &mut random).await else { continue };
            let worked = self.work_on(leased, since, &mut random).await;
            self.report(permit, &worked);
            // Said before the conclusions are written, which may take long on the same disk.
            match &worked.down {
                Some(down) => self.ledger_down(down),
                None if worked.asked && worked.unknown.is_none() => self.ledger_up(),
                None => {}
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

    /// Sends a batch through the colony if that is its way. Gives back what is to go the direct one: what the colony does
    /// not take, and what it is not to have.
    async fn carry(&self, way: Way, leased: Vec<Leased>, random: &mut fastrand::Rng) -> Vec<Leased> {
        match (way, &self.colony) {
            (Way::Colony { slot, admission }, Some(colony)) => {
                let (mut rest, others): (Vec<_>, Vec<_>) =
                    leased.into_iter().partition(|leased| colony.leaves_out(leased));
                if !others.is_empty()
                    && let Err(returned) = colony.carry(slot, admission, others, random).await
                {
                    rest.extend(returned);
                }
                rest
            }
            (Way::Direct, Some(colony)) => {
                colony.went_direct(&leased);
                leased
            }
            (Way::Colony { .. } | Way::Direct, None) => leased,
        }
    }

    /// Leave to work on entries that came back from the colony's way. While dispatch is paused at most one of them is
    /// worked on, as the probe; the others wait.
    async fn admit_rest(
        &self,
        mut leased: Vec<Leased>,
        permit: Option<Permit>,
        random: &mut fastrand::Rng,
    ) -> Option<(Vec<Leased>, Permit)> {
        if leased.is_empty() {
            return None;
        }
        let permit = permit.map_or_else(|| self.pause.admit(), Ok).ok();
        let now = match &permit {
            Some(permit) if permit.is_probe() => 1,
            Some(_) => leased.len(),
            None => 0,
        };
        let retry = |leased: Leased| {
            let reason = "dispatch is paused".to_owned();
            (leased.lease, Conclusion::Retry { after: PAUSED_RECHECK, counted: false, reason })
        };
        let later = leased.split_off(now).into_iter().map(retry).collect();
        conclude::conclude(&self.inbox, later, random).await;
        permit.filter(|_| !leased.is_empty()).map(|permit| (leased, permit))
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
            inbox: &self.inbox,
            pipeline: &self.pipeline,
            others: self.other_keys(),
            options: &options,
            clock: &self.clock,
            metrics: &self.metrics,
            pause: &self.pause,
            tracer: &self.tracer,
        };
        batch.run(leased, random).await
    }

    /// Who else may ask Stripe about an event. With a key here it is asked here, and what Stripe may not be asked is not known.
    fn other_keys(&self) -> OtherKeys {
        match &self.colony {
            Some(colony) if !self.pipeline.asks_stripe() => colony.other_keys(),
            Some(_) | None => OtherKeys::None,
        }
    }

    /// Pauses dispatch, or ends the pause, by what became of a batch. One line each time.
    fn report(&self, permit: Permit, worked: &Worked) {
        let was_paused = self.pause.is_paused();
        match &worked.unknown {
            Some(error) => {
                permit.fail();
                let detail = format!(
                    "paused: {error}. No rule knows this error, so one entry is tried now and then, and none pays an \
                     attempt. Mend the cause; `inbox resume` tries at once"
                );
                if self.board.set(COMPONENT, Level::Degraded, detail, self.clock.now()) {
                    let error = error as &dyn std::error::Error;
                    tracing::error!(error, "dispatch paused: the ledger answers with an unknown error");
                }
            }
            // Says nothing about the next batch.
            None if !worked.progress => drop(permit),
            None => permit.succeed(),
        }
        let is_paused = self.pause.is_paused();
        self.metrics.dispatch_paused.set(f64::from(u8::from(is_paused)));
        if !is_paused && self.board.set(COMPONENT, Level::Ok, "works", self.clock.now()) {
            tracing::info!("dispatch resumed");
        }
        if was_paused {
            self.pause.notify();
        }
    }

    /// Waits until a probe may be due, or until an operator ends the pause.
    async fn wait_out(&self, open: BreakerOpen, draining: &CancellationToken) {
        let mut changes = self.pause.changes();
        tokio::select! {
            () = tokio::time::sleep(open.retry_after.clamp(PROBE_RECHECK, PAUSED_RECHECK)) => {}
            _ = changes.changed() => {}
            () = draining.cancelled() => {}
        }
    }

    /// Waits until this pump is at the front and it is time to lease. `None` when draining began.
    async fn come_to_front(&self, draining: &CancellationToken) -> Option<OwnedMutexGuard<Leases>> {
        let mut front = tokio::select! {
            front = self.front.take() => front,
            () = draining.cancelled() => return None,
        };
        let sleep = match front.take_next() {
            Next::Now => None,
            Next::Due(due) => Some(due.since(self.clock.now()).min(IDLE_MAX)),
            Next::Arrival => Some(IDLE_MAX),
        };
        if let Some(sleep) = sleep {
            self.idle(sleep, draining).await;
        }
        self.linger(&front, draining).await;
        (!draining.is_cancelled()).then_some(front)
    }

    /// Lets more events come, while they do. Probes of a paused dispatch and what a person wants now wait for nothing.
    async fn linger(&self, front: &Leases, draining: &CancellationToken) {
        let route = self.colony.as_ref().map_or(Route::Direct, ColonyRoute::in_force);
        let wait = front.wait(self.options.linger.on(route), self.clock.instant());
        if wait.is_zero() || self.pause.is_paused() {
            return;
        }
        Metrics::observe(&self.metrics.linger_seconds, wait);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.inbox.urged() => {}
            () = draining.cancelled() => {}
        }
    }

    /// Waits until something arrives, or so long.
    async fn idle(&self, sleep: Duration, draining: &CancellationToken) {
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
                "the ledger takes no entries; webhooks are still stored, and their entries wait"
            );
        }
    }

    fn ledger_up(&self) {
        let is_first = !self.board.knows("ledger");
        if self.board.set("ledger", Level::Ok, "takes entries", self.clock.now()) && !is_first {
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
