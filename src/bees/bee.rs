//! One bee: polls with a free hand, works within the lease, closes, and polls again.
//!
//! Guarantees: an error never ends the loop; a lease that was taken is worked on or left to end, and said so; draining
//! cancels the poll, not the work. Does not: know what a job means ([`super::job`] does).

use std::convert::Infallible;
use std::time::{Duration, Instant};

use colonies::client::{Assignment, ClientError, Disposition, Member, Search};
use colonies::messages::{PROCESSES_COUNT_MAX, Process, ProcessState};
use tokio_util::sync::CancellationToken;

use super::closing::{self, Closed, Closing};
use super::job::{Bench, Finished};
use super::registration::{NotRegistered, Registration};
use super::states::{BeeState, BeeStates};
use crate::domain::backoff::Backoff;
use crate::domain::causes::chain;
use crate::domain::ids::ProcessId;
use crate::domain::ledger_id::LedgerId;
use crate::domain::outcome::{JobEnd, OutcomeName};
use crate::job::JobRejection;
use crate::job::attestation::Rejection;
use crate::job::completion::{Completed, Completions, EventResult, JobResult};
use crate::telemetry::metrics::Metrics;

/// Waits while calls fail.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(15) };

/// Waits for a person to act, such as to approve the bee.
const PATIENCE: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(15) };

/// An empty answer that comes sooner than this was not a long poll; the bee waits for the rest of the time.
const EMPTY_POLL_MIN: Duration = Duration::from_millis(250);

/// How long a bee waits when all jobs are for another ledger than its own: it would only take jobs from others.
const ELSEWHERE_PAUSE: Duration = Duration::from_mins(5);

/// Lease of a process that has none, and the longest part of a longer one that is used.
const LEASE_MAX: Duration = Duration::from_mins(15);

/// The margin is never more than this part of a lease.
const MARGIN_PART: u32 = 3;

#[derive(Clone, Debug)]
pub(super) struct Bee {
    /// Its number in its pool.
    pub(super) number: usize,
    pub(super) registration: Registration,
    pub(super) bench: Bench,
    pub(super) states: BeeStates,
    /// Longest wait of one poll.
    pub(super) poll: Duration,
    /// The end of a lease, which is kept free for closing.
    pub(super) margin: Duration,
    pub(super) completions: Option<Completions>,
}

/// Whether the colony still knows the bee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Kept,
    Lost,
    /// It does, but the colony's jobs are for another ledger.
    Elsewhere,
}

impl Bee {
    /// Runs until draining begins, then finishes the job in hand.
    pub(super) async fn run(self, draining: CancellationToken) -> Result<(), Infallible> {
        let mut random = fastrand::Rng::new();
        // Bees of one pool, or of pools started together, must not all call at once.
        pause(BACKOFF.wait(1, &mut random), &draining).await;
        self.know_the_ledger(&draining, &mut random).await;
        while let Some(member) = self.registered(&draining, &mut random).await {
            self.bench.metrics.bee_registrations.increment(1);
            tracing::info!(bee = self.name(), executor = %member.id(), "the bee may work");
            if self.poll(&member, &draining, &mut random).await != Membership::Lost {
                break;
            }
            tracing::warn!(bee = self.name(), "the colony does not know the bee any more: registering again");
        }
        tracing::info!(bee = self.name(), "the bee stopped");
        Ok(())
    }

    fn name(&self) -> &str {
        &self.registration.name
    }

    fn metrics(&self) -> &Metrics {
        &self.bench.metrics
    }

    /// Waits until the ledger has said which one it is: before that, no job can be judged.
    async fn know_the_ledger(&self, draining: &CancellationToken, random: &mut fastrand::Rng) {
        let mut attempts = 0;
        while !draining.is_cancelled() {
            let answer = tokio::select! {
                answer = tokio::time::timeout(BACKOFF.max, self.bench.ledger.get()) => answer,
                () = draining.cancelled() => return,
            };
            let text = match answer {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => chain(&error),
                Err(_) => format!("the ledger gives no answer within {:?}", BACKOFF.max),
            };
            attempts += 1;
            if self.states.set(self.number, BeeState::Failing(text.clone())) {
                tracing::warn!(bee = self.name(), error = text, "the ledger does not say which one it is");
            }
            pause(BACKOFF.wait(attempts, random).max(BACKOFF.first), draining).await;
        }
    }

    /// The bee as a member of the colony; `None` if draining began first.
    async fn registered(&self, draining: &CancellationToken, random: &mut fastrand::Rng) -> Option<Member> {
        let mut attempts = 0;
        loop {
            if draining.is_cancelled() {
                return None;
            }
            let error = tokio::select! {
                result = self.registration.register() => match result {
                    Ok(member) => return Some(member),
                    Err(error) => error,
                },
                () = draining.cancelled() => return None,
            };
            attempts += 1;
            let wait = if error.passes() { BACKOFF } else { PATIENCE }.wait(attempts, random);
            self.report(&error);
            pause(wait.max(BACKOFF.first), draining).await;
        }
    }

    /// Records why the bee is not a member, and logs it once.
    fn report(&self, error: &NotRegistered) {
        let text = chain(error);
        if error.passes() {
            if self.states.set(self.number, BeeState::Failing(text)) {
                tracing::warn!(bee = self.name(), error = error as &dyn std::error::Error, "the bee cannot register");
            }
        } else if self.states.set(self.number, BeeState::Waiting(text)) {
            tracing::warn!(bee = self.name(), error = error as &dyn std::error::Error, "the bee may not work yet");
        }
    }

    /// Takes and does jobs until draining begins or the colony no longer knows the bee.
    async fn poll(&self, member: &Member, draining: &CancellationToken, random: &mut fastrand::Rng) -> Membership {
        let clock = &self.bench.clock;
        let mut failures = 0;
        while !draining.is_cancelled() {
            let asked = clock.instant();
            let answer = tokio::select! {
                biased;
                () = draining.cancelled() => {
                    // The server may have assigned a process while the poll was cancelled.
                    return self.reclaim(member, asked).await;
                }
                answer = member.assign(self.poll) => answer,
            };
            let membership = match answer {
                Ok(Assignment::Process(process)) => {
                    failures = 0;
                    self.work_on(member, &process, clock.instant()).await
                }
                Ok(Assignment::Nothing) => {
                    failures = 0;
                    self.states.set(self.number, BeeState::Idle);
                    pause(self.rest_of(asked), draining).await;
                    Membership::Kept
                }
                Ok(Assignment::Paused) => {
                    failures = 0;
                    if self.states.set(self.number, BeeState::Paused) {
                        tracing::warn!(bee = self.name(), "assignments are paused by the colony's owner");
                    }
                    pause(self.rest_of(asked), draining).await;
                    Membership::Kept
                }
                Err(error) => {
                    failures += 1;
                    self.failed(member, &error, asked, failures, random, draining).await
                }
            };
            match membership {
                Membership::Kept => {}
                Membership::Lost => return Membership::Lost,
                Membership::Elsewhere => pause(ELSEWHERE_PAUSE, draining).await,
            }
        }
        Membership::Kept
    }

    /// The rest of the shortest poll.
    fn rest_of(&self, asked: Instant) -> Duration {
        EMPTY_POLL_MIN.saturating_sub(self.bench.clock.instant().duration_since(asked))
    }

    async fn failed(
        &self,
        member: &Member,
        error: &ClientError,
        asked: Instant,
        failures: u32,
        random: &mut fastrand::Rng,
        draining: &CancellationToken,
    ) -> Membership {
        if forgets_us(error) {
            return Membership::Lost;
        }
        if self.states.set(self.number, BeeState::Failing(chain(error))) {
            tracing::warn!(bee = self.name(), error = error as &dyn std::error::Error, "the bee gets no answer");
        }
        if error.may_have_acted() && self.reclaim(member, asked).await == Membership::Lost {
            return Membership::Lost;
        }
        let wait = match error.disposition() {
            Disposition::Retry { after } => after.max(BACKOFF.wait(failures, random)),
            Disposition::GiveUp { .. } => PATIENCE.ceiling(failures),
        };
        pause(wait, draining).await;
        Membership::Kept
    }

    /// Works on a process that the server assigned to this bee in a poll whose answer did not arrive. The lease began after
    /// `asked`, so counting from there cannot overrun it.
    async fn reclaim(&self, member: &Member, asked: Instant) -> Membership {
        let search = Search {
            state: ProcessState::Running,
            count: PROCESSES_COUNT_MAX,
            executor_type: self.registration.executor_type.to_string(),
            ..Search::default()
        };
        let running = match member.processes(&search).await {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(bee = self.name(), error = &error as &dyn std::error::Error, "cannot look for leases");
                return if forgets_us(&error) { Membership::Lost } else { Membership::Kept };
            }
        };
        for process in running.iter().filter(|process| process.assignedexecutorid == member.id().as_str()) {
            tracing::info!(
                bee = self.name(),
                process = process.processid,
                "found a lease whose assignment was lost on the way"
            );
            match self.work_on(member, process, asked).await {
                Membership::Kept => {}
                other @ (Membership::Lost | Membership::Elsewhere) => return other,
            }
        }
        Membership::Kept
    }

    /// Works on a process whose lease began at about `leased`, by this bee's own clock.
    async fn work_on(&self, member: &Member, process: &Process, leased: Instant) -> Membership {
        self.states.set(self.number, BeeState::Working);
        let lease = process.lease().unwrap_or(LEASE_MAX).min(LEASE_MAX);
        let end = leased + lease;
        let deadline = end.checked_sub(self.margin.min(lease / MARGIN_PART)).unwrap_or(end);
        let id = process.id();
        let (started, known) = (self.bench.clock.instant(), self.bench.ledger.known());
        let finished = self.bench.run(process, deadline).await;
        let took = self.bench.clock.instant().duration_since(started);
        tracing::debug!(bee = self.name(), process = %id, ?took, "worked");
        let is_for_other = matches!(&finished, Finished::Rejected(JobRejection::Attestation(Rejection::OtherLedger)));
        // If the bee's own ledger has just changed, the gateway may not know yet, and its next job may be for the new one.
        let is_elsewhere = is_for_other && self.bench.ledger.known() == known;
        let membership = self.finish(member, &id, finished, end).await;
        self.states.worked(self.number, took);
        if is_elsewhere && membership == Membership::Kept {
            let ledger = self.bench.ledger.known();
            let ledger = ledger.as_ref().map(LedgerId::as_str);
            let why = format!(
                "jobs of the colony {} are for another ledger than this bee's, {}: give it the database of the gateway",
                self.bench.colony,
                ledger.unwrap_or("unknown")
            );
            if self.states.set(self.number, BeeState::Waiting(why)) {
                tracing::error!(bee = self.name(), process = %id, ledger, "a job is for another ledger: it goes back");
            }
            return Membership::Elsewhere;
        }
        self.states.set(self.number, BeeState::Idle);
        membership
    }

    async fn finish(&self, member: &Member, id: &ProcessId, finished: Finished, end: Instant) -> Membership {
        let (closed, job_end, result) = match finished {
            Finished::Worked(result) => {
                let (output, job_end) = (result.to_output(), end_of(&result));
                (self.close(member, id, Closing::Successful(&output), end).await, job_end, Some(result))
            }
            Finished::Answered(output) => {
                (self.close(member, id, Closing::Successful(&output), end).await, JobEnd::Answered, None)
            }
            Finished::Unanswerable(why) => {
                (self.close(member, id, Closing::Failed(why), end).await, JobEnd::Answered, None)
            }
            Finished::Rejected(rejection) => {
                let code = rejection.code();
                self.metrics().jobs_rejected.of(code).increment(1);
                self.log_rejection(id, &rejection);
                let text = format!("{code}: {rejection}");
                (self.close(member, id, Closing::Failed(&text), end).await, JobEnd::Rejected, None)
            }
            Finished::OutOfTime(out_of_time) => {
                self.states.ended(self.number, JobEnd::OutOfTime);
                let last = out_of_time.last.as_ref().map(|error| chain(error));
                tracing::warn!(bee = self.name(), process = %id, last, "no time left: the lease is left to another bee");
                return Membership::Kept;
            }
        };
        match closed {
            Closed::Done => {
                self.states.ended(self.number, job_end);
                self.tell(id, result);
                Membership::Kept
            }
            Closed::Lost => {
                self.states.ended(self.number, JobEnd::LeaseLost);
                tracing::info!(bee = self.name(), process = %id, "the lease expired before the process was closed; \
                    another bee decides");
                Membership::Kept
            }
            Closed::Unclosed(error) => {
                self.states.ended(self.number, JobEnd::Unclosed);
                tracing::warn!(
                    bee = self.name(),
                    process = %id,
                    error = &error as &dyn std::error::Error,
                    "cannot close a process: another bee will find its events applied"
                );
                if forgets_us(&error) { Membership::Lost } else { Membership::Kept }
            }
        }
    }

    fn log_rejection(&self, id: &ProcessId, rejection: &JobRejection) {
        let error = rejection as &dyn std::error::Error;
        tracing::warn!(bee = self.name(), process = %id, code = rejection.code(), error, "attestation check blocked a job");
    }

    async fn close(&self, member: &Member, id: &ProcessId, closing: Closing<'_>, end: Instant) -> Closed {
        closing::close(member, id, closing, end, &self.bench.clock).await
    }

    /// Tells the gateway in this program. A full or closed channel is no error, because polling finds the process.
    fn tell(&self, id: &ProcessId, result: Option<JobResult>) {
        if let (Some(completions), Some(result)) = (&self.completions, result) {
            let _ = completions.try_send(Completed { process: id.clone(), result });
        }
    }
}

/// How the job ended: without effect if the ledger knew every event before.
fn end_of(result: &JobResult) -> JobEnd {
    let is_known = |event: &EventResult| event.outcome == OutcomeName::Duplicate;
    let recognised = !result.events.is_empty() && result.events.iter().all(is_known);
    if recognised { JobEnd::Recognised } else { JobEnd::Closed }
}

/// Whether the server says that it does not know the bee.
const fn forgets_us(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::NotMember { .. } | ClientError::NotApproved { .. } | ClientError::UnknownExecutor { .. }
    )
}

async fn pause(wait: Duration, draining: &CancellationToken) {
    if wait.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = draining.cancelled() => {}
    }
}
