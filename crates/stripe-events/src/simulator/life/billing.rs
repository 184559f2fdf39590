//! Scenes in which Stripe's timers do something: trials end, periods roll over, invoices are collected.

use serde_json::{Value, json};

use super::{DAY, HOUR, Life, PERIOD, Scene, drafts};
use crate::simulator::expected::{Fact, Money, SubscriptionStatus};
use crate::simulator::objects::invoice::{Invoice, InvoiceStatus, invoice_payment, upcoming};
use crate::simulator::objects::payment::{Payment, Refund, charge, payment_intent, refund};
use crate::simulator::objects::subscription::period_fields;

/// How often an invoice is tried before it is given up.
const ATTEMPTS_MAX: u32 = 4;

impl Life {
    pub(super) fn trial_will_end(&mut self, at: i64) {
        self.draft_subscription(at, "customer.subscription.trial_will_end", None);
    }

    pub(super) fn trial_end(&mut self, at: i64) {
        self.start_paying(at, "customer.subscription.updated", SubscriptionStatus::Trialing);
    }

    /// The trial ended without a payment method. Stripe reports it twice.
    pub(super) fn pause(&mut self, at: i64) {
        self.set_status(SubscriptionStatus::Paused);
        self.draft_subscription(at, "customer.subscription.updated", Some(json!({"status": "trialing"})));
        self.draft_subscription(at, "customer.subscription.paused", None);
        if self.percent(70) {
            let back = at + self.random.i64(DAY..4 * DAY);
            self.agenda.push_back((back, Scene::Resume));
        }
    }

    pub(super) fn resume(&mut self, at: i64) {
        self.start_paying(at, "customer.subscription.resumed", SubscriptionStatus::Paused);
    }

    pub(super) fn renew(&mut self, at: i64) {
        self.start_paying(at, "customer.subscription.updated", SubscriptionStatus::Active);
    }

    /// A paid period begins; its invoice stays a draft for an hour.
    fn start_paying(&mut self, at: i64, kind: &'static str, before: SubscriptionStatus) {
        self.periods_left = self.periods_left.saturating_sub(1);
        let (world, person) = (self.world, &self.person);
        let Some(state) = &mut self.subscription else { return };
        let mut previous = period_fields(world, person, state);
        previous["latest_invoice"] = json!(state.latest_invoice);
        if before != SubscriptionStatus::Active {
            previous["status"] = json!(before.as_str());
        }
        state.status = SubscriptionStatus::Active;
        state.period = (at, at + PERIOD);
        self.open_invoice(at, "subscription_cycle", self.tier.monthly(self.person.currency));
        self.draft_invoice(at, "invoice.created");
        self.draft_subscription(at, kind, Some(previous));
        self.agenda.push_back((at + HOUR, Scene::Collect));
    }

    pub(super) fn announce_invoice(&mut self, at: i64) {
        let Some(owner) = &self.subscription else { return };
        let amount = self.tier.monthly(self.person.currency);
        let end = owner.period.1;
        let state = self.new_invoice(end, "upcoming", amount, (end, end + PERIOD));
        let Some(owner) = &self.subscription else { return };
        let object = upcoming(self.world, &self.person, owner, &state);
        let binds = self.person.binding.on_subscription();
        self.draft(at, "invoice.upcoming", object).told.binds = binds;
    }

    pub(super) fn collect(&mut self, at: i64) {
        self.finalize_invoice(at);
        if self.percent(4) {
            self.pay_around_stripe(at);
            self.plan_rest_of_period(at);
        } else if self.percent(88) {
            self.pay_invoice(at);
            self.settle_invoice(at);
            self.plan_rest_of_period(at);
        } else {
            self.fail_invoice(at);
            self.set_status(SubscriptionStatus::PastDue);
            self.draft_subscription(at, "customer.subscription.updated", Some(json!({"status": "active"})));
        }
    }

    /// Tries once more to collect an unpaid invoice.
    pub(super) fn dun(&mut self, at: i64) {
        if self.percent(50) {
            self.pay_invoice(at);
            self.set_status(SubscriptionStatus::Active);
            self.draft_subscription(at, "customer.subscription.updated", Some(json!({"status": "past_due"})));
            self.settle_invoice(at);
            self.plan_rest_of_period(at);
            return;
        }
        self.fail_invoice(at);
        if self.invoice.as_ref().is_some_and(|invoice| invoice.attempts >= ATTEMPTS_MAX) {
            if self.percent(60) {
                self.cancel(at, "payment_failed");
            } else {
                self.set_status(SubscriptionStatus::Unpaid);
                self.draft_subscription(at, "customer.subscription.updated", Some(json!({"status": "past_due"})));
            }
        }
    }

    pub(super) fn refund(&mut self, at: i64) {
        let all = self.percent(60);
        let id = self.ids.dated("re", at, &mut self.random);
        let Some(mut payment) = self.payment.take() else { return };
        let amount = if all { payment.amount } else { payment.amount / 2 };
        payment.refunded = amount;
        let made = Refund { id, amount, created: at };
        let object = refund(&self.person, &payment, &made);
        let fact = Fact::Money(vec![Money { invoice: payment.number, refund: true, amount }]);
        self.draft(at, "refund.created", object).told.fact = fact.clone();
        let object = charge(self.world, &self.person, &payment, Some(&made));
        let draft = self.draft(at, "charge.refunded", object);
        draft.previous = Some(json!({"amount_refunded": 0, "refunded": false}));
        draft.told.fact = fact;
    }

    /// Makes a draft invoice for the current period and attaches it to the subscription.
    pub(super) fn open_invoice(&mut self, at: i64, reason: &'static str, amount: i64) {
        let Some(owner) = &self.subscription else { return };
        let period = owner.period;
        self.invoices += 1;
        let invoice = self.new_invoice(at, reason, amount, period);
        if let Some(owner) = &mut self.subscription {
            owner.latest_invoice = Some(invoice.id.clone());
        }
        self.invoice = Some(invoice);
    }

    pub(super) fn finalize_invoice(&mut self, at: i64) {
        if let Some(invoice) = &mut self.invoice {
            invoice.status = InvoiceStatus::Open;
            invoice.finalized_at = Some(at);
        }
        self.draft_invoice(at, "invoice.finalized");
    }

    /// Charges the card. [`Life::settle_invoice`] settles the invoice itself.
    pub(super) fn pay_invoice(&mut self, at: i64) {
        let Some(payment) = self.attempt(at, true) else { return };
        let Some(fact) = self.invoice.as_ref().map(drafts::payment) else { return };
        let object = charge(self.world, &self.person, &payment, None);
        self.draft(at, "charge.succeeded", object).told.fact = fact.clone();
        let object = payment_intent(self.world, &self.person, &payment);
        self.draft(at, "payment_intent.succeeded", object).told.fact = fact;
        self.payment = Some(payment);
    }

    /// The invoice is paid, for nothing if its amount is zero. Stripe reports it two or three times.
    pub(super) fn settle_invoice(&mut self, at: i64) {
        let Some(invoice) = &mut self.invoice else { return };
        invoice.status = InvoiceStatus::Paid;
        invoice.paid_at = Some(at);
        invoice.next_attempt = None;
        let amount = invoice.amount;
        self.draft_invoice(at, "invoice.paid");
        self.draft_invoice(at, "invoice.payment_succeeded");
        if self.world.version.is_basil_or_later() && amount > 0 {
            let id = self.ids.dated("inpay", at, &mut self.random);
            let link = self.invoice.as_ref().map(|state| (self.link(state, &id), drafts::payment(state)));
            if let Some((object, fact)) = link {
                self.draft(at, "invoice_payment.paid", object).told.fact = fact;
            }
        }
    }

    pub(super) fn link(&self, state: &Invoice, id: &str) -> Value {
        invoice_payment(self.world, &self.person, state, id)
    }

    /// The card is declined. Puts the next attempt on the agenda.
    fn fail_invoice(&mut self, at: i64) {
        let Some(payment) = self.attempt(at, false) else { return };
        let object = charge(self.world, &self.person, &payment, None);
        self.draft(at, "charge.failed", object);
        let object = payment_intent(self.world, &self.person, &payment);
        self.draft(at, "payment_intent.payment_failed", object);
        let next = at + self.random.i64(2 * DAY..5 * DAY);
        let Some(invoice) = &mut self.invoice else { return };
        invoice.next_attempt = (invoice.attempts < ATTEMPTS_MAX).then_some(next);
        if invoice.next_attempt.is_some() {
            self.agenda.push_back((next, Scene::Dun));
        }
        self.draft_invoice(at, "invoice.payment_failed");
    }

    /// Counts an attempt on the invoice and makes the charge for it.
    fn attempt(&mut self, at: i64, succeeded: bool) -> Option<Payment> {
        let charge = self.ids.dated("ch", at, &mut self.random);
        let invoice = self.invoice.as_mut()?;
        invoice.attempts += 1;
        if succeeded {
            invoice.charge = Some(charge.clone());
        }
        let created = invoice.finalized_at.unwrap_or(at);
        let (intent, amount) = (invoice.payment_intent.clone(), invoice.amount);
        let (number, invoice) = (invoice.sequence, Some(invoice.id.clone()));
        let captured = if succeeded { amount } else { 0 };
        Some(Payment { charge, intent, invoice, number, amount, captured, refunded: 0, created, succeeded })
    }

    pub(super) fn new_invoice(&mut self, at: i64, reason: &'static str, amount: i64, period: (i64, i64)) -> Invoice {
        let random = &mut self.random;
        Invoice {
            id: self.ids.dated("in", at, random),
            line_id: self.ids.dated("il", at, random),
            payment_intent: self.ids.dated("pi", at, random),
            charge: None,
            sequence: self.invoices,
            reason,
            tier: self.tier,
            amount,
            period,
            created: at,
            status: InvoiceStatus::Draft,
            finalized_at: None,
            paid_at: None,
            out_of_band: false,
            attempts: 0,
            next_attempt: None,
        }
    }

    pub(super) fn plan_rest_of_period(&mut self, at: i64) {
        if let Some((_, end)) = self.subscription.as_ref().map(|state| state.period) {
            self.plan_period(at, end);
        }
    }
}
