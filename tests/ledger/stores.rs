//! The stores under test, and how to look at all they hold.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::BoxFuture;
use colony_gateway::ledger::migrations::{Wanted, migrate, migrate_to};
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::StateOfRecord;
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::ledger::supabase::{SupabaseConfig, SupabaseLedger};
use colony_gateway::postgres::Json;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};
use testkit::sql::Sessions;

use crate::plans::at;
use crate::postgres::{Database, Flavour};
use crate::rest::{Rest, SERVICE_KEY};

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
pub(crate) const TABLES: [&str; 11] = [
    "events",
    "stripe_subscriptions",
    "kept_subscriptions",
    "stripe_customers",
    "kept_customers",
    "claims",
    "customer_bindings",
    "revenue_entries",
    "payment_links",
    "findings",
    "guardian_decisions",
];

/// Tables about what a rule held. A release that comes at once with what it releases leaves no trace in them.
const DOUBTS: [&str; 3] = ["doubted_subscriptions", "vouched_subscriptions", "kept_vouched"];

/// What tells when and in which order an event came, not what it did: not part of the contract.
pub(crate) const ORDER_DEPENDENT: [&str; 9] =
    ["recheck_at", "outcome", "recorded_at", "created_at", "updated_at", "shown", "attempts", "retry_at", "fault"];

const COUNTED: &str = "SELECT kind, key, amount_minor, outside_minor";

/// Kind, key, amount, and what of it came around Stripe.
pub(crate) type Money = (String, String, i64, i64);

/// A store with a way to look into it and to empty it.
pub(crate) trait Store: Send + Sync {
    /// The store.
    fn ledger(&self) -> &dyn StateOfRecord;

    /// All rows of [`TABLES`], with timestamps as milliseconds and JSON as values.
    fn contents(&self) -> BoxFuture<'_, Contents>;

    /// The money that counts: kind, key, amount, and what of it came around Stripe, of each row that counts with something.
    fn counted(&self) -> BoxFuture<'_, Vec<Money>>;

    /// Removes all rows.
    fn clear(&self) -> BoxFuture<'_, ()>;

    /// Removes the rows of one of [`TABLES`], as an accident would.
    fn lose<'a>(&'a self, table: &'a str) -> BoxFuture<'a, ()>;

    /// Makes all events an hour older, as the store sees it: an hour passes.
    fn pass_an_hour(&self) -> BoxFuture<'_, ()>;
}

/// The SQLite ledger over a file of its own.
pub(crate) struct Sqlite {
    ledger: SqliteLedger,
    pub(crate) file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory where the system has a place for that, for tests that commit thousands of times.
    pub(crate) fn hasty() -> Self {
        let memory = std::path::Path::new("/dev/shm");
        if memory.is_dir() { Self::within(tempfile::tempdir_in(memory).unwrap()) } else { Self::new() }
    }

    fn within(dir: tempfile::TempDir) -> Self {
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

    fn counted(&self) -> BoxFuture<'_, Vec<Money>> {
        Box::pin(async {
            let connection = Connection::open(&self.file).unwrap();
            let mut statement = connection.prepare(&format!("{COUNTED} FROM counted_revenue WHERE amount_minor <> 0"));
            let statement = statement.as_mut().unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
            let mut rows: Vec<_> = rows.map(Result::unwrap).collect();
            rows.sort();
            rows
        })
    }

    fn clear(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut connection = Connection::open(&self.file).unwrap();
            let transaction = connection.transaction().unwrap();
            for table in TABLES.into_iter().chain(DOUBTS) {
                transaction.execute(&format!("DELETE FROM {table}"), []).unwrap();
            }
            transaction.commit().unwrap();
        })
    }

    fn lose<'a>(&'a self, table: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let connection = Connection::open(&self.file).unwrap();
            connection.execute(&format!("DELETE FROM {table}"), []).unwrap();
        })
    }

    fn pass_an_hour(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let connection = Connection::open(&self.file).unwrap();
            connection.execute("UPDATE events SET recorded_at = recorded_at - 3600000", []).unwrap();
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
    const BOOLEANS: [&str; 10] = [
        "livemode",
        "entitles",
        "partial",
        "tied",
        "will_cancel",
        "will_renew",
        "cancel_at_period_end",
        "deleted",
        "delinquent",
        "reduced",
    ];
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) if BOOLEANS.contains(&column) => Value::Bool(number != 0),
        ValueRef::Integer(number) => number.into(),
        ValueRef::Text(text) if column == "raw" || column == "payload" => serde_json::from_slice(text).unwrap(),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap().into(),
        other => panic!("{column} holds {other:?}"),
    }
}

/// The role that runs the gateway in these tests.
pub(crate) const RUNTIME_ROLE: &str = "gateway_run";

/// A PostgreSQL ledger over a database of its own, reached directly or through the REST layer.
pub(crate) struct Postgres {
    ledger: Box<dyn StateOfRecord>,
    pub(crate) database: Database,
    pub(crate) pool: Sessions,
    pub(crate) rest: Option<Rest>,
}

impl Postgres {
    /// Reached directly, as the role that `serve` and `bee` have. The database's time zone is not UTC, and its collation is not
    /// that of bytes.
    pub(crate) async fn direct(flavour: Flavour) -> Self {
        let (database, pool) = Self::migrated(flavour).await;
        let url = database.url_as(RUNTIME_ROLE).await;
        let wanted = Wanted { runtime_role: Some(RUNTIME_ROLE.parse().unwrap()), ..Wanted::default() };
        migrate_to(&mut *pool.session().await, &wanted).await.unwrap();
        let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(url))).unwrap();
        Self { ledger: Box::new(ledger), database, pool, rest: None }
    }

    /// Reached through the REST layer.
    pub(crate) async fn rest() -> Self {
        let (database, pool) = Self::migrated(Flavour::Supabase).await;
        let rest = Rest::start(&database).await;
        let ledger = SupabaseLedger::new(&SupabaseConfig::new(rest.url(), Secret::new(SERVICE_KEY))).unwrap();
        Self { ledger: Box::new(ledger), database, pool, rest: Some(rest) }
    }

    async fn migrated(flavour: Flavour) -> (Database, Sessions) {
        let database = Database::create(flavour).await;
        database.set_time_zone("America/Toronto").await;
        let pool = database.sessions();
        migrate(&mut *pool.session().await).await.unwrap();
        (database, pool)
    }
}

/// Tables that only PostgreSQL has, and that must not depend on the order of events either.
const PROJECTED: [&str; 2] = ["gateway.user_access", "public.subscriptions"];

impl Store for Postgres {
    fn ledger(&self) -> &dyn StateOfRecord {
        &*self.ledger
    }

    fn contents(&self) -> BoxFuture<'_, Contents> {
        Box::pin(async {
            let mut contents: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
            let tables = || TABLES.into_iter().chain(PROJECTED);
            let selects = tables().map(|table| {
                let schema = if table.contains('.') { "" } else { "gateway." };
                format!("SELECT '{table}' AS name, to_jsonb(t) AS row FROM {schema}{table} t")
            });
            let statement = selects.collect::<Vec<_>>().join(" UNION ALL ");
            let rows: Vec<(String, Json<Value>)> = self.pool.tuples(statement).await.unwrap();
            for table in tables() {
                let of_table = rows.iter().filter(|(name, _)| name == table);
                let mut lines: Vec<String> = of_table.map(|(_, Json(row))| postgres_row(table, row)).collect();
                lines.sort();
                contents.insert(table, lines);
            }
            Contents(contents)
        })
    }

    fn counted(&self) -> BoxFuture<'_, Vec<Money>> {
        Box::pin(async {
            let statement = format!("{COUNTED} FROM gateway.counted_revenue WHERE amount_minor <> 0");
            let rows = self.pool.tuples(statement).await;
            let mut rows: Vec<Money> = rows.unwrap();
            rows.sort();
            rows
        })
    }

    fn clear(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let tables = TABLES.into_iter().chain(DOUBTS);
            let deletions: Vec<String> = tables.map(|table| format!("DELETE FROM gateway.{table}")).collect();
            let script = format!(
                "BEGIN; {}; DELETE FROM gateway.user_access; DELETE FROM public.subscriptions; COMMIT",
                deletions.join("; ")
            );
            self.pool.execute(script).await.unwrap();
        })
    }

    fn lose<'a>(&'a self, table: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let script = format!("DELETE FROM gateway.{table}");
            self.pool.execute(script).await.unwrap();
        })
    }

    fn pass_an_hour(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let script = "UPDATE gateway.events SET recorded_at = recorded_at - interval '1 hour'";
            self.pool.execute(script.to_owned()).await.unwrap();
        })
    }
}

fn postgres_row(table: &str, row: &Value) -> String {
    let Value::Object(fields) = row else { panic!("a row is an object") };
    let public = table.starts_with("public.");
    let kept = fields
        .iter()
        .filter(|(column, _)| !(ORDER_DEPENDENT.contains(&column.as_str()) || public && column.as_str() == "id"));
    let kept: Map<String, Value> = kept.map(|(column, value)| (column.clone(), postgres_value(value))).collect();
    Value::Object(kept).to_string()
}

/// Timestamps as milliseconds; the rest as it is.
fn postgres_value(value: &Value) -> Value {
    value.as_str().and_then(Timestamp::parse_rfc3339).map_or_else(|| value.clone(), |moment| moment.millis().into())
}
