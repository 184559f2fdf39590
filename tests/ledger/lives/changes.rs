//! What can happen to a subscription and its customer, and the events by which Stripe tells it.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::plans::EPOCH_SECONDS;

pub(super) const SUBSCRIPTION: &str = "sub_life";
pub(super) const CUSTOMER: &str = "cus_life";

/// One change, and the seconds that passed before it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    after: i64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Another price, with a period of so many days from now on.
    Plan(usize, i64),
    Quantity(i64),
    Note(usize, Option<u8>),
    Cancel,
    Undo,
    EndTrial,
    Late,
    Recover,
    PauseCollection,
    ResumeCollection,
    Invoice(u8),
    Name(u8),
    Currency(bool),
    Balance(i64),
    Flag(usize, Option<u8>),
}

/// A change: most of them within the second of the one before.
pub(super) fn change() -> impl Strategy<Value = Change> {
    let what = prop_oneof![
        (0..3_usize, 1..400_i64).prop_map(|(plan, days)| What::Plan(plan, days)),
        (1..4_i64).prop_map(What::Quantity),
        (0..2_usize, prop::option::of(0..3_u8)).prop_map(|(key, value)| What::Note(key, value)),
        Just(What::Cancel),
        Just(What::Undo),
        Just(What::EndTrial),
        Just(What::Late),
        Just(What::Recover),
        Just(What::PauseCollection),
        Just(What::ResumeCollection),
        (0..4_u8).prop_map(What::Invoice),
        (0..3_u8).prop_map(What::Name),
        any::<bool>().prop_map(What::Currency),
        (-2..2_i64).prop_map(What::Balance),
        (0..2_usize, prop::option::of(0..3_u8)).prop_map(|(key, value)| What::Flag(key, value)),
    ];
    (prop_oneof![5 => Just(0), 2 => 1..3_i64, 1 => 100..200_000_i64], what)
        .prop_map(|(after, what)| Change { after, what })
}

/// All events of a life, and what Stripe holds at its end.
pub(super) struct Story {
    pub(super) events: Vec<Bytes>,
    /// Places of the last event of each object.
    pub(super) lasts: [usize; 2],
    pub(super) subscription: Value,
    pub(super) customer: Value,
}

struct Teller {
    bodies: Vec<Value>,
    ids: Vec<u32>,
}

impl Teller {
    fn tell(&mut self, at: i64, kind: &str, object: &Value, previous: Option<Value>) {
        let mut data = json!({"object": object});
        if let Some(previous) = previous {
            data["previous_attributes"] = previous;
        }
        let id = format!("evt_{:06}", self.ids.pop().unwrap_or_default());
        self.bodies.push(json!({"id": id, "object": "event", "type": kind, "created": EPOCH_SECONDS + at,
            "livemode": true, "api_version": "2024-11-20.acacia", "data": data}));
    }
}

/// Tells a life: both objects are created, then change. Identifiers of events say nothing about their order.
pub(super) fn story(changes: &[Change], random: &mut fastrand::Rng) -> Story {
    let mut ids: Vec<u32> = (0..100).collect();
    random.shuffle(&mut ids);
    let mut teller = Teller { bodies: Vec::new(), ids };
    let (mut customer, mut subscription) = (new_customer(), new_subscription());
    let mut now = 0;
    teller.tell(now, "customer.created", &customer, None);
    teller.tell(now, "customer.subscription.created", &subscription, None);
    let mut lasts = [0, 1];
    for change in changes {
        now += change.after;
        let (was_customer, was) = (customer.clone(), subscription.clone());
        change.what.happen(now, &mut customer, &mut subscription);
        let ended = matches!(change.what, What::EndTrial) && was["status"] == "trialing";
        if ended {
            // Sent first, with the trial's new end and the status of before.
            let mut announced = subscription.clone();
            announced["status"] = was["status"].clone();
            teller.tell(now, "customer.subscription.trial_will_end", &announced, None);
        }
        if let Some(previous) = replaced(&was, &subscription) {
            lasts[1] = teller.bodies.len();
            teller.tell(now, "customer.subscription.updated", &subscription, Some(previous));
        }
        if let Some(previous) = replaced(&was_customer, &customer) {
            lasts[0] = teller.bodies.len();
            teller.tell(now, "customer.updated", &customer, Some(previous));
        }
    }
    let events = teller.bodies.iter().map(|body| Bytes::from(body.to_string())).collect();
    Story { events, lasts, subscription, customer }
}

/// Its announcement shows neither what was before the cancellation nor what its end replaced.
pub(super) fn trial_ended_between_two_changes() -> Story {
    let changes = [What::Cancel, What::EndTrial, What::Undo].map(|what| Change { after: 0, what });
    story(&changes, &mut fastrand::Rng::with_seed(1))
}

const PRICES: [&str; 3] = ["price_bronze", "price_silver", "price_gold"];
const DAY: i64 = 86_400;

fn price(plan: usize) -> Value {
    json!({"id": PRICES[plan], "object": "price", "currency": "cad", "unit_amount": 1000 * (plan + 1),
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}})
}

fn new_subscription() -> Value {
    json!({"id": SUBSCRIPTION, "object": "subscription", "customer": CUSTOMER, "status": "trialing", "currency": "cad",
        "created": EPOCH_SECONDS, "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null,
        "current_period_start": EPOCH_SECONDS, "current_period_end": EPOCH_SECONDS + 30 * DAY, "metadata": {},
        "trial_start": EPOCH_SECONDS, "trial_end": EPOCH_SECONDS + 30 * DAY, "pause_collection": null,
        "latest_invoice": "in_0", "items": {"object": "list", "has_more": false, "total_count": 1,
            "data": [{"id": "si_1", "object": "subscription_item", "price": price(0), "quantity": 1}]}})
}

fn new_customer() -> Value {
    json!({"id": CUSTOMER, "object": "customer", "name": null, "currency": null, "balance": 0, "metadata": {},
        "invoice_settings": {"default_payment_method": null, "footer": null}, "created": EPOCH_SECONDS})
}

impl What {
    fn happen(&self, now: i64, customer: &mut Value, subscription: &mut Value) {
        let second = EPOCH_SECONDS + now;
        match *self {
            Self::Plan(plan, days) => {
                subscription["items"]["data"][0]["price"] = price(plan);
                subscription["current_period_start"] = json!(second);
                subscription["current_period_end"] = json!(second + days * DAY);
            }
            Self::Quantity(quantity) => subscription["items"]["data"][0]["quantity"] = json!(quantity),
            Self::Note(key, value) => note(&mut subscription["metadata"], key, value),
            Self::Cancel if subscription["cancel_at_period_end"] == false => {
                subscription["cancel_at_period_end"] = json!(true);
                subscription["cancel_at"] = subscription["current_period_end"].clone();
                subscription["canceled_at"] = json!(second);
            }
            Self::Undo => {
                subscription["cancel_at_period_end"] = json!(false);
                subscription["cancel_at"] = json!(null);
                subscription["canceled_at"] = json!(null);
            }
            Self::EndTrial if subscription["status"] == "trialing" => {
                subscription["status"] = json!("active");
                subscription["trial_end"] = json!(second);
                subscription["current_period_end"] = json!(second + 30 * DAY);
            }
            Self::Late if subscription["status"] == "active" => subscription["status"] = json!("past_due"),
            Self::Recover if subscription["status"] == "past_due" => subscription["status"] = json!("active"),
            Self::PauseCollection => {
                subscription["pause_collection"] = json!({"behavior": "void", "resumes_at": second + DAY});
            }
            Self::ResumeCollection => subscription["pause_collection"] = json!(null),
            Self::Invoice(number) => subscription["latest_invoice"] = json!(format!("in_{number}")),
            Self::Name(name) => customer["name"] = json!(format!("n{name}")),
            Self::Currency(method) => {
                customer["currency"] = json!("cad");
                let method = if method { json!("pm_1") } else { json!(null) };
                customer["invoice_settings"]["default_payment_method"] = method;
            }
            Self::Balance(balance) => customer["balance"] = json!(balance),
            Self::Flag(key, value) => note(&mut customer["metadata"], key, value),
            Self::Cancel | Self::EndTrial | Self::Late | Self::Recover => {}
        }
    }
}

fn note(metadata: &mut Value, key: usize, value: Option<u8>) {
    let Some(fields) = metadata.as_object_mut() else { return };
    match value {
        Some(value) => fields.insert(format!("k{key}"), json!(value.to_string())),
        None => fields.remove(&format!("k{key}")),
    };
}

/// What Stripe gives as `previous_attributes`: of an object the fields that changed, `null` for one that was not there; a
/// list as a whole, without its frame.
fn replaced(before: &Value, after: &Value) -> Option<Value> {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return None };
    let mut fields = Map::new();
    for key in old.keys().chain(new.keys()) {
        let (old, new) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
        if old == new {
            continue;
        }
        let nested = if old.is_object() && new.is_object() { replaced(old, new) } else { None };
        fields.insert(key.clone(), nested.unwrap_or_else(|| old.clone()));
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}
