//! Scenes about money that is more than a paid invoice: what is held and let go, what the bank takes, what comes around
//! Stripe, and one payment for two invoices.

use super::{HOUR, Life};
use crate::simulator::expected::{Disputed, Fact, Money};
use crate::simulator::objects::invoice::{Invoice, InvoiceStatus, invoice, invoice_payment, outside_payment};
use crate::simulator::objects::payment::{Payment, Refund, charge, dispute, payment_intent, release};

/// Length of the period that a bundle pays for, in seconds.
const BUNDLE: i64 = 24 * HOUR;

impl Life {
    /// A purchase authorises a sum. An hour later part of it is captured, or all of it is released.
    pub(super) fn hold(&mut self, at: i64) {
        let amount = self.tier.monthly(self.person.currency);
        self.invoices += 1;
        let mut state = Payment {
            charge: self.ids.dated("ch", at, &mut self.random),
            intent: self.ids.dated("pi", at, &mut self.random),
            invoice: None,
            number: self.invoices,
            amount,
            captured: 0,
            refunded: 0,
            created: at,
            succeeded: true,
        };
        let object = charge(self.world, &self.person, &state, None);
        self.draft(at, "charge.succeeded", object);
        let at = at + HOUR;
        state.captured = if self.percent(50) { amount / 2 } else { 0 };
        let fact = Fact::Money(vec![Money { invoice: state.number, refund: false, amount: state.captured }]);
        let released =
            Refund { id: self.ids.dated("re", at, &mut self.random), amount: amount - state.captured, created: at };
        // Before basil a release is a refund, although no money moved.
        if !self.world.version.is_basil_or_later() {
            state.refunded = released.amount;
        }
        if state.captured > 0 {
            let object = charge(self.world, &self.person, &state, None);
            self.draft(at, "charge.captured", object).told.fact = fact.clone();
            let object = payment_intent(self.world, &self.person, &state);
            self.draft(at, "payment_intent.succeeded", object).told.fact = fact;
        }
        if !self.world.version.is_basil_or_later() {
            let object = charge(self.world, &self.person, &state, Some(&released));
            self.draft(at, "charge.refunded", object);
            let object = release(&self.person, &state, &released);
            self.draft(at, "charge.refund.updated", object);
        }
    }

    /// The bank takes back the last payment. Stripe reports it twice.
    pub(super) fn dispute(&mut self, at: i64) {
        let Some(payment) = self.payment.take() else { return };
        let id = self.ids.dated("du", at, &mut self.random);
        let fact = Fact::Dispute(Disputed { invoice: payment.number, amount: payment.amount });
        for kind in ["charge.dispute.created", "charge.dispute.funds_withdrawn"] {
            let object = dispute(self.world, &self.person, &payment, &id, at, None);
            self.draft(at, kind, object).told.fact = fact.clone();
        }
        self.disputed = Some((payment, id, at));
    }

    /// The dispute is lost, or it is won and the money comes back.
    pub(super) fn dispute_ends(&mut self, at: i64) {
        let Some((payment, id, opened)) = self.disputed.take() else { return };
        let won = self.percent(40);
        let amount = if won { 0 } else { payment.amount };
        let fact = Fact::Dispute(Disputed { invoice: payment.number, amount });
        let object = dispute(self.world, &self.person, &payment, &id, opened, Some(won));
        self.draft(at, "charge.dispute.closed", object.clone()).told.fact = fact.clone();
        if won {
            self.draft(at, "charge.dispute.funds_reinstated", object).told.fact = fact;
        }
    }

    /// The customer pays the invoice by bank transfer, and the seller marks it as paid.
    pub(super) fn pay_around_stripe(&mut self, at: i64) {
        let Some(state) = &mut self.invoice else { return };
        state.status = InvoiceStatus::Paid;
        state.paid_at = Some(at);
        state.next_attempt = None;
        state.out_of_band = true;
        self.payment = None;
        self.draft_invoice(at, "invoice.paid");
        if self.world.version.is_basil_or_later() {
            let (id, record) =
                (self.ids.dated("inpay", at, &mut self.random), self.ids.dated("pr", at, &mut self.random));
            let told = self.invoice.as_ref().map(|state| {
                (outside_payment(self.world, &self.person, state, &id, &record), super::drafts::payment(state))
            });
            if let Some((object, fact)) = told {
                self.draft(at, "invoice_payment.paid", object).told.fact = fact;
            }
        }
    }

    /// One payment for two invoices. This exists only since basil: before, each invoice has a payment of its own.
    pub(super) fn bundle(&mut self, at: i64) {
        let amount = self.tier.monthly(self.person.currency);
        let mut states: Vec<Invoice> = Vec::new();
        for amount in [amount, amount / 2] {
            self.invoices += 1;
            states.push(self.new_invoice(at, "manual", amount, (at, at + BUNDLE)));
        }
        let intent = states[0].payment_intent.clone();
        for state in &mut states {
            state.payment_intent.clone_from(&intent);
            state.status = InvoiceStatus::Paid;
            (state.finalized_at, state.paid_at, state.attempts) = (Some(at), Some(at), 1);
        }
        let all: i64 = states.iter().map(|state| state.amount).sum();
        let each: Vec<Money> =
            states.iter().map(|state| Money { invoice: state.sequence, refund: false, amount: state.amount }).collect();
        let payment = Payment {
            charge: self.ids.dated("ch", at, &mut self.random),
            intent,
            invoice: None,
            number: states[0].sequence,
            amount: all,
            captured: all,
            refunded: 0,
            created: at,
            succeeded: true,
        };
        let object = payment_intent(self.world, &self.person, &payment);
        self.draft(at, "payment_intent.succeeded", object).told.fact = Fact::Money(each.clone());
        for (state, money) in states.iter().zip(each) {
            let id = self.ids.dated("inpay", at, &mut self.random);
            let object = invoice_payment(self.world, &self.person, state, &id);
            self.draft(at, "invoice_payment.paid", object).told.fact = Fact::Money(vec![money]);
            let Some(owner) = &self.subscription else { return };
            let object = invoice(self.world, &self.person, owner, state);
            let binds = self.person.binding.on_subscription();
            let draft = self.draft(at, "invoice.paid", object);
            draft.told.fact = Fact::Money(vec![money]);
            draft.told.binds = binds;
        }
    }
}
