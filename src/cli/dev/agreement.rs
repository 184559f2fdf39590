//! Whether a state of record is what simulated events add up to, by the simulator's own account of them.
//!
//! It compares what events lead to (subscriptions, users, tiers, money to the cent), so that an event that was lost and
//! one that was applied twice both show. It does not know which event it was.

use std::collections::BTreeMap;

use crate::domain::counted::counted;
use crate::ledger::report::{SubscriptionLine, Summary};
use stripe_events::simulator::Expected;

/// The differences between rows and expectation: users' subscriptions and tiers, and the money, to the cent. Totals are
/// compared only if the ledger was empty before and had so many events without money `besides`. `subscriptions` must be
/// complete.
pub fn differences(
    summary: &Summary,
    subscriptions: &[SubscriptionLine],
    expected: &Expected,
    besides: Option<u64>,
) -> Vec<String> {
    let mut differences = Vec::new();
    let rows: BTreeMap<&str, &SubscriptionLine> = subscriptions.iter().map(|line| (line.id.as_str(), line)).collect();
    for user in expected.users() {
        for wanted in &user.subscriptions {
            let id = &wanted.id;
            let Some(row) = rows.get(id.as_str()) else {
                differences.push(format!("{id} is missing"));
                continue;
            };
            if row.status != wanted.status.as_str() {
                differences.push(format!("{id} is {}, expected {}", row.status, wanted.status.as_str()));
            }
            if row.entitles != wanted.status.entitles() {
                differences.push(format!("{id}: entitles is {}", row.entitles));
            }
            if row.tier.as_deref() != Some(wanted.tier.as_str()) {
                differences.push(format!("{id} has tier {:?}, expected {}", row.tier, wanted.tier.as_str()));
            }
            if user.bound && row.user_id.as_deref() != Some(user.user_id.as_str()) {
                differences.push(format!("{id} belongs to {:?}, expected {}", row.user_id, user.user_id));
            }
        }
    }
    if let Some(besides) = besides {
        money(summary, expected, &mut differences);
        if summary.counts.events != expected.events() + besides {
            differences.push(counted(summary.counts.events, "event is recorded", "events are recorded"));
        }
    }
    differences
}

fn money(summary: &Summary, expected: &Expected, differences: &mut Vec<String>) {
    let mut recorded: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for line in summary.daily.iter().filter(|line| line.account.is_none()) {
        let (gross, returned) = recorded.entry(&line.currency).or_default();
        *gross += line.gross_minor;
        *returned += line.returned_minor;
    }
    for (currency, wanted) in expected.revenue() {
        let (gross, returned) = recorded.remove(currency).unwrap_or_default();
        if (gross, returned) != (wanted.paid, -wanted.refunded) {
            differences.push(format!(
                "{currency}: {gross} came in and {} went out, expected {} and {}",
                -returned, wanted.paid, wanted.refunded
            ));
        }
    }
    for (currency, (gross, returned)) in recorded {
        differences.push(format!("{currency}: {gross} came in and {} went out, expected nothing", -returned));
    }
}
