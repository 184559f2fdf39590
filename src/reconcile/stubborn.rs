//! Trying again what may succeed, so often and no more.

use std::time::Duration;

use super::Reconciler;
use crate::domain::backoff::Backoff;
use crate::inbox::InboxError;
use crate::ledger::{Disposition, LedgerError};
use crate::stripe::api::{ApiDisposition, ApiError};

/// Most attempts at one step. With Stripe, each of them is several requests.
pub const ATTEMPTS_MAX: u32 = 5;

/// Longest wait between two attempts, whatever wait is requested.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Stripe did not give an answer.
    #[error("Stripe's list cannot be read")]
    Stripe(#[from] ApiError),
    /// The ledger did not answer.
    #[error("the ledger cannot be asked")]
    Ledger(#[from] LedgerError),
    /// The inbox did not take the events.
    #[error("the inbox cannot be written or read")]
    Inbox(#[from] InboxError),
    /// One second has more events than can be held at once.
    #[error("Stripe lists more than {} events of one second", super::SECOND_PAGES_MAX * crate::stripe::api::PAGE_MAX)]
    TooMany,
    /// There are more subscriptions than can be compared.
    #[error("Stripe lists more than {} subscriptions", super::SUBSCRIPTIONS_MAX)]
    TooManySubscriptions,
    /// The scratch file of a recount failed.
    #[error("the scratch file in the data directory cannot be written or read")]
    Scratch(#[from] rusqlite::Error),
}

impl ReconcileError {
    /// The wait after which another attempt may succeed; `None` if none can.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Stripe(error) => match error.disposition() {
                ApiDisposition::Retry { after } => Some(after),
                ApiDisposition::GiveUp => None,
            },
            Self::Ledger(error) => match error.disposition() {
                Disposition::Retry { after } => Some(after),
                Disposition::GiveUp | Disposition::Probe => None,
            },
            Self::Inbox(error) => match error {
                InboxError::Overloaded | InboxError::Busy(_) => Some(Duration::ZERO),
                InboxError::Full(_)
                | InboxError::ReadOnly(_)
                | InboxError::Displaced(_)
                | InboxError::Damaged(_)
                | InboxError::Storage(_)
                | InboxError::Unreachable(_)
                | InboxError::Unfit(_)
                | InboxError::Closed => None,
            },
            Self::TooMany | Self::TooManySubscriptions | Self::Scratch(_) => None,
        }
    }
}

/// Does one step, and repeats it where that can help, at most [`ATTEMPTS_MAX`] times.
pub(super) async fn stubbornly<T, E, F>(
    backoff: &Backoff,
    mut step: impl FnMut() -> F + Send,
) -> Result<T, ReconcileError>
where
    E: Into<ReconcileError>,
    F: Future<Output = Result<T, E>> + Send,
{
    let mut attempt = 1;
    loop {
        let error = match step().await {
            Ok(done) => return Ok(done),
            Err(error) => error.into(),
        };
        let Some(after) = error.retry_after().filter(|_| attempt < ATTEMPTS_MAX) else { return Err(error) };
        let wait = after.max(backoff.wait(attempt, &mut fastrand::Rng::new())).min(WAIT_MAX);
        tracing::warn!(error = &error as &dyn std::error::Error, attempt, ?wait, "reconcile: trying again");
        attempt += 1;
        tokio::time::sleep(wait).await;
    }
}

impl Reconciler {
    /// As [`stubbornly`], with this reconciler's waits.
    pub(super) async fn stubbornly<T, E, F>(&self, step: impl FnMut() -> F + Send) -> Result<T, ReconcileError>
    where
        E: Into<ReconcileError>,
        F: Future<Output = Result<T, E>> + Send,
    {
        stubbornly(&self.backoff, step).await
    }
}
