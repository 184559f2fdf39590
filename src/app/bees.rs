//! Bees wired: beside a gateway, or alone on a machine of their own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::colony::{client, fault, key, name, verifier};
use super::options::server_options;
use super::{StartError, validator};
use crate::bees::{KeySource, Pool, PoolOptions, Tools};
use crate::colony::client::Client;
use crate::colony::completion::Completions;
use crate::colony::identity::PrivateKey;
use crate::config::{ColonyConfig, Config, ConfigError};
use crate::domain::clock::Clock;
use crate::http::{self, WorkerState};
use crate::ledger::Ledger;
use crate::ledger::report::{Reports, StateOfRecord};
use crate::lifecycle::{Ending, Readiness, Shutdown, Stop, Supervisor};
use crate::revenue::validator::Validator;
use crate::telemetry::health::Board;
use crate::telemetry::metrics::Metrics;

/// Hex digits of the key's id in the name of bees that were given none.
const NAME_DIGITS: usize = 8;

/// How often recorded durations are folded together.
const UPKEEP: Duration = Duration::from_secs(5);

/// What bees share with whatever else is in the process.
#[derive(Debug)]
pub struct Shared {
    /// Speaks to the colony.
    pub client: Client,
    /// The pipeline.
    pub validator: Arc<Validator>,
    /// The state of record.
    pub ledger: Arc<dyn Ledger>,
    /// The same, for summaries.
    pub reports: Option<Arc<dyn Reports>>,
    /// Where the gateway hears of processes that were closed.
    pub completions: Option<Completions>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Health.
    pub board: Board,
    /// Time.
    pub clock: Clock,
}

/// Sets up `count` bees as configured. The caller starts them.
///
/// # Errors
/// When a setting that bees need is missing or makes no sense.
pub fn pool(config: &Config, count: usize, shared: Shared) -> Result<Pool, ConfigError> {
    let colony = &config.colony;
    let owner = match &colony.colony_key {
        Some(_) => Some(key(colony.colony_key.as_ref(), "COLONIES_COLONY_PRVKEY", "")?),
        None => None,
    };
    let (keys, id) = executor_keys(colony, owner.as_deref())?;
    let pool_name = colony.executor_name.clone().unwrap_or_else(|| format!("bee-{}", &id[..NAME_DIGITS]));
    let options = PoolOptions {
        count,
        poll: colony.poll_timeout,
        call_timeout: config.dispatch.ledger_timeout,
        ..PoolOptions::new(name(colony)?, colony.executor_type.clone(), pool_name)
    };
    let Shared { client, validator, ledger, reports, completions, metrics, board, clock } = shared;
    let tools = Tools {
        client,
        keys,
        owner,
        verifier: Arc::new(verifier(colony)?),
        validator,
        ledger,
        reports: reports.filter(|_| colony.offer_summary),
        completions,
        metrics,
        board,
        clock,
    };
    Pool::new(options, tools).map_err(|error| fault("bees", error))
}

/// The executor's key, with its id. Without one, it follows from the key of the colony's owner.
fn executor_keys(config: &ColonyConfig, owner: Option<&PrivateKey>) -> Result<(KeySource, String), ConfigError> {
    const KEY: &str = "COLONIES_EXECUTOR_PRVKEY";
    let key = match (&config.executor_key, owner) {
        (None, Some(owner)) => Arc::new(owner.derive("executor")),
        (given, _) => key(given.as_ref(), KEY, "the key of the executor that the bees are")?,
    };
    let id = key.id().to_string();
    let keys = match &config.executor_key_file {
        Some(path) if config.executor_key.is_some() => KeySource::File(path.clone()),
        _ => KeySource::Given(key),
    };
    Ok((keys, id))
}

/// Bees without a gateway.
#[derive(Debug)]
pub struct BeeHouse {
    /// Where metrics and health are served; nothing when the address was taken.
    pub admin: Option<SocketAddr>,
    /// Begins draining from inside.
    pub shutdown: Shutdown,
    supervisor: Supervisor,
}

/// Starts bees alone. `BEE_COUNT=0`, which a gateway without bees has, is one bee here. Several such processes may share a
/// machine: the one that finds the admin address taken works without.
///
/// # Errors
/// When the configuration lacks something that bees need.
pub async fn start(config: &Config, ledger: Arc<dyn StateOfRecord>, clock: Clock) -> Result<BeeHouse, StartError> {
    super::shadow::check(config, &*ledger).await?;
    let (shutdown, readiness) = (Shutdown::default(), Readiness::default());
    let (metrics, board) = (Metrics::new(), Board::default());
    let shared = Shared {
        client: client(&config.colony)?,
        validator: Arc::new(validator(config, super::stripe_api(config, &clock)?, &clock)?),
        ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
        reports: Some(ledger as Arc<dyn Reports>),
        completions: None,
        metrics: Arc::clone(&metrics),
        board: board.clone(),
        clock: clock.clone(),
    };
    let pool = pool(config, config.colony.bees.max(1), shared)?;
    let mut supervisor = Supervisor::new(shutdown.clone(), readiness.clone());
    let admin = match TcpListener::bind(config.http.admin_listen).await {
        Ok(listener) => {
            let address = listener.local_addr().ok();
            let router = http::worker_router(WorkerState { readiness, board, metrics: Arc::clone(&metrics), clock });
            let serve = http::serve(listener, router, server_options(config), None, shutdown.token().clone());
            supervisor.start("admin listener", serve);
            address
        }
        Err(error) => {
            let (address, error) = (config.http.admin_listen, &error as &dyn std::error::Error);
            tracing::warn!(%address, error, "no metrics and health: cannot listen on http.admin_listen");
            None
        }
    };
    supervisor.start("upkeep", upkeep(metrics, shutdown.clone()));
    pool.start(&mut supervisor, &shutdown);
    Ok(BeeHouse { admin, shutdown, supervisor })
}

/// Keeps recorded durations from piling up where nobody scrapes.
async fn upkeep(metrics: Arc<Metrics>, shutdown: Shutdown) -> Result<(), Infallible> {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = ticks.tick() => metrics.upkeep(),
            () = shutdown.draining() => return Ok(()),
        }
    }
}

impl BeeHouse {
    /// Runs until `stop` says so or the bees break too often.
    pub async fn run(self, stop: impl Stop, deadline: Duration) -> Ending {
        self.supervisor.run(stop, deadline).await
    }
}
