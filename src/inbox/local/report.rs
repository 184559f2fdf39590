//! An entry as operators see it, on the command line and over the admin listener: everything but the body.

use rusqlite::Row;

use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::inbox::report::{EntryReport, Intervention};
use crate::inbox::state::StateName;

/// The columns that [`report`] reads, in their order.
pub(super) const COLUMNS: &str =
    "id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, state,
    due_at, attempts, crashes, process_id, ended_at, code, reason, released_at, replayed_at, action, action_at,
    action_by, action_note";

pub(super) fn report(row: &Row<'_>) -> rusqlite::Result<EntryReport> {
    let time = |column: usize| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp::from_millis));
    let state: StateName = row.get(9)?;
    let (told, is_settled): (Option<String>, _) = (row.get(15)?, state == StateName::Settled);
    let is_held = matches!(state, StateName::Dead | StateName::Quarantined);
    let action: Option<String> = row.get(19)?;
    let (at, by, note) = (time(20)?, row.get(21)?, row.get(22)?);
    Ok(EntryReport {
        entry: EntryId(row.get(0)?),
        endpoint: row.get(1)?,
        event_id: row.get(2)?,
        event_type: row.get(3)?,
        account: row.get(4)?,
        livemode: row.get(5)?,
        source: row.get(6)?,
        secret: row.get(7)?,
        received: Timestamp::from_millis(row.get(8)?),
        state,
        due: time(10)?,
        attempts: row.get(11)?,
        crashes: row.get(12)?,
        process: row.get(13)?,
        ended: time(14)?,
        outcome: told.clone().filter(|_| is_settled),
        code: told.filter(|_| is_held),
        reason: row.get(16)?,
        released: time(17)?,
        replayed: time(18)?,
        intervention: action.map(|action| Intervention { action, at: at.unwrap_or_default(), by, note }),
    })
}
