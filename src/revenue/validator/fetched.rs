//! A verdict about a subscription that was listed by Stripe, without an event that led to it.
//!
//! The ledger records what it applies under the id of an event. The id made here is in a form that Stripe does not use
//! (`gateway:…`), so it can never stand for one of Stripe's events, and it follows from what was listed and from the
//! version that is to be replaced: the same repair of the same row is the same event, however often it is tried.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Validator, failed, quarantine};
use crate::domain::ids::EventId;
use crate::revenue::checks;
use crate::revenue::project::{self, Context};
use crate::revenue::rows::Decision;
use crate::revenue::verdict::{Suspicion, Verdict};
use crate::stripe::api::Fetched;
use crate::stripe::event::{Event, Family};
use crate::stripe::object::Object;

/// The event type under which the ledger records such verdicts.
pub const LISTED_KIND: &str = "gateway.subscription.listed";

/// The beginning of such ids. Stripe's begin with `evt_`.
pub const LISTED_ID_PREFIX: &str = "gateway:subscription:";

/// The form of id that rules expect of an event made by Stripe. It is never recorded.
const RULES_ID: &str = "evt_";

impl Validator {
    /// The verdict about a listed subscription, fenced by the time the listing began. `replaces` is the version that the
    /// ledger holds, if it holds one.
    pub fn listed(&self, fetched: &Fetched, account: Option<&str>, replaces: Option<&str>) -> Verdict {
        let object = Object::new(&fetched.object);
        let Some(subscription) = object.at("id").id().filter(|_| object.at("status").word().is_some()) else {
            let reason = "Stripe listed a subscription without id or status".to_owned();
            return Verdict::Reject { code: "listed_object", reason };
        };
        let body = fetched.object.to_string();
        let id = listed_id(subscription, &body, replaces);
        let value = json!({
            "id": id, "object": "event", "type": LISTED_KIND, "created": fetched.began.seconds(), "account": account,
            "livemode": object.at("livemode").flag(), "data": {"object": fetched.object},
        });
        let mut event = Event {
            id: EventId::new(RULES_ID),
            // The type by which rules and projection know it.
            kind: "customer.subscription.updated".to_owned(),
            family: Family::Subscription,
            account: account.map(str::to_owned),
            context: None,
            livemode: object.at("livemode").flag(),
            created: fetched.began,
            api_version: None,
            related: None,
            snapshot_event: None,
            thin: false,
            value,
        };
        let review = self.inspect(&event, body.len());
        event.id = EventId::new(id);
        let recorded = event.value.to_string();
        let named = |mut verdict: Verdict| {
            match &mut verdict {
                Verdict::Apply(plan) => LISTED_KIND.clone_into(&mut plan.event.kind),
                Verdict::Ignore { event, .. } | Verdict::Quarantine { event, .. } => {
                    LISTED_KIND.clone_into(&mut event.kind);
                }
                Verdict::Drop { .. } | Verdict::Reject { .. } => {}
            }
            verdict
        };
        let Some(review) = review else {
            return named(quarantine(&event, recorded.as_bytes(), failed(), vec![failed()]));
        };
        if let Some(decision) = review.foreign().cloned() {
            return named(quarantine(&event, recorded.as_bytes(), decision, review.decisions));
        }
        let suspicion = review.blocking().cloned();
        let projected = catch_unwind(AssertUnwindSafe(|| {
            let context = Context {
                settings: &self.settings,
                related: None,
                subscription: Some(fetched),
                given: &[],
                released_at: None,
                is_suspect: suspicion.is_some(),
            };
            let facts = project::facts(&event, recorded.as_bytes());
            let mut plan = project::project(&event, facts, context);
            checks::check(&event, context, &mut plan);
            plan.decisions.clone_from(&review.decisions);
            plan.suspicion = suspicion.map(|Decision { rule, reason, .. }| Suspicion { rule, reason });
            Verdict::Apply(Box::new(plan))
        }));
        named(projected.unwrap_or_else(|_| quarantine(&event, recorded.as_bytes(), failed(), vec![failed()])))
    }
}

/// A fetched object in the form of an event about it, which rules understand.
pub(super) fn as_event(of: &Event, family: Family, fetched: &Fetched) -> Event {
    let kind = match family {
        Family::Subscription => "customer.subscription.updated".to_owned(),
        _ => of.kind.clone(),
    };
    let value = json!({
        "id": of.id.as_str(), "object": "event", "type": kind, "created": of.created.seconds(), "account": of.account,
        "livemode": of.livemode, "data": {"object": fetched.object},
    });
    let (id, account, context) = (of.id.clone(), of.account.clone(), of.context.clone());
    let (livemode, created) = (of.livemode, of.created);
    Event {
        id,
        kind,
        family,
        account,
        context,
        livemode,
        created,
        api_version: None,
        related: None,
        snapshot_event: None,
        thin: false,
        value,
    }
}

fn listed_id(subscription: &str, body: &str, replaces: Option<&str>) -> String {
    let mut hash = Sha256::new();
    for part in [subscription, "\n", body, "\n", replaces.unwrap_or_default()] {
        hash.update(part.as_bytes());
    }
    format!("{LISTED_ID_PREFIX}{}", hex::encode(&hash.finalize()[..16]))
}
