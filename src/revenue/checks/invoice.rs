//! Whether an invoice adds up.

use super::finding;
use crate::revenue::rows::{Finding, Severity};
use crate::stripe::invoice::{Invoice, sum};
use crate::stripe::object::Object;

pub(super) fn check(object: Object<'_>, findings: &mut Vec<Finding>) {
    lines_make_the_subtotal(object, findings);
    parts_make_the_total(object, findings);
    paid_is_what_was_due(object, findings);
    payments_make_what_was_paid(object, findings);
    currency_is_the_customers(object, findings);
}

/// The lines, when all are listed, make the subtotal.
fn lines_make_the_subtotal(object: Object<'_>, findings: &mut Vec<Finding>) {
    let (lines, Some(subtotal)) = (object.at("lines"), object.at("subtotal").integer()) else { return };
    // Stripe lists the first ten lines in an event.
    let whole = lines.is_whole_list() && lines.at("total_count").integer().is_none_or(|count| count <= 10);
    let Some(sum) = sum(lines.items()).filter(|_| whole) else { return };
    if sum != subtotal {
        let detail = format!("the lines make {sum}, the subtotal is {subtotal}");
        findings.push(finding("invoice_lines", Severity::Warning, object.at("id").id(), detail));
    }
}

/// Subtotal, less discounts, with tax that is added and shipping, makes the total.
fn parts_make_the_total(object: Object<'_>, findings: &mut Vec<Finding>) {
    let invoice = Invoice(object);
    let (Some(subtotal), Some(total)) = (object.at("subtotal").integer(), object.at("total").integer()) else { return };
    let shipping = object.path("shipping_cost.amount_total").integer().unwrap_or(0);
    let (Some(discount), Some(tax)) = (invoice.discount(), invoice.exclusive_tax()) else { return };
    let expected = subtotal.checked_sub(discount).and_then(|sum| sum.checked_add(tax)?.checked_add(shipping));
    // Discounts of old invoices are told only by the coupon, which is not worth computing anew.
    let told = object.at("total_discount_amounts").is_some() || !object.at("discount").is_some();
    if told && expected != Some(total) {
        let detail = format!("subtotal {subtotal}, discount {discount}, tax {tax}, shipping {shipping}, total {total}");
        findings.push(finding("invoice_total", Severity::Warning, object.at("id").id(), detail));
    }
}

/// Of a paid invoice nothing remains to be paid, and what was paid is what was due.
fn paid_is_what_was_due(object: Object<'_>, findings: &mut Vec<Finding>) {
    if !Invoice(object).is_paid() {
        return;
    }
    let (Some(due), Some(paid)) = (object.at("amount_due").integer(), object.at("amount_paid").integer()) else {
        return;
    };
    let remaining = object.at("amount_remaining").integer().unwrap_or(0);
    // Credit notes and money that came around Stripe settle an invoice without being paid on it.
    let settled: Option<i64> = ["post_payment_credit_notes_amount", "pre_payment_credit_notes_amount"]
        .into_iter()
        .try_fold(paid, |sum, field| sum.checked_add(object.at(field).integer().unwrap_or(0)));
    if remaining != 0 || paid > due || settled.is_some_and(|settled| settled < due) {
        let detail = format!("due {due}, paid {paid}, remaining {remaining}");
        findings.push(finding("invoice_paid", Severity::Critical, object.at("id").id(), detail));
    }
}

/// The payments of a paid invoice, when all are listed, make what was paid.
fn payments_make_what_was_paid(object: Object<'_>, findings: &mut Vec<Finding>) {
    let payments = object.at("payments");
    if !payments.is_whole_list() || !Invoice(object).is_paid() {
        return;
    }
    let amounts = payments.items().filter(|payment| payment.at("status").word() == Some("paid"));
    let sum = amounts
        .map(|payment| payment.at("amount_paid").integer())
        .try_fold(0_i64, |sum, amount| sum.checked_add(amount?));
    let paid = object.at("amount_paid").integer();
    if let (Some(sum), Some(paid)) = (sum, paid)
        && sum != paid
        && object.at("paid_out_of_band").flag() != Some(true)
    {
        let detail = format!("the payments make {sum}, the invoice says that {paid} was paid");
        findings.push(finding("invoice_payments", Severity::Warning, object.at("id").id(), detail));
    }
}

/// An expanded customer tells the currency it is billed in.
fn currency_is_the_customers(object: Object<'_>, findings: &mut Vec<Finding>) {
    let (own, customers) = (object.at("currency").word(), object.path("customer.currency").word());
    if let (Some(own), Some(customers)) = (own, customers)
        && !own.eq_ignore_ascii_case(customers)
    {
        let detail = format!("the invoice is in {own}, the customer is billed in {customers}");
        findings.push(finding("currency", Severity::Warning, object.at("id").id(), detail));
    }
}
