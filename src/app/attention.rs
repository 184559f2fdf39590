//! One alert per reason for which subscriptions that entitle give nobody access: says when the first is there, and when the
//! last is gone.
//!
//! The ledger is asked, not followed: what others wrote into it counts as well. Looking costs it a walk over its
//! subscriptions, so that the wait between two looks grows with the time that one takes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::Surroundings;
use crate::domain::clock::Clock;
use crate::ledger::report::{Attention, Reason, StateOfRecord};
use crate::lifecycle::{Shutdown, Supervisor};
use crate::revenue::rows::Severity;
use crate::telemetry::health::{Board, Level};
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;

/// Name on the health board.
const COMPONENT: &str = "access";

/// Shortest wait between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// A look may take this part of the time at most.
const SHARE: u32 = 100;

/// Subscriptions named on the health board and in an alert; the rest is counted.
pub(super) const NAMED_MAX: u32 = 3;

/// Watches the ledger.
struct Watch {
    ledger: Arc<dyn StateOfRecord>,
    metrics: Arc<Metrics>,
    board: Board,
    clock: Clock,
}

/// Starts the watch.
pub(super) fn start(
    ledger: &Arc<dyn StateOfRecord>,
    around: &Surroundings,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) {
    let Instruments { metrics, board, clock, .. } = around.instruments.clone();
    let watch = Watch { ledger: Arc::clone(ledger), metrics, board, clock };
    supervisor.start("access", watch.run(shutdown.clone()));
}

impl Watch {
    /// Runs until draining begins.
    async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut open: BTreeMap<Reason, u64> = BTreeMap::new();
        let mut wait = LOOK;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.draining() => return Ok(()),
            }
            let started = self.clock.instant();
            match self.ledger.attention(NAMED_MAX).await {
                Ok(attention) => {
                    say(&open, &attention);
                    self.publish(&attention);
                    open = attention.reasons;
                }
                // A ledger that does not answer is told of by the component that writes to it. What it said before is
                // not known to be so any more.
                Err(_) => self.board.clear(COMPONENT),
            }
            wait = LOOK.max(self.clock.instant().duration_since(started) * SHARE);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
    fn publish(&self, attention: &Attention) {
        for reason in Reason::ALL {
            let number = attention.reasons.get(&reason).copied().unwrap_or(0);
            self.metrics.unowned.set(reason.as_str(), number as f64);
        }
        for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
            let number = attention.findings.get(&severity).copied().unwrap_or(0);
            self.metrics.findings.set(severity.as_str(), number as f64);
        }
        self.metrics.orphans.set(attention.orphans as f64);
        let (level, detail) = tell(attention);
        self.board.set(COMPONENT, level, detail, self.clock.now());
    }
}

/// What the health board and `check` say.
pub(super) fn tell(attention: &Attention) -> (Level, String) {
    let all: u64 = attention.reasons.values().sum();
    if all == 0 {
        return (Level::Ok, "every subscription that entitles has a user".to_owned());
    }
    let named: Vec<String> = attention
        .unowned
        .iter()
        .take(usize::try_from(NAMED_MAX).unwrap_or(usize::MAX))
        .map(|one| format!("{} of {} ({})", one.id, one.customer_id.as_deref().unwrap_or("no customer"), one.reason))
        .collect();
    let rest = all.saturating_sub(named.len() as u64);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let detail = format!(
        "{all} subscriptions entitle and give nobody access: {}{more}; `inbox problems` says what to do",
        named.join(", ")
    );
    (Level::Degraded, detail)
}

fn say(before: &BTreeMap<Reason, u64>, now: &Attention) {
    for (reason, subscriptions) in now.reasons.iter().filter(|(reason, _)| !before.contains_key(*reason)) {
        let named = now.unowned.iter().find(|one| one.reason == *reason);
        tracing::error!(
            code = "no_access",
            reason = reason.as_str(),
            subscriptions,
            subscription = named.map(|one| one.id.as_str()),
            customer = named.and_then(|one| one.customer_id.as_deref()),
            "problem opened: subscriptions entitle and give nobody access, see `inbox problems`"
        );
    }
    for reason in before.keys().filter(|reason| !now.reasons.contains_key(*reason)) {
        tracing::info!(code = "no_access", reason = reason.as_str(), "problem resolved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::report::Unowned;

    #[test]
    fn the_board_names_subscription_and_customer_and_counts_the_rest() {
        assert_eq!(tell(&Attention::default()).0, Level::Ok);
        let unowned = Unowned {
            id: "sub_1".to_owned(),
            customer_id: Some("cus_1".to_owned()),
            account: None,
            livemode: true,
            status: "active".to_owned(),
            tier: None,
            user_id: None,
            reason: Reason::Unnamed,
        };
        let reasons = BTreeMap::from([(Reason::Unnamed, 4)]);
        let (level, detail) = tell(&Attention { unowned: vec![unowned], reasons, ..Attention::default() });
        assert_eq!(level, Level::Degraded);
        assert!(detail.contains("sub_1 of cus_1 (unnamed) and 3 more"), "{detail}");
    }
}
