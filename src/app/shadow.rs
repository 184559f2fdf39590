//! Shadow mode wired: configuration and database must agree, and what differs is counted at intervals.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::LEDGER_CHECK_MAX;
use crate::config::Config;
use crate::dispatch::Context;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::ledger::LedgerError;
use crate::ledger::report::StateOfRecord;
use crate::ledger::shadow::{Rehearsed, ShadowReport, Waiting};
use crate::lifecycle::{Shutdown, Supervisor};
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::Metrics;

const COMPONENT: &str = "shadow";

/// The wait before the first comparison, so that entries waiting in the inbox at the start are included.
const FIRST: Duration = Duration::from_secs(10);

/// Kinds of difference, as the metric names them.
const KINDS: [&str; 3] = ["missing_there", "missing_here", "different"];

/// Configuration and database differ about shadow mode, so batches would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// The database writes its public tables.
    #[error(
        "GATEWAY_MODE is shadow, but the database writes its public tables: `colony-gateway shadow begin` switches it to \
         shadow mode"
    )]
    DatabaseIsLive,
    /// The database does not write its public tables.
    #[error(
        "the database is in shadow mode and no public table would be written: `colony-gateway shadow end` switches it to \
         live and shows what users have; to stay in shadow mode, set GATEWAY_MODE=shadow"
    )]
    DatabaseIsShadow,
}

/// Refuses a configuration that differs from the database. If the database cannot be reached now, it refuses the batches
/// later.
pub(super) async fn check(config: &Config, ledger: &dyn StateOfRecord) -> Result<(), ModeError> {
    let Ok(Ok(Some(database))) = tokio::time::timeout(LEDGER_CHECK_MAX, ledger.is_shadow()).await else {
        return Ok(());
    };
    match (config.shadow.is_some(), database) {
        (true, false) => Err(ModeError::DatabaseIsLive),
        (false, true) => Err(ModeError::DatabaseIsShadow),
        (true, true) | (false, false) => Ok(()),
    }
}

/// Starts comparing in shadow mode.
pub(super) fn start(
    config: &Config,
    context: &Context,
    ledger: &Arc<dyn StateOfRecord>,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) {
    if let Some(shadow) = config.shadow {
        let compare = Compare {
            ledger: Arc::clone(ledger),
            interval: shadow.interval,
            metrics: Arc::clone(&context.instruments.metrics),
            board: context.instruments.board.clone(),
            clock: context.instruments.clock.clone(),
        };
        supervisor.start_in_background("shadow", compare.run(shutdown.clone()));
    }
}

struct Compare {
    ledger: Arc<dyn StateOfRecord>,
    interval: Duration,
    metrics: Arc<Metrics>,
    board: Board,
    clock: Clock,
}

impl Compare {
    async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut wait = FIRST.min(self.interval);
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.draining() => return Ok(()),
            }
            wait = self.interval;
            match self.ledger.shadow_report(0).await {
                Ok(report) => self.tell(&report),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "shadow: cannot compare");
                    let detail = "no public table is written; the last comparison failed";
                    self.board.set(COMPONENT, Level::Degraded, detail, self.clock.now());
                }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    fn tell(&self, report: &ShadowReport) {
        for kind in KINDS {
            self.metrics.shadow_differences.set(kind, report.of_kind(kind) as f64);
        }
        let [missing_there, missing_here, different] = KINDS.map(|kind| report.of_kind(kind));
        tracing::info!(
            missing_there,
            missing_here,
            different,
            "shadow: compared; `colony-gateway shadow report` shows what differs"
        );
        let differences = counted(report.total(), "difference", "differences");
        let detail = format!("no public table is written; {differences} from what stands there");
        self.board.set(COMPONENT, Level::Ok, detail, self.clock.now());
    }
}

/// The result that a takeover would have.
#[derive(Clone, Debug, Default)]
pub struct Prediction {
    /// Users whose rows would be written.
    pub users: u64,
    /// Users whom the public tables would not take, or not completely.
    pub refused: Vec<Waiting>,
    /// Subscriptions that are paid for and would give no user access.
    pub unowned: u64,
}

impl Prediction {
    /// Whether everyone who pays would get what they pay for.
    pub fn is_whole(&self) -> bool {
        self.refused.is_empty() && self.unowned == 0
    }
}

/// Rehearses the takeover, in batches of users, and undoes it.
///
/// # Errors
/// If the database refuses or cannot be reached.
pub async fn predict(ledger: &dyn StateOfRecord) -> Result<Prediction, LedgerError> {
    let mut prediction =
        Prediction { unowned: ledger.attention(0).await?.reasons.values().sum(), ..Prediction::default() };
    let mut last = String::new();
    loop {
        let Rehearsed { last: reached, users, refused } = ledger.rehearse(&last).await?;
        prediction.users += users;
        prediction.refused.extend(refused);
        match reached {
            Some(user) => last = user,
            None => return Ok(prediction),
        }
    }
}

/// Ends shadow mode and shows what users have. Reports after each transaction. If it breaks off, it can be repeated.
///
/// # Errors
/// If the database refuses or cannot be reached. Rows already shown stay.
pub async fn end(ledger: &dyn StateOfRecord, tell: impl FnMut(u64)) -> Result<u64, LedgerError> {
    ledger.set_shadow(false).await?;
    show_all(ledger, tell).await
}

/// Shows what users have, and reports after each transaction.
///
/// # Errors
/// Those of [`end`].
pub async fn show_all(ledger: &dyn StateOfRecord, mut tell: impl FnMut(u64)) -> Result<u64, LedgerError> {
    let (mut last, mut transactions) = (String::new(), 0);
    while let Some(user) = ledger.refresh(&last).await? {
        last = user;
        transactions += 1;
        tell(transactions);
    }
    Ok(transactions)
}
