//! `checkout.session`.

use serde_json::{Value, json};

use super::super::catalogue::Tier;
use super::super::people::{Binding, Person};
use super::customer::address;
use super::{World, merged};

/// A checkout session that ended.
#[derive(Clone, Debug)]
pub(in super::super) struct Session {
    pub(in super::super) id: String,
    pub(in super::super) created: i64,
    pub(in super::super) tier: Tier,
    /// Identifiers of the subscription and of its first invoice; `None` if the session expired.
    pub(in super::super) sold: Option<(String, String)>,
    /// The amount paid now, in minor units; zero with a trial.
    pub(in super::super) amount: i64,
}

/// The session as the API version shows it.
pub(in super::super) fn session(world: World, person: &Person, state: &Session) -> Value {
    let completed = state.sold.is_some();
    let mode = if world.livemode { "live" } else { "test" };
    let payment_status = match (completed, state.amount) {
        (false, _) => "unpaid",
        (true, 0) => "no_payment_required",
        (true, _) => "paid",
    };
    let common = json!({
        "id": state.id,
        "object": "checkout.session",
        "after_expiration": null,
        "allow_promotion_codes": null,
        "amount_subtotal": state.amount,
        "amount_total": state.amount,
        "automatic_tax": {"enabled": false, "liability": null, "status": null},
        "billing_address_collection": null,
        "cancel_url": "https://app.example.com/pricing",
        "client_reference_id": (person.binding == Binding::ClientReference || person.binding == Binding::Everywhere)
            .then_some(&person.user_id),
        "client_secret": null,
        "consent": null,
        "consent_collection": null,
        "created": state.created,
        "currency": person.currency.as_str(),
        "custom_fields": [],
        "custom_text": {"after_submit": null, "shipping_address": null, "submit": null},
        "customer": person.customer_id,
        "customer_creation": null,
        "customer_details": {
            "address": address(person), "email": person.email, "name": completed.then_some(&person.name),
            "phone": null, "tax_exempt": "none", "tax_ids": []
        },
        "customer_email": null,
        "expires_at": state.created + 86_400
    });
    let sale = json!({
        "invoice": state.sold.as_ref().map(|(_, invoice)| invoice),
        "livemode": world.livemode,
        "locale": "auto",
        "metadata": metadata(person, state.tier),
        "mode": "subscription",
        "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": "always",
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": payment_status,
        "phone_number_collection": {"enabled": false},
        "recovered_from": null,
        "setup_intent": null,
        "shipping_options": [],
        "status": if completed { "complete" } else { "expired" },
        "submit_type": null,
        "subscription": state.sold.as_ref().map(|(subscription, _)| subscription),
        "success_url": format!("https://app.example.com/welcome?session=cs_{mode}"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted",
        "url": null
    });
    if world.version.is_basil_or_later() {
        merged([common, sale, json!({"collected_information": null, "permissions": null, "wallet_options": null})])
    } else {
        merged([common, sale, json!({"shipping_address_collection": null, "shipping_cost": null})])
    }
}

fn metadata(person: &Person, tier: Tier) -> Value {
    let mut fields = serde_json::Map::new();
    match person.binding {
        Binding::SessionMetadata | Binding::Everywhere => {
            fields.insert("userId".to_owned(), json!(person.user_id));
        }
        Binding::SnakeCaseMetadata => {
            fields.insert("user_id".to_owned(), json!(person.user_id));
        }
        Binding::ClientReference | Binding::SubscriptionMetadata => {}
    }
    if person.names_tier {
        fields.insert("tier".to_owned(), json!(tier.as_str()));
    }
    Value::Object(fields)
}
