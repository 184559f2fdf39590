//! The stores under test, and how to look at all they hold.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::BoxFuture;
use colony_gateway::ledger::report::StateOfRecord;
use colony_gateway::ledger::sqlite::SqliteLedger;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

use crate::plans::at;

/// Everything a store holds, table by table, in an order that does not depend on the order of writing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contents(pub(crate) BTreeMap<&'static str, Vec<String>>);

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, rows) in &self.0 {
            writeln!(f, "{table}:")?;
            for row in rows {
                writeln!(f, "  {row}")?;
            }
        }
        Ok(())
    }
}

/// The tables that every store has.
pub(crate) const TABLES: [&str; 8] = [
    "events",
    "stripe_subscriptions",
    "stripe_customers",
    "customer_bindings",
    "revenue_entries",
    "payment_links",
    "findings",
    "guardian_decisions",
];

/// What tells when and in which order an event came, not what it did: not part of the contract.
pub(crate) const ORDER_DEPENDENT: [&str; 2] = ["outcome", "recorded_at"];

/// A store with a way to look into it and to empty it.
pub(crate) trait Store: Send + Sync {
    /// The store.
    fn ledger(&self) -> &dyn StateOfRecord;

    /// All rows of [`TABLES`], with timestamps as milliseconds and JSON as values.
    fn contents(&self) -> BoxFuture<'_, Contents>;

    /// Removes all rows.
    fn clear(&self) -> BoxFuture<'_, ()>;
}

/// The SQLite ledger over a file of its own.
pub(crate) struct Sqlite {
    ledger: SqliteLedger,
    pub(crate) file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ledger.db");
        let ledger = SqliteLedger::open(&file, Clock::manual(at(0))).unwrap();
        Self { ledger, file, _dir: dir }
    }
}

impl Store for Sqlite {
    fn ledger(&self) -> &dyn StateOfRecord {
        &self.ledger
    }

    fn contents(&self) -> BoxFuture<'_, Contents> {
        Box::pin(async {
            let connection = Connection::open(&self.file).unwrap();
            Contents(TABLES.into_iter().map(|table| (table, sqlite_rows(&connection, table))).collect())
        })
    }

    fn clear(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut connection = Connection::open(&self.file).unwrap();
            let transaction = connection.transaction().unwrap();
            for table in TABLES {
                transaction.execute(&format!("DELETE FROM {table}"), []).unwrap();
            }
            transaction.commit().unwrap();
        })
    }
}

fn sqlite_rows(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| {
        let mut fields = Map::new();
        for (index, column) in columns.iter().enumerate() {
            if ORDER_DEPENDENT.contains(&column.as_str()) {
                continue;
            }
            fields.insert(column.clone(), sqlite_value(column, row.get_ref(index)?));
        }
        Ok(Value::Object(fields).to_string())
    });
    let mut rows: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    rows.sort();
    rows
}

fn sqlite_value(column: &str, value: ValueRef<'_>) -> Value {
    const BOOLEANS: [&str; 6] =
        ["livemode", "entitles", "will_cancel", "cancel_at_period_end", "deleted", "delinquent"];
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) if BOOLEANS.contains(&column) => Value::Bool(number != 0),
        ValueRef::Integer(number) => number.into(),
        ValueRef::Text(text) if column == "raw" || column == "payload" => serde_json::from_slice(text).unwrap(),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap().into(),
        other => panic!("{column} holds {other:?}"),
    }
}
