//! The ledger in PostgreSQL, over a connection of its own.
//!
//! A batch is one call of `public.gateway_apply_batch` and one round trip. Statements go as plain text, never as
//! prepared ones: so this also works through a pooler that gives each transaction to another server process, where a
//! statement prepared on one is unknown to, or somebody else's on, the next.

mod erase;
mod fault;

use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

pub(super) use self::fault::fault;
use super::audit::{AUDIT_IDS_MAX, Audit, LeaseAnswer, LeaseAsk, SubscriptionFacts, SubscriptionKey, id_list};
use super::batch::{Answer, empty, encode};
use super::migrations::{Installed, missing_error, none_ran};
use super::report::{REPORT_LINES_MAX, Reports, SubscriptionLine, Summary};
use super::shadow::{REFRESH_USERS, SHADOW_LINES_MAX, Shadow, ShadowReport};
use super::{BoxFuture, Ledger, LedgerError, LedgerErrorKind, Outcome, Renewal};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;
use crate::revenue::verdict::Verdict;

/// Name of this ledger in logs, metrics and errors.
const NAME: &str = "postgres";

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
#[derive(Debug)]
pub struct PostgresLedger {
    pool: PgPool,
    deadline: Duration,
    shadow: bool,
}

impl PostgresLedger {
    /// A ledger that connects when it is first used; to be made on the runtime it will run on. Fails only for a URL that
    /// cannot be read.
    pub fn new(config: &PostgresConfig) -> Result<Self, LedgerError> {
        let pool = PgPoolOptions::new()
            .max_connections(config.connections.max(1))
            .acquire_timeout(config.deadline)
            .connect_lazy_with(config.options()?);
        Ok(Self { pool, deadline: config.deadline, shadow: config.shadow })
    }

    /// Waits until the connections are closed; calls after this fail.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs one statement that answers with one JSON value.
    async fn ask<T: DeserializeOwned + Send + Unpin + 'static>(&self, statement: String) -> Result<T, LedgerError> {
        let mut connection = self.pool.acquire().await.map_err(fault)?;
        if let Ok(answer) = tokio::time::timeout(self.deadline, value(&mut connection, statement)).await {
            return answer;
        }
        // The connection still waits for the answer to this statement: it cannot serve another.
        drop(connection.detach());
        let message = format!("no answer within {} s", self.deadline.as_secs_f32());
        Err(LedgerError::new(NAME, LedgerErrorKind::TimedOut, message))
    }
}

async fn value<T: DeserializeOwned + Send + Unpin + 'static>(
    connection: &mut PgConnection,
    statement: String,
) -> Result<T, LedgerError> {
    // All of the answer is read, not its first row alone: the row comes before the commit, the end of the answer after.
    let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(connection).await.map_err(fault)?;
    let row = rows.first().ok_or_else(|| fault(sqlx::Error::RowNotFound))?;
    row.try_get::<Json<T>, _>(0).map(|Json(value)| value).map_err(fault)
}

/// `text` as a literal in which no character has a meaning, whatever the server's settings.
fn literal(text: &str) -> String {
    let mut tag = "$gateway$".to_owned();
    let mut number = 0_u64;
    // The tag must not occur in the text; the loop ends because the text is finite.
    while text.contains(&tag) {
        number += 1;
        tag = format!("$gateway{number}$");
    }
    format!("{tag}{text}{tag}")
}

impl Ledger for PostgresLedger {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply<'a>(&'a self, batch: &'a [Verdict]) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>> {
        Box::pin(async move {
            let encoded = encode(NAME, batch)?.in_shadow(self.shadow);
            let answers: Vec<Answer> = match &encoded.document {
                None => Vec::new(),
                Some(document) => {
                    self.ask(format!("SELECT public.gateway_apply_batch({}::jsonb)", literal(document))).await?
                }
            };
            encoded.decode(NAME, answers)
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            let answer = self.ask("SELECT public.gateway_check()".to_owned()).await;
            let installed: Installed = answer.map_err(|error| none_ran(NAME, error))?;
            missing_error(NAME, &installed).map_or(Ok(()), Err)
        })
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

    fn upkeep(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            let statement = format!("SELECT public.gateway_apply_batch({}::jsonb)", literal(&empty(self.shadow)));
            self.ask::<Vec<Answer>>(statement).await.map(|_| ())
        })
    }
}

impl Reports for PostgresLedger {
    fn summary(&self, days: u32) -> BoxFuture<'_, Result<Summary, LedgerError>> {
        Box::pin(self.ask(format!("SELECT public.gateway_summary({})", days.min(REPORT_LINES_MAX))))
    }

    fn subscriptions(&self, limit: u32) -> BoxFuture<'_, Result<Vec<SubscriptionLine>, LedgerError>> {
        Box::pin(self.ask(format!("SELECT public.gateway_subscriptions({})", limit.min(REPORT_LINES_MAX))))
    }
}

impl Audit for PostgresLedger {
    fn known_events<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<String>, LedgerError>> {
        Box::pin(self.ask(format!("SELECT public.gateway_known_events({}::jsonb)", literal(&id_list(ids)))))
    }

    fn subscription_facts<'a>(
        &'a self,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<SubscriptionFacts>, LedgerError>> {
        Box::pin(self.ask(format!("SELECT public.gateway_subscription_facts({}::jsonb)", literal(&id_list(ids)))))
    }

    fn subscriptions_after<'a>(
        &'a self,
        after: &'a str,
        livemode: bool,
    ) -> BoxFuture<'a, Result<Vec<SubscriptionKey>, LedgerError>> {
        let after = literal(after);
        Box::pin(self.ask(format!("SELECT public.gateway_subscriptions_after({after}, {livemode}, {AUDIT_IDS_MAX})")))
    }

    fn lease<'a>(&'a self, ask: &'a LeaseAsk) -> BoxFuture<'a, Result<LeaseAnswer, LedgerError>> {
        let (name, holder, seconds) = (literal(ask.name), literal(&ask.holder), ask.seconds());
        let covered = ask.covered.map_or_else(|| "NULL".to_owned(), |moment: Timestamp| moment.millis().to_string());
        Box::pin(self.ask(format!("SELECT public.gateway_take_lease({name}, {holder}, {seconds}, {covered})")))
    }
}

impl Shadow for PostgresLedger {
    fn is_shadow(&self) -> BoxFuture<'_, Result<Option<bool>, LedgerError>> {
        Box::pin(self.ask("SELECT public.gateway_is_shadow()".to_owned()))
    }

    fn set_shadow(&self, wanted: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            self.ask::<serde_json::Value>(format!("SELECT public.gateway_set_shadow({wanted})")).await.map(drop)
        })
    }

    fn refresh<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Option<String>, LedgerError>> {
        Box::pin(self.ask(format!("SELECT public.gateway_refresh({}, {REFRESH_USERS})", literal(after))))
    }

    fn shadow_report(&self, most: u32) -> BoxFuture<'_, Result<ShadowReport, LedgerError>> {
        Box::pin(self.ask(format!("SELECT public.gateway_shadow_report({})", most.min(SHADOW_LINES_MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_own_literal() {
        for text in ["", "it's", "\\", "$$", "$gateway$", "$gateway$ $gateway1$ $gateway2$; DROP TABLE x"] {
            let literal = literal(text);
            let tag = &literal[..=literal[1..].find('$').unwrap() + 1];
            let inner = literal.strip_prefix(tag).and_then(|rest| rest.strip_suffix(tag)).unwrap();
            assert_eq!(inner, text);
            assert!(!inner.contains(tag), "{literal}");
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
