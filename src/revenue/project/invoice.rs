//! `invoice.*` and `invoice_payment.paid`: what was paid on invoices, and what payments gave to them.

use super::{Content, Projection};
use crate::revenue::rows::{BindingKind, ClaimRank, Evidence, Rank, RevenueKind, Standing, Version};
use crate::stripe::invoice::Invoice;
use crate::stripe::payment::{InvoicePayment, PaymentIds};

impl<'a> Projection<'a> {
    pub(super) fn invoice(&mut self, content: Content<'a>) {
        let (object, invoice) = (content.object, Invoice(content.object));
        // `invoice.upcoming` has no identifier. It is not mapped, but a thin event could bring any object.
        let Some(id) = object.at("id").id() else { return };
        let (customer, subscription) = (object.customer().id(), invoice.subscription_id());
        self.invoice_claims(content, id);
        if let (Some(subscription), Some(customer)) = (subscription, customer) {
            self.bind(BindingKind::SubscriptionCustomer, subscription, customer, "invoice".to_owned(), content);
        }
        if invoice.is_paid() {
            self.paid_invoice(id, subscription, content);
        }
        self.fetched_subscription(subscription);
    }

    /// The user that an invoice names: in its copy of the subscription's metadata, or in its own.
    fn invoice_claims(&mut self, content: Content<'a>, id: &str) {
        let (object, invoice) = (content.object, Invoice(content.object));
        let (customer, subscription) = (object.customer().id(), invoice.subscription_id());
        if let Some(user) = self.user_in(invoice.subscription_metadata(), id)
            && let Some(subscription) = subscription
        {
            // Stripe copies the metadata when it makes the invoice, and no longer after it is finalised. A later payment
            // makes the copy no newer.
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

    /// The amount paid on an invoice, and what the invoice says about the payments.
    fn paid_invoice(&mut self, id: &str, subscription: Option<&str>, content: Content<'a>) {
        let (object, invoice) = (content.object, Invoice(content.object));
        let named = invoice.named_payment();
        if let Some(payment) = named.and_then(|ids| ids.key()) {
            self.link(payment, id, Evidence::Named, content);
        }
        for payment in invoice.payments() {
            self.part(payment, Some(id), PaymentIds::default(), content);
        }
        let paid = invoice.paid();
        let amount = paid.map(|paid| paid.amount);
        let Some(mut row) = self.money(RevenueKind::Invoice, id, amount, content, Standing::Current) else { return };
        row.outside_minor = paid.map_or(0, |paid| paid.outside);
        row.occurred_at = object.path("status_transitions.paid_at").time().unwrap_or(self.event.created);
        let listed = invoice.payments().map(|payment| PaymentIds::of_invoice_payment(payment.0)).next();
        let payment = named.or(listed).unwrap_or_default();
        row.payment_id = payment.key().map(str::to_owned);
        row.charge_id = payment.charge.map(str::to_owned);
        row.invoice_id = Some(id.to_owned());
        row.subscription_id = subscription.map(str::to_owned);
        if row.amount_minor == 0 && object.at("total").integer().is_some_and(|total| total > 0) {
            // The customer's balance paid all of it. Without this row, the session's total would count.
            self.push_row(row);
        } else {
            self.push_money(row);
        }
    }

    pub(super) fn invoice_payment(&mut self, content: Content<'a>) {
        let payment = InvoicePayment(content.object);
        if payment.is_paid() {
            self.part(payment, None, PaymentIds::default(), content);
        }
    }

    /// How much a payment gave to an invoice. `owner` is the invoice that lists the part; `payer` is the payment, if it was
    /// asked for by the payment.
    pub(super) fn part(
        &mut self,
        payment: InvoicePayment<'a>,
        owner: Option<&str>,
        payer: PaymentIds<'_>,
        content: Content<'a>,
    ) {
        let object = payment.0;
        let own = PaymentIds::of_invoice_payment(object);
        let ids = PaymentIds { intent: own.intent.or(payer.intent), charge: own.charge.or(payer.charge) };
        let Some(invoice) = owner.or(object.at("invoice").id()) else { return };
        if ids.is_empty() && !payment.is_outside() {
            return;
        }
        let key =
            object.at("id").id().map_or_else(|| format!("{}:{invoice}", ids.key().unwrap_or_default()), str::to_owned);
        let Some(amount) = payment.amount() else {
            // An allocation without an amount still says which invoice it is for.
            if let Some(payment) = ids.key() {
                self.link(payment, invoice, Evidence::Named, content);
            }
            return;
        };
        let whole = Content { object, ..content };
        let content = if object.at("currency").word().is_some() { whole } else { content };
        let Some(mut row) = self.money(RevenueKind::Part, &key, Some(amount), content, Standing::Current) else {
            return;
        };
        row.outside_minor = if payment.is_outside() { amount } else { 0 };
        row.occurred_at = object.path("status_transitions.paid_at").time().unwrap_or(self.event.created);
        row.payment_id = ids.key().or(payment.record()).map(str::to_owned);
        row.charge_id = ids.charge.map(str::to_owned);
        row.invoice_id = Some(invoice.to_owned());
        self.push_money(row);
    }
}
