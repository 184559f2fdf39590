//! How many entries there are, and how long they wait. Cheap at any size.

use rusqlite::{Connection, OptionalExtension};

use super::schema::live;
use super::state::StateName;
use super::{Inbox, InboxError};
use crate::domain::clock::Timestamp;

/// Number of entries in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Wait for an attempt.
    pub waiting: u64,
    /// Being worked on.
    pub leased: u64,
    /// With a process of a Colonies server.
    pub submitted: u64,
    /// Done and still kept.
    pub settled: u64,
    /// Given up.
    pub dead: u64,
    /// Held back.
    pub quarantined: u64,
    /// When the oldest entry that is not ended was received.
    pub oldest: Option<Timestamp>,
}

impl Counts {
    pub const fn of(&self, state: StateName) -> u64 {
        match state {
            StateName::Waiting => self.waiting,
            StateName::Leased => self.leased,
            StateName::Submitted => self.submitted,
            StateName::Settled => self.settled,
            StateName::Dead => self.dead,
            StateName::Quarantined => self.quarantined,
        }
    }

    /// Entries on their way.
    pub fn backlog(&self) -> u64 {
        self.waiting + self.leased + self.submitted
    }
}

impl Inbox {
    /// Number of entries in each state and the age of the oldest that waits.
    pub async fn counts(&self) -> Result<Counts, InboxError> {
        self.read(counts).await
    }

    /// When the oldest entry was received that is submitted, or waits without having failed. Tells whether entries
    /// get stuck on their route.
    pub async fn oldest_unattended(&self) -> Result<Option<Timestamp>, InboxError> {
        self.read(oldest_unattended).await
    }
}

pub(super) fn counts(connection: &mut Connection) -> rusqlite::Result<Counts> {
    let transaction = connection.transaction()?;
    let mut tally = [0_u64; StateName::ALL.len()];
    {
        let mut statement = transaction.prepare_cached("SELECT state, entries FROM tally")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(slot) = tally.get_mut(row.get::<_, usize>(0)?) {
                *slot = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            }
        }
    }
    let oldest = transaction.prepare_cached(live::OLDEST)?.query_row([], |row| row.get(0)).optional()?;
    let [waiting, leased, submitted, settled, dead, quarantined] = tally;
    Ok(Counts { waiting, leased, submitted, settled, dead, quarantined, oldest: oldest.map(Timestamp::from_millis) })
}

/// When the oldest entry was received that nobody works on in this process: submitted, or waiting and never failed (one
/// that failed waits for its own reasons, one that a person asked for takes the direct route anyway).
fn oldest_unattended(connection: &mut Connection) -> rusqlite::Result<Option<Timestamp>> {
    let oldest = connection.prepare_cached(live::OLDEST_UNATTENDED)?.query_row([], |row| row.get(0)).optional()?;
    Ok(oldest.map(Timestamp::from_millis))
}
