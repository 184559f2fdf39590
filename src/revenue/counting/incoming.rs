//! Invoices, payments and parts: what came in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::matching::{Side, matched};
use super::{Book, Counted};
use crate::revenue::rows::{Evidence, RevenueKind, RevenueRow};
use crate::stripe::payment::hint_names;

/// An invoice and how its amount divides.
struct Invoice<'a> {
    row: &'a RevenueRow,
    /// The amount that parts say came around Stripe.
    outside: i64,
    /// The amount that only the invoice says came around Stripe. It counts as far as no payment is found for it.
    claim: i64,
    /// The amount that no part accounts for.
    room: i64,
}

/// A payment, and what is left of it.
struct Payment<'a> {
    row: &'a RevenueRow,
    /// The amount that no known invoice accounts for.
    rest: i64,
    /// How much of the rest belongs to invoices that are not known yet.
    promised: i64,
}

pub(super) fn count<'a>(book: &Book<'a>, rows: &'a [RevenueRow]) -> Vec<Counted<'a>> {
    let mut invoices = invoices(book, rows);
    let mut payments = payments(book, &invoices);
    follow_links(book, &mut invoices, &mut payments);
    let awaiting = awaiting(book, &payments);
    let invoice_sides = invoices.iter().map(|(id, invoice)| Side {
        row: invoice.row,
        is_payment: false,
        claims: invoice.claim > 0,
        amount: if invoice.claim == 0 && awaiting.contains(id) { 0 } else { invoice.room },
    });
    let payment_sides = payments.values().map(|payment| Side {
        row: payment.row,
        is_payment: true,
        claims: false,
        amount: payment.rest.saturating_sub(payment.promised),
    });
    let matched = matched(invoice_sides.chain(payment_sides));
    for payment in payments.values_mut().filter(|payment| matched.payments.contains(payment.row.key.as_str())) {
        payment.rest = payment.promised;
    }
    for invoice in invoices.values_mut().filter(|invoice| matched.invoices.contains(invoice.row.key.as_str())) {
        invoice.room = 0;
    }
    let invoice_rows = invoices.values().map(|invoice| Counted {
        row: invoice.row,
        amount_minor: invoice.row.amount_minor,
        outside_minor: invoice.outside.saturating_add(invoice.claim.min(invoice.room)),
    });
    let payment_rows =
        payments.values().map(|payment| Counted { row: payment.row, amount_minor: payment.rest, outside_minor: 0 });
    let parts = book
        .parts
        .iter()
        .filter(|((payment, invoice), _)| !book.payments.contains_key(payment) && !invoices.contains_key(invoice));
    let part_rows =
        parts.map(|(_, row)| Counted { row, amount_minor: row.amount_minor, outside_minor: row.outside_minor });
    invoice_rows.chain(payment_rows).chain(part_rows).collect()
}

/// Invoices that name a payment which is not known: no other payment is theirs.
fn awaiting<'a>(book: &Book<'a>, payments: &BTreeMap<&'a str, Payment<'a>>) -> BTreeSet<&'a str> {
    let named = book.links.iter().filter(|(_, evidence)| **evidence == Evidence::Named);
    let unknown = named.filter(|(link, _)| !payments.contains_key(link.0) && !book.parts.contains_key(*link));
    unknown.map(|((_, invoice), _)| *invoice).collect()
}

fn invoices<'a>(book: &Book<'a>, rows: &'a [RevenueRow]) -> BTreeMap<&'a str, Invoice<'a>> {
    let known = rows.iter().filter(|row| row.kind == RevenueKind::Invoice);
    let with_room = known.map(|row| {
        let parts = book.parts.iter().filter(|((_, invoice), _)| *invoice == row.key);
        let (outside, through) = parts.fold((0_i64, 0_i64), |(outside, through), (_, part)| {
            let through = through.saturating_add(part.amount_minor.saturating_sub(part.outside_minor));
            (outside.saturating_add(part.outside_minor), through)
        });
        let claim = row.outside_minor.saturating_sub(outside).max(0);
        let outside = outside.min(row.amount_minor);
        let room = row.amount_minor.saturating_sub(outside).saturating_sub(through).max(0);
        (row.key.as_str(), Invoice { row, outside, claim, room })
    });
    with_room.collect()
}

/// Payments, with the amount that the parts of known invoices leave of them. An invoice accounts for no more than was paid
/// on it: an overpaid amount is the customer's credit, and counts with the payment.
fn payments<'a>(book: &Book<'a>, invoices: &BTreeMap<&str, Invoice<'_>>) -> BTreeMap<&'a str, Payment<'a>> {
    let mut through: BTreeMap<&str, i64> =
        invoices.iter().map(|(id, invoice)| (*id, invoice.row.amount_minor.saturating_sub(invoice.outside))).collect();
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for ((payment, invoice), part) in &book.parts {
        let (told, promised) = sums.entry(payment).or_default();
        let amount = part.amount_minor.saturating_sub(part.outside_minor);
        if let Some(left) = through.get_mut(invoice) {
            let tells = amount.min(*left).max(0);
            *left -= tells;
            *told = told.saturating_add(tells);
        } else {
            *promised = promised.saturating_add(amount);
        }
    }
    let payments = book.payments.iter().map(|(name, row)| {
        let (told, promised) = sums.get(name).copied().unwrap_or_default();
        let rest = row.amount_minor.saturating_sub(told).max(0);
        (*name, Payment { row, rest, promised: promised.min(rest) })
    });
    payments.collect()
}

/// Follows links: for each invoice the better evidence goes first, as far as there is room.
fn follow_links<'a>(
    book: &Book<'a>,
    invoices: &mut BTreeMap<&'a str, Invoice<'a>>,
    payments: &mut BTreeMap<&'a str, Payment<'a>>,
) {
    let mut told: BTreeMap<&str, i64> = BTreeMap::new();
    for (invoice, _, name) in followed(book, invoices, payments) {
        let (Some(invoice), Some(payment)) = (invoices.get_mut(invoice), payments.get(name)) else { continue };
        let part = payment.rest.min(invoice.room);
        invoice.room -= part;
        let sum = told.entry(name).or_insert(0);
        *sum = sum.saturating_add(part);
    }
    for (name, payment) in payments.iter_mut() {
        let told = told.get(name).copied().unwrap_or(0);
        payment.rest = payment.rest.saturating_sub(told).max(0);
        let waits = book.links.iter().any(|(&(of, invoice), evidence)| {
            of == *name
                && *evidence == Evidence::Named
                && !invoices.contains_key(invoice)
                && !book.parts.contains_key(&(of, invoice))
        });
        payment.promised = if waits { payment.rest } else { payment.promised.min(payment.rest) };
    }
}

/// Links between known payments and invoices for which there is no part: invoice, evidence and payment, the better evidence
/// first.
fn followed<'a>(
    book: &Book<'a>,
    invoices: &BTreeMap<&'a str, Invoice<'a>>,
    payments: &BTreeMap<&'a str, Payment<'a>>,
) -> BTreeSet<(&'a str, Reverse<Evidence>, &'a str)> {
    let mut followed = BTreeSet::new();
    for (&(name, id), &evidence) in &book.links {
        let Some(payment) = payments.get(name) else { continue };
        if evidence == Evidence::Named {
            if let Some(invoice) = invoices.get(id)
                && !book.parts.contains_key(&(name, id))
            {
                followed.insert((invoice.row.key.as_str(), Reverse(evidence), name));
            }
            continue;
        }
        let better = book.links.iter().any(|(&(of, _), evidence)| of == name && *evidence > Evidence::Hint)
            || book.parts.keys().any(|(of, _)| *of == name);
        if !better {
            let hinted = invoices.values().filter(|invoice| hint_names(id, &invoice.row.key));
            let fitting: Vec<&Invoice<'_>> = hinted.filter(|invoice| fits(invoice.row, payment.row)).collect();
            if let [invoice] = fitting[..] {
                followed.insert((invoice.row.key.as_str(), Reverse(evidence), name));
            }
        }
    }
    followed
}

/// Whether a hint can be right.
fn fits(invoice: &RevenueRow, payment: &RevenueRow) -> bool {
    let customers = (invoice.customer_id.as_deref(), payment.customer_id.as_deref());
    invoice.currency == payment.currency && !matches!(customers, (Some(one), Some(other)) if one != other)
}
