//! The file that takes webhooks while the inbox's database is away: it is emptied when the database is back, and told of meanwhile.

use crate::inbox::{Emptied, Inbox};
use crate::telemetry::health::Level;
use crate::telemetry::instruments::Instruments;

/// Name on the health board.
const COMPONENT: &str = "spill";

/// Follows the file.
pub(super) struct SpillWatch {
    inbox: Inbox,
    instruments: Instruments,
    /// Deliveries that the database refused when it was last given them.
    refused: u64,
}

impl SpillWatch {
    pub(super) fn new(inbox: Inbox, instruments: Instruments) -> Self {
        Self { inbox, instruments, refused: 0 }
    }

    /// Looks at the file, and empties it if the database takes writes.
    #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
    pub(super) async fn attend(&mut self, is_prepared: bool) {
        let Ok(Some(standing)) = self.inbox.spilled().await else { return };
        let standing = if standing > self.refused && is_prepared && self.inbox.stats().writable() {
            self.empty().await;
            self.inbox.spilled().await.ok().flatten().unwrap_or(standing)
        } else {
            standing
        };
        self.instruments.metrics.inbox_spilled.set(standing as f64);
        let (level, detail) = tell(standing, self.refused);
        self.instruments.board.set(COMPONENT, level, detail, self.instruments.clock.now());
    }

    async fn empty(&mut self) {
        match self.inbox.empty_spill().await {
            Ok(Emptied { carried, refused }) => {
                if carried > 0 {
                    tracing::info!(carried, "inbox: brought to the database what came while it was away");
                }
                if refused > self.refused {
                    tracing::error!(refused, "inbox: the database refuses deliveries that came while it was away");
                }
                self.refused = refused;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "inbox: what came while the database was away waits on");
            }
        }
    }
}

/// What the health board says.
fn tell(standing: u64, refused: u64) -> (Level, String) {
    match standing {
        0 => (Level::Ok, "nothing stands in inbox.spill_dir".to_owned()),
        _ if refused > 0 => (
            Level::Degraded,
            format!(
                "{standing} deliveries stand in inbox.spill_dir, {refused} of which the database refuses: its log says why"
            ),
        ),
        _ => (
            Level::Degraded,
            format!(
                "{standing} deliveries stand in inbox.spill_dir until the inbox's database is back; nothing is lost"
            ),
        ),
    }
}
