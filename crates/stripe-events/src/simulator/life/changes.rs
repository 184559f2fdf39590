//! Scenes in which the customer does something: signs up, checks out, changes, cancels.

use serde_json::json;

use super::{DAY, HOUR, Life, PERIOD, Scene, TRIAL};
use crate::simulator::catalogue::Tier;
use crate::simulator::expected::SubscriptionStatus;
use crate::simulator::ids;
use crate::simulator::objects::checkout::{Session, session};
use crate::simulator::objects::customer::{customer, payment_method};
use crate::simulator::objects::subscription::{Subscription, replaced_by_cancellation, replaced_by_change};

impl Life {
    pub(super) fn sign_up(&mut self, at: i64) {
        let object = customer(self.world, &self.person, false);
        let binds = self.person.binding.on_customer();
        let draft = self.draft(at, "customer.created", object);
        draft.requested = true;
        draft.told.binds = binds;
        let next =
            if self.percent(6) { (at + DAY, Scene::Expire) } else { (at + self.random.i64(30..600), Scene::CheckOut) };
        self.agenda.push_back(next);
    }

    /// The customer never came back from the checkout page. The story ends.
    pub(super) fn expire(&mut self, at: i64) {
        let id = self.session_id();
        let amount = self.tier.monthly(self.person.currency);
        let state = Session { id, created: at - DAY, tier: self.tier, sold: None, amount };
        let object = session(self.world, &self.person, &state);
        let binds = self.person.binding.on_session();
        self.draft(at, "checkout.session.expired", object).told.binds = binds;
    }

    pub(super) fn check_out(&mut self, at: i64) {
        let object = customer(self.world, &self.person, true);
        let binds = self.person.binding.on_customer();
        let draft = self.draft(at, "customer.updated", object);
        draft.told.binds = binds;
        draft.previous = Some(json!({"currency": null, "name": null}));
        draft.requested = true;
        let object = payment_method(self.world, &self.person, at);
        self.draft(at, "payment_method.attached", object).requested = true;

        let has_trial = self.invoices == 0 && self.percent(25);
        self.subscribe(at, has_trial);
        if has_trial {
            self.open_trial(at);
        } else {
            self.pay_first_invoice(at);
        }
        self.complete_session(at);
        if has_trial {
            self.plan_trial(at);
        } else {
            self.periods_left = self.periods_left.saturating_sub(1);
            self.plan_period(at + HOUR, at + PERIOD);
        }
    }

    /// The subscription while the session is not paid yet.
    fn subscribe(&mut self, at: i64, has_trial: bool) {
        let id = self.ids.dated("sub", at, &mut self.random);
        let item_id = ids::drawn("si", 14, &mut self.random);
        let (status, end) = if has_trial {
            (SubscriptionStatus::Trialing, at + TRIAL)
        } else {
            (SubscriptionStatus::Incomplete, at + PERIOD)
        };
        let has_fee = self.percent(15);
        self.subscription = Some(Subscription {
            id,
            item_id,
            status,
            tier: self.tier,
            created: at,
            period: (at, end),
            trial: has_trial.then_some((at, end)),
            cancels_at: None,
            canceled_at: None,
            ended_at: None,
            end_reason: None,
            latest_invoice: None,
            has_fee,
        });
    }

    fn open_trial(&mut self, at: i64) {
        self.open_invoice(at, "subscription_create", 0);
        self.draft_subscription(at, "customer.subscription.created", None);
        self.finalize_invoice(at);
        self.settle_invoice(at);
    }

    /// Some subscriptions start as incomplete, and their first payment completes them within the same second.
    /// Others start as active.
    fn pay_first_invoice(&mut self, at: i64) {
        self.open_invoice(at, "subscription_create", self.tier.monthly(self.person.currency));
        let incomplete = self.percent(50);
        if incomplete {
            self.draft_subscription(at, "customer.subscription.created", None);
        }
        self.finalize_invoice(at);
        self.pay_invoice(at);
        self.set_status(SubscriptionStatus::Active);
        if incomplete {
            let previous = json!({"status": "incomplete"});
            self.draft_subscription(at, "customer.subscription.updated", Some(previous));
        } else {
            self.draft_subscription(at, "customer.subscription.created", None);
        }
        self.settle_invoice(at);
    }

    fn complete_session(&mut self, at: i64) {
        let (Some(subscription), Some(invoice)) = (&self.subscription, &self.invoice) else { return };
        let sold = Some((subscription.id.clone(), invoice.id.clone()));
        let amount = invoice.amount;
        let id = self.session_id();
        let state = Session { id, created: at - 25, tier: self.tier, sold, amount };
        let object = session(self.world, &self.person, &state);
        let binds = self.person.binding.on_session();
        let delay = self.random.i64(0..3);
        self.draft(at + delay, "checkout.session.completed", object).told.binds = binds;
    }

    fn plan_trial(&mut self, at: i64) {
        if self.percent(15) {
            self.agenda.push_back((at + 5 * DAY, Scene::ScheduleCancel));
            self.agenda.push_back((at + TRIAL, Scene::Cancel));
            return;
        }
        self.agenda.push_back((at + TRIAL - 3 * DAY, Scene::TrialWillEnd));
        let end = if self.percent(15) { Scene::Pause } else { Scene::TrialEnd };
        self.agenda.push_back((at + TRIAL, end));
    }

    pub(super) fn change_tier(&mut self, at: i64) {
        let others: Vec<Tier> = Tier::ALL.into_iter().filter(|tier| *tier != self.tier).collect();
        let tier = others[self.random.usize(..others.len())];
        let (world, person) = (self.world, &self.person);
        let Some(state) = &mut self.subscription else { return };
        let previous = replaced_by_change(world, person, state);
        state.tier = tier;
        self.tier = tier;
        self.draft_subscription(at, "customer.subscription.updated", Some(previous));
    }

    pub(super) fn schedule_cancel(&mut self, at: i64) {
        let world = self.world;
        let Some(state) = &mut self.subscription else { return };
        let previous = replaced_by_cancellation(world, state);
        state.cancels_at = Some(state.period.1);
        state.canceled_at = Some(at);
        state.end_reason = Some("cancellation_requested");
        self.draft_subscription(at, "customer.subscription.updated", Some(previous));
    }

    pub(super) fn unschedule_cancel(&mut self, at: i64) {
        let world = self.world;
        let Some(state) = &mut self.subscription else { return };
        let previous = replaced_by_cancellation(world, state);
        state.cancels_at = None;
        state.canceled_at = None;
        state.end_reason = None;
        self.draft_subscription(at, "customer.subscription.updated", Some(previous));
    }

    /// Ends the subscription for good. Some customers return later with a new one.
    pub(super) fn cancel(&mut self, at: i64, reason: &'static str) {
        let Some(state) = &mut self.subscription else { return };
        state.status = SubscriptionStatus::Canceled;
        state.canceled_at = state.canceled_at.or(Some(at));
        state.ended_at = Some(at);
        state.end_reason = Some(reason);
        self.draft_subscription(at, "customer.subscription.deleted", None);
        if self.may_return && self.periods_left > 0 {
            self.may_return = false;
            let back = at + self.random.i64(2 * DAY..15 * DAY);
            self.agenda.push_back((back, Scene::CheckOut));
        }
    }

    pub(super) fn set_status(&mut self, status: SubscriptionStatus) {
        if let Some(state) = &mut self.subscription {
            state.status = status;
        }
    }

    fn session_id(&mut self) -> String {
        let prefix = if self.world.livemode { "cs_live" } else { "cs_test" };
        ids::drawn(prefix, 58, &mut self.random)
    }
}
