//! Which money counts: the rule of [`crate::revenue::rows`] about revenue, as code.
//!
//! Stores carry the same rule in their own language, because they have the rows; this is what they are tested
//! against, and what the tests of the projection count with. Every step has its namesake in the views.

mod incoming;
mod matching;
mod returned;

use std::collections::BTreeMap;

use super::rows::{Evidence, PaymentLink, RevenueKind, RevenueRow};

/// A row, and how much of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    pub row: &'a RevenueRow,
    /// Minor units that count, signed.
    pub amount_minor: i64,
    /// How much of that came around Stripe.
    pub outside_minor: i64,
}

/// The amounts of merged rows and links that count. Rows that count with nothing are left out.
pub fn count<'a>(rows: &'a [RevenueRow], links: &'a [PaymentLink]) -> Vec<Counted<'a>> {
    let book = Book::new(rows, links);
    let mut counted = incoming::count(&book, rows);
    counted.extend(returned::count(&book, rows));
    counted.retain(|row| row.amount_minor != 0);
    counted
}

/// The rows, by the objects that they are about.
struct Book<'a> {
    names: BTreeMap<&'a str, &'a str>,
    payments: BTreeMap<&'a str, &'a RevenueRow>,
    parts: BTreeMap<(&'a str, &'a str), &'a RevenueRow>,
    links: BTreeMap<(&'a str, &'a str), Evidence>,
}

impl<'a> Book<'a> {
    fn new(rows: &'a [RevenueRow], links: &'a [PaymentLink]) -> Self {
        let mut book =
            Self { names: names(rows), payments: BTreeMap::new(), parts: BTreeMap::new(), links: BTreeMap::new() };
        for row in rows {
            match row.kind {
                RevenueKind::Payment => {
                    let known = book.payments.entry(book.payment(row).unwrap_or(&row.key)).or_insert(row);
                    if (&known.version, &known.key) < (&row.version, &row.key) {
                        *known = row;
                    }
                }
                // Two ids can tell of the same part; the larger amount counts.
                RevenueKind::Part => {
                    let Some(invoice) = row.invoice_id.as_deref() else { continue };
                    let known = book.parts.entry((book.payment(row).unwrap_or(&row.key), invoice)).or_insert(row);
                    if (known.amount_minor, std::cmp::Reverse(&known.key))
                        < (row.amount_minor, std::cmp::Reverse(&row.key))
                    {
                        *known = row;
                    }
                }
                RevenueKind::Invoice | RevenueKind::Refund | RevenueKind::RefundTotal | RevenueKind::Dispute => {}
            }
        }
        for link in links {
            let evidence = book.links.entry((book.named(&link.payment_id), &link.invoice_id)).or_insert(link.evidence);
            *evidence = link.evidence.max(*evidence);
        }
        book
    }

    /// The one name of the payment that a row is about.
    fn payment(&self, row: &'a RevenueRow) -> Option<&'a str> {
        row.payment_id.as_deref().map(|id| self.named(id))
    }

    fn named(&self, id: &'a str) -> &'a str {
        self.names.get(id).copied().unwrap_or(id)
    }
}

/// The payment intent of each charge, where some row names both.
fn names(rows: &[RevenueRow]) -> BTreeMap<&str, &str> {
    let mut names = BTreeMap::new();
    for row in rows {
        let (Some(charge), Some(payment)) = (row.charge_id.as_deref(), row.payment_id.as_deref()) else { continue };
        if charge != payment {
            let name = names.entry(charge).or_insert(payment);
            *name = payment.max(*name);
        }
    }
    names
}
