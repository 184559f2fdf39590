//! Reconciling by itself, at intervals, on the one gateway of several whose turn it is; and when an operator orders it.
//!
//! One run at a time. A run is dropped when draining begins: between its steps nothing is in the air.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::handle::{Handle, claim, lock};
use super::report::{ReconcileOrder, ReconcileReport, ReconcileScope};
use super::{HORIZON, HORIZON_WARNING, Reconciler, RunTerms};
use crate::domain::clock::Timestamp;
use crate::domain::counted::counted;
use crate::ledger::audit::{LeaseAnswer, LeaseAsk};
use crate::lifecycle::Shutdown;
use crate::revenue::RULES;
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::Metrics;

const COMPONENT: &str = "reconcile";

const LEASE: &str = "reconcile";

/// Name of the mark with the time of the last complete comparison of subscriptions.
const SUBSCRIPTIONS_MARK: &str = "reconcile.subscriptions";

/// Name of the mark with the rules of the last complete recount.
const RULES_MARK: &str = "reconcile.rules";

/// Name of the mark with the number of a data directory, by which a restarted gateway keeps its lease.
const GATEWAY_MARK: &str = "gateway";

/// How much longer than two intervals a lease lasts.
const LEASE_SLACK: Duration = Duration::from_mins(5);

/// Longest wait for the first run after the start, so that gateways that start together do not ask at the same time.
const START_MAX: Duration = Duration::from_secs(30);

/// Longest wait for the next run after one that failed.
const RETRY_MAX: Duration = Duration::from_mins(5);

/// How often cursor and lease are checked between runs.
const LOOK: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Time between two runs over events; `None`: never by itself.
    pub events: Option<Duration>,
    /// Time between two runs over subscriptions; `None`: never by itself.
    pub subscriptions: Option<Duration>,
    /// Events younger than this wait for the next run.
    pub grace: Duration,
}

impl Schedule {
    fn shortest(self) -> Option<Duration> {
        self.events.into_iter().chain(self.subscriptions).min()
    }
}

#[derive(Debug)]
pub struct Runner {
    pub reconciler: Arc<Reconciler>,
    pub schedule: Schedule,
    /// Shared with the admin listener.
    pub handle: Handle,
    pub orders: mpsc::Receiver<ReconcileOrder>,
    pub metrics: Arc<Metrics>,
    pub board: Board,
}

/// What the runner remembers between runs.
struct RunnerState {
    holder: String,
    /// When the next run over events is due, by the monotonic clock.
    events_due: Option<Instant>,
    /// The earliest time for subscriptions after a failure.
    subscriptions_not_before: Instant,
    lease: Option<LeaseAnswer>,
    /// The last error, or the remaining differences, for health.
    fault: Option<String>,
    random: fastrand::Rng,
}

enum End {
    Done(Box<ReconcileReport>),
    Drained,
}

impl Runner {
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Infallible> {
        let now = self.reconciler.clock.instant();
        let mut random = fastrand::Rng::new();
        let first = |interval: Duration| interval.min(START_MAX).mul_f64(random.f64());
        let events_due = self.schedule.events.map(first).map(|wait| now + wait);
        let holder = self.gateway_id().await;
        let mut state =
            RunnerState { holder, events_due, subscriptions_not_before: now, lease: None, fault: None, random };
        if self.schedule.events.is_none() {
            state.subscriptions_not_before = now + START_MAX.mul_f64(state.random.f64());
        }
        loop {
            self.look(&state).await;
            let what = self.due(&state).await;
            let wait = self.wait(&state);
            let end = tokio::select! {
                biased;
                () = shutdown.draining() => End::Drained,
                order = self.orders.recv() => match order {
                    Some(order) => self.perform(RunTerms::ordered(order), &mut state, &shutdown).await,
                    None => End::Drained,
                },
                () = std::future::ready(()), if what.is_some() => match what {
                    Some(what) => match self.by_itself(what, &mut state, &shutdown).await {
                        Some(end) => end,
                        None => continue,
                    },
                    None => continue,
                },
                () = tokio::time::sleep(wait) => continue,
            };
            match end {
                End::Done(report) => self.conclude(&report, &mut state).await,
                End::Drained => {
                    self.give_back(&state).await;
                    return Ok(());
                }
            }
        }
    }

    /// The part that is due now.
    async fn due(&self, state: &RunnerState) -> Option<ReconcileScope> {
        let now = self.reconciler.clock.instant();
        let events = state.events_due.is_some_and(|due| due <= now);
        let subscriptions = match self.schedule.subscriptions {
            Some(interval) if now >= state.subscriptions_not_before => {
                let last = self.reconciler.inbox.mark(SUBSCRIPTIONS_MARK).await.ok().flatten();
                let (last, now) = (last.map(Timestamp::from_millis), self.reconciler.clock.now());
                // A time that has not come yet was noted by a wrong clock.
                last.is_none_or(|last| last.plus(interval) <= now || last > now.plus(LEASE_SLACK))
            }
            Some(_) | None => false,
        };
        // After the start, subscriptions wait for the events, which bring most of them.
        match (events, subscriptions && state.events_due.is_none_or(|due| due <= now || state.lease.is_some())) {
            (true, true) => Some(ReconcileScope::All),
            (true, false) => Some(ReconcileScope::Events),
            (false, true) => Some(ReconcileScope::Subscriptions),
            (false, false) => None,
        }
    }

    fn wait(&self, state: &RunnerState) -> Duration {
        let now = self.reconciler.clock.instant();
        state.events_due.map_or(LOOK, |due| due.saturating_duration_since(now).min(LOOK))
    }

    /// Runs if it is this gateway's turn and no operator came first.
    async fn by_itself(&mut self, what: ReconcileScope, state: &mut RunnerState, shutdown: &Shutdown) -> Option<End> {
        let now = self.reconciler.clock.instant();
        match self.ask_lease(state, None).await {
            Ok(true) => {}
            Ok(false) => {
                self.put_off(what, state, now, false);
                return None;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "reconcile: cannot find out which gateway compares"
                );
                state.fault = Some(format!("the ledger cannot be asked whose turn it is: {error}"));
                self.metrics.reconcile_runs.of("failed").increment(1);
                self.put_off(what, state, now, true);
                return None;
            }
        }
        if !claim(&self.handle.status) {
            // An operator's order is waiting in the queue.
            tokio::task::yield_now().await;
            return None;
        }
        let order = ReconcileOrder { what, since_ms: None, dry_run: false };
        let covered = state.lease.as_ref().and_then(|lease| lease.covered_ms).map(Timestamp::from_millis);
        let recounts = self.has_newer_rules().await;
        Some(self.perform(RunTerms { order, grace: self.schedule.grace, covered, recounts }, state, shutdown).await)
    }

    /// Runs to the end. Keeps the lease in the meantime, if there is one.
    async fn perform(&mut self, terms: RunTerms, state: &mut RunnerState, shutdown: &Shutdown) -> End {
        let reconciler = Arc::clone(&self.reconciler);
        let status = Arc::clone(&self.handle.status);
        let (started, began) = (reconciler.clock.instant(), reconciler.clock.now());
        let run = reconciler.run(terms, |report| lock(&status).report = Some(report.clone()));
        tokio::pin!(run);
        let report = loop {
            tokio::select! {
                report = &mut run => break report,
                () = shutdown.draining() => return End::Drained,
                () = tokio::time::sleep(LEASE_SLACK / 5) => {
                    if state.lease.as_ref().is_some_and(|lease| lease.mine) {
                        // A gateway that takes it over in the meantime does double work and no harm.
                        let _ = self.ask_lease(state, None).await;
                    }
                }
            }
        };
        self.handle.finish(&report, began, self.reconciler.clock.now());
        Metrics::observe(&self.metrics.reconcile_seconds, self.reconciler.clock.instant().duration_since(started));
        End::Done(Box::new(report))
    }

    /// Whether this program makes rows by newer rules than the last recount. Then all rows are counted again once, without
    /// an order. This also happens to a gateway that has lost its data directory.
    async fn has_newer_rules(&self) -> bool {
        self.reconciler.inbox.mark(RULES_MARK).await.is_ok_and(|mark| mark.is_none_or(|rules| rules < RULES))
    }

    /// Counts a run and plans the next one.
    async fn conclude(&mut self, report: &ReconcileReport, state: &mut RunnerState) {
        let now = self.reconciler.clock.instant();
        let (events, subscriptions) = (report.events.as_ref(), report.subscriptions.as_ref());
        let events_failed = events.is_some_and(|events| events.error.is_some());
        let subscriptions_failed = subscriptions.is_some_and(|subscriptions| subscriptions.error.is_some());
        if !report.dry_run {
            if events.is_some() {
                self.put_off(ReconcileScope::Events, state, now, events_failed);
            }
            if subscriptions.is_some() {
                self.put_off(ReconcileScope::Subscriptions, state, now, subscriptions_failed);
                let at = self.reconciler.clock.now().millis();
                if !subscriptions_failed
                    && let Err(error) = self.reconciler.inbox.set_mark(SUBSCRIPTIONS_MARK, at).await
                {
                    tracing::warn!(error = &error as &dyn std::error::Error, "reconcile: the run is not noted");
                }
            }
        }
        let counts_failed = report.counts.as_ref().is_some_and(|counts| counts.error.is_some());
        if !report.dry_run
            && report.counts.is_some()
            && !counts_failed
            && let Err(error) = self.reconciler.inbox.set_mark(RULES_MARK, RULES).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "reconcile: the recount is not noted");
        }
        state.fault = self.tell(report, events_failed || subscriptions_failed || counts_failed);
        if state.lease.as_ref().is_some_and(|lease| lease.mine)
            && let Ok(Some(cursor)) = self.reconciler.cursor().await
        {
            let _ = self.ask_lease(state, Some(cursor)).await;
        }
    }

    /// Counts and logs a run. Returns what is wrong after it, if anything.
    fn tell(&self, report: &ReconcileReport, is_failed: bool) -> Option<String> {
        let (events, subscriptions) = (report.events.as_ref(), report.subscriptions.as_ref());
        let mut faults = Vec::new();
        if let Some(events) = events {
            self.metrics.reconcile_missing.increment(events.missing);
            self.metrics.reconcile_inserted.increment(events.inserted);
            self.metrics.reconcile_horizon_losses.increment(u64::from(events.lost_before.is_some()));
            faults.extend(events.error.as_ref().map(|error| format!("events: {error}")));
            faults.extend(events.lost_before.as_ref().map(|before| {
                format!("events before {before} that were not compared in time are no longer listed by Stripe")
            }));
        }
        if let Some(subscriptions) = subscriptions {
            self.metrics.reconcile_repaired.increment(subscriptions.repaired);
            faults.extend(subscriptions.error.as_ref().map(|error| format!("subscriptions: {error}")));
            let left = subscriptions.failed + subscriptions.unknown_at_stripe;
            faults.extend((left > 0).then(|| {
                counted(left, "subscription differs and was not repaired", "subscriptions differ and were not repaired")
            }));
        }
        if let Some(counts) = &report.counts {
            faults.extend(counts.error.as_ref().map(|error| format!("counts: {error}")));
            if !report.dry_run {
                self.metrics.reconcile_recounted.increment(counts.total());
            }
            counts.log(report.dry_run);
        }
        let result = match (report.is_in_order(), is_failed) {
            (true, _) => "ok",
            (false, true) => "failed",
            (false, false) => "unrepaired",
        };
        self.metrics.reconcile_runs.of(result).increment(1);
        let seen = events.map(|events| events.seen);
        let (missing, inserted) = (events.map(|events| events.missing), events.map(|events| events.inserted));
        let (compared, repaired) = (subscriptions.map(|it| it.seen), subscriptions.map(|it| it.repaired));
        let why = faults.join("; ");
        if is_failed {
            tracing::error!(result, missing, inserted, repaired, why, "reconcile: ended early; the next run goes on");
        } else {
            #[expect(clippy::cast_precision_loss, reason = "a time of day")]
            self.metrics.reconcile_last_success.set(self.reconciler.clock.now().millis() as f64 / 1000.0);
            tracing::info!(result, seen, missing, inserted, compared, repaired, why, "reconcile: done");
        }
        (!faults.is_empty()).then_some(why)
    }

    /// Plans the next run: sooner after a failure, and never at the same moment as other gateways.
    fn put_off(&self, what: ReconcileScope, state: &mut RunnerState, now: Instant, failed: bool) {
        let wait = |interval: Duration, random: &mut fastrand::Rng| {
            let wait = if failed { interval.min(RETRY_MAX) } else { interval };
            wait.mul_f64(0.9 + 0.2 * random.f64())
        };
        if what.events()
            && let Some(interval) = self.schedule.events
        {
            state.events_due = Some(now + wait(interval, &mut state.random));
        }
        if what.subscriptions()
            && let Some(interval) = self.schedule.subscriptions
        {
            // The inbox knows how long ago the last one was. This pause keeps a failing or foreign one from being tried all
            // the time.
            let pause = wait(interval, &mut state.random).min(self.schedule.shortest().unwrap_or(interval));
            state.subscriptions_not_before = now + pause;
        }
    }

    /// Takes or keeps the lease. Returns whether it is ours.
    async fn ask_lease(
        &self,
        state: &mut RunnerState,
        covered: Option<Timestamp>,
    ) -> Result<bool, crate::ledger::LedgerError> {
        let span = self.schedule.shortest().unwrap_or_default() * 2 + LEASE_SLACK;
        let ask = LeaseAsk { name: LEASE, holder: state.holder.clone(), span, covered };
        let answer = self.reconciler.ledger.lease(&ask).await?;
        let mine = answer.mine;
        state.lease = Some(answer);
        lock(&self.handle.status).leads = Some(mine);
        self.metrics.reconcile_leads.set(f64::from(u8::from(mine)));
        Ok(mine)
    }

    /// Lets another gateway go on at once.
    async fn give_back(&self, state: &RunnerState) {
        if state.lease.as_ref().is_some_and(|lease| lease.mine) {
            let ask = LeaseAsk { name: LEASE, holder: state.holder.clone(), span: Duration::ZERO, covered: None };
            // If this fails, the lease expires by itself.
            let _ = self.reconciler.ledger.lease(&ask).await;
        }
    }

    /// Reports how old the cursor is and what the last run left.
    async fn look(&self, state: &RunnerState) {
        let now = self.reconciler.clock.now();
        let own = self.reconciler.cursor().await.ok().flatten();
        let shared = state.lease.as_ref().and_then(|lease| lease.covered_ms).map(Timestamp::from_millis);
        let cursor = own.max(shared);
        let age = cursor.map(|cursor| now.since(cursor));
        self.metrics.reconcile_cursor_age.set(age.unwrap_or_default().as_secs_f64());
        // An operator who switched it off knows that.
        let is_old = self.schedule.events.is_some() && age.is_some_and(|age| age > HORIZON_WARNING);
        let (level, detail) = match (is_old, &state.fault, &state.lease) {
            (true, fault, _) => {
                let days = age.unwrap_or_default().as_secs() / 86_400;
                let horizon = HORIZON.as_secs() / 86_400;
                let fault = fault.as_deref().unwrap_or("no run has come to its end");
                (
                    Level::Degraded,
                    format!(
                        "events were last compared {} ago, and Stripe lists {horizon} days: {fault}",
                        counted(days, "day", "days")
                    ),
                )
            }
            (false, Some(fault), _) => (Level::Degraded, fault.clone()),
            (false, None, Some(lease)) if !lease.mine => (Level::Ok, "another gateway reconciles".to_owned()),
            (false, None, _) => match cursor {
                Some(cursor) => (Level::Ok, format!("events are compared up to {cursor}")),
                None => (Level::Ok, "no run has come to its end yet".to_owned()),
            },
        };
        let changed = self.board.set(COMPONENT, level, &detail, now);
        if changed && level != Level::Ok {
            tracing::warn!("reconcile: {detail}");
        }
    }

    /// The number of this data directory, which is made when it is missing. Gateways that share an inbox share its marks, so that each has a
    /// number for as long as it runs.
    async fn gateway_id(&self) -> String {
        let made = fastrand::Rng::new().i64(1..);
        let inbox = &self.reconciler.inbox;
        let known = if inbox.is_shared() { Some(made) } else { inbox.mark(GATEWAY_MARK).await.ok().flatten() };
        if known.is_none() {
            // If it cannot be saved, the number lasts as long as the process.
            let _ = inbox.set_mark(GATEWAY_MARK, made).await;
        }
        format!("{:016x}", known.unwrap_or(made))
    }
}
