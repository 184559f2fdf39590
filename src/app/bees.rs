//! Bees wired: beside a gateway, or alone on a machine of their own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use colonies::client::Client;
use colonies::identity::PrivateKey;
use tokio::net::TcpListener;

use super::colony::{client, fault, key, name, openers, verifier};
use super::reload::Reload;
use super::secrets::Renewables;
use super::traces::Traces;
use super::{StartError, listen, manager, pipeline};
use crate::admin::{self, Health};
pub use crate::bees::approval::{Approval, Approver, Candidate};
use crate::bees::heartbeat::{Heartbeat, Rhythm};
use crate::bees::{KeySource, Pool, PoolOptions, Tools};
use crate::config::{ColonyConfig, Config, ConfigError, InForce, Sources};
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::door;
use crate::job::completion::Completions;
use crate::ledger::Ledger;
use crate::ledger::report::{Reports, StateOfRecord};
use crate::ledger::witness::Witness;
use crate::lifecycle::{Ending, Hangups, Notifier, Readiness, Shutdown, Stop, Supervisor};
use crate::pipeline::Pipeline;
use crate::telemetry::health::Board;
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;

/// How many hex digits of the key's id go into the default name of bees.
const NAME_DIGITS: usize = 8;

/// How many bytes of the machine's name go into such a name, at most: the length of a DNS label.
const HOST_BYTES_MAX: usize = 63;

/// How often recorded durations are folded together.
const UPKEEP: Duration = Duration::from_secs(5);

/// Sets up `count` bees as configured. The caller starts them.
///
/// # Errors
/// If a setting that bees need is missing or wrong.
pub(super) fn pool(
    config: &Config,
    count: usize,
    (client, pipeline): (Client, Pipeline),
    ledger: Arc<dyn StateOfRecord>,
    completions: Option<Completions>,
    instruments: Instruments,
) -> Result<Pool, ConfigError> {
    let colony = &config.colony;
    let owner = match &colony.colony_key {
        Some(_) => Some(key(colony.colony_key.as_ref(), "COLONIES_COLONY_PRVKEY", "")?),
        None => None,
    };
    let (keys, id) = executor_keys(colony, owner.as_deref())?;
    let pool_name = colony.executor_name.clone().unwrap_or_else(|| name_of(&host_name(), &id, completions.is_none()));
    let options = PoolOptions {
        count,
        poll: colony.poll_timeout,
        call_timeout: config.dispatch.ledger_timeout,
        ..PoolOptions::new(name(colony)?, colony.executor_type.clone(), pool_name)
    };
    let tools = Tools {
        client,
        keys,
        owner,
        verifier: Arc::new(verifier(colony)?),
        openers: Arc::new(openers(colony)?),
        pipeline,
        ledger: Arc::clone(&ledger) as Arc<dyn Witness>,
        reports: colony.offer_summary.then_some(ledger as Arc<dyn Reports>),
        completions,
        instruments,
    };
    Pool::new(options, tools).map_err(|error| fault("bees", error))
}

/// The bees that `colony setup` approves: `BEE_COUNT` (at least one) of each of these names or, without names, of
/// `EXECUTOR_NAME`. None if there is no name, or no key from which their ids derive.
///
/// # Errors
/// If names are given but the key is missing or cannot be read.
pub fn candidates(colony: &ColonyConfig, names: &[String]) -> Result<Vec<Candidate>, ConfigError> {
    let names = match (names, &colony.executor_name) {
        ([], Some(name)) if colony.executor_key.is_some() => std::slice::from_ref(name),
        (names, _) => names,
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let (keys, _) = executor_keys(colony, None)?;
    let bees = names.iter().map(|name| Candidate::of_pool(&keys, name, colony.bees.max(1)));
    let bees: Result<Vec<_>, _> = bees.collect();
    Ok(bees.map_err(|error| fault("COLONIES_EXECUTOR_PRVKEY", chain(&error)))?.concat())
}

/// Checks for everything that [`pool`] would refuse.
pub(super) fn check(colony: &ColonyConfig) -> Result<(), ConfigError> {
    let owner = match &colony.colony_key {
        Some(_) => Some(key(colony.colony_key.as_ref(), "COLONIES_COLONY_PRVKEY", "")?),
        None => None,
    };
    executor_keys(colony, owner.as_deref())?;
    name(colony)?;
    verifier(colony).map(drop)
}

/// The name of the machine or container; empty if the system does not tell.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The default name of bees, from the host and the key. So several hosts with one key do not share a name, nor several keys
/// on one host, nor separate bees and those of a gateway. Containers have their own host names.
fn name_of(host: &str, id: &str, alone: bool) -> String {
    let label = host.split('.').next().unwrap_or_default();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-' || *letter == '_';
    let label: String = label.chars().filter(is_plain).take(HOST_BYTES_MAX).collect();
    let id = &id[..NAME_DIGITS];
    let kind = if alone { "bees" } else { "bee" };
    if label.is_empty() { format!("{kind}-{id}") } else { format!("{kind}-{label}-{id}") }
}

/// The executor's key, with its id. Without one, it derives from the key of the colony's owner.
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

/// Starts bees, and their heartbeat if there is a Redis for it.
pub(super) fn release(
    pool: Pool,
    config: &Config,
    metrics: &Arc<Metrics>,
    clock: &Clock,
    (supervisor, shutdown): (&mut Supervisor, &Shutdown),
) -> Result<(), ConfigError> {
    if let Some(url) = &config.heartbeat {
        let (metrics, clock) = (Arc::clone(metrics), clock.clone());
        let heartbeat = Heartbeat::new(url, pool.pulses(), Rhythm::default(), metrics, clock);
        let heartbeat = heartbeat.map_err(|error| fault("REDIS_URL", error))?;
        supervisor.start("heartbeat", heartbeat.run(shutdown.token().clone()));
    }
    pool.start(supervisor, shutdown);
    Ok(())
}

#[derive(Debug)]
pub struct BeeHouse {
    /// Where metrics and health are served; `None` if the address was in use.
    pub admin: Option<SocketAddr>,
    pub shutdown: Shutdown,
    renewables: Renewables,
    board: Board,
    config: Config,
    clock: Clock,
    supervisor: Supervisor,
    traces: Traces,
}

/// Starts separate bees. `BEE_COUNT=0`, as set for a gateway without bees, means one bee here. Several such processes may
/// share a machine: one that finds the admin address in use works without it.
///
/// # Errors
/// If the configuration lacks something that bees need.
pub async fn start(config: &Config, ledger: Arc<dyn StateOfRecord>, clock: Clock) -> Result<BeeHouse, StartError> {
    super::shadow::check(config, &*ledger).await?;
    let (shutdown, readiness) = (Shutdown::default(), Readiness::default());
    let metrics = Metrics::new();
    let (tracer, traces) = Traces::start(config, "colony-gateway-bee", &metrics)?;
    let board = Board::default();
    let instruments = Instruments { metrics: Arc::clone(&metrics), board: board.clone(), clock: clock.clone(), tracer };
    super::owner_keys::tell(config, true, &board, &clock);
    let stripe = pipeline::stripe(config, &clock)?;
    let validator = Arc::new(pipeline::validator(config, stripe.clone(), &clock)?);
    let mut renewables = Renewables {
        guardian: Arc::clone(validator.guardian()),
        endpoints: Vec::new(),
        operators: None,
        stripe,
        ledger: Arc::clone(&ledger),
        colony: None,
        verifier: None,
        metrics: Arc::clone(&metrics),
        clock: clock.clone(),
        settings: InForce::new(config),
    };
    let into_ledger = Arc::clone(&ledger) as Arc<dyn Ledger>;
    let pipeline = Pipeline::new(validator, into_ledger, Arc::clone(&metrics), clock.clone());
    let with = (client(&config.colony)?, pipeline);
    let pool = pool(config, config.colony.bees.max(1), with, ledger, None, instruments.clone())?;
    if let Some(ledger) = pool.wrong_ledger().await {
        let message = format!(
            "the jobs that wait in the colony are for another ledger than {ledger}, the one that is configured here: give the \
             bees the gateway's database"
        );
        return Err(fault("DATABASE_URL", message).into());
    }
    renewables.verifier = Some(Arc::clone(pool.verifier()));
    renewables.announce();
    let mut supervisor = Supervisor::new(shutdown.clone(), readiness.clone());
    let admin = match TcpListener::bind(config.http.admin_listen).await {
        Ok(listener) => {
            let address = listener.local_addr().ok();
            let health = Health { readiness, instruments, receiving: None };
            let router = admin::admin_router(health, None, &config.http.admin_hosts, axum::Router::new());
            let serve = door::serve(listener, router, listen::admin_bounds(config), None, shutdown.token().clone());
            supervisor.start("admin listener", serve);
            address
        }
        Err(error) => {
            let (address, error) = (config.http.admin_listen, &error as &dyn std::error::Error);
            tracing::warn!(%address, error, "no metrics and no health: cannot listen on http.admin_listen");
            None
        }
    };
    supervisor.start("upkeep", upkeep(Arc::clone(&metrics), shutdown.clone()));
    release(pool, config, &metrics, &clock, (&mut supervisor, &shutdown))?;
    Ok(BeeHouse { admin, shutdown, renewables, board, config: config.clone(), clock, supervisor, traces })
}

/// Without a configured ledger, separate bees would write to a file that no gateway reads.
///
/// # Errors
/// If a setting names the colony, but none names the ledger.
pub fn require_a_ledger(config: &Config) -> Result<(), ConfigError> {
    // Without a colony they have nothing to do, which another check reports.
    if config.ledger_expectation.is_named || config.colony.servers.is_none() {
        return Ok(());
    }
    let message = "bees write to the gateway's ledger, and no setting says where that is: set DATABASE_URL or SUPABASE_URL \
                   as for the gateway (or GATEWAY_LEDGER_SQLITE_PATH, to its file, on the gateway's machine)";
    Err(fault("DATABASE_URL", message))
}

/// Keeps recorded durations from piling up if no scraper collects them.
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
    /// Reads secrets and rules again at each hangup, and whenever their files change.
    pub fn reload_at(&mut self, hangups: Hangups, sources: Sources, manager: Notifier) {
        let (renewables, clock) = (self.renewables.clone(), self.clock.clone());
        let board = self.board.clone();
        let read = Box::new(Config::for_bees);
        let reload = Reload { sources, read, switch: None, renewables, manager, board, clock };
        self.supervisor.start("reload", reload.run(self.config.clone(), hangups, self.shutdown.clone()));
    }

    /// Tells the service manager when the bees are at work, that they live, and when they stop.
    pub fn tell(&mut self, manager: Notifier) {
        let status = counted(self.config.colony.bees.max(1), "bee", "bees");
        let told = manager::tell(manager, status, manager::LifeSign::Runtime, self.shutdown.clone());
        self.supervisor.start("service manager", told);
    }

    /// Runs until `stop` says so or the bees break too often.
    pub async fn run(self, stop: impl Stop, deadline: Duration) -> Ending {
        let Self { supervisor, traces, .. } = self;
        let ending = supervisor.run(stop, traces.rest_of(deadline)).await;
        traces.finish(ending, deadline).await;
        ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bees_without_a_name_are_called_by_host_and_key() {
        let id = "16279109b7e4a5bb2e003d185777aa4266b82edfb221dbe0ca73992a68dc8543";
        assert_eq!(name_of("0c1d2e3f4a5b", id, false), "bee-0c1d2e3f4a5b-16279109", "a container");
        assert_eq!(name_of("web_1.example.com", id, false), "bee-web_1-16279109");
        // A colon in an executor's name breaks the colony's list of executors.
        assert_eq!(name_of("a:b c\u{e9}", id, false), "bee-abc-16279109");
        assert_eq!(name_of("", id, false), "bee-16279109");
        assert_eq!(name_of("web_1", id, true), "bees-web_1-16279109", "beside a gateway of the same key");
        assert_eq!(name_of(&"h".repeat(300), id, false).len(), "bee--16279109".len() + HOST_BYTES_MAX);
        assert!(!host_name().is_empty());
    }
}
