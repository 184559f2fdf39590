//! The ledger of a scenario, read from outside of the gateway.

use std::collections::BTreeSet;
use std::path::PathBuf;

use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::{REPORT_LINES_MAX, Reports, SubscriptionLine, Summary};
use colony_gateway::ledger::sqlite::SqliteLedger;
use testkit::sql::Sessions;
use tokio::runtime::Runtime;

use crate::postgres::{Database, Flavour};

/// Where the state of record is.
pub(crate) enum Book {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server of the tests.
    Postgres(Database),
    /// On a server of this test's own, by its URL.
    Own(String),
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
            Self::Postgres(database) => asked(&database.sessions()),
            Self::Own(url) => asked(&Sessions::new(url)),
        }
    }

    /// What it says.
    pub(crate) fn report(&self) -> (Summary, Vec<SubscriptionLine>) {
        block_on(async {
            match self {
                Self::Sqlite(path) => read(&SqliteLedger::open(path, Clock::system()).unwrap()).await,
                Self::Postgres(database) => reported(&database.url()).await,
                Self::Own(url) => reported(url).await,
            }
        })
    }
}

fn asked(sessions: &Sessions) -> BTreeSet<String> {
    let ids: Vec<String> = block_on(sessions.values("SELECT id FROM gateway.events")).unwrap();
    ids.into_iter().collect()
}

async fn reported(url: &str) -> (Summary, Vec<SubscriptionLine>) {
    let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(url))).unwrap();
    let read = read(&ledger).await;
    ledger.close().await;
    read
}

async fn read(reports: &impl Reports) -> (Summary, Vec<SubscriptionLine>) {
    let summary = reports.summary(REPORT_LINES_MAX).await.unwrap();
    (summary, reports.subscriptions(REPORT_LINES_MAX).await.unwrap())
}
