//! Brings the entries of submitted processes to their end.
//!
//! Bees in this program say when they have closed a process; about all others the server is asked, a few at a time and
//! each ever more rarely. A process that nobody brings to its end in time loses its entries, which then go the direct
//! route; the ledger keeps apart what both do.
//!
//! Guarantees: an entry ends only by the result of the process that holds it, which the inbox checks; an inbox or a
//! server that fails meanwhile only delays that. It keeps the route's decision up to date.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::colony::ColonyOptions;
use super::fate::{self, Ended, Fate, What};
use super::flights::{Flights, Say};
use super::routing::Routing;
use super::trace::Settled;
use crate::colony::client::{ClientError, Member};
use crate::colony::completion::Completed;
use crate::colony::messages::Process;
use crate::domain::breaker::Permit;
use crate::domain::clock::Clock;
use crate::domain::ids::ProcessId;
use crate::domain::renewable::Renewable;
use crate::inbox::{Concluded, Inbox, InboxError, SubmittedEntry, SubmittedProcess};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Most calls to the server at once, for questions and cancellations together.
const CALLS_MAX: usize = 8;

/// Looks at the processes in flight lie no further apart, and no closer together.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Most processes looked at in one round.
const PROCESSES_MAX: u32 = 4096;

/// Ends entries by the fate of their process. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    pub(super) inbox: Inbox,
    pub(super) flights: Arc<Flights>,
    pub(super) resubmissions_max: u32,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) tracer: Tracer,
}

impl Settler {
    /// A bee in this program has closed a process.
    pub(super) async fn told(&self, completed: Completed) {
        if let Some(Completed { process, result }) = self.flights.told(completed)
            && self.settle(&process, Fate::Ran(result)).await
        {
            self.metrics.confirmations.of("told").increment(1);
        }
    }

    /// True when the process is at its end. What the inbox refuses now is found again by polling.
    async fn settle(&self, process: &ProcessId, fate: Fate) -> bool {
        let say = match &fate {
            Fate::Open => return false,
            Fate::Ran(_) | Fate::Failed { .. } => Say::Good,
            // Until the clocks are right, entries go the direct route.
            Fate::ClocksDiffer { .. } => Say::Bad,
            Fate::LeasesLost | Fate::Lost { .. } => Say::Nothing,
        };
        match &fate {
            Fate::Failed { code, .. } => {
                tracing::error!(%process, code, "a bee refused a job");
            }
            Fate::ClocksDiffer { reason } => {
                tracing::error!(%process, reason, "a bee's clock differs from this one's; its entries wait again");
            }
            Fate::Lost { reason, detail } => {
                tracing::warn!(%process, reason, detail, "nothing is known of a process; its entries wait again");
            }
            Fate::LeasesLost => tracing::warn!(%process, "no bee finished a process within its lease"),
            Fate::Open | Fate::Ran(_) => {}
        }
        let now = self.clock.now();
        let end = |entries| fate::conclude(&fate, entries, now, self.resubmissions_max);
        self.end(process, say, end).await
    }

    async fn end(&self, process: &ProcessId, say: Say, end: impl FnOnce(Vec<SubmittedEntry>) -> Vec<Ended>) -> bool {
        match self.try_end(process, end).await {
            Ok(()) => {
                self.flights.end(process, say);
                #[expect(clippy::cast_precision_loss, reason = "a small number")]
                self.metrics.processes_in_flight.set(self.flights.len() as f64);
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%process, error, "inbox takes no conclusions; the process is looked at again");
                false
            }
        }
    }

    async fn try_end(
        &self,
        process: &ProcessId,
        end: impl FnOnce(Vec<SubmittedEntry>) -> Vec<Ended>,
    ) -> Result<(), InboxError> {
        let entries = self.inbox.entries_of(process.clone()).await?;
        let spans = Settled::begin(&self.tracer, process, &entries);
        let mut told = Vec::with_capacity(entries.len());
        let mut conclusions = Vec::with_capacity(entries.len());
        for ended in end(entries) {
            told.push((ended.entry, ended.what, ended.received));
            conclusions.push((ended.entry, ended.conclusion));
        }
        let concluded = self.inbox.conclude_submitted(process.clone(), conclusions).await?;
        let now = self.clock.now();
        let mut returned = false;
        for ((entry, what, received), concluded) in told.into_iter().zip(concluded) {
            match (concluded, what) {
                (Concluded::LeaseLost, _) => {}
                (Concluded::Done, What::Outcome(outcome)) => {
                    self.metrics.outcomes.of(outcome).increment(1);
                    spans.ended(entry, outcome);
                    Metrics::observe(&self.metrics.settle_seconds, now.since(received));
                }
                (Concluded::Done, What::Returned(reason)) => {
                    self.metrics.returned.of(reason).increment(1);
                    spans.returned(entry, reason);
                    returned = true;
                }
            }
        }
        if returned {
            self.inbox.wake();
        }
        Ok(())
    }
}

/// A call to the server has come back.
enum Answer {
    Asked { process: ProcessId, answer: Box<Result<Process, ClientError>>, permit: Permit },
    Cancelled,
}

/// The task that confirms. Runs beside the pumps.
#[derive(Debug)]
pub struct Confirm {
    member: Renewable<Member>,
    options: ColonyOptions,
    routing: Routing,
    settler: Settler,
    completions: Option<mpsc::Receiver<Completed>>,
    /// Processes that the server is asked about right now.
    asking: HashSet<ProcessId>,
    calls: JoinSet<Answer>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Confirm {
    pub(super) fn new(
        member: Renewable<Member>,
        options: ColonyOptions,
        routing: Routing,
        settler: Settler,
        completions: Option<mpsc::Receiver<Completed>>,
    ) -> Self {
        let (asking, calls) = (HashSet::new(), JoinSet::new());
        Self { member, options, routing, settler, completions, asking, calls }
    }

    /// Runs until draining begins, and then until the bees of this program are gone, so that what they bring to its end
    /// is not done again after the next start.
    pub async fn run(mut self, draining: CancellationToken) -> Result<(), Infallible> {
        let mut wishes = self.routing.switch().changes();
        let look = (self.options.status.first / 2).clamp(LOOKS.0, LOOKS.1);
        let mut looks = tokio::time::interval(look);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.resume().await;
        loop {
            tokio::select! {
                completed = told(&mut self.completions) => self.settler.told(completed).await,
                Some(answer) = self.calls.join_next() => if let Ok(answer) = answer {
                    self.answered(answer).await;
                },
                _ = looks.tick() => self.look().await,
                // The switch lives as long as the routing, which this task holds.
                _ = wishes.changed() => self.routing.refresh(),
                () = draining.cancelled() => break,
            }
        }
        if let Some(mut completions) = self.completions.take() {
            while let Some(completed) = completions.recv().await {
                self.settler.told(completed).await;
            }
        }
        Ok(())
    }

    /// Takes up the processes that an earlier life of the gateway submitted.
    async fn resume(&self) {
        match self.settler.inbox.submitted(PROCESSES_MAX).await {
            Ok(processes) => {
                if !processes.is_empty() {
                    tracing::info!(processes = processes.len(), "asking about processes submitted before the start");
                }
                for process in processes {
                    self.settler.flights.resume(process.process);
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "inbox does not tell what was submitted");
            }
        }
    }

    /// One look at everything in flight.
    async fn look(&mut self) {
        let inbox = &self.settler.inbox;
        match inbox.oldest_unattended().await {
            Ok(oldest) => self.routing.note_oldest(oldest),
            Err(_) => self.routing.refresh(),
        }
        if self.settler.flights.len() == 0 {
            return;
        }
        let Ok(processes) = inbox.submitted(PROCESSES_MAX).await else { return };
        if processes.len() < PROCESSES_MAX as usize {
            self.settler.flights.keep(&processes.iter().map(|process| &process.process).collect());
        }
        let now = self.settler.clock.now();
        for process in processes {
            if self.routing.is_too_old(process.oldest) {
                self.take_back(process).await;
            } else if process.poll <= now && self.calls.len() < CALLS_MAX && !self.asking.contains(&process.process) {
                self.ask(process.process);
            }
        }
    }

    fn ask(&mut self, process: ProcessId) {
        // While the breaker is open nobody is asked, but for its probe.
        let Some(permit) = self.routing.admit_question() else { return };
        self.asking.insert(process.clone());
        let member = self.member.get();
        self.calls.spawn(async move {
            let answer = Box::new(member.process(&process).await);
            Answer::Asked { process, answer, permit }
        });
    }

    async fn answered(&mut self, answer: Answer) {
        let Answer::Asked { process, answer, permit } = answer else { return };
        self.asking.remove(&process);
        self.routing.called(permit, answer.as_ref().as_ref().err().filter(|error| error.blames_server()));
        if let Err(error) = answer.as_ref()
            && !matches!(error, ClientError::UnknownProcess { .. })
        {
            tracing::debug!(%process, error = error as &dyn std::error::Error, "the server says nothing about a process");
        }
        if self.settler.settle(&process, Fate::of(*answer)).await {
            self.settler.metrics.confirmations.of("asked").increment(1);
            return;
        }
        let asked = self.settler.flights.asked(&process);
        let next = self.settler.clock.now().plus(self.options.status.ceiling(asked.saturating_add(1)));
        // An inbox that refuses this is asked to look again at once, which is what would happen anyway.
        let _ = self.settler.inbox.postpone(vec![(process, next)]).await;
    }

    /// Nobody came round to this process: its entries go the direct route. The process is cancelled if that is still
    /// possible, to spare the bees; if not, the ledger recognises what they do.
    async fn take_back(&mut self, process: SubmittedProcess) {
        let SubmittedProcess { process, entries, .. } = process;
        let now = self.settler.clock.now();
        if !self.settler.end(&process, Say::Bad, |entries| fate::take_back(entries, now)).await {
            return;
        }
        self.routing.refresh();
        tracing::warn!(%process, entries, "the colony took too long; the entries go the direct route");
        if self.calls.len() < CALLS_MAX {
            let member = self.member.get();
            self.calls.spawn(async move {
                if let Err(error) = member.cancel(&process).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(%process, error, "not cancelled; what it still does is recognised");
                }
                Answer::Cancelled
            });
        }
    }
}

/// The next completion; never resolves when there are no bees in this program, or no more.
async fn told(completions: &mut Option<mpsc::Receiver<Completed>>) -> Completed {
    if let Some(receiver) = completions {
        if let Some(completed) = receiver.recv().await {
            return completed;
        }
        *completions = None;
    }
    std::future::pending().await
}
