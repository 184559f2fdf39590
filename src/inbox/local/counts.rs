//! How many entries there are, and how long they wait. Cheap at any size.

use rusqlite::{Connection, OptionalExtension};

use super::LocalInbox;
use super::schema::live;
use crate::domain::clock::Timestamp;
use crate::inbox::counts::Counts;
use crate::inbox::error::InboxError;
use crate::inbox::state::StateName;

impl LocalInbox {
    /// The number of entries in each state, and the age of the oldest waiting one.
    pub(in crate::inbox) async fn counts(&self) -> Result<Counts, InboxError> {
        self.read(counts).await
    }

    /// When the oldest entry was received that is submitted, or waits without having failed. It tells whether entries get
    /// stuck on their route.
    pub(in crate::inbox) async fn oldest_unattended(&self) -> Result<Option<Timestamp>, InboxError> {
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
    let oldest = oldest.map(Timestamp::from_millis);
    Ok(Counts { waiting, leased, submitted, settled, dead, quarantined, oldest, is_estimate: false })
}

/// When the oldest entry was received that this process does not work on: one that is submitted, or waits and never failed.
/// (An entry that failed has its own reasons to wait, and one that a person asked for takes the direct route anyway.)
fn oldest_unattended(connection: &mut Connection) -> rusqlite::Result<Option<Timestamp>> {
    let oldest = connection.prepare_cached(live::OLDEST_UNATTENDED)?.query_row([], |row| row.get(0)).optional()?;
    Ok(oldest.map(Timestamp::from_millis))
}
