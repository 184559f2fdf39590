//! The state of record: reachable, and with all migrations.

use super::Diagnosis;
use crate::app::attention::{NAMED_MAX, tell};
use crate::app::pipeline;
use crate::config::{Config, LedgerConfig};
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::ledger::LedgerErrorKind;
use crate::ledger::report::StateOfRecord;
use crate::telemetry::health::Level;

/// Whether every subscription that entitles gives somebody access.
async fn access(ledger: &dyn StateOfRecord) -> Diagnosis {
    const NAME: &str = "access";
    match ledger.attention(NAMED_MAX).await {
        Ok(attention) => match tell(&attention) {
            (Level::Ok, detail) => Diagnosis::ok(NAME, detail),
            (_, detail) => {
                Diagnosis::degraded(NAME, detail, "`colony-gateway inbox problems` says what to do for each")
            }
        },
        Err(error) => Diagnosis::degraded(NAME, chain(&error), "look at the database and the way to it"),
    }
}

pub(super) async fn probe(config: &Config, clock: &Clock) -> Vec<Diagnosis> {
    const NAME: &str = "ledger";
    if let LedgerConfig::Sqlite { path } = &config.ledger
        && !path.exists()
    {
        return vec![Diagnosis::none(NAME, format!("embedded, made at the first start in {}", path.display()))];
    }
    let ledger = match pipeline::ledger(config, clock) {
        Ok(ledger) => ledger,
        Err(error) => {
            return vec![Diagnosis::down(NAME, chain(&error), "check DATABASE_URL or SUPABASE_URL and its key")];
        }
    };
    let name = ledger.name();
    vec![match ledger.check().await {
        Ok(()) => {
            let id = ledger.witness(&[]).await.map_or_else(|_| "unknown".to_owned(), |said| said.ledger.to_string());
            let reachable = Diagnosis::ok(NAME, format!("{name} {id}, reachable, all migrations are in"));
            return vec![reachable, access(&*ledger).await];
        }
        Err(error) => {
            let action = match error.kind {
                LedgerErrorKind::Schema => "run `colony-gateway migrate`",
                LedgerErrorKind::Auth => "check the password or key of the ledger",
                LedgerErrorKind::Storage => "mend the disk of the database",
                LedgerErrorKind::Unavailable
                | LedgerErrorKind::Overload
                | LedgerErrorKind::TimedOut
                | LedgerErrorKind::Conflict
                | LedgerErrorKind::Rejected
                | LedgerErrorKind::Unknown => "look at the database and the way to it; entries wait in the inbox",
            };
            Diagnosis::down(NAME, chain(&error), action)
        }
    }]
}
