//! `payment_intent`, `charge` and `refund`.

use serde_json::{Value, json};

use super::super::people::Person;
use super::customer::billing_details;
use super::{World, list, merged};

/// State of one payment; times in seconds, amounts in minor units.
#[derive(Clone, Debug)]
pub(in super::super) struct Payment {
    pub(in super::super) charge: String,
    pub(in super::super) intent: String,
    /// `None` for a purchase without an invoice, and for one payment of several invoices.
    pub(in super::super) invoice: Option<String>,
    /// The invoice's number within the story.
    pub(in super::super) number: u32,
    pub(in super::super) amount: i64,
    /// How much of the amount was captured so far.
    pub(in super::super) captured: i64,
    pub(in super::super) refunded: i64,
    pub(in super::super) created: i64,
    pub(in super::super) succeeded: bool,
}

/// A refund of a payment or of part of it.
#[derive(Clone, Debug)]
pub(in super::super) struct Refund {
    pub(in super::super) id: String,
    pub(in super::super) amount: i64,
    pub(in super::super) created: i64,
}

/// The charge. It lists `last_refund` if the version lists refunds at all.
pub(in super::super) fn charge(world: World, person: &Person, state: &Payment, last_refund: Option<&Refund>) -> Value {
    let failure = (!state.succeeded).then_some("card_declined");
    let common = json!({
        "id": state.charge,
        "object": "charge",
        "amount": state.amount,
        "amount_captured": state.captured,
        "amount_refunded": state.refunded,
        "application": null,
        "application_fee": null,
        "balance_transaction": (state.captured > 0).then(|| state.charge.replacen("ch_", "txn_", 1)),
        "billing_details": billing_details(person),
        "calculated_statement_descriptor": "SIMULATED SHOP",
        "captured": state.captured > 0,
        "created": state.created,
        "currency": person.currency.as_str(),
        "customer": person.customer_id,
        "description": "Subscription update",
        "destination": null,
        "dispute": null,
        "disputed": false,
        "failure_balance_transaction": null,
        "failure_code": failure,
        "failure_message": failure.map(|_| "Your card was declined."),
        "fraud_details": {},
        "livemode": world.livemode,
        "metadata": {}
    });
    let result = json!({
        "outcome": {
            "network_status": if state.succeeded { "approved_by_network" } else { "declined_by_network" },
            "reason": failure.map(|_| "generic_decline"), "risk_level": "normal", "risk_score": 17,
            "seller_message": if state.succeeded { "Payment complete." } else { "The bank declined the payment." },
            "type": if state.succeeded { "authorized" } else { "issuer_declined" }
        },
        "paid": state.succeeded,
        "payment_intent": state.intent,
        "payment_method": person.payment_method,
        "payment_method_details": {
            "card": {
                "amount_authorized": state.amount, "brand": person.card.0, "country": person.currency.country(),
                "exp_month": 11, "exp_year": 2031, "funding": "credit", "installments": null,
                "last4": person.card.1, "network": person.card.0, "three_d_secure": null, "wallet": null
            },
            "type": "card"
        },
        "receipt_email": null,
        "receipt_number": null,
        "refunded": state.refunded == state.amount,
        "review": null,
        "shipping": null,
        "source_transfer": null,
        "statement_descriptor": null,
        "status": if state.succeeded { "succeeded" } else { "failed" },
        "transfer_data": null,
        "transfer_group": null
    });
    let mut parts = vec![common, result];
    if !world.version.is_basil_or_later() {
        parts.push(json!({"invoice": state.invoice}));
    }
    if world.version.charges_list_refunds() {
        let one = |made| {
            if state.captured < state.amount { release(person, state, made) } else { refund(person, state, made) }
        };
        let refunds: Vec<Value> = last_refund.map(one).into_iter().collect();
        parts.push(json!({"refunds": list(&format!("/v1/charges/{}/refunds", state.charge), &json!(refunds))}));
    }
    merged(parts)
}

/// The payment intent behind the charge.
pub(in super::super) fn payment_intent(world: World, person: &Person, state: &Payment) -> Value {
    let error = (!state.succeeded).then(|| {
        json!({
            "charge": state.charge, "code": "card_declined", "decline_code": "generic_decline",
            "message": "Your card was declined.", "type": "card_error"
        })
    });
    let common = json!({
        "id": state.intent,
        "object": "payment_intent",
        "amount": state.amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": state.captured,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": if state.captured < state.amount && state.succeeded { "manual" } else { "automatic" },
        "client_secret": null,
        "confirmation_method": "automatic",
        "created": state.created,
        "currency": person.currency.as_str(),
        "customer": person.customer_id,
        "description": "Subscription update",
        "last_payment_error": error,
        "latest_charge": state.charge,
        "livemode": world.livemode,
        "metadata": {},
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": state.succeeded.then_some(&person.payment_method),
        "payment_method_types": ["card"],
        "processing": null,
        "receipt_email": null,
        "setup_future_usage": "off_session",
        "shipping": null,
        "statement_descriptor": null,
        "status": if state.succeeded { "succeeded" } else { "requires_payment_method" },
        "transfer_data": null
    });
    match state.invoice.as_deref().and_then(|invoice| world.version.order_reference(invoice)) {
        Some(reference) => merged([common, json!({"payment_details": {"order_reference": reference}})]),
        None if world.version.is_basil_or_later() => common,
        None => merged([common, json!({"invoice": state.invoice})]),
    }
}

/// The refund that old versions show when an authorisation, or the rest of one, is released. If nothing was ever
/// captured, nothing is booked.
pub(in super::super) fn release(person: &Person, payment: &Payment, state: &Refund) -> Value {
    let mut object = refund(person, payment, state);
    object["reason"] = Value::Null;
    if payment.captured == 0 {
        object["balance_transaction"] = Value::Null;
    }
    object
}

/// A dispute of the whole payment, opened at `created`: still open, or decided for or against the seller.
pub(in super::super) fn dispute(
    world: World,
    person: &Person,
    payment: &Payment,
    id: &str,
    created: i64,
    won: Option<bool>,
) -> Value {
    let booking = |place: u32, amount: i64, fee: i64| {
        json!({
            "id": id.replacen("du_", &format!("txn_{place}"), 1), "object": "balance_transaction", "amount": amount,
            "created": created, "currency": person.currency.as_str(), "fee": fee, "net": amount - fee,
            "reporting_category": if amount < 0 { "dispute" } else { "dispute_reversal" }, "type": "adjustment"
        })
    };
    let mut bookings = vec![booking(0, -payment.amount, 1500)];
    if won == Some(true) {
        bookings.push(booking(1, payment.amount, 0));
    }
    json!({
        "id": id,
        "object": "dispute",
        "amount": payment.amount,
        "balance_transactions": bookings,
        "charge": payment.charge,
        "created": created,
        "currency": person.currency.as_str(),
        "is_charge_refundable": false,
        "livemode": world.livemode,
        "metadata": {},
        "payment_intent": payment.intent,
        "reason": "fraudulent",
        "status": match won {
            None => "needs_response",
            Some(true) => "won",
            Some(false) => "lost",
        }
    })
}

/// The refund. It names no customer, as in Stripe's own.
pub(in super::super) fn refund(person: &Person, payment: &Payment, state: &Refund) -> Value {
    json!({
        "id": state.id,
        "object": "refund",
        "amount": state.amount,
        "balance_transaction": state.id.replacen("re_", "txn_", 1),
        "charge": payment.charge,
        "created": state.created,
        "currency": person.currency.as_str(),
        "destination_details": {
            "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
            "type": "card"
        },
        "metadata": {},
        "payment_intent": payment.intent,
        "reason": "requested_by_customer",
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null
    })
}
