//! Notes the recurring revenue of each day for later charts. The gateway whose turn it is does so several times a day.
//!
//! Guarantees: the last note of a day counts; a day on which no gateway ran has no note.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::LedgerError;
use crate::ledger::audit::LeaseAsk;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Shutdown, Supervisor};

/// Name of the lease.
const LEASE: &str = "recurring_history";

/// Time between the start and the first note, and between two notes.
const FIRST: Duration = Duration::from_mins(1);
const BETWEEN: Duration = Duration::from_mins(30);

/// How long other gateways leave it to this one.
const SPAN: Duration = Duration::from_mins(29);

/// Starts noting recurring revenue.
pub(super) fn start(ledger: &Arc<dyn StateOfRecord>, supervisor: &mut Supervisor, shutdown: &Shutdown) {
    supervisor.start_in_background("recurring history", run(Arc::clone(ledger), shutdown.clone()));
}

async fn run(ledger: Arc<dyn StateOfRecord>, shutdown: Shutdown) -> Result<(), Infallible> {
    let holder = format!("{:016x}", fastrand::u64(..));
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.draining() => return Ok(()),
        }
        wait = BETWEEN;
        if let Err(error) = note(&*ledger, &holder).await {
            // The next note of the day replaces it, and the ledger's faults are reported where batches are applied.
            tracing::debug!(error = &error as &dyn std::error::Error, "ledger: what recurs today is noted later");
        }
    }
}

async fn note(ledger: &dyn StateOfRecord, holder: &str) -> Result<(), LedgerError> {
    let ask = LeaseAsk { name: LEASE, holder: holder.to_owned(), span: SPAN, covered: None };
    if ledger.lease(&ask).await?.mine {
        ledger.note_recurring().await?;
    }
    Ok(())
}
