//! One event of a wanted type, about a wanted user, as if it had just happened: what a person sends to try something.
//!
//! It comes out of a simulated story, so that its object is whole and its parts fit together. The same user always has the same
//! customer and the same subscription, so that events which are sent one after the other are about one thing. All other
//! identifiers are new with each seed.

use serde_json::Value;

use super::ids::{self, Ids};
use super::life::{DAY, Life};
use super::objects::World;
use super::{ApiVersion, Currency, Options, SPAN, SimulatedEvent, Tier, envelope, mixed};
use crate::Timestamp;

/// How many stories to search for an event.
const STORIES_MAX: u64 = 5000;

/// A story mentions no moment later than this after its end. All amounts are far smaller than any moment. In
/// seconds.
const FUTURE_MAX: i64 = 400 * DAY;

/// The types that [`sample`] can make, in alphabetical order.
pub const SAMPLE_TYPES: [&str; 30] = [
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.failed",
    "charge.refund.updated",
    "charge.refunded",
    "charge.succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.created",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "customer.updated",
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice.upcoming",
    "invoice_payment.paid",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
    "payment_method.attached",
    "refund.created",
];

/// What to make.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// Seed of the event. Another seed gives another event.
    pub seed: u64,
    /// When it happened.
    pub now: Timestamp,
    /// The application's user, whom subscription, session and customer name.
    pub user: String,
    /// The tier that is bought; drawn if absent.
    pub tier: Option<Tier>,
    /// The API version that shapes the event.
    pub api_version: ApiVersion,
    /// Value of `livemode` on everything.
    pub livemode: bool,
    /// Connected account that the event belongs to.
    pub account: Option<String>,
}

/// An event of this type; `None` if the type is not among [`SAMPLE_TYPES`] or did not exist yet in this version.
pub fn sample(kind: &str, options: SampleOptions) -> Option<SimulatedEvent> {
    if !SAMPLE_TYPES.contains(&kind) {
        return None;
    }
    let SampleOptions { seed, now, user, tier, api_version, livemode, account } = options;
    let start = now.minus(SPAN).seconds();
    let mut ids_random = fastrand::Rng::with_seed(seed);
    let ids = Ids::new(&mut ids_random);
    let world = World { version: api_version, livemode };
    let mut owner = fastrand::Rng::with_seed(user.bytes().fold(0, |hash, byte| mixed(hash, u64::from(byte))));
    let (customer, subscription) = (ids::drawn("cus", 14, &mut owner), ids::drawn("sub", 24, &mut owner));
    for story in 0..STORIES_MAX {
        let random = fastrand::Rng::with_seed(mixed(seed, story));
        let mut life = Life::begin(world, ids.clone(), random, start);
        life.belong_to(&user, &customer, tier, Currency::Usd);
        while let Some(mut draft) = life.next() {
            if draft.kind != kind || tier.is_some_and(|tier| sells_another(&draft.object, tier)) {
                continue;
            }
            let moved = Moved { from: start, by: now.seconds() - draft.at, subscription: &subscription };
            moved.change(&mut draft.object);
            draft.previous.iter_mut().for_each(|previous| moved.change(previous));
            draft.at = now.seconds();
            let users = std::num::NonZeroU32::MIN;
            let start = Timestamp::from_seconds(start);
            let options = Options { seed, users, api_version: Some(api_version), start, livemode, account };
            return Some(envelope(&options, &mut life, draft));
        }
    }
    None
}

/// Whether an object names the price of a tier other than the requested one. Customers of stories change their
/// tiers.
fn sells_another(object: &Value, tier: Tier) -> bool {
    let text = object.to_string();
    Tier::ALL.iter().any(|other| *other != tier && text.contains(other.price_id()))
}

/// Moves a story's object to another moment and to the user's own subscription.
struct Moved<'a> {
    from: i64,
    /// Seconds.
    by: i64,
    subscription: &'a str,
}

impl Moved<'_> {
    fn change(&self, value: &mut Value) {
        match value {
            Value::Number(number) => {
                let last = self.from + FUTURE_MAX + SPAN.as_secs().cast_signed();
                if let Some(moment) = number.as_i64().filter(|moment| (self.from..=last).contains(moment)) {
                    *value = Value::from(moment + self.by);
                }
            }
            Value::String(text) if is_subscription(text) => self.subscription.clone_into(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.change(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.change(field)),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
}

/// Whether the text is the identifier of a subscription, not just a text that begins like one.
fn is_subscription(text: &str) -> bool {
    text.strip_prefix("sub_")
        .is_some_and(|rest| rest.len() == 24 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);

    fn made(kind: &str, seed: u64) -> Value {
        let options = SampleOptions {
            seed,
            now: NOW,
            user: "ada".to_owned(),
            tier: Some(Tier::Gold),
            api_version: ApiVersion::Dahlia,
            livemode: false,
            account: None,
        };
        let event = sample(kind, options).unwrap_or_else(|| panic!("no sample of {kind}"));
        serde_json::from_slice(&event.body).unwrap()
    }

    #[test]
    fn every_type_that_is_named_has_a_sample_of_now() {
        for kind in SAMPLE_TYPES.into_iter().filter(|kind| *kind != "charge.refund.updated") {
            let event = made(kind, 1);
            assert_eq!((event["type"].as_str(), event["created"].as_i64()), (Some(kind), Some(NOW.seconds())));
        }
    }

    #[test]
    fn events_of_one_user_are_about_one_customer_and_one_subscription_and_are_new_each_time() {
        let (first, second) = (made("customer.subscription.created", 1), made("customer.subscription.deleted", 2));
        let object = |event: &Value, key: &str| event["data"]["object"][key].as_str().unwrap().to_owned();
        for key in ["id", "customer"] {
            assert_eq!(object(&first, key), object(&second, key));
        }
        assert_eq!(first["data"]["object"]["metadata"]["userId"], "ada");
        assert_eq!(first["data"]["object"]["metadata"]["tier"], "gold");
        assert_ne!(made("invoice.paid", 1)["data"]["object"]["id"], made("invoice.paid", 2)["data"]["object"]["id"]);
        let paid = made("invoice.paid", 3);
        assert!(paid.to_string().contains(&object(&first, "id")), "{paid}");
    }

    #[test]
    fn a_subscription_that_was_just_made_is_paid_until_later() {
        let event = made("customer.subscription.created", 4);
        let end = event["data"]["object"]["items"]["data"][0]["current_period_end"].as_i64().unwrap();
        assert!(end > NOW.seconds() && end < NOW.seconds() + 60 * DAY, "{end}");
    }

    #[test]
    fn the_tier_that_was_asked_for_is_the_one_that_is_sold() {
        for (kind, seed) in (0..60).flat_map(|seed| [("customer.subscription.updated", seed), ("invoice.paid", seed)]) {
            let object = made(kind, seed)["data"]["object"].clone();
            assert!(!sells_another(&object, Tier::Gold), "{kind} {seed}: {object}");
        }
    }

    #[test]
    fn a_type_that_is_not_known_has_none() {
        let options = SampleOptions {
            seed: 1,
            now: NOW,
            user: "ada".to_owned(),
            tier: None,
            api_version: ApiVersion::Dahlia,
            livemode: false,
            account: None,
        };
        assert!(sample("tax.settings.updated", options).is_none());
    }
}
