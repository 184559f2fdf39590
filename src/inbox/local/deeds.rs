//! What people did, in the inbox file.

use rusqlite::{Connection, params};

use super::LocalInbox;
use super::file::InboxFile;
use super::queue::Request;
use crate::domain::clock::Timestamp;
use crate::inbox::deeds::{DEEDS_KEPT, DEEDS_MAX, Deed, LIGHT_DEEDS_MAX, PastDeed, light};
use crate::inbox::error::InboxError;

/// Most of the oldest deeds that are removed at once, so that webhooks do not wait.
const REMOVED_MAX: i64 = 100;

/// Counting takes long compared with writing one deed. So it is done once in this many, and the bound is lower by that
/// number.
const COUNT_EVERY: usize = 50;

/// Removes the oldest deeds of the weight `?1`, except the newest `?2`, at most `?3`.
const REMOVE: &str = concat!(
    "DELETE FROM deeds WHERE id IN (SELECT id FROM deeds WHERE ",
    light!(),
    " = ?1 ORDER BY id DESC LIMIT ?3 OFFSET ?2)"
);

impl LocalInbox {
    pub(in crate::inbox) async fn note_deed(&self, deed: Deed) -> Result<(), InboxError> {
        self.ask(Note { deed }).await
    }

    pub(in crate::inbox) async fn deeds(&self, before: i64, most: usize) -> Result<Vec<PastDeed>, InboxError> {
        self.read(move |connection| deeds(connection, before, most)).await
    }
}

/// Asks to record a deed.
struct Note {
    deed: Deed,
}

impl Request for Note {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<()> {
        let Deed { who, role, peer, via, action, what, dry_run, result, note } = &self.deed;
        let statement = "INSERT INTO deeds (at, who, role, peer, via, action, what, dry_run, result, note)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let values = params![now.millis(), who, role, peer, via, action, what, dry_run, result, note];
        file.connection.prepare_cached(statement)?.execute(values)?;
        if file.connection.last_insert_rowid() % number(COUNT_EVERY) == 0 {
            for (is_light, most) in [(true, LIGHT_DEEDS_MAX), (false, DEEDS_MAX)] {
                let kept = number(most.saturating_sub(COUNT_EVERY));
                file.connection.prepare_cached(REMOVE)?.execute(params![is_light, kept, REMOVED_MAX])?;
            }
        }
        let since = now.minus(DEEDS_KEPT).millis();
        let statement = "DELETE FROM deeds WHERE at < ?1 AND id IN (SELECT id FROM deeds ORDER BY id LIMIT ?2)";
        file.connection.prepare_cached(statement)?.execute(params![since, REMOVED_MAX])?;
        Ok(())
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn deeds(connection: &Connection, before: i64, most: usize) -> rusqlite::Result<Vec<PastDeed>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, at, who, role, peer, via, action, what, dry_run, result, note FROM deeds
         WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let deeds = statement.query_map(params![before, most], |row| {
        Ok(PastDeed {
            id: row.get(0)?,
            at: Timestamp::from_millis(row.get(1)?),
            deed: Deed {
                who: row.get(2)?,
                role: row.get(3)?,
                peer: row.get(4)?,
                via: row.get(5)?,
                action: row.get(6)?,
                what: row.get(7)?,
                dry_run: row.get(8)?,
                result: row.get(9)?,
                note: row.get(10)?,
            },
        })
    })?;
    deeds.collect()
}
