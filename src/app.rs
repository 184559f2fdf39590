//! The composition root: configuration in, wired components out. The only module that knows them all.

mod advice;
mod attention;
pub mod bees;
mod beside_ledger;
pub mod bind;
pub mod check;
pub mod colony;
mod desk;
mod dispatch;
mod drops;
pub mod erase;
pub mod evidence;
mod former;
mod housekeeping;
mod index;
mod ledger_standing;
mod listen;
mod manager;
pub mod notify;
mod options;
pub mod owner_keys;
mod pipeline;
mod problems;
pub mod reconcile;
mod recurring;
mod rehearse;
mod reload;
mod replaced_ledger;
mod restore;
mod retention;
mod route;
mod secrets;
pub mod shadow;
mod signatures;
mod spill;
pub mod stripe_setup;
mod traces;
pub mod transfer;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use advice::advice;
pub use drops::tell_drops;
use ledger_standing::LedgerStanding;
use listen::{Listeners, Routes};
pub use options::{inbox_options, open_inbox, open_receiving_inbox};
pub use rehearse::rehearse;
pub use reload::ReadSettings;
use reload::Reload;
pub use restore::finish_restore;
use secrets::Renewables;
use traces::Traces;

use crate::admin::{Operators, SHARED_OPERATOR};
use crate::backup::BackupError;
use crate::config::{Config, ConfigError, InForce, LedgerConfig, Sources};
use crate::dispatch::Context;
use crate::dispatch::switch::{RouteSwitch, Wish};
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::ledger_id::LedgerId;
use crate::domain::route::{Route, RouteInForce};
use crate::inbox::{Inbox, InboxError, InboxThreads, OpenError};
use crate::ledger::LedgerErrorKind;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Ending, Hangups, Inherited, Notifier, Readiness, Shutdown, Stop, Supervisor};
use crate::notify::SetupError;
use crate::revenue::guardian::RulesError;
use crate::revenue::tiers::TiersError;
use crate::stripe::api::ApiConfigError;
use crate::telemetry::health::Board;
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::TraceSetupError;

/// Longest wait for an answer of the ledger that a person asked for.
const PERSON_WAITS_MAX: Duration = Duration::from_mins(1);

/// Longest wait for the ledger before a start goes on without its answer.
const LEDGER_CHECK_MAX: Duration = Duration::from_secs(3);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error("cannot listen on {address} ({setting}): is another program using it?")]
    Listen {
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        #[source]
        source: io::Error,
    },
    /// The inbox cannot be opened.
    #[error("cannot open the inbox")]
    Inbox(#[source] OpenError),
    /// The inbox's database must not be used as it is.
    #[error(transparent)]
    InboxDatabase(InboxError),
    /// A command wants to read an embedded ledger that no gateway has made.
    #[error(
        "there is no ledger at {path}: set DATABASE_URL, or GATEWAY_DATA_DIR to the gateway's directory, or start the gateway once"
    )]
    NoLedger { path: std::path::PathBuf },
    /// The ledger cannot be opened.
    #[error("cannot open the ledger")]
    Ledger(#[source] crate::ledger::LedgerError),
    /// The key or address of Stripe's API is refused.
    #[error("cannot use STRIPE_SECRET_KEY")]
    Stripe(#[source] ApiConfigError),
    /// The tiers are inconsistent.
    #[error("cannot use the tiers")]
    Tiers(#[source] TiersError),
    /// The Guardian's rules file is refused.
    #[error("cannot use revenue.guardian_rules")]
    Rules(#[source] RulesError),
    /// An interrupted restore cannot be finished.
    #[error("cannot finish a restore that was interrupted")]
    Restore(#[source] BackupError),
    /// A setting is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Traces cannot be exported as configured.
    #[error("cannot export traces")]
    Traces(#[source] TraceSetupError),
    /// Messages cannot be sent as configured.
    #[error("cannot send notifications")]
    Notify(#[source] SetupError),
    /// Configuration and database differ about shadow mode.
    #[error(transparent)]
    Mode(#[from] shadow::ModeError),
    /// The directory for the gateway's files cannot be made or written.
    #[error("cannot make or write the directory {path}")]
    Directory {
        path: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// Whether a person has to change a setting or a file before another start can succeed.
    pub fn is_misconfiguration(&self) -> bool {
        let is_lasting = |source: &io::Error| {
            use io::ErrorKind::{IsADirectory, NotADirectory, PermissionDenied};
            matches!(source.kind(), PermissionDenied | NotADirectory | IsADirectory)
        };
        match self {
            Self::Config(_)
            | Self::Stripe(_)
            | Self::Tiers(_)
            | Self::Rules(_)
            | Self::Traces(_)
            | Self::Notify(_)
            | Self::Mode(_)
            | Self::InboxDatabase(_) => true,
            // No server has been asked yet, so this is a URL that cannot be read.
            Self::Ledger(error) => error.kind == LedgerErrorKind::Auth,
            Self::Inbox(OpenError::Path { source, .. }) | Self::Directory { source, .. } => is_lasting(source),
            Self::Inbox(error) if error.needs_other_settings() => true,
            Self::Listen { .. } | Self::NoLedger { .. } | Self::Inbox(_) | Self::Restore(_) => false,
        }
    }
}

#[derive(Debug)]
pub struct Gateway {
    pub webhooks: SocketAddr,
    /// Where metrics and health are served.
    pub admin: SocketAddr,
    pub inbox: Inbox,
    /// Sends entries the direct route, or through the colony again. Without a colony it has no effect.
    pub switch: RouteSwitch,
    pub shutdown: Shutdown,
    renewables: Renewables,
    board: Board,
    config: Config,
    supervisor: Supervisor,
    threads: InboxThreads,
    traces: Traces,
}

/// Opens the state of record that the configuration names, for `serve`, `bee` and `dev`, and makes an embedded one if its
/// file is missing. Refuses a ledger that lacks migrations. Accepts one that cannot be reached, because webhooks can be
/// stored without it.
pub async fn make_ledger(config: &Config, clock: &Clock) -> Result<Arc<dyn StateOfRecord>, StartError> {
    let ledger = prepare_ledger(config, clock)?;
    check_ledger(config, &*ledger).await?;
    Ok(ledger)
}

/// As [`make_ledger`], for a command, but makes no ledger: an empty one in the wrong place would pass for the gateway's.
pub async fn open_ledger(config: &Config, clock: &Clock) -> Result<Arc<dyn StateOfRecord>, StartError> {
    require_ledger(config)?;
    make_ledger(config, clock).await
}

/// As [`open_ledger`], for questions about everyone that a person waits for: each answer may take a minute.
pub async fn open_ledger_for_a_person(config: &Config, clock: &Clock) -> Result<Arc<dyn StateOfRecord>, StartError> {
    require_ledger(config)?;
    let ledger = pipeline::ledger_within(config, clock, PERSON_WAITS_MAX)?;
    check_ledger(config, &*ledger).await?;
    Ok(ledger)
}

/// Refuses to go on if the file of an embedded ledger is missing.
fn require_ledger(config: &Config) -> Result<(), StartError> {
    finish_restore(config).map_err(StartError::Restore)?;
    match &config.ledger {
        LedgerConfig::Sqlite { path } if !path.exists() => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            Err(StartError::NoLedger { path })
        }
        LedgerConfig::Sqlite { .. } | LedgerConfig::Postgres { .. } | LedgerConfig::Supabase { .. } => Ok(()),
    }
}

/// Refuses a ledger that is not the one that this configuration means. Returns why it cannot be used yet, if so.
async fn is_meant(config: &Config, ledger: &dyn StateOfRecord) -> Result<Option<String>, StartError> {
    let (checked, mode) = tokio::join!(check_ledger(config, ledger), shadow::check(config, ledger));
    let doubt = checked?;
    mode?;
    Ok(doubt)
}

/// Refuses a ledger that lacks migrations or is not the expected one. If it does not answer, returns why.
async fn check_ledger(config: &Config, ledger: &dyn StateOfRecord) -> Result<Option<String>, StartError> {
    const MEANING: &str = "the ledger does not answer as it should; entries will wait";
    let doubt = match tokio::time::timeout(LEDGER_CHECK_MAX, ledger.check()).await {
        Ok(Err(error)) if error.kind == LedgerErrorKind::Schema => return Err(StartError::Ledger(error)),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "{MEANING}");
            Some(chain(&error))
        }
        Err(_) => {
            let doubt = format!("no answer within {} s", LEDGER_CHECK_MAX.as_secs());
            tracing::warn!(error = doubt, "{MEANING}");
            Some(doubt)
        }
        Ok(Ok(())) => None,
    };
    if let Some(expected) = &config.ledger_expectation.id {
        expect(ledger, expected).await?;
    }
    Ok(doubt)
}

/// Prepares the state of record that the configuration names, for [`start_on`], without asking it anything.
pub fn prepare_ledger(config: &Config, clock: &Clock) -> Result<Arc<dyn StateOfRecord>, StartError> {
    finish_restore(config).map_err(StartError::Restore)?;
    pipeline::ledger(config, clock)
}

/// Refuses a ledger that is not the expected one. If it does not answer, code that depends on it asks again.
async fn expect(ledger: &dyn StateOfRecord, expected: &LedgerId) -> Result<(), StartError> {
    match tokio::time::timeout(LEDGER_CHECK_MAX, ledger.witness(&[])).await {
        Ok(Ok(testimony)) if testimony.ledger != *expected => {
            let message = format!(
                "is {expected}, and the ledger that is configured is {}: correct the database's address, or this setting",
                testimony.ledger
            );
            Err(colony::fault("GATEWAY_LEDGER_ID", message).into())
        }
        _ => Ok(()),
    }
}

/// Starts everything, on new sockets. On an error, everything started stops again.
pub async fn start(config: &Config, ledger: Arc<dyn StateOfRecord>, clock: Clock) -> Result<Gateway, StartError> {
    start_on(config, ledger, clock, Inherited::default()).await
}

/// As [`start`], on inherited sockets if there are any. The gateway receives webhooks as soon as the inbox is open. Only
/// then does it ask the ledger whether it is the right one.
pub async fn start_on(
    config: &Config,
    ledger: Arc<dyn StateOfRecord>,
    clock: Clock,
    inherited: Inherited,
) -> Result<Gateway, StartError> {
    let stripe = pipeline::stripe(config, &clock)?;
    let validator = Arc::new(pipeline::validator(config, stripe.clone(), &clock)?);
    let guardian = Arc::clone(validator.guardian());
    let (shutdown, readiness) = (Shutdown::default(), Readiness::default());
    let (inbox_latch, listener_latch) = (readiness.latch("inbox"), readiness.latch("listeners"));
    let (metrics, board) = (Metrics::new(), Board::default());
    let (tracer, traces) = Traces::start(config, "colony-gateway", &metrics)?;
    let instruments = Instruments { metrics: Arc::clone(&metrics), board: board.clone(), clock: clock.clone(), tracer };

    // Listening comes first: a port in use should fail before a large inbox is opened.
    let listeners = Listeners::open(config, inherited).await?;
    let (webhooks, admin) = listeners.addresses(config)?;
    let (inbox, threads) = options::open_and_note_inbox(config, &board, &clock).map_err(StartError::Inbox)?;
    let switch = RouteSwitch::new(Wish::from_use_colony(config.colony.enabled));
    let context = Context {
        inbox: inbox.clone(),
        switch: switch.clone(),
        in_force: RouteInForce::new(Route::Direct),
        instruments: instruments.clone(),
    };
    let mut supervisor = Supervisor::new(shutdown.clone(), readiness.clone());
    housekeeping::prepare(&inbox, inbox_latch, &instruments, &mut supervisor, &shutdown)
        .await
        .map_err(StartError::InboxDatabase)?;
    let access = problems::start(config.http.console_url.as_ref(), &ledger, &context, &mut supervisor, &shutdown).await;
    beside_ledger::start(config, &ledger, &context, &mut supervisor, &shutdown);
    index::start(&inbox, &mut supervisor, &shutdown);
    let reconcile = stripe.clone().map(|api| {
        let parts = (api, inbox.clone(), Arc::clone(&ledger), Arc::clone(&validator));
        reconcile::runner(config, parts, Arc::clone(&metrics), board.clone(), clock)
    });
    let started =
        dispatch::start(config, context.clone(), Arc::clone(&validator), &ledger, &mut supervisor, &shutdown)?;
    let operators = Operators::of(&config.http, inbox.clock().clone());
    let renewables = Renewables {
        guardian: Arc::clone(&guardian),
        endpoints: config.endpoints.clone(),
        operators: operators.clone(),
        stripe,
        ledger,
        colony: started.keys.clone(),
        verifier: started.verifier.clone(),
        metrics: Arc::clone(&metrics),
        clock: inbox.clock().clone(),
        settings: InForce::new(config),
    };
    renewables.announce();
    let orders = reconcile.as_ref().map(|runner| runner.handle.clone());
    let told_of = (access, orders.clone());
    notify::start(config, &context, told_of, &mut supervisor, &shutdown).map_err(StartError::Notify)?;
    let asked = (Arc::clone(&renewables.ledger), orders, renewables.stripe.clone());
    let desk = desk::lay_out(&renewables, validator, inbox.clock());
    let control = operators.map(|known| started.control(known, &context, asked, desk, (&mut supervisor, &shutdown)));
    let routes = Routes::new(config, context, readiness, control);
    listeners.start(config, routes, &mut supervisor, &shutdown);
    reconcile::start(reconcile, &mut supervisor, &shutdown);
    let keep = (housekeeping::retention(&config.inbox), config.inbox.data_dir.clone());
    let housework = housekeeping::run(inbox.clone(), keep, Arc::clone(&metrics), guardian, shutdown.clone());
    supervisor.start("housekeeping", housework);
    supervisor.start("inbox", housekeeping::watch(threads.fatal(), shutdown.clone()));
    listener_latch.release();
    let doubt = is_meant(config, &*renewables.ledger).await?;
    let standing = LedgerStanding::begin(board.clone(), renewables.clock.clone(), doubt);
    supervisor.start("ledger standing", standing.run(Arc::clone(&renewables.ledger), shutdown.clone()));
    let config = config.clone();
    Ok(Gateway { webhooks, admin, inbox, switch, shutdown, renewables, board, config, supervisor, threads, traces })
}

impl Gateway {
    /// A link into the console, valid for a minute and one login, for the first operator; `None` without a console.
    pub fn console_link(&self) -> Option<String> {
        let http = &self.config.http;
        let name = http.operators.first().map_or(SHARED_OPERATOR, |operator| operator.name.as_str());
        let is_on = listen::is_console_on(http.console, self.admin == self.webhooks);
        let code = self.renewables.operators.as_ref().filter(|_| is_on)?.codes.issue(name.into())?;
        Some(format!("http://{}{}", self.admin, code.path))
    }

    /// Reads settings again at each hangup, and secrets and rules whenever their files change.
    pub fn reload_at(&mut self, hangups: Hangups, (read, sources): (ReadSettings, Sources), manager: Notifier) {
        let (board, renewables) = (self.board.clone(), self.renewables.clone());
        let (switch, clock) = (Some(self.switch.clone()), self.inbox.clock().clone());
        let reload = Reload { sources, read, switch, renewables, manager, board, clock };
        self.supervisor.start("reload", reload.run(self.config.clone(), hangups, self.shutdown.clone()));
    }

    /// Tells the service manager when the gateway serves and when it stops, and that it lives as long as the inbox's writer
    /// answers.
    pub fn tell(&mut self, manager: Notifier) {
        let status = format!("receiving webhooks on {}", self.webhooks);
        let pulse = manager::LifeSign::Inbox(self.inbox.clone());
        self.supervisor.start("service manager", manager::tell(manager, status, pulse, self.shutdown.clone()));
    }

    /// Runs until `stop` says so or something fails. Ends in this order: listeners, pumps, the inbox, traces.
    pub async fn run(self, stop: impl Stop, deadline: Duration) -> Ending {
        let Self { inbox, supervisor, threads, traces, .. } = self;
        drop(inbox);
        let ending = supervisor.run(stop, traces.rest_of(deadline)).await;
        // The last handles are gone with the tasks. The writer commits what is queued and closes the file.
        let closed = tokio::task::spawn_blocking(move || threads.join()).await;
        traces.finish(ending, deadline).await;
        if closed.is_ok() { ending } else { Ending::Failed }
    }
}
