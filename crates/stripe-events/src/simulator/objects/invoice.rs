//! `invoice` and `invoice_payment`.

use serde_json::{Value, json};

use super::super::catalogue::Tier;
use super::super::people::Person;
use super::customer::address;
use super::subscription::{Subscription, metadata};
use super::{World, list, merged, plan, price};

/// How far an invoice got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum InvoiceStatus {
    Draft,
    Open,
    Paid,
}

/// State of one invoice; times in seconds, amounts in minor units.
#[derive(Clone, Debug)]
pub(in super::super) struct Invoice {
    pub(in super::super) id: String,
    pub(in super::super) line_id: String,
    pub(in super::super) payment_intent: String,
    pub(in super::super) charge: Option<String>,
    pub(in super::super) sequence: u32,
    pub(in super::super) reason: &'static str,
    pub(in super::super) tier: Tier,
    pub(in super::super) amount: i64,
    pub(in super::super) period: (i64, i64),
    pub(in super::super) created: i64,
    pub(in super::super) status: InvoiceStatus,
    pub(in super::super) finalized_at: Option<i64>,
    pub(in super::super) paid_at: Option<i64>,
    /// Paid around Stripe.
    pub(in super::super) out_of_band: bool,
    pub(in super::super) attempts: u32,
    pub(in super::super) next_attempt: Option<i64>,
}

impl Invoice {
    /// The amount paid, as the version has it. Before basil it leaves out money that came around Stripe.
    fn paid_amount(&self, world: World) -> i64 {
        let told = world.version.is_basil_or_later() || !self.out_of_band;
        if self.status == InvoiceStatus::Paid && told { self.amount } else { 0 }
    }
}

/// The invoice as the API version shows it.
pub(in super::super) fn invoice(world: World, person: &Person, owner: &Subscription, state: &Invoice) -> Value {
    let mode = if world.livemode { "live" } else { "test" };
    let finalized = state.finalized_at.is_some();
    let page = finalized.then(|| format!("https://invoice.example.com/i/{mode}/{}", state.id));
    let common = json!({
        "id": state.id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Simulated shop",
        "amount_due": state.amount,
        "amount_overpaid": 0,
        "amount_paid": state.paid_amount(world),
        "amount_remaining": state.amount - state.paid_amount(world),
        "attempt_count": state.attempts,
        "attempted": state.attempts > 0,
        "auto_advance": state.status != InvoiceStatus::Paid,
        "automatic_tax": {"enabled": false, "liability": null, "status": null},
        "billing_reason": state.reason,
        "collection_method": "charge_automatically",
        "created": state.created,
        "currency": person.currency.as_str(),
        "customer": person.customer_id,
        "customer_address": address(person),
        "customer_email": person.email,
        "customer_name": person.name,
        "default_payment_method": null,
        "description": null,
        "discounts": [],
        "due_date": null
    });
    let document = json!({
        "effective_at": state.finalized_at,
        "ending_balance": finalized.then_some(0),
        "hosted_invoice_url": page,
        "lines": list(&format!("/v1/invoices/{}/lines", state.id), &json!([line(world, person, owner, state)])),
        "livemode": world.livemode,
        "metadata": {},
        "next_payment_attempt": state.next_attempt,
        "number": finalized.then(|| format!("{}-{:04}", person.invoice_prefix, state.sequence)),
        "period_end": state.created,
        "period_start": state.created,
        "starting_balance": 0,
        "status": match state.status {
            InvoiceStatus::Draft => "draft",
            InvoiceStatus::Open => "open",
            InvoiceStatus::Paid => "paid",
        },
        "status_transitions": {
            "finalized_at": state.finalized_at, "marked_uncollectible_at": null, "paid_at": state.paid_at,
            "voided_at": null
        },
        "subtotal": state.amount,
        "subtotal_excluding_tax": state.amount,
        "total": state.amount,
        "total_discount_amounts": [],
        "total_excluding_tax": state.amount
    });
    merged([common, document, relations(world, person, owner, state)])
}

/// What the invoice belongs to and how it was paid. Basil moved these fields.
fn relations(world: World, person: &Person, owner: &Subscription, state: &Invoice) -> Value {
    if world.version.is_basil_or_later() {
        json!({
            "parent": {
                "quote_details": null,
                "subscription_details": {"metadata": metadata(person, owner.tier), "subscription": owner.id},
                "type": "subscription_details"
            },
            "total_pretax_credit_amounts": [],
            "total_taxes": []
        })
    } else {
        json!({
            "charge": state.charge,
            "paid": state.status == InvoiceStatus::Paid,
            "paid_out_of_band": state.out_of_band,
            "payment_intent": (state.finalized_at.is_some() && state.amount > 0 && !state.out_of_band)
                .then_some(&state.payment_intent),
            "subscription": owner.id,
            "subscription_details": {"metadata": metadata(person, owner.tier)},
            "tax": null,
            "total_tax_amounts": []
        })
    }
}

/// The notice of an upcoming invoice. It has no identifier, as in Stripe's own.
pub(in super::super) fn upcoming(world: World, person: &Person, owner: &Subscription, state: &Invoice) -> Value {
    let mut object = invoice(world, person, owner, state);
    if let Some(fields) = object.as_object_mut() {
        fields.remove("id");
    }
    object
}

/// The link between an invoice and its payment, since basil.
pub(in super::super) fn invoice_payment(world: World, person: &Person, state: &Invoice, id: &str) -> Value {
    json!({
        "id": id,
        "object": "invoice_payment",
        "amount_paid": state.amount,
        "amount_requested": state.amount,
        "created": state.finalized_at,
        "currency": person.currency.as_str(),
        "invoice": state.id,
        "is_default": true,
        "livemode": world.livemode,
        "payment": {"payment_intent": state.payment_intent, "type": "payment_intent"},
        "status": "paid",
        "status_transitions": {"canceled_at": null, "paid_at": state.paid_at}
    })
}

/// The link between an invoice and money that came around Stripe, which Stripe keeps as a payment record.
pub(in super::super) fn outside_payment(
    world: World,
    person: &Person,
    state: &Invoice,
    id: &str,
    record: &str,
) -> Value {
    let mut object = invoice_payment(world, person, state, id);
    object["payment"] = json!({"payment_record": record, "type": "payment_record"});
    object
}

fn line(world: World, person: &Person, owner: &Subscription, state: &Invoice) -> Value {
    let amount = state.amount;
    let common = json!({
        "id": state.line_id,
        "object": "line_item",
        "amount": amount,
        "currency": person.currency.as_str(),
        "description": format!("1 × {} (per month)", state.tier.product_name()),
        "discount_amounts": [],
        "discountable": true,
        "discounts": [],
        "invoice": state.id,
        "livemode": world.livemode,
        "metadata": metadata(person, state.tier),
        "period": {"end": state.period.1, "start": state.period.0},
        "quantity": 1
    });
    if world.version.is_basil_or_later() {
        let pricing = json!({
            "price_details": {"price": state.tier.price_id(), "product": state.tier.product_id()},
            "type": "price_details",
            "unit_amount_decimal": amount.to_string()
        });
        let parent = json!({
            "invoice_item_details": null,
            "subscription_item_details": {
                "invoice_item": null, "proration": false, "proration_details": {"credited_items": null},
                "subscription": owner.id, "subscription_item": owner.item_id
            },
            "type": "subscription_item_details"
        });
        return merged([
            common,
            json!({"parent": parent, "pretax_credit_amounts": [], "pricing": pricing, "taxes": []}),
        ]);
    }
    let mut parts = vec![
        common,
        json!({
            "plan": plan(world, state.tier, person.currency),
            "proration": false,
            "proration_details": {"credited_items": null},
            "subscription": owner.id,
            "subscription_item": owner.item_id,
            "tax_amounts": [],
            "tax_rates": [],
            "type": "subscription"
        }),
    ];
    if !world.version.has_plans_only() {
        parts.push(json!({"price": price(world, state.tier, person.currency)}));
    }
    merged(parts)
}
