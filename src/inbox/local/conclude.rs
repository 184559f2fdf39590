//! Ending leases: what becomes of an entry that was worked on.

use rusqlite::{OptionalExtension, params};

use super::file::InboxFile;
use super::queue::Request;
use super::{LocalInbox, steps};
use crate::domain::clock::Timestamp;
use crate::domain::outcome::Awaited;
use crate::inbox::conclude::{Concluded, Conclusion, Refused};
use crate::inbox::lease::{CRASHES_ALONE, Lease};
use crate::inbox::state::StateName;

impl LocalInbox {
    pub(in crate::inbox) async fn conclude(
        &self,
        conclusions: Vec<(Lease, Conclusion)>,
    ) -> Result<Vec<Concluded>, Refused> {
        let closed = |error| Refused { error, conclusions: Vec::new() };
        let pending = self.send(Conclude { conclusions }).await.map_err(closed)?;
        let (Conclude { conclusions }, concluded) = pending.returned().await.map_err(closed)?;
        concluded.map_err(|error| Refused { error, conclusions })
    }
}

/// Asks to end leases.
struct Conclude {
    conclusions: Vec<(Lease, Conclusion)>,
}

impl Request for Conclude {
    type Done = Vec<Concluded>;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Vec<Concluded>> {
        self.conclusions.iter().map(|(lease, conclusion)| conclude(file, lease, conclusion, now)).collect()
    }

    fn must_survive(&self) -> bool {
        self.conclusions.iter().any(|(_, conclusion)| conclusion.must_survive())
    }
}

fn conclude(
    file: &mut InboxFile,
    lease: &Lease,
    conclusion: &Conclusion,
    now: Timestamp,
) -> rusqlite::Result<Concluded> {
    let held: Option<i64> = file
        .connection
        .prepare_cached("SELECT id FROM entries WHERE id = ?1 AND state = 1 AND lease_token = ?2")?
        .query_row(params![lease.entry.0, lease.token], |row| row.get(0))
        .optional()?;
    let Some(id) = held else { return Ok(Concluded::LeaseLost) };
    conclusion.apply(file, id, StateName::Leased, now)?;
    Ok(Concluded::Done)
}

impl Conclusion {
    /// Changes an entry whose holder was checked.
    pub(super) fn apply(&self, file: &mut InboxFile, id: i64, from: StateName, now: Timestamp) -> rusqlite::Result<()> {
        if let Some(step) = self.step() {
            steps::note(&file.connection, id, step, now)?;
        }
        match self {
            Self::Settle { outcome } => file.end(id, (from, StateName::Settled), now, outcome.as_str(), None),
            Self::Quarantine { code, reason } => file.end(id, (from, StateName::Quarantined), now, code, Some(reason)),
            Self::Dead { code, reason } => file.end(id, (from, StateName::Dead), now, code, Some(reason)),
            Self::Retry { after, counted, reason } => {
                file.wait(id, from, now.plus(*after), (i64::from(*counted), 0), None, reason)
            }
            Self::RetryAlone { after, reason } => {
                file.wait(id, from, now.plus(*after), (1, CRASHES_ALONE), None, reason)
            }
            Self::AwaitStripe { after, reason } => {
                file.wait(id, from, now.plus(*after), (0, 0), Some(Awaited::Stripe), reason)
            }
            Self::AwaitBee { after, reason } => {
                file.wait(id, from, now.plus(*after), (0, 0), Some(Awaited::Bee), reason)
            }
            Self::Submitted { process, poll_after } => file.submit(id, from, process, now.plus(*poll_after)),
        }
    }
}
