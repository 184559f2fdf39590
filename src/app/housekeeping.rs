//! What has to happen now and then: asking a disk that refused writes again, retention, counts, folding histograms.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::spill::SpillWatch;
use crate::config::InboxConfig;
use crate::domain::disk;
use crate::inbox::{Inbox, InboxError, Retention};
use crate::ledger::Ledger;
use crate::lifecycle::{Latch, Shutdown, Supervisor};
use crate::revenue::guardian::Guardian;
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;

/// How often an inbox that refused a write is asked whether it takes one again.
const PROBE: Duration = Duration::from_secs(1);

/// The same for one in a database, which may be back at any moment.
const PROBE_SHARED: Duration = Duration::from_millis(250);

/// How often the ledger tries again what waits in it.
const LEDGER_UPKEEP: Duration = Duration::from_mins(1);

/// Most calls to the ledger in a row that catch up with what is due.
const UPKEEP_CALLS_MAX: u32 = 1000;

/// Rounds between two foldings of the histograms.
const UPKEEP_ROUNDS: u32 = 5;

/// Rounds between two searches for data that retention no longer keeps.
const SWEEP_ROUNDS: u32 = 600;

/// Pause between two batches of a sweep, so that webhooks come first.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// How long everything is kept.
pub(super) fn retention(config: &InboxConfig) -> Retention {
    Retention { bodies: config.keep_bodies, held_bodies: config.keep_held_bodies, entries: config.keep_entries }
}

pub(super) async fn run(
    inbox: Inbox,
    (retention, directory): (Retention, PathBuf),
    metrics: Arc<Metrics>,
    guardian: Arc<Guardian>,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    observe_disk(directory.clone(), &metrics).await;
    remember_last_webhook(&inbox, &metrics).await;
    let mut rounds = 0_u32;
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROBE) => {}
            () = shutdown.draining() => return Ok(()),
        }
        // The writer logs when writes fail and succeed again. Until then there is nothing new to report.
        let _ = inbox.probe_file().await;
        let decided = guardian.counts();
        metrics.guardian.of("approved").absolute(decided.approved);
        metrics.guardian.of("flagged").absolute(decided.flagged);
        metrics.guardian.of("blocked").absolute(decided.blocked);
        if rounds.is_multiple_of(UPKEEP_ROUNDS) {
            metrics.upkeep();
            observe_disk(directory.clone(), &metrics).await;
        }
        if rounds.is_multiple_of(SWEEP_ROUNDS) {
            sweep(&inbox, retention, &metrics, &shutdown).await;
        }
        rounds = rounds.wrapping_add(1);
    }
}

/// Marks the inbox as ready: a file at once, a database as soon as it has answered and has its tables. From then on, a
/// database that took no write is asked again and again, so that webhooks are accepted as soon as it is back. Neither the
/// port nor the start waits for it.
///
/// # Errors
/// If the database answers but must not be used.
pub(super) async fn prepare(
    inbox: &Inbox,
    latch: Latch,
    instruments: &Instruments,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) -> Result<(), InboxError> {
    let prepared = inbox.prepare().await;
    if !inbox.is_shared() {
        latch.release();
        return prepared;
    }
    match &prepared {
        Err(InboxError::Unfit(_)) => return prepared,
        Err(error) => {
            let error = error as &dyn std::error::Error;
            tracing::error!(
                error,
                "inbox: not ready yet; webhooks are answered 503, unless inbox.spill_dir takes them"
            );
        }
        Ok(()) => {}
    }
    // An inbox with a file for webhooks in the meantime is ready for them.
    let latch = match inbox.spilled().await {
        Ok(Some(_)) => {
            latch.release();
            None
        }
        _ => Some(latch),
    };
    let spill = SpillWatch::new(inbox.clone(), instruments.clone());
    supervisor.start("inbox database", attend(inbox.clone(), (latch, spill), prepared.is_ok(), shutdown.clone()));
    Ok(())
}

/// Asks the inbox's database again while it takes nothing, and brings it the deliveries that came in the meantime.
async fn attend(
    inbox: Inbox,
    (mut waiting, mut spill): (Option<Latch>, SpillWatch),
    is_prepared: bool,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    let mut is_prepared = is_prepared;
    loop {
        if is_prepared && let Some(latch) = waiting.take() {
            latch.release();
            tracing::info!("inbox: ready");
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE_SHARED) => {}
            () = shutdown.draining() => return Ok(()),
        }
        if !is_prepared {
            is_prepared = inbox.prepare().await.is_ok();
        } else if inbox.is_to_be_probed() {
            // The inbox logs when writes succeed again. Until then there is nothing new to report.
            let _ = inbox.probe().await;
        }
        spill.attend(is_prepared).await;
    }
}

/// After a restart, the last webhook is still known: it must not look like a day without webhooks.
async fn remember_last_webhook(inbox: &Inbox, metrics: &Metrics) {
    if let Some(last) = inbox.newest(1).await.ok().and_then(|newest| newest.into_iter().next()) {
        metrics.last_webhook.set(last.received.as_seconds());
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
async fn observe_disk(directory: PathBuf, metrics: &Metrics) {
    if let Ok(Ok(room)) = tokio::task::spawn_blocking(move || disk::room(&directory)).await {
        metrics.disk_free.set(room.free as f64);
    }
}

/// Makes the ledger try again what waits in it, now and then, until draining begins. Its faults show where batches are
/// applied.
pub(super) async fn ledger_upkeep(ledger: Arc<dyn Ledger>, shutdown: Shutdown) -> Result<(), Infallible> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LEDGER_UPKEEP) => {}
            () = shutdown.draining() => return Ok(()),
        }
        // Thousands of graces may end at one time.
        for _ in 0..UPKEEP_CALLS_MAX {
            match ledger.upkeep().await {
                Ok(true) if !shutdown.is_draining() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "ledger: upkeep has to wait");
                    break;
                }
            }
        }
    }
}

/// A fault of the inbox that only a restart can mend.
#[derive(Debug, thiserror::Error)]
#[error("inbox: {0}")]
pub(super) struct InboxFatal(String);

/// Fails when the inbox can no longer keep its promise.
pub(super) async fn watch(fatal: impl Future<Output = String>, shutdown: Shutdown) -> Result<(), InboxFatal> {
    tokio::select! {
        reason = fatal => Err(InboxFatal(reason)),
        () = shutdown.draining() => Ok(()),
    }
}

async fn sweep(inbox: &Inbox, retention: Retention, metrics: &Metrics, shutdown: &Shutdown) {
    let (mut bodies, mut held_bodies, mut entries) = (0, 0, 0);
    loop {
        match inbox.sweep(retention).await {
            Ok(swept) => {
                bodies += swept.bodies;
                held_bodies += swept.held_bodies;
                entries += swept.entries;
                if !swept.more || shutdown.is_draining() {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "inbox: retention has to wait");
                break;
            }
        }
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
    for (what, removed) in [("bodies", bodies), ("held_bodies", held_bodies), ("entries", entries)] {
        metrics.retention_removed.of(what).increment(removed as u64);
    }
    if held_bodies > 0 {
        tracing::info!(target: "audit", action = "retention", who = "gateway", held_bodies, "inbox: removed bodies of entries that waited for a person");
    }
    if entries > 0
        && let Err(error) = inbox.forget_references(Vec::new()).await
    {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "inbox: what led to removed entries is forgotten later");
    }
    if bodies + entries > 0 {
        tracing::info!(bodies, entries, "inbox: removed what retention no longer keeps");
    }
}
