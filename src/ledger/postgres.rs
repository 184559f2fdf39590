//! The ledger in PostgreSQL, over a connection of its own.
//!
//! A call is one statement and one round trip. What it carries goes as parameters in the same trip and without a name, so that
//! this also works through a pooler that gives each transaction to another server process.

use std::time::Duration;

use super::call::Call;
use super::driver::{NAME, closed, fault, no_connection, no_row, no_tls, not_let_in, unconnected, unreadable};
use super::functions::{Answered, FunctionLedger, Transport};
use super::{LedgerError, LedgerErrorKind, Renewal};
use crate::domain::ledger_id::LedgerId;
use crate::domain::secret::Secret;
use crate::postgres::{Address, Json, Link, Pool};

/// Longest wait for one host to accept a connection, if the deadline leaves time for it.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// `postgres://…`, as in `DATABASE_URL`.
    pub url: Secret,
    /// Most connections at once. Batches run one after the other in the database, so a few are enough.
    pub connections: u32,
    /// Longest wait for a connection and, after that, for an answer.
    pub deadline: Duration,
    /// Whether the sender is in shadow mode. The database refuses batches if it disagrees.
    pub shadow: bool,
    /// Which ledger the settings say it is. The database refuses batches if it is another one.
    pub id: Option<LedgerId>,
}

impl PostgresConfig {
    /// With four connections and ten seconds.
    pub fn new(url: Secret) -> Self {
        Self { url, connections: 4, deadline: Duration::from_secs(10), shadow: false, id: None }
    }

    /// A probable mistake in the URL, which the driver can still read: an unescaped character of the password moves where
    /// the host begins or ends.
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

    /// Opens a connection to see whether it can.
    pub async fn knock(&self) -> Result<(), LedgerError> {
        let knocked = tokio::time::timeout(self.deadline, async {
            self.connect().await?.close().await;
            Ok(())
        });
        knocked.await.unwrap_or_else(|_| Err(no_connection()))
    }

    /// A single connection, such as for migrations.
    pub async fn connect(&self) -> Result<Link, LedgerError> {
        Link::open(&self.address()?).await.map_err(unconnected)
    }

    /// Where the URL leads.
    pub fn address(&self) -> Result<Address, LedgerError> {
        let address = Address::read(self.url.expose()).map_err(unreadable)?;
        Ok(address.within(self.deadline.min(CONNECT_MAX), self.deadline))
    }
}

/// The ledger in PostgreSQL.
pub type PostgresLedger = FunctionLedger<Direct>;

/// A pool of connections to the database.
#[derive(Debug)]
pub struct Direct {
    pool: Pool,
    deadline: Duration,
}

impl PostgresLedger {
    /// A ledger that connects when it is first used. Fails for a URL or certificates that cannot be read.
    pub fn new(config: &PostgresConfig) -> Result<Self, LedgerError> {
        let connections = usize::try_from(config.connections).unwrap_or(usize::MAX);
        let pool = Pool::new(config.address()?, connections).map_err(|error| no_tls(&error))?;
        Ok(Self { transport: Direct { pool, deadline: config.deadline }, shadow: config.shadow, id: config.id.clone() })
    }

    /// Waits until idle connections are closed. Later calls fail.
    pub async fn close(&self) {
        self.transport.pool.close().await;
    }
}

impl Transport for Direct {
    const NAME: &'static str = NAME;

    async fn call<T: Answered>(&self, call: &Call<'_>) -> Result<T, LedgerError> {
        let taken = tokio::time::timeout(self.deadline, async {
            let place = self.pool.place().await.map_err(closed)?;
            let link = place.link().await.map_err(not_let_in)?;
            Ok((place, link))
        });
        let (place, mut link) = taken.await.unwrap_or_else(|_| Err(no_connection()))?;
        let Ok(answer) = tokio::time::timeout(self.deadline, value(&mut link, call)).await else {
            // The connection still waits for the answer to this statement, so it is closed.
            let message = format!("no answer within {} s", self.deadline.as_secs_f32());
            return Err(LedgerError::new(NAME, LedgerErrorKind::TimedOut, message));
        };
        place.keep(link);
        answer
    }

    /// Applies to connections opened from now on; open ones are already let in.
    fn renew(&self, secret: &Secret) -> Result<Renewal, LedgerError> {
        let config = PostgresConfig { deadline: self.deadline, ..PostgresConfig::new(secret.clone()) };
        let address = config.address()?;
        if !address.is_same_place(&self.pool.address()) {
            return Ok(Renewal::NeedsRestart);
        }
        self.pool.lead_to(address).map_err(|error| no_tls(&error))?;
        Ok(Renewal::Done)
    }
}

async fn value<T: Answered>(link: &mut Link, call: &Call<'_>) -> Result<T, LedgerError> {
    let answer = link.run(&call.as_statement(), &call.parameters()).await.map_err(fault)?;
    if answer.has_warned {
        // When a wait for a standby is cancelled, the statement ends as a success with a warning.
        let message =
            "the server ended a wait for its standby early, so a failover may lose the commit: doing it again is safe";
        return Err(LedgerError::new(NAME, LedgerErrorKind::TimedOut, message));
    }
    let row = answer.rows.first().ok_or_else(no_row)?;
    row.try_get::<_, Json<T>>(0).map(|Json(value)| value).map_err(fault)
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
