//! From settings to the pipeline that turns events into verdicts, and to the ledger that takes them.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::config::{Config, LedgerConfig};
use crate::domain::clock::Clock;
use crate::domain::private;
use crate::ledger::postgres::{PostgresConfig, PostgresLedger};
use crate::ledger::report::StateOfRecord;
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::supabase::{SupabaseConfig, SupabaseLedger};
use crate::revenue::guardian::Guardian;
use crate::revenue::project::{Settings, UserIds};
use crate::revenue::tiers::Tiers;
use crate::revenue::validator::Validator;
use crate::stripe::api::{ApiSettings, StripeApi};

/// Tiers on sale, from the least to the best.
const TIERS: [&str; 3] = ["bronze", "silver", "gold"];

/// The client of Stripe's API, if there is a key.
pub(super) fn stripe(config: &Config, clock: &Clock) -> Result<Option<Arc<StripeApi>>, StartError> {
    let Some(key) = &config.stripe.key else { return Ok(None) };
    let settings = ApiSettings { base_url: config.stripe.base_url.clone(), ..ApiSettings::new(key.clone()) };
    StripeApi::new(&settings, clock.clone()).map(|api| Some(Arc::new(api))).map_err(StartError::Stripe)
}

/// The pipeline from events to verdicts.
pub(super) fn validator(config: &Config, api: Option<Arc<StripeApi>>, clock: &Clock) -> Result<Validator, StartError> {
    let revenue = &config.revenue;
    let prices = revenue.tiers.iter().map(|(price, tier)| (price.as_str(), *tier));
    let tiers = Tiers::new(TIERS, prices, None).map_err(StartError::Tiers)?;
    let mut guardian = Guardian::default();
    if let Some(livemode) = api.as_ref().and_then(|api| api.livemode()) {
        guardian = guardian.expecting_livemode(livemode);
    }
    if let Some(path) = &revenue.guardian_rules {
        guardian.reload_file(path).map_err(StartError::Rules)?;
    }
    let user_ids = if revenue.uuid_users { UserIds::Uuid } else { UserIds::Any };
    let settings = Settings {
        tiers,
        unpaid_entitles: revenue.unpaid_entitles,
        connect_entitles: revenue.connect_entitles,
        pause_withholds: !revenue.pause_entitles,
        grace: revenue.grace.clone(),
        user_ids,
        user_fields: revenue.user_fields.clone(),
        references_name_others: !revenue.references_name_users,
    };
    let validator = Validator::new(settings, Arc::new(guardian), clock.clone());
    Ok(match api {
        Some(api) => validator.with_stripe(api),
        None => validator,
    })
}

/// Longest wait for an answer of the ledger.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The state of record that the configuration names. It is not asked anything yet.
pub(super) fn ledger(config: &Config, clock: &Clock) -> Result<Arc<dyn StateOfRecord>, StartError> {
    ledger_within(config, clock, ANSWER_MAX)
}

/// The same, with this time for answers.
pub(super) fn ledger_within(
    config: &Config,
    clock: &Clock,
    deadline: Duration,
) -> Result<Arc<dyn StateOfRecord>, StartError> {
    Ok(match &config.ledger {
        LedgerConfig::Sqlite { path } => {
            if let Some(parent) = path.parent() {
                private::directory(parent)
                    .map_err(|source| StartError::Directory { path: parent.to_owned(), source })?;
            }
            Arc::new(SqliteLedger::open(path, clock.clone()).map_err(StartError::Ledger)?)
        }
        LedgerConfig::Postgres { url, connections } => {
            let connections = u32::try_from(*connections).unwrap_or(u32::MAX);
            let (shadow, id) = (config.shadow.is_some(), config.ledger_expectation.id.clone());
            let postgres = PostgresConfig { connections, deadline, shadow, id, ..PostgresConfig::new(url.clone()) };
            Arc::new(PostgresLedger::new(&postgres).map_err(StartError::Ledger)?)
        }
        LedgerConfig::Supabase { url, key, .. } => {
            let (shadow, id) = (config.shadow.is_some(), config.ledger_expectation.id.clone());
            let supabase = SupabaseConfig { deadline, shadow, id, ..SupabaseConfig::new(url.as_str(), key.clone()) };
            Arc::new(SupabaseLedger::new(&supabase).map_err(StartError::Ledger)?)
        }
    })
}
