//! Charges, payment intents, invoice payments, refunds and disputes of any API version, as far as they agree on which
//! payment they speak of and which invoice it paid.

use super::object::Object;

/// The names of one payment. A payment intent has at most one charge that succeeds, so either names the payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaymentIds<'a> {
    /// `pi_…`
    pub intent: Option<&'a str>,
    /// `ch_…` (or `py_…`)
    pub charge: Option<&'a str>,
}

impl<'a> PaymentIds<'a> {
    /// The payment that a charge is.
    pub fn of_charge(charge: Object<'a>) -> Self {
        Self { intent: charge.at("payment_intent").id(), charge: charge.at("id").id() }
    }

    /// The payment that a payment intent is. Its charge is at `latest_charge` since 2022-11-15, in a list before.
    pub fn of_intent(intent: Object<'a>) -> Self {
        let listed = || intent.at("charges").items().find(|charge| charge.at("status").word() == Some("succeeded"));
        let charge = intent.at("latest_charge").id().or_else(|| listed().and_then(|charge| charge.at("id").id()));
        Self { intent: intent.at("id").id(), charge }
    }

    /// The payment that an invoice payment names; one made outside of Stripe is named by its record.
    pub fn of_invoice_payment(invoice_payment: Object<'a>) -> Self {
        let payment = invoice_payment.at("payment");
        let charge = payment.at("charge").id().or_else(|| payment.at("payment_record").id());
        Self { intent: payment.at("payment_intent").id(), charge }
    }

    /// The payment that a refund or dispute is about.
    pub fn of_reversal(reversal: Object<'a>) -> Self {
        Self { intent: reversal.at("payment_intent").id(), charge: reversal.at("charge").id() }
    }

    /// The one name that every event about the payment agrees on: the intent's where there is one.
    pub fn key(&self) -> Option<&'a str> {
        self.intent.or(self.charge)
    }

    /// Whether no payment is named.
    pub fn is_empty(&self) -> bool {
        self.key().is_none()
    }
}

/// What a charge or payment intent says about the invoice it paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaidInvoice<'a> {
    /// This one.
    Named(&'a str),
    /// None.
    Standalone,
    /// Nothing: since 2025-03-31 the field is gone.
    Unknown,
}

/// The invoice that a charge or payment intent paid. Where the field `invoice` is gone, Stripe puts the invoice into
/// `payment_details.order_reference` in newer versions; and a payment without a customer pays no invoice, because an
/// invoice always has one.
pub fn paid_invoice(payment: Object<'_>) -> PaidInvoice<'_> {
    let reference = payment.path("payment_details.order_reference").id().filter(|id| id.starts_with("in_"));
    match payment.at("invoice").id().or(reference) {
        Some(id) => PaidInvoice::Named(id),
        None if payment.mentions("invoice") => PaidInvoice::Standalone,
        None if payment.mentions("customer") && payment.at("customer").id().is_none() => PaidInvoice::Standalone,
        None => PaidInvoice::Unknown,
    }
}

/// Minor units that a charge brought in: what was captured of it.
pub fn captured(charge: Object<'_>) -> Option<i64> {
    charge.at("amount_captured").integer().or_else(|| {
        let captured = charge.at("captured").flag().unwrap_or(true);
        if captured { charge.at("amount").integer() } else { Some(0) }
    })
}

/// Whether a refund with this status came to nothing.
pub fn refund_failed(status: Option<&str>) -> bool {
    matches!(status, Some("failed" | "canceled"))
}

/// Whether the bank holds the money of a dispute with this status: not while it only asks, and not after it was won.
pub fn dispute_holds_money(status: Option<&str>) -> bool {
    !matches!(status, Some("won" | "prevented" | "warning_needs_response" | "warning_under_review" | "warning_closed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn charge_and_intent_agree_on_the_name_of_a_payment() {
        let charge = json!({"id": "ch_1", "payment_intent": "pi_1"});
        let new = json!({"id": "pi_1", "latest_charge": "ch_1"});
        let old = json!({"id": "pi_1", "charges": {"data": [
            {"id": "ch_0", "status": "failed"}, {"id": "ch_1", "status": "succeeded"}]}});
        let expected = PaymentIds { intent: Some("pi_1"), charge: Some("ch_1") };
        assert_eq!(PaymentIds::of_charge(Object::new(&charge)), expected);
        assert_eq!(PaymentIds::of_intent(Object::new(&new)), expected);
        assert_eq!(PaymentIds::of_intent(Object::new(&old)), expected);
    }

    #[test]
    fn an_absent_invoice_is_not_taken_for_none() {
        for (value, expected) in [
            (json!({"invoice": "in_1"}), PaidInvoice::Named("in_1")),
            (json!({"payment_details": {"order_reference": "in_1"}}), PaidInvoice::Named("in_1")),
            (json!({"invoice": null, "customer": "cus_1"}), PaidInvoice::Standalone),
            (json!({"customer": null}), PaidInvoice::Standalone),
            (json!({"customer": "cus_1", "payment_details": {"order_reference": "order-7"}}), PaidInvoice::Unknown),
            (json!({}), PaidInvoice::Unknown),
        ] {
            assert_eq!(paid_invoice(Object::new(&value)), expected, "{value}");
        }
    }

    #[test]
    fn an_authorisation_brings_in_nothing() {
        assert_eq!(captured(Object::new(&json!({"amount": 500, "captured": false}))), Some(0));
        assert_eq!(captured(Object::new(&json!({"amount": 500, "captured": true}))), Some(500));
        assert_eq!(captured(Object::new(&json!({"amount": 500, "amount_captured": 300}))), Some(300));
    }
}
