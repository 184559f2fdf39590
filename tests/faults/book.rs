//! The ledger of a scenario, read from outside of the gateway.

use std::collections::BTreeSet;
use std::path::PathBuf;

use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::{REPORT_LINES_MAX, Reports, SubscriptionLine, Summary};
use colony_gateway::ledger::sqlite::SqliteLedger;
use tokio::runtime::Runtime;

use crate::postgres::{Database, Flavour};

/// Where the state of record is.
pub(crate) enum Book {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server of the tests.
    Postgres(Database),
}

/// A runtime for one question.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(future)
}

impl Book {
    /// An empty database without tables.
    pub(crate) fn postgres() -> Self {
        Self::Postgres(block_on(Database::create(Flavour::Supabase)))
    }

    /// Ids of the events that it holds.
    pub(crate) fn events(&self) -> BTreeSet<String> {
        match self {
            Self::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare("SELECT id FROM events").unwrap();
                statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
            }
            Self::Postgres(database) => block_on(async {
                let ids: Vec<String> = database.sessions().values("SELECT id FROM gateway.events").await.unwrap();
                ids.into_iter().collect()
            }),
        }
    }

    /// What it says.
    pub(crate) fn report(&self) -> (Summary, Vec<SubscriptionLine>) {
        block_on(async {
            match self {
                Self::Sqlite(path) => read(&SqliteLedger::open(path, Clock::system()).unwrap()).await,
                Self::Postgres(database) => {
                    let config = PostgresConfig::new(Secret::new(database.url()));
                    let ledger = PostgresLedger::new(&config).unwrap();
                    let read = read(&ledger).await;
                    ledger.close().await;
                    read
                }
            }
        })
    }
}

async fn read(reports: &impl Reports) -> (Summary, Vec<SubscriptionLine>) {
    let summary = reports.summary(REPORT_LINES_MAX).await.unwrap();
    (summary, reports.subscriptions(REPORT_LINES_MAX).await.unwrap())
}
