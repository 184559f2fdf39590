//! The composition root: configuration in, wired components out. The only module that knows them all.

pub mod bees;
pub mod colony;
mod controls;
mod dispatch;
pub mod erase;
mod housekeeping;
mod options;
mod problems;
pub mod reconcile;
mod reload;
mod restore;
mod route;
pub mod shadow;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

pub use options::inbox_options;
use options::{server_options, webhook_options};

pub use restore::finish_restore;

use crate::backup::BackupError;
use crate::config::{Config, ConfigError, LedgerConfig, Sources};
use crate::dispatch::Surroundings;
use crate::domain::clock::Clock;
use crate::domain::route::{Route, RouteInForce, RouteSwitch, Wish};
use crate::http::{self, AdminState, Controls, Webhooks};
use crate::inbox::{Inbox, InboxThreads, OpenError};
use crate::ledger::postgres::{PostgresConfig, PostgresLedger};
use crate::ledger::report::StateOfRecord;
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::supabase::{SupabaseConfig, SupabaseLedger};
use crate::ledger::{Ledger, LedgerErrorKind};
use crate::lifecycle::{Ending, Hangups, Readiness, Shutdown, Stop, Supervisor};
use crate::revenue::guardian::{Guardian, RulesError};
use crate::revenue::project::{Settings, UserIds};
use crate::revenue::tiers::{Tiers, TiersError};
use crate::revenue::validator::Validator;
use crate::stripe::api::{ApiConfigError, ApiSettings, StripeApi};
use crate::telemetry::health::Board;
use crate::telemetry::metrics::Metrics;

/// Tiers on sale, from the least to the best.
const TIERS: [&str; 3] = ["bronze", "silver", "gold"];

/// Longest wait for the ledger before webhooks are received without it.
const LEDGER_CHECK_MAX: Duration = Duration::from_secs(3);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error("cannot listen on {address} ({setting}): is another program using it?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The inbox cannot be opened.
    #[error("cannot open the inbox")]
    Inbox(#[source] OpenError),
    /// The ledger cannot be opened.
    #[error("cannot open the ledger")]
    Ledger(#[source] crate::ledger::LedgerError),
    /// The key or address of Stripe's API is refused.
    #[error("cannot use STRIPE_SECRET_KEY")]
    Stripe(#[source] ApiConfigError),
    /// The tiers make no sense.
    #[error("cannot use the tiers")]
    Tiers(#[source] TiersError),
    /// The Guardian's rules file is refused.
    #[error("cannot use revenue.guardian_rules")]
    Rules(#[source] RulesError),
    /// A restore that was interrupted cannot be carried to its end.
    #[error("cannot finish a restore that was interrupted")]
    Restore(#[source] BackupError),
    /// A setting is missing or makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Configuration and database differ about shadow mode.
    #[error(transparent)]
    Mode(#[from] shadow::ModeError),
    /// The directory for the gateway's files cannot be made.
    #[error("cannot create {path}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    /// Where webhooks are received.
    pub webhooks: SocketAddr,
    /// Where metrics and health are served.
    pub admin: SocketAddr,
    /// The journal.
    pub inbox: Inbox,
    /// Sends entries the direct route, or lets them go through the colony again. Has no effect without a colony.
    pub switch: RouteSwitch,
    /// Begins draining from inside.
    pub shutdown: Shutdown,
    guardian: Arc<Guardian>,
    supervisor: Supervisor,
    threads: InboxThreads,
}

/// Opens the state of record that the configuration names. One that lacks migrations is refused; one that cannot be
/// reached is not, since webhooks are stored without it.
pub async fn open_ledger(config: &Config, clock: &Clock) -> Result<Arc<dyn StateOfRecord>, StartError> {
    finish_restore(config).map_err(StartError::Restore)?;
    let ledger: Arc<dyn StateOfRecord> = match &config.ledger {
        LedgerConfig::Sqlite { path } => {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)
                    .map_err(|source| StartError::Directory { path: parent.to_owned(), source })?;
            }
            Arc::new(SqliteLedger::open(path, clock.clone()).map_err(StartError::Ledger)?)
        }
        LedgerConfig::Postgres { url, connections } => {
            let connections = u32::try_from(*connections).unwrap_or(u32::MAX);
            let shadow = config.shadow.is_some();
            let postgres = PostgresConfig { connections, shadow, ..PostgresConfig::new(url.clone()) };
            Arc::new(PostgresLedger::new(&postgres).map_err(StartError::Ledger)?)
        }
        LedgerConfig::Supabase { url, key, .. } => {
            let shadow = config.shadow.is_some();
            let supabase = SupabaseConfig { shadow, ..SupabaseConfig::new(url.as_str(), key.clone()) };
            Arc::new(SupabaseLedger::new(&supabase).map_err(StartError::Ledger)?)
        }
    };
    match tokio::time::timeout(LEDGER_CHECK_MAX, ledger.check()).await {
        Ok(Err(error)) if error.kind == LedgerErrorKind::Schema => return Err(StartError::Ledger(error)),
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ledger does not answer yet; entries will wait"
            );
        }
        Err(_) => tracing::warn!("the ledger does not answer yet; entries will wait"),
        Ok(Ok(())) => {}
    }
    Ok(ledger)
}

/// What asks Stripe, if there is a key.
fn stripe_api(config: &Config, clock: &Clock) -> Result<Option<Arc<StripeApi>>, StartError> {
    let Some(key) = &config.stripe.key else { return Ok(None) };
    let settings = ApiSettings { base_url: config.stripe.base_url.clone(), ..ApiSettings::new(key.clone()) };
    Ok(Some(Arc::new(StripeApi::new(&settings, clock.clone()).map_err(StartError::Stripe)?)))
}

/// The pipeline from events to verdicts.
fn validator(config: &Config, api: Option<Arc<StripeApi>>, clock: &Clock) -> Result<Validator, StartError> {
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
    let uuid_users = revenue.uuid_users.unwrap_or(!matches!(config.ledger, LedgerConfig::Sqlite { .. }));
    let user_ids = if uuid_users { UserIds::Uuid } else { UserIds::Any };
    let settings = Settings {
        tiers,
        unpaid_entitles: revenue.unpaid_entitles,
        connect_entitles: revenue.connect_entitles,
        user_ids,
    };
    let validator = Validator::new(settings, Arc::new(guardian), clock.clone());
    Ok(match api {
        Some(api) => validator.with_stripe(api),
        None => validator,
    })
}

/// Starts everything. What is started stops again when an error is returned.
pub async fn start(config: &Config, ledger: Arc<dyn StateOfRecord>, clock: Clock) -> Result<Gateway, StartError> {
    shadow::check(config, &*ledger).await?;
    let api = stripe_api(config, &clock)?;
    let validator = Arc::new(validator(config, api.clone(), &clock)?);
    let guardian = Arc::clone(validator.guardian());
    let (shutdown, readiness) = (Shutdown::default(), Readiness::default());
    let (inbox_latch, listener_latch) = (readiness.latch("inbox"), readiness.latch("listeners"));
    let (metrics, board) = (Metrics::new(), Board::default());
    let route = RouteInForce::new(Route::Direct);

    // Listening comes first: a port that is taken must not cost the time to open a large inbox.
    let (listener, admin_listener) = listen(config).await?;
    let (webhooks_address, admin_address) = addresses(config, &listener, admin_listener.as_ref())?;
    let (inbox, threads) = Inbox::open(&inbox_options(config), clock.clone()).map_err(StartError::Inbox)?;
    inbox_latch.release();

    let mut supervisor = Supervisor::new(shutdown.clone(), readiness.clone());
    let state = AdminState {
        inbox: inbox.clone(),
        readiness,
        board: board.clone(),
        metrics: Arc::clone(&metrics),
        route: route.clone(),
        clock: clock.clone(),
    };
    let webhooks = Webhooks {
        inbox: inbox.clone(),
        route: route.clone(),
        metrics: Arc::clone(&metrics),
        clock: clock.clone(),
        options: webhook_options(config),
    };
    let switch = RouteSwitch::new(Wish::from_use_colony(config.colony.enabled));
    let watch = problems::Watch::begin(inbox.clone(), Arc::clone(&metrics), board.clone()).await;
    supervisor.start("problems", watch.run(shutdown.clone()));
    let upkeep = housekeeping::ledger_upkeep(Arc::clone(&ledger) as Arc<dyn Ledger>, shutdown.clone());
    supervisor.start("ledger upkeep", upkeep);
    let around = Surroundings {
        inbox: inbox.clone(),
        switch: switch.clone(),
        in_force: route,
        metrics: Arc::clone(&metrics),
        board: board.clone(),
        clock: clock.clone(),
    };
    let reconcile = api.map(|api| {
        let parts = (api, inbox.clone(), Arc::clone(&ledger), Arc::clone(&validator));
        reconcile::runner(config, parts, Arc::clone(&metrics), board, clock)
    });
    let started = dispatch::start(config, around.clone(), validator, ledger, &mut supervisor, &shutdown)?;
    let controls = controls::controls(config, around, started, reconcile.as_ref());
    let routes = Routes { webhooks, state, controls };
    start_listeners(config, (listener, admin_listener), routes, &mut supervisor, &shutdown);
    reconcile::start(reconcile, &mut supervisor, &shutdown);
    let keep = housekeeping::retention(&config.inbox);
    supervisor.start(
        "housekeeping",
        housekeeping::run(inbox.clone(), keep, metrics, Arc::clone(&guardian), shutdown.clone()),
    );
    supervisor.start("inbox", housekeeping::watch(threads.fatal(), shutdown.clone()));
    listener_latch.release();
    Ok(Gateway {
        webhooks: webhooks_address,
        admin: admin_address,
        inbox,
        switch,
        shutdown,
        guardian,
        supervisor,
        threads,
    })
}

/// What the listeners serve.
struct Routes {
    webhooks: Webhooks,
    state: AdminState,
    controls: Controls,
}

/// Starts the listeners: one for webhooks and probes, one for metrics and health, or one for all.
fn start_listeners(
    config: &Config,
    (listener, admin_listener): (TcpListener, Option<TcpListener>),
    Routes { webhooks, state, controls }: Routes,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) {
    let connections = Some(Arc::clone(&state.metrics));
    let options = server_options(config);
    let endpoints = config.endpoints.clone();
    let public = match admin_listener {
        Some(listener) => {
            let router = http::admin_router(state.clone(), controls);
            let serve = http::serve(listener, router, options, None, shutdown.token().clone());
            supervisor.start("admin listener", serve);
            http::public_router(webhooks, endpoints, state)
        }
        None => http::combined_router(webhooks, endpoints, state, controls),
    };
    supervisor.start("webhook listener", http::serve(listener, public, options, connections, shutdown.token().clone()));
}

impl Gateway {
    /// Reads the settings again at each hangup, for those that can change at run time: the route and the Guardian's rules.
    pub fn reload_at(&mut self, hangups: Hangups, sources: Sources) {
        let reload = reload::Reload { sources, switch: self.switch.clone(), guardian: Arc::clone(&self.guardian) };
        self.supervisor.start("reload", reload.run(hangups, self.shutdown.clone()));
    }

    /// Runs until `stop` says so or something fails, and ends in order: listeners, pumps, then the inbox.
    pub async fn run(self, stop: impl Stop, deadline: Duration) -> Ending {
        let Self { inbox, supervisor, threads, .. } = self;
        drop(inbox);
        let ending = supervisor.run(stop, deadline).await;
        // The last handles went with the tasks; the writer commits what is queued and closes the file.
        if tokio::task::spawn_blocking(move || threads.join()).await.is_err() {
            return Ending::Failed;
        }
        ending
    }
}

async fn listen(config: &Config) -> Result<(TcpListener, Option<TcpListener>), StartError> {
    let bind = |address, setting| async move {
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, setting, source })
    };
    let http = &config.http;
    let listener = bind(http.listen, "http.listen").await?;
    // Two ports that the system chooses are never the same.
    let one_address = http.admin_listen == http.listen && http.listen.port() != 0;
    let admin = if one_address { None } else { Some(bind(http.admin_listen, "http.admin_listen").await?) };
    Ok((listener, admin))
}

/// Where the listeners listen, which the system may have chosen.
fn addresses(
    config: &Config,
    listener: &TcpListener,
    admin: Option<&TcpListener>,
) -> Result<(SocketAddr, SocketAddr), StartError> {
    let address = |listener: &TcpListener, setting, address| {
        listener.local_addr().map_err(|source| StartError::Listen { address, setting, source })
    };
    let webhooks = address(listener, "http.listen", config.http.listen)?;
    let admin = match admin {
        Some(admin) => address(admin, "http.admin_listen", config.http.admin_listen)?,
        None => webhooks,
    };
    Ok((webhooks, admin))
}
