//! Reconciling wired: beside a gateway, where it runs by itself and takes orders, or alone for one run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{StartError, open_ledger, pipeline};
use crate::config::Config;
use crate::domain::backoff::Backoff;
use crate::domain::clock::Clock;
use crate::inbox::Inbox;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::reconcile::{
    self, ReconcileOrder, ReconcileReport, Reconciler, Recounter, Refetcher, RunTerms, Runner, Schedule,
};
use crate::revenue::validator::Validator;
use crate::stripe::api::StripeApi;
use crate::telemetry::health::Board;
use crate::telemetry::metrics::Metrics;

/// Waits between attempts at one page.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };

/// The parts that a comparison uses.
type Parts = (Arc<StripeApi>, Inbox, Arc<dyn StateOfRecord>, Arc<Validator>);

fn reconciler(config: &Config, (api, inbox, ledger, validator): Parts, clock: Clock) -> Reconciler {
    let (endpoints, accounts) = (config.endpoints.clone(), config.reconcile.accounts.clone());
    let scratch = scratch(config);
    Reconciler { api, inbox, ledger, validator, endpoints, accounts, scratch, backoff: BACKOFF, clock }
}

/// Where a recount keeps its scratch file: the data directory, or the system's temporary one if this machine has no data
/// directory.
fn scratch(config: &Config) -> PathBuf {
    let directory = &config.inbox.data_dir;
    if directory.is_dir() { directory.clone() } else { std::env::temp_dir() }
}

/// The task of a gateway. It takes orders even if no interval is set for it to run by itself.
pub(super) fn runner(config: &Config, parts: Parts, metrics: Arc<Metrics>, board: Board, clock: Clock) -> Runner {
    let (handle, orders) = reconcile::handle();
    let settings = &config.reconcile;
    let schedule = Schedule { events: settings.events, subscriptions: settings.subscriptions, grace: settings.grace };
    Runner { reconciler: Arc::new(reconciler(config, parts, clock)), schedule, handle, orders, metrics, board }
}

/// Compares with Stripe by itself and on orders, if there is a key.
pub(super) fn start(reconcile: Option<Runner>, supervisor: &mut Supervisor, shutdown: &Shutdown) {
    if let Some(runner) = reconcile {
        supervisor.start_in_background("reconcile", runner.run(shutdown.clone()));
    }
}

/// Fetches damaged events again, for an inbox that no gateway has open; `None` without a key.
pub fn refetcher(config: &Config, inbox: Inbox) -> Result<Option<Refetcher>, StartError> {
    let api = pipeline::stripe(config, inbox.clock())?;
    Ok(api.map(|api| Refetcher { api, inbox }))
}

/// Runs once over an inbox that no gateway has open.
///
/// # Errors
/// If the ledger cannot be opened or there is no key. Later errors are in the report.
pub async fn run_once(
    config: &Config,
    inbox: Inbox,
    order: ReconcileOrder,
    clock: Clock,
    tell: impl FnMut(&ReconcileReport) + Send,
) -> Result<Option<ReconcileReport>, StartError> {
    let Some(api) = pipeline::stripe(config, &clock)? else { return Ok(None) };
    let validator = Arc::new(pipeline::validator(config, Some(Arc::clone(&api)), &clock)?);
    let ledger = open_ledger(config, &clock).await?;
    let reconciler = reconciler(config, (api, inbox, ledger, validator), clock);
    Ok(Some(reconciler.run(RunTerms::ordered(order), tell).await))
}

/// Counts again, with only the ledger: a gateway may run at the same time, and Stripe is not asked.
///
/// # Errors
/// If the ledger cannot be opened. Later errors are in the report.
pub async fn recount_once(
    config: &Config,
    dry_run: bool,
    clock: &Clock,
    mut tell: impl FnMut(&ReconcileReport) + Send,
) -> Result<ReconcileReport, StartError> {
    let validator = pipeline::validator(config, None, clock)?;
    let (ledger, scratch) = (open_ledger(config, clock).await?, scratch(config));
    let recounter = Recounter { ledger: &*ledger, validator: &validator, scratch: &scratch, backoff: BACKOFF };
    let mut report = ReconcileReport { dry_run, ..ReconcileReport::default() };
    let counts = recounter.run(dry_run, |counts| {
        report.counts = Some(counts.clone());
        tell(&report);
    });
    let counts = counts.await;
    report.counts = Some(counts);
    Ok(report)
}
