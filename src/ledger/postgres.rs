//! The ledger in PostgreSQL, over a connection of its own.
//!
//! A call is one statement and one round trip. Statements go as plain text, never as prepared ones: so this also works
//! through a pooler that gives each transaction to another server process, where a statement prepared on one is unknown to,
//! or somebody else's on, the next.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, Row};

use super::call::Call;
use super::driver::{NAME, fault};
use super::functions::{Answered, FunctionLedger, Transport};
use super::{LedgerError, LedgerErrorKind, Renewal};
use crate::domain::secret::Secret;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// `postgres://…`, as in `DATABASE_URL`.
    pub url: Secret,
    /// Most connections at once. Batches run one after the other in the database, so a few are enough.
    pub connections: u32,
    /// Longest wait for a connection and, after that, for an answer.
    pub deadline: Duration,
    /// Whoever sends is in shadow mode; the database refuses batches when it is not.
    pub shadow: bool,
}

impl PostgresConfig {
    /// Four connections and ten seconds.
    pub fn new(url: Secret) -> Self {
        Self { url, connections: 4, deadline: Duration::from_secs(10), shadow: false }
    }

    /// What in the URL is probably not what was meant: the driver reads it, and a character of the password that should be
    /// escaped moves where the host begins or ends.
    pub fn url_doubt(&self) -> Option<&'static str> {
        let url = self.url.expose().trim();
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if rest.get(authority.len()..).is_some_and(|behind| behind.contains('@')) {
            return Some("an @ stands behind the first /, ? or #: a character of the password is not escaped");
        }
        if authority.matches('@').count() > 1 {
            return Some("there are two @: one of the password is not escaped");
        }
        let hexadecimal = |place: usize| {
            rest.get(place + 1..place + 3).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let percent = rest.match_indices('%').any(|(place, _)| !hexadecimal(place));
        percent.then_some("a % is not followed by two hexadecimal digits: it is not escaped")
    }

    /// Whether a connection can be had at once. A pool tries a refused one again until its time is over, and says only that.
    pub async fn knock(&self) -> Result<(), LedgerError> {
        let connection = PgConnection::connect_with(&self.options()?).await.map_err(fault)?;
        // Whatever the end of it says, it was there.
        let _ = connection.close().await;
        Ok(())
    }

    /// Options for a single connection, e.g. for migrations.
    pub fn options(&self) -> Result<PgConnectOptions, LedgerError> {
        let url = self.url.expose().trim();
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            // The driver would take any scheme.
            return Err(fault(sqlx::Error::Configuration("neither postgres:// nor postgresql://".into())));
        }
        let options = PgConnectOptions::from_str(url).map_err(fault)?;
        Ok(options
            .application_name("colony-gateway")
            .statement_cache_capacity(0)
            // Poolers refuse start-up parameters that they do not know.
            .extra_float_digits(None)
            // Statements hold customers' data.
            .disable_statement_logging())
    }
}

/// The ledger in PostgreSQL.
pub type PostgresLedger = FunctionLedger<Direct>;

/// A pool of connections to the database.
#[derive(Debug)]
pub struct Direct {
    pool: PgPool,
    deadline: Duration,
}

impl PostgresLedger {
    /// A ledger that connects when it is first used; to be made on the runtime it will run on. Fails only for a URL that
    /// cannot be read.
    pub fn new(config: &PostgresConfig) -> Result<Self, LedgerError> {
        let pool = PgPoolOptions::new()
            .max_connections(config.connections.max(1))
            .acquire_timeout(config.deadline)
            .connect_lazy_with(config.options()?);
        Ok(Self { transport: Direct { pool, deadline: config.deadline }, shadow: config.shadow })
    }

    /// Waits until the connections are closed; calls after this fail.
    pub async fn close(&self) {
        self.transport.pool.close().await;
    }
}

impl Transport for Direct {
    const NAME: &'static str = NAME;

    async fn call<T: Answered>(&self, call: &Call<'_>) -> Result<T, LedgerError> {
        let mut connection = self.pool.acquire().await.map_err(fault)?;
        if let Ok(answer) = tokio::time::timeout(self.deadline, value(&mut connection, call.as_statement())).await {
            return answer;
        }
        // The connection still waits for the answer to this statement: it cannot serve another.
        drop(connection.detach());
        let message = format!("no answer within {} s", self.deadline.as_secs_f32());
        Err(LedgerError::new(NAME, LedgerErrorKind::TimedOut, message))
    }

    /// For connections that are opened from now on; those that are open were let in already.
    fn renew(&self, secret: &Secret) -> Result<Renewal, LedgerError> {
        let (old, new) = (self.pool.connect_options(), PostgresConfig::new(secret.clone()).options()?);
        let place = |options: &PgConnectOptions| {
            (options.get_host().to_owned(), options.get_port(), options.get_database().map(str::to_owned))
        };
        if place(&old) != place(&new) {
            return Ok(Renewal::NeedsRestart);
        }
        self.pool.set_connect_options(new);
        Ok(Renewal::Done)
    }
}

async fn value<T: Answered>(connection: &mut PgConnection, statement: String) -> Result<T, LedgerError> {
    // All of the answer is read, not its first row alone: the row comes before the commit, the end of the answer after.
    let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(connection).await.map_err(fault)?;
    let row = rows.first().ok_or_else(|| fault(sqlx::Error::RowNotFound))?;
    row.try_get::<Json<T>, _>(0).map(|Json(value)| value).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger as _;

    #[test]
    fn characters_that_should_be_escaped_are_noticed() {
        let doubt = |url: &str| PostgresConfig::new(Secret::new(url)).url_doubt();
        for good in
            ["postgres://u:p@h/x", "postgres://u:p%40%25@h:1/x?sslmode=require", "postgres://h/x", "postgres:///x"]
        {
            assert_eq!(doubt(good), None, "{good}");
        }
        for bad in [
            "postgres://u:a@b@h/x",
            "postgres://u:50%off@h/x",
            "postgres://u:a/b@h/x",
            "postgres://u:a#b@h/x",
            "postgres://u:%@h",
        ] {
            assert!(doubt(bad).is_some(), "{bad}");
        }
    }

    #[tokio::test]
    async fn another_password_is_taken_and_another_database_is_not() {
        let config = |url: &str| PostgresConfig::new(Secret::new(url));
        let ledger = PostgresLedger::new(&config("postgres://u:old@localhost:1/x")).unwrap();
        assert_eq!(ledger.renew(&Secret::new("postgres://u:new@localhost:1/x")).unwrap(), Renewal::Done);
        assert_eq!(ledger.renew(&Secret::new("postgres://u:new@localhost:1/y")).unwrap(), Renewal::NeedsRestart);
        assert!(ledger.renew(&Secret::new("mysql://u:new@localhost:1/x")).is_err());
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_refused_without_showing_it() {
        for url in ["mysql://root:hunter2@localhost/x", "hunter2", "", "postgres://u:hunter2@localhost:port/x"] {
            let config = PostgresConfig::new(Secret::new(url));
            let error = PostgresLedger::new(&config).unwrap_err();
            assert_eq!(error.kind, LedgerErrorKind::Auth, "{url}");
            assert!(error.message.contains("DATABASE_URL"), "{error}");
            assert!(!format!("{error:?} {config:?}").contains("hunter2"), "{url}");
        }
    }
}
