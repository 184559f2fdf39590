//! Whether an invoice adds up.
//!
//! Only what holds for every documented invoice is checked. What was paid is not: money that came around Stripe, credit
//! notes, forgiven rests, overpayments and payments from a balance all settle an invoice, each in its own fields.

use super::finding;
use crate::revenue::rows::{Finding, Severity};
use crate::stripe::invoice::{Invoice, sum};
use crate::stripe::object::Object;

pub(super) fn check(object: Object<'_>, findings: &mut Vec<Finding>) {
    lines_make_the_total(object, findings);
    currency_is_the_customers(object, findings);
}

/// If all lines are listed, they make the total, less all discounts (also those of single lines, which `subtotal` already
/// lacks) and credits before tax, plus added tax and shipping.
fn lines_make_the_total(object: Object<'_>, findings: &mut Vec<Finding>) {
    let (invoice, lines) = (Invoice(object), object.at("lines"));
    let listed = i64::try_from(lines.items().count()).unwrap_or(i64::MAX);
    let whole =
        listed > 0 && lines.is_whole_list() && lines.at("total_count").integer().is_none_or(|count| count <= listed);
    // Old invoices tell of discounts only by the coupon, which is not worth computing.
    let told = object.at("total_discount_amounts").is_some() || !object.at("discount").is_some();
    let (Some(lines), Some(total)) = (sum(lines.items()).filter(|_| whole && told), object.at("total").integer())
    else {
        return;
    };
    let parts = (invoice.discount(), invoice.pretax_credit(), invoice.exclusive_tax());
    let (Some(discount), Some(credit), Some(tax)) = parts else { return };
    // Depending on the kind of tax, tax on shipping is in the sum of taxes or in the shipping's own total.
    let shipping = ["shipping_cost.amount_total", "shipping_cost.amount_subtotal"];
    let shipping = shipping.map(|place| object.path(place).integer().unwrap_or(0));
    let made = |shipping: i64| {
        let net = lines.checked_sub(discount)?.checked_sub(credit)?;
        net.checked_add(tax)?.checked_add(shipping)
    };
    if !shipping.into_iter().any(|shipping| made(shipping) == Some(total)) {
        let shipping = shipping[0];
        let detail = format!(
            "the lines make {lines}, with discount {discount}, credit {credit}, tax {tax} and shipping {shipping}; the \
             total is {total}"
        );
        findings.push(finding("invoice_total", Severity::Warning, object.at("id").id(), detail));
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
