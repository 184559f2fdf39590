//! Payloads in the state of record go when they are older than the operator keeps them: a pass an hour, in small steps.
//!
//! Each gateway makes its passes: two at once do no harm, and the second finds nothing left to do.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::dispatch::Context;
use crate::domain::clock::Timestamp;
use crate::ledger::LedgerError;
use crate::ledger::expiry::Expiry;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::telemetry::instruments::Instruments;

/// Time between the start and the first pass, and between two passes.
const PASS: Duration = Duration::from_hours(1);
const FIRST_PASS: Duration = Duration::from_mins(1);

/// Pause between two steps, so that events come first.
const STEP_PAUSE: Duration = Duration::from_millis(100);

/// Starts the passes, if the operator set a time.
pub(super) fn start(
    config: &Config,
    ledger: &Arc<dyn StateOfRecord>,
    context: &Context,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) {
    if let Some(keep) = config.keep_payloads {
        let passes = run(Arc::clone(ledger), keep, context.instruments.clone(), shutdown.clone());
        supervisor.start_in_background("payload retention", passes);
    }
}

/// Reduces payloads older than `keep`, until draining begins.
async fn run(
    ledger: Arc<dyn StateOfRecord>,
    keep: Duration,
    instruments: Instruments,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    let Instruments { metrics, clock, .. } = instruments;
    let mut wait = FIRST_PASS;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.draining() => return Ok(()),
        }
        wait = PASS;
        let before = clock.now().minus(keep);
        let (reduced, result) = pass(&*ledger, before, STEP_PAUSE, &shutdown).await;
        metrics.retention_removed.of("payloads").increment(reduced);
        if reduced > 0 {
            let before = before.to_string();
            tracing::info!(
                target: "audit", action = "retention", who = "gateway", payloads = reduced, before, "ledger: reduced payloads"
            );
        }
        match result {
            Ok(()) => metrics.payloads_expired_to.set(before.as_seconds()),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "ledger: retention of payloads has to wait");
            }
        }
    }
}

/// Walks once over everything with a payload. Returns how many were reduced, even if an error ended it.
async fn pass(
    ledger: &dyn Expiry,
    before: Timestamp,
    pause: Duration,
    shutdown: &Shutdown,
) -> (u64, Result<(), LedgerError>) {
    let (mut reduced, mut after) = (0, None);
    loop {
        match ledger.expire_payloads(before, after.as_ref()).await {
            Ok(step) => {
                reduced += step.reduced;
                after = step.last;
            }
            Err(error) => return (reduced, Err(error)),
        }
        if after.is_none() || shutdown.is_draining() {
            return (reduced, Ok(()));
        }
        tokio::time::sleep(pause).await;
    }
}
