//! Stripe's objects as JSON, in the shape of each API version. Pure functions of the state they show.
//!
//! Objects carry the fields that real ones have, also those the gateway does not read: size and unknown fields are
//! part of what is simulated.

pub(super) mod checkout;
pub(super) mod customer;
pub(super) mod invoice;
pub(super) mod payment;
pub(super) mod subscription;

use serde_json::{Map, Value, json};

use super::catalogue::{Currency, Tier};
use super::version::ApiVersion;

/// What all objects of a customer share.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) version: ApiVersion,
    pub(super) livemode: bool,
}

/// Joins fields into one object. Later ones win.
fn merged(objects: impl IntoIterator<Item = Value>) -> Value {
    let mut all = Map::new();
    for object in objects {
        if let Value::Object(fields) = object {
            all.extend(fields);
        }
    }
    Value::Object(all)
}

/// A list object with all its items on the first page.
fn list(url: &str, items: &Value) -> Value {
    let count = items.as_array().map_or(0, Vec::len);
    json!({"object": "list", "data": items, "has_more": false, "total_count": count, "url": url})
}

/// A decimal: a number, or a string since dahlia.
fn decimal(world: World, number: f64) -> Value {
    if world.version.has_text_decimals() { json!(number.to_string()) } else { json!(number) }
}

/// The modern form of what is charged.
fn price(world: World, tier: Tier, currency: Currency) -> Value {
    let amount = tier.monthly(currency);
    json!({
        "id": tier.price_id(),
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": 1_577_836_800,
        "currency": currency.as_str(),
        "custom_unit_amount": null,
        "livemode": world.livemode,
        "lookup_key": format!("{}_monthly", tier.as_str()),
        "metadata": {},
        "nickname": null,
        "product": tier.product_id(),
        "recurring": {
            "aggregate_usage": null, "interval": "month", "interval_count": 1, "meter": null,
            "trial_period_days": null, "usage_type": "licensed"
        },
        "tax_behavior": "unspecified",
        "tiers_mode": null,
        "transform_quantity": null,
        "type": "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": amount.to_string()
    })
}

/// The older form of what is charged.
fn plan(world: World, tier: Tier, currency: Currency) -> Value {
    let amount = tier.monthly(currency);
    json!({
        "id": tier.price_id(),
        "object": "plan",
        "active": true,
        "aggregate_usage": null,
        "amount": amount,
        "amount_decimal": amount.to_string(),
        "billing_scheme": "per_unit",
        "created": 1_577_836_800,
        "currency": currency.as_str(),
        "interval": "month",
        "interval_count": 1,
        "livemode": world.livemode,
        "metadata": {},
        "nickname": null,
        "product": tier.product_id(),
        "tiers_mode": null,
        "transform_usage": null,
        "trial_period_days": null,
        "usage_type": "licensed"
    })
}
