//! Events before they get their envelope.

use serde_json::{Value, json};

use super::Life;
use crate::simulator::expected::{ExpectedSubscription, Fact, Money, Told};
use crate::simulator::ids;
use crate::simulator::objects::invoice::{Invoice, InvoiceStatus, invoice};
use crate::simulator::objects::subscription::{Subscription, subscription};

/// An event without identifier and envelope.
#[derive(Clone, Debug)]
pub(in super::super) struct Draft {
    /// Seconds.
    pub(in super::super) at: i64,
    pub(in super::super) kind: &'static str,
    pub(in super::super) object: Value,
    pub(in super::super) previous: Option<Value>,
    /// Caused by a request of the application or of the customer, not by one of Stripe's timers.
    pub(in super::super) requested: bool,
    pub(in super::super) told: Told,
}

/// Types that the gateway has never heard of or has no use for.
const UNKNOWN_KINDS: [&str; 5] = [
    "entitlements.active_entitlement_summary.updated",
    "billing_portal.session.created",
    "radar.early_fraud_warning.updated",
    "tax.settings.updated",
    "something.not_invented_yet",
];

impl Life {
    /// Drafts an event. The caller sets `binds` if the object names both the customer and the user.
    pub(super) fn draft(&mut self, at: i64, kind: &'static str, object: Value) -> &mut Draft {
        let told = Told {
            user_id: self.person.user_id.clone(),
            customer_id: self.person.customer_id.clone(),
            currency: self.person.currency,
            place: self.place,
            binds: false,
            fact: Fact::Nothing,
        };
        self.place += 1;
        self.drafts.push_back(Draft { at, kind, object, previous: None, requested: false, told });
        self.drafts.back_mut().expect("a draft was pushed on the line before")
    }

    /// Drafts an event about the subscription in its present state.
    pub(super) fn draft_subscription(&mut self, at: i64, kind: &'static str, previous: Option<Value>) {
        let Some(state) = self.subscription.take() else { return };
        let object = subscription(self.world, &self.person, &state);
        let binds = self.person.binding.on_subscription();
        let draft = self.draft(at, kind, object);
        draft.previous = previous;
        draft.told.binds = binds;
        draft.told.fact = Fact::Subscription(expected(&state));
        self.subscription = Some(state);
    }

    /// Drafts an event about the invoice in its present state.
    pub(super) fn draft_invoice(&mut self, at: i64, kind: &'static str) {
        let (Some(owner), Some(state)) = (&self.subscription, &self.invoice) else { return };
        let object = invoice(self.world, &self.person, owner, state);
        let binds = self.person.binding.on_subscription();
        let paid = (state.status == InvoiceStatus::Paid && state.amount > 0).then(|| payment(state));
        let draft = self.draft(at, kind, object);
        draft.told.binds = binds;
        if let Some(paid) = paid {
            draft.told.fact = paid;
        }
    }

    /// Drafts an event of a type that the gateway does not map.
    pub(super) fn draft_unknown(&mut self, at: i64) {
        let at = self.drafts.back().map_or(at, |last| last.at.max(at));
        let kind = UNKNOWN_KINDS[self.random.usize(..UNKNOWN_KINDS.len())];
        let id = ids::drawn("obj", 14, &mut self.random);
        let object = json!({
            "id": id, "object": kind.split('.').next(), "customer": self.person.customer_id,
            "livemode": self.world.livemode, "created": at, "details": {"note": "a type that is not mapped"}
        });
        self.draft(at, kind, object);
    }
}

/// The fact that the invoice was paid.
pub(super) fn payment(state: &Invoice) -> Fact {
    Fact::Money(vec![Money { invoice: state.sequence, refund: false, amount: state.amount }])
}

fn expected(state: &Subscription) -> ExpectedSubscription {
    ExpectedSubscription {
        id: state.id.clone(),
        status: state.status,
        tier: state.tier,
        period: state.period,
        will_cancel: state.cancels_at.is_some() && state.ended_at.is_none(),
    }
}
