//! All that people ordered about entries, and what of it the ledger has still to be told.
//!
//! Guarantees: an order is written in the transaction that carries it out; a drop is told until the ledger has taken it, over
//! restarts; orders stay as long as their entry.

use rusqlite::{Connection, params};

use super::LocalInbox;
use super::event_ids::ENTRIES_OF_EVENT;
use super::file::InboxFile;
use super::queue::Request;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;
use crate::inbox::error::InboxError;
use crate::inbox::order::Order;
use crate::inbox::orders::{DROPS_TOLD_MAX, PastOrder, UntoldDrop};

impl LocalInbox {
    pub(in crate::inbox) async fn untold_drops(&self) -> Result<Vec<UntoldDrop>, InboxError> {
        self.read(|connection| untold(connection)).await
    }

    pub(in crate::inbox) async fn drops_told(&self, orders: Vec<i64>) -> Result<(), InboxError> {
        self.ask(Told { orders }).await
    }

    pub(in crate::inbox) async fn tell_drops_again(&self, events: Vec<String>) -> Result<(), InboxError> {
        self.ask(TellAgain { events }).await
    }
}

/// Records an order that is being carried out. `untold` marks a drop that the ledger must be told.
pub(super) fn record(
    connection: &Connection,
    entry: i64,
    order: &Order,
    was: &str,
    untold: bool,
    now: Timestamp,
) -> rusqlite::Result<()> {
    // An order that takes up a dropped entry again cancels the untold drop.
    connection.prepare_cached("UPDATE orders SET untold = 0 WHERE entry = ?1 AND untold = 1")?.execute([entry])?;
    connection
        .prepare_cached(
            "INSERT INTO orders (entry, action, at, by, note, was, untold) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![entry, order.action.as_str(), now.millis(), order.by, order.note, was, untold])?;
    Ok(())
}

/// Whether another endpoint received the event too, and no person dropped it there. Then only this delivery is dropped, and
/// not the event.
pub(super) fn lives_elsewhere(connection: &Connection, event_id: &str, entry: i64) -> rusqlite::Result<bool> {
    let question = format!(
        "SELECT EXISTS (SELECT 1 FROM entries WHERE id IN ({ENTRIES_OF_EVENT}) AND id <> ?2 AND code IS NOT 'dropped')"
    );
    connection.prepare_cached(&question)?.query_row(params![event_id, entry], |row| row.get(0))
}

/// All orders about an entry, the oldest first.
pub(super) fn of_entry(connection: &Connection, entry: i64) -> rusqlite::Result<Vec<PastOrder>> {
    let mut statement =
        connection.prepare_cached("SELECT action, at, by, note, was FROM orders WHERE entry = ?1 ORDER BY id")?;
    let orders = statement.query_map([entry], |row| {
        Ok(PastOrder {
            action: row.get(0)?,
            at: Timestamp::from_millis(row.get(1)?),
            by: row.get(2)?,
            note: row.get(3)?,
            was: row.get(4)?,
        })
    })?;
    orders.collect()
}

/// Forgets the orders about an entry that retention removes. Returns false while the ledger has yet to be told of one.
pub(super) fn forget(connection: &Connection, entry: i64) -> rusqlite::Result<bool> {
    let untold: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM orders WHERE entry = ?1 AND untold = 1)")?
        .query_row([entry], |row| row.get(0))?;
    if !untold {
        connection.prepare_cached("DELETE FROM orders WHERE entry = ?1")?.execute([entry])?;
    }
    Ok(!untold)
}

fn untold(connection: &Connection) -> rusqlite::Result<Vec<UntoldDrop>> {
    let mut statement = connection.prepare_cached(
        "SELECT o.id, e.event_id, e.event_type, e.account, e.livemode, e.received_at, o.at, o.by, o.note
         FROM orders o INDEXED BY orders_untold JOIN entries e ON e.id = o.entry
         WHERE o.untold = 1 ORDER BY o.id LIMIT ?1",
    )?;
    let drops = statement.query_map([DROPS_TOLD_MAX], |row| {
        Ok(UntoldDrop {
            order: row.get(0)?,
            event_id: EventId::new(row.get::<_, String>(1)?),
            event_type: row.get(2)?,
            account: row.get(3)?,
            livemode: row.get(4)?,
            received: Timestamp::from_millis(row.get(5)?),
            at: Timestamp::from_millis(row.get(6)?),
            by: row.get(7)?,
            note: row.get(8)?,
        })
    })?;
    drops.collect()
}

struct Told {
    orders: Vec<i64>,
}

impl Request for Told {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
        let mut statement = file.connection.prepare_cached("UPDATE orders SET untold = 0 WHERE id = ?1")?;
        for order in &self.orders {
            statement.execute([order])?;
        }
        Ok(())
    }
}

struct TellAgain {
    events: Vec<String>,
}

impl Request for TellAgain {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
        let again = format!(
            "UPDATE orders SET untold = 1 WHERE id = (
                 SELECT max(o.id) FROM orders o JOIN entries e ON e.id = o.entry
                 WHERE o.action = 'drop' AND e.code = 'dropped' AND e.id IN ({ENTRIES_OF_EVENT}))"
        );
        let mut statement = file.connection.prepare_cached(&again)?;
        for event in &self.events {
            statement.execute([event])?;
        }
        Ok(())
    }
}
