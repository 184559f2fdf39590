//! Files that are made while they are taken, part by part.
//!
//! Guarantees: parts of files that are made at once are asked for in turn; no file is made for longer than [`MAKING_MAX`]; a restart
//! waits for none.

use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

use super::Console;
use crate::door::Problem;

/// Longest time for a file, even over a slow connection.
const MAKING_MAX: Duration = Duration::from_mins(10);

/// A file in the making.
pub(super) struct Making {
    pub(super) console: Console,
    /// The kind of file, for the log.
    what: &'static str,
    began: Instant,
}

impl Making {
    pub(super) fn begin(console: Console, what: &'static str) -> Self {
        let began = console.control.context.inbox.clock().instant();
        Self { console, what, began }
    }

    /// Waits for the turn to ask for the next part.
    ///
    /// # Errors
    /// If the gateway stops, or the file took too long.
    pub(super) async fn turn(&self) -> Result<OwnedMutexGuard<()>, Problem> {
        let control = &self.console.control;
        if self.console.health.readiness.is_draining() {
            return Err(Problem::ShuttingDown);
        }
        let took = control.context.inbox.clock().instant().duration_since(self.began);
        let turn = async {
            let left = MAKING_MAX.checked_sub(took)?;
            tokio::time::timeout(left, control.desk.exports.wait()).await.ok()
        };
        turn.await.ok_or_else(|| {
            let (of, most) = (self.what, MAKING_MAX.as_secs());
            tracing::warn!(of, most_seconds = most, "a file of the console took too long and was broken off");
            Problem::Busy
        })
    }
}
