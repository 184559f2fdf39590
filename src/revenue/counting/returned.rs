//! Refunds, totals of refunds and disputes: what went out.

use std::collections::BTreeMap;

use super::{Book, Counted};
use crate::revenue::rows::{RevenueKind, RevenueRow};

/// What was returned of one payment.
#[derive(Default)]
struct Returned<'a> {
    singles: Vec<&'a RevenueRow>,
    total: Option<&'a RevenueRow>,
}

pub(super) fn count<'a>(book: &Book<'a>, rows: &'a [RevenueRow]) -> Vec<Counted<'a>> {
    let mut counted = Vec::new();
    let mut returned: BTreeMap<&str, Returned<'_>> = BTreeMap::new();
    for row in rows {
        match (row.kind, book.payment(row)) {
            (RevenueKind::Refund, Some(payment)) => returned.entry(payment).or_default().singles.push(row),
            (RevenueKind::RefundTotal, Some(payment)) => {
                let total = &mut returned.entry(payment).or_default().total;
                if total.is_none_or(|known| (&known.version, &known.key) < (&row.version, &row.key)) {
                    *total = Some(row);
                }
            }
            (RevenueKind::Dispute, _) | (RevenueKind::Refund | RevenueKind::RefundTotal, None) => {
                counted.push(Counted { row, amount_minor: row.amount_minor, outside_minor: 0 });
            }
            (RevenueKind::Invoice | RevenueKind::Payment | RevenueKind::Part, _) => {}
        }
    }
    for (name, mut of_payment) in returned {
        of_payment.singles.sort_by_key(|row| (row.occurred_at, &row.key));
        of_payment.count(book.payments.get(name).copied(), &mut counted);
    }
    counted
}

impl<'a> Returned<'a> {
    fn count(&self, payment: Option<&RevenueRow>, counted: &mut Vec<Counted<'a>>) {
        let release = self.release(payment);
        let moved = |row: &RevenueRow| match payment {
            None => row.amount_minor,
            Some(_) if release == Some(row.key.as_str()) => 0,
            Some(_) => row.amount_minor.min(-row.uncaptured_minor),
        };
        let mut all: Vec<(&'a RevenueRow, i64)> = self.singles.iter().map(|&row| (row, moved(row))).collect();
        if let Some(total) = self.total {
            let singles = all.iter().fold(0_i64, |sum, (_, moved)| sum.saturating_add(*moved));
            let later = self.singles.iter().filter(|row| row.as_of >= total.as_of);
            let voided = later.fold(0_i64, |sum, row| sum.saturating_add(row.voided_minor));
            let left = moved_in_total(total, payment).saturating_add(voided).saturating_sub(singles).min(0);
            all.push((total, left));
        }
        let captured = payment.map_or(i64::MAX, |payment| payment.amount_minor.max(0));
        let mut sum = 0_i64;
        for (row, moved) in all {
            let before = sum.min(captured);
            sum = sum.saturating_add(moved.saturating_neg());
            counted.push(Counted { row, amount_minor: before - sum.min(captured), outside_minor: 0 });
        }
    }

    /// The refund that releases the amount that was not captured: the first of exactly that amount, and before all others
    /// one that says itself that it moved nothing.
    fn release(&self, payment: Option<&RevenueRow>) -> Option<&'a str> {
        let uncaptured = payment.map_or(0, |payment| payment.uncaptured_minor);
        let fits = self.singles.iter().filter(|row| row.uncaptured_minor > 0 && row.uncaptured_minor == uncaptured);
        fits.min_by_key(|row| (row.amount_minor != 0, row.occurred_at, &row.key)).map(|row| row.key.as_str())
    }
}

/// The money that a total says moved, without a released amount if the total includes one.
fn moved_in_total(total: &RevenueRow, payment: Option<&RevenueRow>) -> i64 {
    let uncaptured = payment.map_or(0, |payment| payment.uncaptured_minor);
    if uncaptured > 0 && total.uncaptured_minor >= uncaptured {
        total.amount_minor.saturating_add(uncaptured)
    } else {
        total.amount_minor
    }
}
