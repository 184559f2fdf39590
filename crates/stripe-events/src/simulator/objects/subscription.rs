//! `subscription`.

use serde_json::{Value, json};

use super::super::catalogue::Tier;
use super::super::expected::SubscriptionStatus;
use super::super::people::Person;
use super::{World, list, merged, plan, price};

/// State of one subscription; times in seconds.
#[derive(Clone, Debug)]
pub(in super::super) struct Subscription {
    pub(in super::super) id: String,
    pub(in super::super) item_id: String,
    pub(in super::super) status: SubscriptionStatus,
    pub(in super::super) tier: Tier,
    pub(in super::super) created: i64,
    pub(in super::super) period: (i64, i64),
    pub(in super::super) trial: Option<(i64, i64)>,
    /// End of the period at which it will be cancelled.
    pub(in super::super) cancels_at: Option<i64>,
    pub(in super::super) canceled_at: Option<i64>,
    pub(in super::super) ended_at: Option<i64>,
    pub(in super::super) end_reason: Option<&'static str>,
    pub(in super::super) latest_invoice: Option<String>,
    /// It sells on behalf of a connected account, for a share.
    pub(in super::super) has_fee: bool,
}

/// The subscription as the API version shows it.
pub(in super::super) fn subscription(world: World, person: &Person, state: &Subscription) -> Value {
    let recent = world.version.is_basil_or_later();
    let fee = state.has_fee.then(|| super::decimal(world, 2.5));
    let common = json!({
        "id": state.id,
        "object": "subscription",
        "application": null,
        "application_fee_percent": fee,
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null},
        "billing_cycle_anchor": state.trial.map_or(state.created, |(_, end)| end),
        "cancellation_details": cancellation_details(state),
        "collection_method": "charge_automatically",
        "created": state.created,
        "currency": person.currency.as_str(),
        "customer": person.customer_id,
        "days_until_due": null,
        "default_payment_method": person.payment_method,
        "default_source": null,
        "default_tax_rates": [],
        "description": null,
        "ended_at": state.ended_at,
        "items": list(&format!("/v1/subscription_items?subscription={}", state.id), &json!([item(world, person, state)])),
        "latest_invoice": state.latest_invoice,
        "livemode": world.livemode,
        "metadata": metadata(person, state.tier)
    });
    let terms = json!({
        "next_pending_invoice_item_invoice": null,
        "on_behalf_of": null,
        "pause_collection": null,
        "payment_settings": {
            "payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off"
        },
        "pending_invoice_item_interval": null,
        "pending_setup_intent": null,
        "pending_update": null,
        "schedule": null,
        "start_date": state.created,
        "status": state.status.as_str(),
        "test_clock": null,
        "transfer_data": null,
        "trial_end": state.trial.map(|(_, end)| end),
        "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
        "trial_start": state.trial.map(|(start, _)| start)
    });
    let versioned = if recent {
        json!({"billing_mode": {"type": "flexible"}, "discounts": [], "invoice_settings": {"issuer": {"type": "self"}}})
    } else {
        json!({
            "billing_thresholds": null,
            "current_period_end": state.period.1,
            "current_period_start": state.period.0,
            "discount": null,
            "plan": plan(world, state.tier, person.currency),
            "quantity": 1
        })
    };
    merged([common, terms, cancellation_fields(world, state), versioned])
}

/// The fields that say whether it will be cancelled.
fn cancellation_fields(world: World, state: &Subscription) -> Value {
    json!({
        "cancel_at": state.cancels_at,
        "cancel_at_period_end": state.cancels_at.is_some() && !world.version.cancels_by_date(),
        "canceled_at": state.canceled_at
    })
}

fn cancellation_details(state: &Subscription) -> Value {
    json!({"comment": null, "feedback": null, "reason": state.end_reason})
}

/// The values that a change of the tier replaces.
pub(in super::super) fn replaced_by_change(world: World, person: &Person, state: &Subscription) -> Value {
    let named = match metadata(person, state.tier).get("tier") {
        Some(tier) => json!({"metadata": {"tier": tier}}),
        None => json!({}),
    };
    merged([item_fields(world, person, state), named])
}

/// The values that the customer's decision to cancel, or to stay, replaces.
pub(in super::super) fn replaced_by_cancellation(world: World, state: &Subscription) -> Value {
    merged([cancellation_fields(world, state), json!({"cancellation_details": cancellation_details(state)})])
}

/// The fields that describe a period.
pub(in super::super) fn period_fields(world: World, person: &Person, state: &Subscription) -> Value {
    if world.version.is_basil_or_later() {
        json!({"items": {"data": [item(world, person, state)]}})
    } else {
        json!({"current_period_end": state.period.1, "current_period_start": state.period.0})
    }
}

/// The fields that describe what is sold.
fn item_fields(world: World, person: &Person, state: &Subscription) -> Value {
    let items = json!({"items": {"data": [item(world, person, state)]}});
    if world.version.is_basil_or_later() {
        items
    } else {
        merged([items, json!({"plan": plan(world, state.tier, person.currency)})])
    }
}

/// What the application writes into the subscription's metadata.
pub(super) fn metadata(person: &Person, tier: Tier) -> Value {
    let mut fields = serde_json::Map::new();
    if person.binding.on_subscription() {
        fields.insert("userId".to_owned(), json!(person.user_id));
    }
    if person.names_tier && person.binding.on_subscription() {
        fields.insert("tier".to_owned(), json!(tier.as_str()));
    }
    Value::Object(fields)
}

fn item(world: World, person: &Person, state: &Subscription) -> Value {
    let common = json!({
        "id": state.item_id,
        "object": "subscription_item",
        "created": state.created,
        "discounts": [],
        "metadata": {},
        "plan": plan(world, state.tier, person.currency),
        "quantity": 1,
        "subscription": state.id,
        "tax_rates": []
    });
    let mut parts = vec![common];
    if !world.version.has_plans_only() {
        parts.push(json!({"price": price(world, state.tier, person.currency)}));
    }
    if world.version.is_basil_or_later() {
        parts.push(json!({"current_period_end": state.period.1, "current_period_start": state.period.0}));
    } else {
        parts.push(json!({"billing_thresholds": null}));
    }
    merged(parts)
}
