//! Closing a process that a bee has in hand. Tries until its lease ends, since closing twice does no harm.

use std::time::{Duration, Instant};

use colonies::client::{ClientError, Disposition, Member};

use crate::domain::backoff::Backoff;
use crate::domain::clock::Clock;
use crate::domain::ids::ProcessId;

/// Most attempts to close one process. Its lease is the other bound.
const ATTEMPTS_MAX: u32 = 20;

/// Waits between them.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(15) };

/// How to close a process.
pub(super) enum Closing<'a> {
    Successful(&'a [serde_json::Value]),
    Failed(&'a str),
}

/// How closing went.
pub(super) enum Closed {
    Done,
    /// The lease was lost, so others decide.
    Lost,
    /// It is unknown whether the process was closed.
    Unclosed(ClientError),
}

/// Closes a process whose lease ends at `end`.
pub(super) async fn close(
    member: &Member,
    id: &ProcessId,
    closing: Closing<'_>,
    end: Instant,
    clock: &Clock,
) -> Closed {
    let mut random = fastrand::Rng::new();
    let mut attempts = 0;
    loop {
        let result = match &closing {
            Closing::Successful(output) => member.close_successful(id, output.to_vec()).await,
            Closing::Failed(why) => member.close_failed(id, vec![(*why).to_owned()]).await,
        };
        let error = match result {
            Ok(()) => return Closed::Done,
            Err(
                ClientError::LeaseLost { .. } | ClientError::AlreadyEnded { .. } | ClientError::UnknownProcess { .. },
            ) => return Closed::Lost,
            Err(error) => error,
        };
        attempts += 1;
        let wait = match error.disposition() {
            Disposition::GiveUp { .. } => return Closed::Unclosed(error),
            Disposition::Retry { after } => after.max(BACKOFF.wait(attempts, &mut random)),
        };
        if attempts >= ATTEMPTS_MAX || clock.instant() + wait >= end {
            return Closed::Unclosed(error);
        }
        tokio::time::sleep(wait).await;
    }
}
