//! Which ledger an inbox works for, noted in the inbox, so that another database behind the address does not pass for the same.
//!
//! Guarantees: once the ledger has another identity than what the inbox noted, health says so until a person has confirmed the new
//! one in the settings. Entries go on: the settings name the ledger, and only `GATEWAY_LEDGER_ID` makes it refuse them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::ledger_id::LedgerId;
use crate::inbox::Inbox;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::telemetry::health::{Board, Level};

/// Component of `/health`.
const COMPONENT: &str = "ledger identity";

/// Mark of the inbox with the beginning of the identity.
const MARK: &str = "ledger";

/// Digits of an identity that fit into a mark.
const DIGITS: usize = 15;

/// Time between two looks.
const EVERY: Duration = Duration::from_mins(1);

/// Longest wait for the ledger's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

struct Watch {
    inbox: Inbox,
    ledger: Arc<dyn StateOfRecord>,
    /// What the settings say.
    confirmed: Option<LedgerId>,
    board: Board,
    clock: Clock,
}

/// Starts looking.
pub(super) fn start(
    config: &Config,
    (inbox, ledger): (&Inbox, &Arc<dyn StateOfRecord>),
    board: &Board,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) {
    let watch = Watch {
        inbox: inbox.clone(),
        ledger: Arc::clone(ledger),
        confirmed: config.ledger_expectation.id.clone(),
        board: board.clone(),
        clock: inbox.clock().clone(),
    };
    supervisor.start_in_background("ledger identity", watch.run(shutdown.clone()));
}

impl Watch {
    async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        loop {
            let look = async {
                self.look().await;
                tokio::time::sleep(EVERY).await;
            };
            tokio::select! {
                () = look => {}
                () = shutdown.draining() => return Ok(()),
            }
        }
    }

    /// Looks once. If inbox or ledger do not answer, other parts say so.
    async fn look(&self) {
        let Ok(Ok(testimony)) = tokio::time::timeout(ANSWER_MAX, self.ledger.witness(&[])).await else { return };
        let Ok(noted) = self.inbox.mark(MARK).await else { return };
        let now = testimony.ledger;
        match noted {
            Some(before) if before == beginning(&now) => self.board.clear(COMPONENT),
            Some(before) if self.confirmed.as_ref() != Some(&now) => {
                let detail = format!(
                    "the ledger is {now}, and what is settled in this inbox went to another one ({before:0DIGITS$x}…), so that the \
                     record is split. If the address of the ledger is wrong, correct it. If the change is meant, set \
                     GATEWAY_LEDGER_ID={now}; `colony-gateway reconcile` brings what the new one lacks"
                );
                if self.board.set(COMPONENT, Level::Degraded, detail.as_str(), self.clock.now()) {
                    tracing::error!("{detail}");
                }
            }
            None | Some(_) => {
                if self.inbox.set_mark(MARK, beginning(&now)).await.is_ok() {
                    self.board.clear(COMPONENT);
                }
            }
        }
    }
}

/// The first digits, as a number.
fn beginning(ledger: &LedgerId) -> i64 {
    ledger.as_str().get(..DIGITS).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::InboxOptions;
    use crate::ledger::sqlite::SqliteLedger;
    use crate::ledger::witness::Witness as _;

    #[tokio::test]
    async fn another_ledger_is_told_of_until_a_person_confirms_it() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let (inbox, _threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
        let ledger = || Arc::new(SqliteLedger::in_memory(clock.clone()).unwrap());
        let (first, second) = (ledger(), ledger());
        let watch = |ledger: &Arc<SqliteLedger>, confirmed| Watch {
            inbox: inbox.clone(),
            ledger: Arc::clone(ledger) as Arc<dyn StateOfRecord>,
            confirmed,
            board: Board::default(),
            clock: clock.clone(),
        };
        let told = async |ledger: &Arc<SqliteLedger>, confirmed: Option<LedgerId>| {
            let watch = watch(ledger, confirmed);
            watch.look().await;
            watch.board.read().get(COMPONENT).map(|component| component.detail.clone())
        };
        assert_eq!(told(&first, None).await, None, "it is noted");
        assert_eq!(told(&first, None).await, None);
        let now = second.witness(&[]).await.unwrap().ledger;
        let detail = told(&second, None).await.expect("it is told of");
        assert!(detail.contains(&format!("GATEWAY_LEDGER_ID={now}")), "{detail}");
        let before = first.witness(&[]).await.unwrap().ledger;
        assert!(detail.contains(&before.as_str()[..DIGITS]), "{detail}");
        assert!(told(&second, None).await.is_some(), "as long as it is the other one");
        assert_eq!(told(&first, None).await, None, "back again");
        assert_eq!(told(&second, Some(now.clone())).await, None, "confirmed");
        assert_eq!(told(&second, None).await, None);
    }
}
