//! The least that a store does: per key, keep the row with the greatest version.

use std::collections::BTreeMap;

use colony_gateway::revenue::counting;
use colony_gateway::revenue::owners::{Owner, owner};
use colony_gateway::revenue::rows::{
    BindingKind, BindingRow, ClaimRank, ClaimRow, CustomerRow, PaymentLink, RevenueKind, RevenueRow, SubscriptionRow,
    Version,
};
use colony_gateway::revenue::verdict::Plan;

/// Merged rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub subscriptions: BTreeMap<String, SubscriptionRow>,
    pub customers: BTreeMap<String, CustomerRow>,
    pub claims: BTreeMap<(String, ClaimRank, String), ClaimRow>,
    pub bindings: BTreeMap<(BindingKind, String), BindingRow>,
    pub revenue: BTreeMap<(RevenueKind, String), RevenueRow>,
    pub links: BTreeMap<(String, String), PaymentLink>,
}

fn keep<K: Ord, R: Clone>(rows: &mut BTreeMap<K, R>, key: K, row: &R, version: impl Fn(&R) -> &Version) {
    if rows.get(&key).is_none_or(|known| version(known) < version(row)) {
        rows.insert(key, row.clone());
    }
}

impl Record {
    pub fn of<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> Self {
        let mut record = Self::default();
        for plan in plans {
            record.apply(plan);
        }
        record
    }

    pub fn apply(&mut self, plan: &Plan) {
        for row in &plan.subscriptions {
            keep(&mut self.subscriptions, row.id.clone(), row, |row| &row.version);
        }
        for row in &plan.customers {
            keep(&mut self.customers, row.id.clone(), row, |row| &row.version);
        }
        for row in &plan.claims {
            let key = (row.subject.clone(), row.rank, row.user_id.clone());
            keep(&mut self.claims, key, row, |row| &row.version);
        }
        for row in &plan.bindings {
            keep(&mut self.bindings, (row.kind, row.from_id.clone()), row, |row| &row.version);
        }
        for row in &plan.revenue {
            let names = self.revenue.get(&(row.kind, row.key.clone())).cloned();
            keep(&mut self.revenue, (row.kind, row.key.clone()), row, |row| &row.version);
            // Names never change, but one version may lack a name that another has.
            if let (Some(known), Some(kept)) = (names, self.revenue.get_mut(&(row.kind, row.key.clone()))) {
                kept.payment_id = row.payment_id.clone().max(known.payment_id);
                kept.charge_id = row.charge_id.clone().max(known.charge_id);
                kept.customer_id = row.customer_id.clone().max(known.customer_id);
                kept.outside_minor = row.outside_minor.max(known.outside_minor);
            }
        }
        for row in &plan.links {
            keep(&mut self.links, (row.payment_id.clone(), row.invoice_id.clone()), row, |row| &row.version);
        }
    }

    /// The sum that counts, in minor units, over all kinds.
    pub fn net(&self) -> i64 {
        let rows: Vec<_> = self.revenue.values().cloned().collect();
        let links: Vec<_> = self.links.values().cloned().collect();
        counting::count(&rows, &links).iter().map(|counted| counted.amount_minor).sum()
    }

    /// The user of a subscription that the customer `customer` pays for.
    pub fn owner(&self, subscription: &str, customer: &str) -> Option<&str> {
        match owner(self.claims.values(), subscription, Some(customer), None) {
            Owner::User(user) => Some(user),
            Owner::Unnamed | Owner::Contested => None,
        }
    }

    /// The value that a binding points to.
    pub fn bound(&self, kind: BindingKind, from: &str) -> Option<&str> {
        self.bindings.get(&(kind, from.to_owned())).map(|row| row.to_id.as_str())
    }
}
