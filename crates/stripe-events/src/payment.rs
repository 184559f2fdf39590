//! Charges, payment intents, invoice payments, refunds and disputes of any API version, as far as they agree on which
//! payment they speak of and which invoice it paid.

use super::object::Object;

/// The names of one payment. A payment intent has at most one successful charge, so either of them names the
/// payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaymentIds<'a> {
    /// `pi_…`
    pub intent: Option<&'a str>,
    /// `ch_…` (or `py_…`)
    pub charge: Option<&'a str>,
}

impl<'a> PaymentIds<'a> {
    /// The names of a charge.
    pub fn of_charge(charge: Object<'a>) -> Self {
        Self { intent: charge.at("payment_intent").id(), charge: charge.at("id").id() }
    }

    /// The names of a payment intent. Its charge is at `latest_charge` since 2022-11-15, and in a list before.
    pub fn of_intent(intent: Object<'a>) -> Self {
        let listed = || intent.at("charges").items().find(|charge| charge.at("status").word() == Some("succeeded"));
        let charge = intent.at("latest_charge").id().or_else(|| listed().and_then(|charge| charge.at("id").id()));
        Self { intent: intent.at("id").id(), charge }
    }

    /// The names of the payment behind an invoice payment; empty for a payment that was made around Stripe.
    pub fn of_invoice_payment(invoice_payment: Object<'a>) -> Self {
        let payment = invoice_payment.at("payment");
        Self { intent: payment.at("payment_intent").id(), charge: payment.at("charge").id() }
    }

    /// The names of the payment that a refund or dispute is about.
    pub fn of_reversal(reversal: Object<'a>) -> Self {
        Self { intent: reversal.at("payment_intent").id(), charge: reversal.at("charge").id() }
    }

    /// The one name that every event about the payment agrees on: the intent's, if there is one.
    pub fn key(&self) -> Option<&'a str> {
        self.intent.or(self.charge)
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.key().is_none()
    }
}

/// What a charge or payment intent says about the invoice it paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaidInvoice<'a> {
    /// This invoice, as Stripe itself says.
    Named(&'a str),
    /// Perhaps this invoice: a reference that Stripe cuts to [`ORDER_REFERENCE_CHARS`], and that a seller can write
    /// too.
    Hinted(&'a str),
    /// No invoice made it. Stripe may still write a receipt for it afterwards (`invoice_creation`).
    Standalone,
    /// Unknown: the field is gone since 2025-03-31.
    Unknown,
}

/// How many characters of an invoice's id Stripe kept in `payment_details.order_reference` in the autumn of 2025.
/// The id has 27; since March 2026 Stripe keeps all of them.
pub const ORDER_REFERENCE_CHARS: usize = 25;

/// The invoice that a charge or payment intent paid. Newer versions lack the field `invoice` but hint at the
/// invoice in `payment_details.order_reference`. A payment without a customer pays no invoice, because an invoice
/// always has one.
pub fn paid_invoice(payment: Object<'_>) -> PaidInvoice<'_> {
    let reference = payment.path("payment_details.order_reference").id().filter(|id| id.starts_with("in_"));
    match (payment.at("invoice").id(), reference) {
        (Some(id), _) => PaidInvoice::Named(id),
        (None, Some(id)) => PaidInvoice::Hinted(id),
        (None, None) if payment.mentions("invoice") => PaidInvoice::Standalone,
        (None, None) if payment.mentions("customer") && payment.customer().id().is_none() => PaidInvoice::Standalone,
        (None, None) => PaidInvoice::Unknown,
    }
}

/// Whether `hint` names the invoice `id`: it is the whole id, or the id cut to [`ORDER_REFERENCE_CHARS`].
pub fn hint_names(hint: &str, id: &str) -> bool {
    hint == id || (hint.len() == ORDER_REFERENCE_CHARS && id.starts_with(hint))
}

/// The part of a payment that an invoice payment (`inpay_…`) assigns to its invoice.
#[derive(Clone, Copy, Debug)]
pub struct InvoicePayment<'a>(pub Object<'a>);

impl<'a> InvoicePayment<'a> {
    /// Whether money came. An open or canceled one brought nothing.
    pub fn is_paid(self) -> bool {
        self.0.at("status").word().is_none_or(|status| status == "paid")
    }

    /// Minor units that it brought.
    pub fn amount(self) -> Option<i64> {
        self.0.at("amount_paid").integer()
    }

    /// Whether the money came around Stripe: it names a payment record, or no payment at all.
    pub fn is_outside(self) -> bool {
        self.0.at("payment").is_some() && PaymentIds::of_invoice_payment(self.0).is_empty()
    }

    /// The payment record of a payment that was made around Stripe.
    pub fn record(self) -> Option<&'a str> {
        self.0.path("payment.payment_record").id()
    }
}

/// How much of an authorised sum was captured, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The captured amount: money that came in.
    pub amount: i64,
    /// The part that was authorised but not captured. It never was money.
    pub rest: i64,
    /// Whether Stripe says how much was captured. A charge from before 2020 does not, nor does one whose
    /// authorisation was released before 2025-03-31.
    pub told: bool,
}

/// How much of a charge was captured, by the event that reports the capture. Nothing can be refunded before the
/// capture, so an amount that counts as refunded then is the rest that was released. Charges from before 2020 show
/// it in no other way.
pub fn captured_just_now(charge: Object<'_>, shows_releases_as_refunds: bool) -> Option<Captured> {
    let said = captured(charge)?;
    if said.told || !shows_releases_as_refunds {
        return Some(said);
    }
    let rest = charge.at("amount_refunded").integer().unwrap_or(0).clamp(0, said.amount.max(0));
    Some(Captured { amount: said.amount.saturating_sub(rest), rest, told: true })
}

/// How much of a charge was captured.
pub fn captured(charge: Object<'_>) -> Option<Captured> {
    let whole = charge.at("amount").integer();
    let flag = charge.at("captured").flag();
    let amount = match (charge.at("amount_captured").integer(), flag) {
        // More may be captured later (multicapture), but this much is.
        (Some(amount), _) if amount > 0 => return Some(Captured { amount, rest: rest(whole, amount), told: true }),
        (_, Some(false)) => return Some(Captured { amount: 0, rest: whole.unwrap_or(0), told: true }),
        (Some(amount), _) => return Some(Captured { amount, rest: rest(whole, amount), told: true }),
        (None, _) => whole?,
    };
    Some(Captured { amount, rest: 0, told: false })
}

/// Whether a charge or payment intent with this status succeeded. Until 2015-02-18 a charge that did was `paid`, and very
/// old ones have no status.
pub fn succeeded(status: Option<&str>) -> bool {
    status.is_none_or(|status| matches!(status, "succeeded" | "paid"))
}

/// How much a payment intent received.
pub fn received(intent: Object<'_>) -> Option<Captured> {
    let whole = intent.at("amount").integer();
    let received = intent.at("amount_received").integer();
    let amount = received.or(whole)?;
    Some(Captured { amount, rest: rest(whole, amount), told: received.is_some() })
}

fn rest(whole: Option<i64>, captured: i64) -> i64 {
    whole.map_or(0, |whole| whole.saturating_sub(captured).max(0))
}

/// Whether a refund gives back no payment, because it names neither a charge nor a payment intent. Such a refund returns money
/// that the customer sent by bank transfer and that stayed in the cash balance. It never came in as a payment.
pub fn refunds_no_payment(refund: Object<'_>) -> bool {
    let says = refund.mentions("charge") || refund.mentions("payment_intent");
    says && PaymentIds::of_reversal(refund).is_empty()
}

/// Whether a refund with this status failed.
pub fn refund_failed(status: Option<&str>) -> bool {
    matches!(status, Some("failed" | "canceled"))
}

/// First API version in which releasing an authorisation, or the rest of one, creates no refund.
const RELEASES_MAKE_NO_REFUND: &str = "2025-03-31";

/// Whether events of this API version show the release of an authorisation as a refund. An unknown version counts
/// as old.
pub fn shows_releases_as_refunds(api_version: Option<&str>) -> bool {
    api_version.is_none_or(|version| version < RELEASES_MAKE_NO_REFUND)
}

/// Whether the refund itself shows that it moved nothing on the balance: it succeeded without a balance
/// transaction, or it was made because an authorisation expired. Valid only if [`shows_releases_as_refunds`].
pub fn refund_moved_nothing(refund: Object<'_>) -> bool {
    let succeeded = refund.at("status").word().is_none_or(|status| status == "succeeded");
    let unbooked = refund.mentions("balance_transaction") && !refund.at("balance_transaction").is_some();
    (succeeded && unbooked) || refund.at("reason").word() == Some("expired_uncaptured_charge")
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
            (json!({"payment_details": {"order_reference": "in_1"}}), PaidInvoice::Hinted("in_1")),
            (json!({"invoice": "in_2", "payment_details": {"order_reference": "in_1"}}), PaidInvoice::Named("in_2")),
            (json!({"invoice": null, "customer": "cus_1"}), PaidInvoice::Standalone),
            (json!({"customer": null}), PaidInvoice::Standalone),
            (json!({"customer": null, "customer_account": "acct_1"}), PaidInvoice::Unknown),
            (json!({"customer": "cus_1", "payment_details": {"order_reference": "order-7"}}), PaidInvoice::Unknown),
            (json!({}), PaidInvoice::Unknown),
        ] {
            assert_eq!(paid_invoice(Object::new(&value)), expected, "{value}");
        }
    }

    #[test]
    fn an_authorisation_brings_in_nothing() {
        for (charge, amount, rest, told) in [
            (json!({"amount": 500, "captured": false}), 0, 500, true),
            (json!({"amount": 500, "captured": false, "amount_captured": null}), 0, 500, true),
            (json!({"amount": 500, "captured": false, "amount_captured": 300}), 300, 200, true),
            (json!({"amount": 500, "captured": true}), 500, 0, false),
            (json!({"amount": 500, "captured": true, "amount_captured": null}), 500, 0, false),
            (json!({"amount": 500, "captured": true, "amount_captured": 300}), 300, 200, true),
        ] {
            assert_eq!(captured(Object::new(&charge)), Some(Captured { amount, rest, told }), "{charge}");
        }
    }

    #[test]
    fn a_capture_of_before_2020_tells_its_rest_as_refunded() {
        let charge = json!({"amount": 500, "captured": true, "amount_refunded": 200});
        let just_now = |releases| captured_just_now(Object::new(&charge), releases);
        assert_eq!(just_now(true), Some(Captured { amount: 300, rest: 200, told: true }));
        assert_eq!(just_now(false), captured(Object::new(&charge)));
        let told = json!({"amount": 500, "captured": true, "amount_captured": 400, "amount_refunded": 50});
        assert_eq!(captured_just_now(Object::new(&told), true), captured(Object::new(&told)));
    }

    #[test]
    fn a_hint_is_the_id_of_an_invoice_or_its_first_25_characters() {
        let id = "in_1AAAAAAAAAAAAAAAAAAAAAAA";
        assert!(hint_names(id, id) && hint_names(&id[..ORDER_REFERENCE_CHARS], id));
        assert!(!hint_names(&id[..24], id) && !hint_names("in_1", "in_12"));
    }

    #[test]
    fn only_old_refunds_without_a_booking_moved_nothing() {
        for (refund, nothing) in [
            (json!({"status": "succeeded", "balance_transaction": null}), true),
            (json!({"status": "succeeded", "balance_transaction": "txn_1"}), false),
            (json!({"status": "pending", "balance_transaction": null}), false),
            (json!({"status": "succeeded"}), false),
            (json!({"status": "succeeded", "reason": "expired_uncaptured_charge"}), true),
        ] {
            assert_eq!(refund_moved_nothing(Object::new(&refund)), nothing, "{refund}");
        }
        assert!(shows_releases_as_refunds(Some("2024-11-20.acacia")) && shows_releases_as_refunds(None));
        assert!(!shows_releases_as_refunds(Some("2025-03-31.basil")));
    }

    #[test]
    fn a_payment_succeeded_by_its_status_of_any_version() {
        for (status, came) in [
            (None, true),
            (Some("succeeded"), true),
            (Some("paid"), true),
            (Some("pending"), false),
            (Some("failed"), false),
        ] {
            assert_eq!(succeeded(status), came, "{status:?}");
        }
    }

    #[test]
    fn only_a_refund_that_names_nothing_gives_back_no_payment() {
        for (refund, nothing) in [
            (json!({"charge": null, "payment_intent": null}), true),
            (json!({"payment_intent": null}), true),
            (json!({"charge": "ch_1", "payment_intent": null}), false),
            (json!({"charge": null, "payment_intent": {"id": "pi_1"}}), false),
            (json!({}), false),
        ] {
            assert_eq!(refunds_no_payment(Object::new(&refund)), nothing, "{refund}");
        }
    }

    #[test]
    fn money_around_stripe_names_a_record_or_nothing() {
        for (payment, outside) in [
            (json!({"type": "payment_intent", "payment_intent": "pi_1"}), false),
            (json!({"type": "charge", "charge": "ch_1"}), false),
            (json!({"type": "payment_record", "payment_record": "pr_1"}), true),
            (json!({"type": "out_of_band"}), true),
            (json!(null), false),
        ] {
            let value = json!({"payment": payment});
            assert_eq!(InvoicePayment(Object::new(&value)).is_outside(), outside, "{value}");
        }
    }
}
