//! Where a recount keeps what all payloads come to, until it is compared: a file that has no name, so that memory stays small
//! however large the ledger is, and nothing is left when the process is killed.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::private;
use crate::ledger::recount::{Link, Money};

/// Most rows that are read at once.
const PAGE: u32 = 500;

/// The count so far.
#[derive(Debug)]
pub(super) struct Scratch {
    connection: Connection,
}

const TABLES: &str = "
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA temp_store = MEMORY;
BEGIN;
CREATE TABLE counted (event TEXT PRIMARY KEY, rendering TEXT, whole INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE open (object TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE money (kind TEXT, key TEXT, row TEXT NOT NULL, PRIMARY KEY (kind, key)) STRICT, WITHOUT ROWID;
CREATE TABLE links (payment TEXT, invoice TEXT, row TEXT NOT NULL, PRIMARY KEY (payment, invoice)) STRICT, WITHOUT ROWID;
COMMIT;
";

impl Scratch {
    /// Makes one in `directory`.
    pub(super) fn new(directory: &Path) -> rusqlite::Result<Self> {
        let path = directory.join(format!("recount.{:016x}", fastrand::u64(..)));
        // If the file cannot be made, SQLite's own error says better why.
        let _ = private::file(&path);
        let connection = Connection::open(&path)?;
        let made = connection.execute_batch(TABLES);
        // From here on only this process has it.
        let _ = std::fs::remove_file(&path);
        made.map(|()| Self { connection })
    }

    /// Notes that the payload of an event was counted in this rendering, and whether that is everything that the event
    /// wrote.
    pub(super) fn count_event(&mut self, event: &str, rendering: Option<&str>, whole: bool) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO counted (event, rendering, whole) VALUES (?1, ?2, ?3)")?
            .execute(params![event, rendering, whole])
            .map(drop)
    }

    /// Whether it was counted and, if so, whether that is everything that it wrote.
    pub(super) fn counted(&self, event: &str, rendering: Option<&str>) -> rusqlite::Result<Option<bool>> {
        self.connection
            .prepare_cached("SELECT whole FROM counted WHERE event = ?1 AND rendering IS ?2")?
            .query_row([Some(event), rendering], |row| row.get(0))
            .optional()
    }

    /// Notes that events about an object told more than was counted.
    pub(super) fn leave_open(&mut self, object: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached("INSERT OR IGNORE INTO open (object) VALUES (?1)")?.execute([object]).map(drop)
    }

    /// Whether events about one of these objects told more than was counted.
    pub(super) fn is_open<'a>(&self, objects: impl IntoIterator<Item = &'a str>) -> rusqlite::Result<bool> {
        let mut statement = self.connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM open WHERE object = ?1)")?;
        for object in objects {
            if statement.query_row([object], |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds a row of money as a store merges it: the greatest version, and the names and the greatest amount around Stripe
    /// of any version.
    pub(super) fn add_money(&mut self, row: Money) -> rusqlite::Result<()> {
        let known = self.money(&row.kind, &row.key)?;
        let row = match known {
            None => row,
            Some(known) => {
                let payment_id = known.payment_id.clone().max(row.payment_id.clone());
                let charge_id = known.charge_id.clone().max(row.charge_id.clone());
                let customer_id = known.customer_id.clone().max(row.customer_id.clone());
                let outside_minor = known.outside_minor.max(row.outside_minor);
                let newest = if row.version > known.version { row } else { known };
                Money { outside_minor, payment_id, charge_id, customer_id, ..newest }
            }
        };
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO money (kind, key, row) VALUES (?1, ?2, ?3)")?
            .execute(params![row.kind, row.key, text(&row)?])
            .map(drop)
    }

    /// The row of money of this key.
    pub(super) fn money(&self, kind: &str, key: &str) -> rusqlite::Result<Option<Money>> {
        let mut statement = self.connection.prepare_cached("SELECT row FROM money WHERE kind = ?1 AND key = ?2")?;
        let found: Option<String> = statement.query_row([kind, key], |row| row.get(0)).optional()?;
        Ok(found.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Removes the row of money with this key and returns it.
    pub(super) fn take_money(&mut self, kind: &str, key: &str) -> rusqlite::Result<Option<Money>> {
        let found = self.money(kind, key)?;
        if found.is_some() {
            let mut statement = self.connection.prepare_cached("DELETE FROM money WHERE kind = ?1 AND key = ?2")?;
            statement.execute([kind, key])?;
        }
        Ok(found)
    }

    /// Removes some of the remaining rows of money and returns them; empty if there are no more.
    pub(super) fn take_some_money(&mut self) -> rusqlite::Result<Vec<Money>> {
        let left = self.some("SELECT row FROM money LIMIT ?1")?;
        for row in &left {
            let row: &Money = row;
            self.take_money(&row.kind, &row.key)?;
        }
        Ok(left)
    }

    /// Adds a link; the greatest version stays.
    pub(super) fn add_link(&mut self, row: &Link) -> rusqlite::Result<()> {
        if self.link(&row.payment_id, &row.invoice_id)?.is_some_and(|known| known.version >= row.version) {
            return Ok(());
        }
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO links (payment, invoice, row) VALUES (?1, ?2, ?3)")?
            .execute(params![row.payment_id, row.invoice_id, text(row)?])
            .map(drop)
    }

    fn link(&self, payment: &str, invoice: &str) -> rusqlite::Result<Option<Link>> {
        let mut statement =
            self.connection.prepare_cached("SELECT row FROM links WHERE payment = ?1 AND invoice = ?2")?;
        let found: Option<String> = statement.query_row([payment, invoice], |row| row.get(0)).optional()?;
        Ok(found.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Removes a link and returns it.
    pub(super) fn take_link(&mut self, payment: &str, invoice: &str) -> rusqlite::Result<Option<Link>> {
        let found = self.link(payment, invoice)?;
        if found.is_some() {
            let mut statement =
                self.connection.prepare_cached("DELETE FROM links WHERE payment = ?1 AND invoice = ?2")?;
            statement.execute([payment, invoice])?;
        }
        Ok(found)
    }

    /// Removes some of the remaining links and returns them; empty if there are no more.
    pub(super) fn take_some_links(&mut self) -> rusqlite::Result<Vec<Link>> {
        let left = self.some("SELECT row FROM links LIMIT ?1")?;
        for row in &left {
            let row: &Link = row;
            self.take_link(&row.payment_id, &row.invoice_id)?;
        }
        Ok(left)
    }

    fn some<T: serde::de::DeserializeOwned>(&self, sql: &str) -> rusqlite::Result<Vec<T>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([PAGE], |row| row.get::<_, String>(0))?;
        let texts = rows.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// Does several things at once; otherwise each would be a separate write.
    pub(super) fn together<T>(&mut self, work: impl FnOnce(&mut Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.connection.execute_batch("BEGIN")?;
        let done = work(self);
        // There is no journal for a rollback, and a failed recount throws everything away.
        self.connection.execute_batch("COMMIT")?;
        done
    }
}

fn text(row: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(row).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
