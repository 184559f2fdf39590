//! From outcomes to conclusions, and conclusions to an inbox that may refuse to write for a while.

use std::time::Duration;

use crate::domain::backoff::Backoff;
use crate::domain::outcome::Settled;
use crate::inbox::{Concluded, Conclusion, Inbox, Lease};
use crate::ledger::Outcome;

/// Longest reason kept with an entry, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// Waits while the ledger or the inbox cannot be used.
pub(super) const PAUSE: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(10) };

/// How often conclusions are offered to an inbox that refuses them. After that the leases end by themselves. The entries
/// are then worked on again, and the ledger recognises their events.
const ATTEMPTS_MAX: u32 = 10;

/// Returns for each lease, in order, what its conclusion came to; `None` if the inbox took none of them.
pub(super) async fn conclude(
    inbox: &Inbox,
    mut conclusions: Vec<(Lease, Conclusion)>,
    random: &mut fastrand::Rng,
) -> Vec<Concluded> {
    for attempt in 1..=ATTEMPTS_MAX {
        match inbox.conclude(conclusions).await {
            Ok(concluded) => {
                let lost = concluded.iter().filter(|concluded| **concluded == Concluded::LeaseLost).count();
                if lost > 0 {
                    tracing::warn!(
                        lost,
                        "leases expired before the work was done; the worker that holds the entries now decides"
                    );
                }
                return concluded;
            }
            Err(refused) => {
                tracing::warn!(error = &refused.error as &dyn std::error::Error, "inbox takes no conclusions");
                conclusions = refused.conclusions;
                tokio::time::sleep(PAUSE.wait(attempt, random)).await;
            }
        }
    }
    Vec::new()
}

/// How an entry ends by the outcome of its event.
pub(super) fn by_outcome(outcome: Outcome) -> Conclusion {
    match outcome {
        Outcome::Applied => Conclusion::Settle { outcome: Settled::Applied },
        Outcome::Stale => Conclusion::Settle { outcome: Settled::Stale },
        Outcome::Duplicate => Conclusion::Settle { outcome: Settled::Duplicate },
        Outcome::Ignored => Conclusion::Settle { outcome: Settled::Ignored },
        Outcome::Quarantined { rule: code, reason } => Conclusion::Quarantine { code, reason: short(&reason) },
        Outcome::Failed { code, reason } => Conclusion::Dead { code, reason: short(&reason) },
    }
}

/// Back to the inbox until Stripe may answer about its object.
pub(super) fn await_stripe(after: Duration) -> Conclusion {
    Conclusion::AwaitStripe { after, reason: "Stripe gave no answer about the object of the event".to_owned() }
}

/// Back to the inbox until a bee can take it, which may have the key that is missing here.
pub(super) fn await_bee(after: Duration) -> Conclusion {
    let reason = "the event does not hold its object, and this gateway has no key to ask Stripe for it: it waits for a bee of the \
                  colony, which may have one";
    Conclusion::AwaitBee { after, reason: reason.to_owned() }
}

/// A reason, cut to the longest that is kept.
pub(super) fn short(reason: &str) -> String {
    reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}
