//! The ledger on the health board before the first batch: what it answered at the start, and what it answers afterwards.
//!
//! Guarantee: a ledger that was not asked is not on the board, and one that refuses or does not answer is degraded before the
//! first event arrives. After the first batch, the batches report the ledger and this module stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::Shutdown;
use crate::telemetry::health::{Board, Level};

/// Name on the health board, to which batches also report.
const COMPONENT: &str = "ledger";

/// Time between two questions to a ledger that did not answer well.
const AGAIN: Duration = Duration::from_secs(5);

/// Longest wait for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The last report to the board.
pub(super) struct LedgerStanding {
    board: Board,
    clock: Clock,
    said: Option<String>,
}

impl LedgerStanding {
    /// Reports the result of the start: nothing wrong, or why the ledger cannot be used yet.
    pub(super) fn begin(board: Board, clock: Clock, doubt: Option<String>) -> Self {
        let mut standing = Self { board, clock, said: None };
        standing.say(doubt);
        standing
    }

    /// Asks again until the ledger answers or a batch has reported. Then it waits for draining, because a task that ends
    /// stops the process.
    pub(super) async fn run(mut self, ledger: Arc<dyn StateOfRecord>, shutdown: Shutdown) -> Result<(), Infallible> {
        tokio::select! {
            () = self.settle(&*ledger) => shutdown.draining().await,
            () = shutdown.draining() => {}
        }
        Ok(())
    }

    async fn settle(&mut self, ledger: &dyn StateOfRecord) {
        while self.is_in_doubt() {
            tokio::time::sleep(AGAIN).await;
            let doubt = match tokio::time::timeout(ANSWER_MAX, ledger.check()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(chain(&error)),
                Err(_) => Some(format!("no answer within {} s", ANSWER_MAX.as_secs())),
            };
            let is_answered = doubt.is_none();
            if !self.say(doubt) {
                return;
            }
            if is_answered {
                tracing::info!("the ledger answers");
            }
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.board.read().get(COMPONENT).is_some_and(|component| component.status != Level::Ok)
    }

    /// Returns false if other parts have reported since.
    fn say(&mut self, doubt: Option<String>) -> bool {
        let (level, detail) = match doubt {
            None => (Level::Ok, "answers".to_owned()),
            Some(why) => (Level::Degraded, format!("{why}. Webhooks are stored, and their entries wait")),
        };
        let is_said = self.board.follow(COMPONENT, self.said.as_deref(), (level, &detail), self.clock.now());
        self.said = Some(detail);
        is_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[test]
    fn a_ledger_that_refuses_is_degraded_before_the_first_event_and_a_batch_has_the_last_word() {
        let (board, clock) = (Board::default(), Clock::manual(Timestamp::from_seconds(1)));
        let refused = Some("permission denied for schema gateway".to_owned());
        let mut standing = LedgerStanding::begin(board.clone(), clock.clone(), refused.clone());
        assert_eq!(board.read()[COMPONENT].status, Level::Degraded);
        assert!(board.read()[COMPONENT].detail.starts_with("permission denied"));
        assert!(standing.say(None) && board.read()[COMPONENT].status == Level::Ok);
        board.set(COMPONENT, Level::Ok, "takes entries", clock.now());
        assert!(!standing.say(refused.clone()) && board.read()[COMPONENT].detail == "takes entries");
        let late = LedgerStanding::begin(board.clone(), clock, refused);
        assert!(!late.is_in_doubt(), "a batch was faster than the start's question");
    }
}
