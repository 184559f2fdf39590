//! `invoice.*` and `invoice_payment.paid`: what was paid on invoices, and by which payments.

use super::{Content, Projection};
use crate::revenue::rows::{BindingKind, ClaimRank, Rank, RevenueKind, Standing, Version};
use crate::stripe::invoice::Invoice;
use crate::stripe::payment::PaymentIds;

impl<'a> Projection<'a> {
    pub(super) fn invoice(&mut self, content: Content<'a>) {
        let (object, invoice) = (content.object, Invoice(content.object));
        // `invoice.upcoming` has no identifier; it is not mapped, but a thin event could bring anything.
        let Some(id) = object.at("id").id() else { return };
        let (customer, subscription) = (object.at("customer").id(), invoice.subscription_id());
        self.invoice_claims(content, id);
        if let (Some(subscription), Some(customer)) = (subscription, customer) {
            self.bind(BindingKind::SubscriptionCustomer, subscription, customer, "invoice".to_owned(), content);
        }
        if invoice.is_paid() {
            for ids in invoice.payments() {
                if let Some(payment) = ids.key() {
                    self.link(payment, Some(id), content);
                }
            }
            let amount = object.at("amount_paid").integer();
            if let Some(mut row) = self.money(RevenueKind::Invoice, id, amount, content, Standing::Current) {
                row.occurred_at = object.path("status_transitions.paid_at").time().unwrap_or(self.event.created);
                let payment = invoice.payments().into_iter().next().unwrap_or_default();
                row.payment_id = payment.key().map(str::to_owned);
                row.charge_id = payment.charge.map(str::to_owned);
                row.invoice_id = Some(id.to_owned());
                row.subscription_id = subscription.map(str::to_owned);
                self.push_money(row);
            }
        }
        self.fetched_subscription(subscription);
    }

    /// The user that an invoice names: in its copy of the subscription's metadata, or in its own.
    fn invoice_claims(&mut self, content: Content<'a>, id: &str) {
        let (object, invoice) = (content.object, Invoice(content.object));
        let (customer, subscription) = (object.at("customer").id(), invoice.subscription_id());
        if let Some(user) = self.user_in(invoice.subscription_metadata(), id)
            && let Some(subscription) = subscription
        {
            // Stripe copies it when the invoice is made and leaves it when the invoice is finalised: what is paid later is
            // no newer for that.
            let mut copied = ["status_transitions.finalized_at", "created"].into_iter();
            let at = copied.find_map(|place| object.path(place).time()).unwrap_or(content.at);
            let version =
                Version { at: at.min(content.at), rank: Rank::Created, ..self.version(content, Standing::Current) };
            let place = "invoice.subscription_details.metadata";
            self.claim_at(ClaimRank::Subscription, subscription, &user, place, version);
        }
        if let Some(user) = self.user_in(object.at("metadata"), id) {
            match (subscription, customer) {
                (Some(id), _) => self.claim(ClaimRank::Invoice, id, &user, "invoice.metadata", content),
                (None, Some(id)) => self.claim(ClaimRank::Purchase, id, &user, "invoice.metadata", content),
                (None, None) => {}
            }
        }
    }

    /// Part of an invoice, or all of it, was paid by this payment. Counts only as long as the paid invoice itself is
    /// not known.
    pub(super) fn invoice_payment(&mut self, content: Content<'a>) {
        let object = content.object;
        let ids = PaymentIds::of_invoice_payment(object);
        let (Some(payment), Some(invoice)) = (ids.key(), object.at("invoice").id()) else { return };
        self.link(payment, Some(invoice), content);
        let amount = object.at("amount_paid").integer();
        if let Some(mut row) = self.money(RevenueKind::Payment, payment, amount, content, Standing::Provisional) {
            row.occurred_at = object.path("status_transitions.paid_at").time().unwrap_or(self.event.created);
            row.payment_id = Some(payment.to_owned());
            row.charge_id = ids.charge.map(str::to_owned);
            row.invoice_id = Some(invoice.to_owned());
            self.push_money(row);
        }
    }
}
