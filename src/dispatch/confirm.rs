//! Brings the entries of submitted processes to their end.
//!
//! Bees in this program say when they have closed a process; about all others the server is asked, a few at a time and
//! each ever more rarely. If no bee finishes a process in time, the process loses its entries, which then take the direct
//! route; the ledger takes each event once.
//!
//! Guarantees: an entry ends only by the result of the process that holds it, which the inbox checks and the ledger bears
//! out; a fault of the inbox, the ledger or the server only delays that. It keeps the route's decision up to date.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use colonies::client::{ClientError, Member};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::process_end::ProcessEnd;
use super::reasons::with_reason;
use super::rehearsal::Stage;
use super::settler::Settler;
use super::submitter::Submitter;
use crate::domain::backoff::Backoff;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProcessId;
use crate::domain::renewable::Renewable;
use crate::inbox::SubmittedProcess;
use crate::job::completion::Completed;

/// Most calls to the server at once, for questions and cancellations together.
const CALLS_MAX: usize = 8;

/// The shortest and longest time between two looks at the processes in flight.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Most processes looked at in one round.
const PROCESSES_MAX: u32 = 4096;

/// A call to the server has come back.
enum CallEnd {
    Asked { process: ProcessId, ended: bool },
    Cancelled,
}

/// The task that confirms. Runs beside the pumps.
#[derive(Debug)]
pub struct Confirm {
    member: Renewable<Member>,
    /// Times between questions about one process.
    status: Backoff,
    settler: Settler,
    completions: Option<mpsc::Receiver<Completed>>,
    /// When it last looked for processes that nothing here knows of.
    looked: Instant,
    /// Since when the operator wants the direct route; `None` while the colony is meant to be used.
    off_since: Option<(Timestamp, Instant)>,
    /// Processes that it is asking the server about now.
    asking: HashSet<ProcessId>,
    calls: JoinSet<CallEnd>,
    stage: Stage,
    /// The rehearsal in progress, if any.
    rehearsals: JoinSet<()>,
    /// The one question that finds out the server's state.
    probes: JoinSet<()>,
}

impl std::fmt::Debug for CallEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallEnd")
    }
}

impl Confirm {
    pub(super) fn new(
        submitter: Submitter,
        status: Backoff,
        settler: Settler,
        completions: Option<mpsc::Receiver<Completed>>,
    ) -> Self {
        let member = submitter.member.clone();
        let (asking, calls, rehearsals, probes) = (HashSet::new(), JoinSet::new(), JoinSet::new(), JoinSet::new());
        let stage = Stage {
            submitter,
            ledger: settler.ledger.clone(),
            routing: settler.routing.clone(),
            clock: settler.clock.clone(),
            every: status.first,
        };
        let looked = settler.clock.instant();
        let off_since = None;
        Self { member, status, settler, completions, looked, off_since, asking, calls, stage, rehearsals, probes }
    }

    /// Runs until draining begins, and then until the bees of this program are gone. Otherwise the next start would repeat
    /// work that they finish in the meantime.
    pub async fn run(mut self, draining: CancellationToken) -> Result<(), Infallible> {
        let mut wishes = self.settler.routing.switch().changes();
        let look = (self.status.first / 2).clamp(LOOKS.0, LOOKS.1);
        let mut looks = tokio::time::interval(look);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.resume().await;
        loop {
            tokio::select! {
                completed = told(&mut self.completions) => self.settler.told(completed).await,
                Some(answer) = self.calls.join_next() => if let Ok(answer) = answer {
                    self.answered(answer).await;
                },
                Some(_) = self.rehearsals.join_next() => {}
                Some(_) = self.probes.join_next() => {}
                _ = looks.tick() => self.look().await,
                // The sender of this channel lives as long as the routing, which this task holds.
                _ = wishes.changed() => self.settler.routing.refresh(),
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

    /// Takes over the processes that an earlier run of the gateway submitted.
    async fn resume(&self) {
        match self.settler.inbox.submitted(PROCESSES_MAX).await {
            Ok(processes) => {
                if !processes.is_empty() {
                    tracing::info!(processes = processes.len(), "asking about processes submitted before the start");
                }
                for process in processes {
                    self.settler.in_flight.resume(process.process);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the inbox cannot be asked what was submitted"
                );
            }
        }
    }

    /// One look at everything in flight.
    async fn look(&mut self) {
        let inbox = self.settler.inbox.clone();
        match inbox.oldest_unattended().await {
            Ok(oldest) => self.settler.routing.note_oldest(oldest),
            Err(_) => self.settler.routing.refresh(),
        }
        self.probe();
        // There may be processes that nothing here knows of.
        if self.settler.in_flight.len() == 0 && !self.is_time_to_search() {
            return;
        }
        let Ok(processes) = inbox.submitted(PROCESSES_MAX).await else { return };
        if processes.len() < PROCESSES_MAX as usize {
            self.settler.in_flight.keep(&processes.iter().map(|process| &process.process).collect());
        }
        let is_left = self.is_left();
        let now = self.settler.clock.now();
        for process in processes {
            if inbox.is_shared() {
                self.settler.in_flight.resume(process.process.clone());
            }
            if process.oldest.map_or(is_left, |oldest| self.settler.routing.is_too_old(oldest)) {
                self.take_back(process).await;
            } else if process.poll <= now && self.calls.len() < CALLS_MAX && !self.asking.contains(&process.process) {
                self.ask(process.process);
            }
        }
    }

    /// Whether the colony has been switched off for so long that even entries are taken back which only a bee may be able to do: they
    /// then end as without a colony.
    fn is_left(&mut self) -> bool {
        if self.settler.routing.is_wished() {
            self.off_since = None;
            return false;
        }
        let now = (self.settler.clock.now(), self.settler.clock.instant());
        let (since, begun) = *self.off_since.get_or_insert(now);
        // By both clocks, so that setting one back does not keep them for as long.
        now.0.since(since).max(now.1.duration_since(begun)) > self.settler.routing.age_max()
    }

    /// Whether to look for processes that another gateway submitted and no longer asks about, or that an earlier run left and the start
    /// did not find.
    fn is_time_to_search(&mut self) -> bool {
        let now = self.settler.clock.instant();
        let is_time = now.duration_since(self.looked) >= LOOKS.1;
        if is_time {
            self.looked = now;
        }
        is_time
    }

    /// Finds out the state of server and bees if it is not known, so that no event has to try it out.
    fn probe(&mut self) {
        if self.probes.is_empty()
            && let Some(permit) = self.settler.routing.admit_server_probe()
        {
            let (member, routing) = (self.member.get(), self.settler.routing.clone());
            self.probes.spawn(async move {
                let answer = member.statistics().await;
                routing.probed(permit, answer.as_ref().err());
            });
        }
        if self.rehearsals.is_empty()
            && let Some(permit) = self.settler.routing.admit_rehearsal()
        {
            self.rehearsals.spawn(self.stage.clone().run(permit));
        }
    }

    fn ask(&mut self, process: ProcessId) {
        // While the breaker is open, it asks the server only as a probe.
        let Some(permit) = self.settler.routing.admit_question() else { return };
        self.asking.insert(process.clone());
        let (member, settler) = (self.member.get(), self.settler.clone());
        // The call also asks the ledger, so that a slow ledger holds up only this process.
        self.calls.spawn(async move {
            let answer = with_reason(|| member.process(&process)).await;
            settler.routing.called(permit, answer.as_ref().err().filter(|error| error.blames_server()));
            if let Err(error) = &answer
                && !matches!(error, ClientError::UnknownProcess { .. })
            {
                let error = error as &dyn std::error::Error;
                tracing::debug!(%process, error, "the server says nothing about a process");
            }
            let executor = answer.as_ref().map(|process| process.assignedexecutorid.clone()).unwrap_or_default();
            let ended = settler.settle(&process, ProcessEnd::of(answer), &executor).await;
            CallEnd::Asked { process, ended }
        });
    }

    async fn answered(&mut self, answer: CallEnd) {
        let CallEnd::Asked { process, ended } = answer else { return };
        self.asking.remove(&process);
        if ended {
            self.settler.metrics.confirmations.of("asked").increment(1);
            return;
        }
        let asked = self.settler.in_flight.asked(&process);
        let after = self.status.ceiling(asked.saturating_add(1));
        // If the inbox refuses this, the process is looked at again at once, which does no harm.
        let _ = self.settler.inbox.postpone(vec![(process, after)]).await;
    }

    /// No bee took this process in time, so its entries go the direct route. The process is cancelled if that is still
    /// possible, to spare the bees. If not, the ledger recognises what they do.
    async fn take_back(&mut self, process: SubmittedProcess) {
        let SubmittedProcess { process, entries, .. } = process;
        if !self.settler.take_back(&process).await {
            return;
        }
        tracing::warn!(%process, entries, "the colony took too long; the entries go the direct route");
        if self.calls.len() < CALLS_MAX {
            let member = self.member.get();
            self.calls.spawn(async move {
                if let Err(error) = member.cancel(&process).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(%process, error, "not cancelled; what it still does is recognised");
                }
                CallEnd::Cancelled
            });
        }
    }
}

/// The next completion. Never resolves if this program has no bees, or no longer has any.
async fn told(completions: &mut Option<mpsc::Receiver<Completed>>) -> Completed {
    if let Some(receiver) = completions {
        if let Some(completed) = receiver.recv().await {
            return completed;
        }
        *completions = None;
    }
    std::future::pending().await
}
