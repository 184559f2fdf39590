//! The traffic of `dev` and the live line beside the gateway, from the first delivery until what was delivered is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::live;
use crate::cli::traffic::{Driver, Stats};
use crate::domain::clock::Clock;
use crate::inbox::Inbox;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::Shutdown;
use stripe_events::simulator::Delivery;

/// Longest wait for the backlog to be brought to the ledger at the end.
const SETTLE_MAX: Duration = Duration::from_mins(1);

/// Longest wait for it after a signal, because a person is waiting.
const SETTLE_INTERRUPTED_MAX: Duration = Duration::from_secs(5);

/// Drives the traffic and the live line beside the gateway.
pub(super) struct Session {
    pub(super) inbox: Inbox,
    pub(super) ledger: Arc<dyn StateOfRecord>,
    pub(super) shutdown: Shutdown,
    /// Ends the deliveries.
    pub(super) deliveries: CancellationToken,
    /// Tells that nothing is on its way any more.
    pub(super) finished: CancellationToken,
    /// Entries that were still on their way at the end.
    pub(super) unfinished: Arc<AtomicU64>,
    pub(super) stats: Option<Arc<Stats>>,
    pub(super) clock: Clock,
}

/// The deliverer and the deliveries.
pub(super) type Traffic = (Driver, Box<dyn Iterator<Item = Delivery> + Send>);

impl Session {
    /// Delivers until there is nothing more or the deliveries are stopped, and waits for unfinished entries.
    ///
    /// # Errors
    /// If the simulator breaks, or if a run that ends by itself leaves deliveries unsettled after [`SETTLE_MAX`].
    pub(super) async fn run(self, traffic: Option<Traffic>) -> anyhow::Result<()> {
        let live = live::Live::new(self.inbox.clone(), self.ledger, self.stats, self.clock);
        let deliver = async {
            match traffic {
                Some((driver, deliveries)) => driver.run(deliveries).await.context("the simulator broke"),
                None => std::future::pending().await,
            }
        };
        let run = async {
            tokio::select! {
                () = live.show() => {}
                delivered = deliver => delivered?,
            }
            if self.deliveries.is_cancelled() {
                // After an interruption, entries may stay in the inbox.
                settled(&self.inbox, SETTLE_INTERRUPTED_MAX).await.or(Ok(()))
            } else {
                settled(&self.inbox, SETTLE_MAX).await
            }
        };
        let ended = tokio::select! {
            ended = run => ended,
            // The gateway stops at once, and settles nothing more.
            () = self.shutdown.draining() => Ok(()),
        };
        let counts = self.inbox.counts().await.context("the inbox cannot be asked what is unfinished");
        if let Ok(counts) = &counts {
            self.unfinished.store(counts.backlog(), Ordering::Relaxed);
        }
        live.finish();
        self.finished.cancel();
        ended.and(counts.map(drop))
    }
}

/// Waits until all entries are finished.
async fn settled(inbox: &Inbox, most: Duration) -> anyhow::Result<()> {
    let wait = async {
        while inbox.counts().await?.backlog() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok::<(), crate::inbox::InboxError>(())
    };
    tokio::time::timeout(most, wait).await.context("the backlog was not brought to the ledger in time")??;
    Ok(())
}
