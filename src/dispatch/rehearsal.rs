//! Finding out whether bees do jobs again, without an event: a job that holds none, watched until a bee has done it.
//!
//! It proves that a bee takes jobs, believes the gateway and reaches the ledger. That the bee tells the truth about events
//! only events prove.

use std::time::Duration;

use colonies::messages::{Process, ProcessState};

use super::in_flight::Say;
use super::reasons::with_reason;
use super::routing::Routing;
use super::submitter::Submitter;
use crate::domain::breaker::Permit;
use crate::domain::clock::Clock;
use crate::domain::ids::ProcessId;
use crate::job::completion::{self, JobResult};
use crate::job::{self, Sender, Terms};
use crate::ledger::witness::Identity;

/// Time beyond the lease after which a rehearsal has failed if no bee has done it.
const GRACE: Duration = Duration::from_secs(10);

/// Everything that a rehearsal needs.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) submitter: Submitter,
    pub(super) ledger: Identity,
    pub(super) routing: Routing,
    pub(super) clock: Clock,
    /// Time between two questions.
    pub(super) every: Duration,
}

impl Stage {
    /// Submits one job, and reports by the permit of the bees' breaker whether it was done.
    pub(super) async fn run(self, permit: Permit) {
        match self.attempt().await {
            Ok(()) => {
                tracing::info!("a bee finished the rehearsal: jobs are submitted again");
                permit.succeed();
                self.routing.said(&Say::Good);
            }
            Err(why) => {
                tracing::warn!(why, "no bee finished the rehearsal; entries stay on the direct route");
                permit.fail();
                self.routing.said(&Say::Bad(why));
            }
        }
    }

    async fn attempt(&self) -> Result<(), String> {
        let process = self.submit().await?;
        let (started, begun) = (self.clock.now(), self.clock.instant());
        let time_max = self.submitter.terms.lease + GRACE;
        loop {
            tokio::time::sleep(self.every).await;
            let member = self.submitter.member.get();
            if let Ok(process) = with_reason(|| member.process(&process)).await
                && let Some(end) = end_of(&process)
            {
                return end;
            }
            // By both clocks, so that setting one back does not keep entries from the colony for as long.
            let took = self.clock.now().since(started).max(self.clock.instant().duration_since(begun));
            if took > time_max {
                // A result would have no reader any more.
                drop(member.cancel(&process).await);
                return Err("no bee brought a rehearsal to its end in time".to_owned());
            }
        }
    }

    async fn submit(&self) -> Result<ProcessId, String> {
        let ledger =
            self.ledger.get().await.map_err(|error| format!("the ledger does not say which one it is: {error}"))?;
        let (member, signer) = (self.submitter.member.get(), self.submitter.signer.get());
        // If this one is lost, another is made.
        let terms = Terms { retries: 0, ..self.submitter.terms.clone() };
        let (submitter, recipients) = (member.id().as_str(), self.submitter.recipients.get());
        let recipients = recipients.as_ref().as_ref();
        let sender = Sender { terms: &terms, signer: &signer, ledger: &ledger, submitter, recipients };
        let spec = job::rehearsal(&sender, self.clock.now()).map_err(|error| error.to_string())?;
        let permit = self.routing.admit_question().ok_or("the Colonies server is not asked now")?;
        let submitted = member.submit(spec).await;
        self.routing.called(permit, submitted.as_ref().err().filter(|error| error.blames_server()));
        submitted.map(|process| process.id()).map_err(|error| format!("a rehearsal was not submitted: {error}"))
    }
}

/// How it ended, if it has.
fn end_of(process: &Process) -> Option<Result<(), String>> {
    match process.state {
        ProcessState::Waiting | ProcessState::Running => None,
        ProcessState::Success => Some(match JobResult::from_output(&process.out) {
            Ok(result) if result.events.is_empty() => Ok(()),
            _ => Err("a bee answered a rehearsal with something else".to_owned()),
        }),
        ProcessState::Failed => {
            let (code, _) = completion::read_failure(&process.errors);
            let name = super::doubts::name_of(&process.assignedexecutorid);
            Some(Err(format!("executor {name} did not do a rehearsal ({code})")))
        }
        ProcessState::Cancelled => Some(Err("a rehearsal was cancelled at the Colonies server".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_empty_result_is_a_good_end() {
        let ended = |state, out, error: &str| {
            end_of(&Process { state, out, errors: vec![error.to_owned()], ..Process::default() })
        };
        assert_eq!(ended(ProcessState::Success, JobResult::default().to_output(), ""), Some(Ok(())));
        for end in [
            ended(ProcessState::Success, vec![json!("done")], ""),
            ended(ProcessState::Success, vec![json!({"events": [{"event": "evt_1", "outcome": "applied"}]})], ""),
            ended(ProcessState::Failed, vec![], "unknown_encoding: old"),
            ended(ProcessState::Cancelled, vec![], ""),
        ] {
            assert!(matches!(end, Some(Err(_))), "{end:?}");
        }
        assert_eq!(ended(ProcessState::Waiting, vec![], ""), None);
        assert_eq!(ended(ProcessState::Running, vec![], ""), None);
    }
}
