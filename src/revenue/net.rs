//! Which money counts: the rule of [`crate::revenue::rows`] about revenue, as code.
//!
//! Stores carry the same rule in their own language, because they have the rows; this is what they are tested
//! against, and what the tests of the projection count with.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{MATCH_WINDOW, PaymentLink, RevenueKind, RevenueRow};

/// A row and what of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// The row.
    pub row: &'a RevenueRow,
    /// Minor units that count, signed.
    pub amount_minor: i64,
}

/// What counts of merged rows and links.
pub fn net<'a>(rows: &'a [RevenueRow], links: &[PaymentLink]) -> Vec<Counted<'a>> {
    let invoices: BTreeMap<&str, &RevenueRow> =
        rows.iter().filter(|row| row.kind == RevenueKind::Invoice).map(|row| (row.key.as_str(), row)).collect();
    let invoice_of: BTreeMap<&str, Option<&str>> =
        links.iter().map(|link| (link.payment_id.as_str(), link.invoice_id.as_deref())).collect();
    let linked: BTreeSet<&str> = invoice_of.values().copied().flatten().collect();
    let counted = rows.iter().filter_map(|row| {
        let amount_minor = match row.kind {
            RevenueKind::Payment if told_by_an_invoice(row, &invoices, &invoice_of, &linked) => 0,
            RevenueKind::Invoice | RevenueKind::Payment | RevenueKind::Refund | RevenueKind::Dispute => {
                row.amount_minor
            }
            RevenueKind::RefundTotal => left_of_total(row, rows),
        };
        (amount_minor != 0).then_some(Counted { row, amount_minor })
    });
    counted.collect()
}

/// Whether the money of a payment is that of an invoice that counts.
fn told_by_an_invoice(
    payment: &RevenueRow,
    invoices: &BTreeMap<&str, &RevenueRow>,
    invoice_of: &BTreeMap<&str, Option<&str>>,
    linked: &BTreeSet<&str>,
) -> bool {
    let names = [Some(payment.key.as_str()), payment.charge_id.as_deref()];
    let told: Vec<Option<&str>> =
        names.into_iter().flatten().filter_map(|name| invoice_of.get(name).copied()).collect();
    if !told.is_empty() {
        return told.into_iter().flatten().any(|invoice| invoices.contains_key(invoice));
    }
    let near = |invoice: &RevenueRow| {
        let (a, b) = (invoice.occurred_at, payment.occurred_at);
        a.since(b).max(b.since(a)) <= MATCH_WINDOW
    };
    payment.match_key.is_some()
        && invoices.values().any(|invoice| {
            invoice.match_key == payment.match_key && !linked.contains(invoice.key.as_str()) && near(invoice)
        })
}

/// What the single refunds of a payment leave of the total refunded.
fn left_of_total(total: &RevenueRow, rows: &[RevenueRow]) -> i64 {
    let singles = rows.iter().filter(|row| row.kind == RevenueKind::Refund && row.payment_id == total.payment_id);
    let (single, voided) = singles.fold((0_i64, 0_i64), |(single, voided), row| {
        let later = if row.as_of >= total.as_of { row.voided_minor } else { 0 };
        (single.saturating_add(row.amount_minor), voided.saturating_add(later))
    });
    total.amount_minor.saturating_add(voided).saturating_sub(single).min(0)
}
