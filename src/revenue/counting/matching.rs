//! Invoices and payments that no event links, taken for the same money.

use std::collections::{BTreeMap, BTreeSet};

use crate::revenue::rows::{MATCH_WINDOW, RevenueRow};

/// What is left of an invoice or of a payment.
pub(super) struct Side<'a> {
    pub(super) row: &'a RevenueRow,
    pub(super) is_payment: bool,
    /// Minor units.
    pub(super) amount: i64,
}

/// The keys of payments that are told by an invoice.
pub(super) fn matched<'a>(sides: impl Iterator<Item = Side<'a>>) -> BTreeSet<&'a str> {
    let mut groups: BTreeMap<_, Vec<Side<'_>>> = BTreeMap::new();
    for side in sides.filter(|side| side.amount > 0) {
        let row = side.row;
        let Some(customer) = row.customer_id.as_deref() else { continue };
        let group = (row.account.as_deref(), row.livemode, customer, row.currency.as_str(), side.amount);
        groups.entry(group).or_default().push(side);
    }
    let mut told = BTreeSet::new();
    for mut group in groups.into_values() {
        group.sort_by_key(|side| (side.row.occurred_at, side.is_payment, side.row.key.as_str()));
        let together =
            |one: &Side<'_>, next: &Side<'_>| next.row.occurred_at.since(one.row.occurred_at) <= MATCH_WINDOW;
        for cluster in group.chunk_by(together) {
            let invoices = cluster.iter().filter(|side| !side.is_payment).count();
            let payments = cluster.iter().filter(|side| side.is_payment);
            told.extend(payments.take(invoices).map(|side| side.row.key.as_str()));
        }
    }
    told
}
