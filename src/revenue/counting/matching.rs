//! Invoices and payments that no event links, taken for the same money.

use std::collections::{BTreeMap, BTreeSet};

use crate::revenue::rows::{MATCH_WINDOW, RevenueRow};

/// What is left of an invoice or of a payment.
pub(super) struct Side<'a> {
    pub(super) row: &'a RevenueRow,
    pub(super) is_payment: bool,
    /// Whether the invoice itself says that some of it came around Stripe. Among several invoices such a one is the last to
    /// be matched with a payment.
    pub(super) claims: bool,
    /// Minor units.
    pub(super) amount: i64,
}

/// Invoices and payments that were taken for the same money, by key.
#[derive(Default)]
pub(super) struct Matched<'a> {
    pub(super) payments: BTreeSet<&'a str>,
    pub(super) invoices: BTreeSet<&'a str>,
}

/// Payments that an invoice accounts for, and these invoices.
pub(super) fn matched<'a>(sides: impl Iterator<Item = Side<'a>>) -> Matched<'a> {
    let mut groups: BTreeMap<_, Vec<Side<'_>>> = BTreeMap::new();
    for side in sides.filter(|side| side.amount > 0) {
        let row = side.row;
        let Some(customer) = row.customer_id.as_deref() else { continue };
        let group = (row.account.as_deref(), row.livemode, customer, row.currency.as_str(), side.amount);
        groups.entry(group).or_default().push(side);
    }
    let mut told = Matched::default();
    for mut group in groups.into_values() {
        group.sort_by_key(|side| (side.row.occurred_at, side.is_payment, side.row.key.as_str()));
        let together =
            |one: &Side<'_>, next: &Side<'_>| next.row.occurred_at.since(one.row.occurred_at) <= MATCH_WINDOW;
        for cluster in group.chunk_by(together) {
            let (payments, mut invoices): (Vec<&Side<'_>>, Vec<&Side<'_>>) =
                cluster.iter().partition(|side| side.is_payment);
            invoices.sort_by_key(|side| side.claims);
            let pairs = payments.into_iter().zip(invoices);
            for (payment, invoice) in pairs {
                told.payments.insert(payment.row.key.as_str());
                told.invoices.insert(invoice.row.key.as_str());
            }
        }
    }
    told
}
