//! `customer` and `payment_method`.

use serde_json::{Value, json};

use super::super::people::Person;
use super::World;

/// The customer; `settled` once a payment method is attached.
pub(in super::super) fn customer(world: World, person: &Person, settled: bool) -> Value {
    let metadata = if person.binding.on_customer() { json!({"userId": person.user_id}) } else { json!({}) };
    let address = settled.then(|| address(person));
    json!({
        "id": person.customer_id,
        "object": "customer",
        "address": address,
        "balance": 0,
        "created": person.joined,
        "currency": settled.then(|| person.currency.as_str()),
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": person.email,
        "invoice_prefix": person.invoice_prefix,
        "invoice_settings": {
            "custom_fields": null,
            "default_payment_method": settled.then_some(&person.payment_method),
            "footer": null,
            "rendering_options": null
        },
        "livemode": world.livemode,
        "metadata": metadata,
        "name": settled.then_some(&person.name),
        "next_invoice_sequence": 1,
        "phone": null,
        "preferred_locales": ["en"],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null
    })
}

/// The card that the customer pays with.
pub(in super::super) fn payment_method(world: World, person: &Person, created: i64) -> Value {
    json!({
        "id": person.payment_method,
        "object": "payment_method",
        "allow_redisplay": "limited",
        "billing_details": billing_details(person),
        "card": {
            "brand": person.card.0,
            "checks": {"address_line1_check": null, "address_postal_code_check": "pass", "cvc_check": "pass"},
            "country": person.currency.country(),
            "exp_month": 11, "exp_year": 2031, "fingerprint": "Xt5EWLLDS7FJjR1c", "funding": "credit",
            "generated_from": null, "last4": person.card.1,
            "networks": {"available": [person.card.0], "preferred": null},
            "three_d_secure_usage": {"supported": true},
            "wallet": null
        },
        "created": created,
        "customer": person.customer_id,
        "livemode": world.livemode,
        "metadata": {},
        "type": "card"
    })
}

pub(super) fn address(person: &Person) -> Value {
    json!({
        "city": null, "country": person.currency.country(), "line1": null, "line2": null,
        "postal_code": "94107", "state": null
    })
}

pub(super) fn billing_details(person: &Person) -> Value {
    json!({"address": address(person), "email": person.email, "name": person.name, "phone": null, "tax_id": null})
}
