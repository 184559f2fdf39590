//! `checkout.session.*`: who bought what, and where no other object tells it, for how much.

use super::{Content, Projection};
use crate::revenue::rows::{BindingKind, ClaimRank, Evidence, RevenueKind, Standing};
use crate::stripe::metadata::{self, NamedUser};

impl<'a> Projection<'a> {
    pub(super) fn session(&mut self, content: Content<'a>) {
        let object = content.object;
        let (customer, subscription) = (object.customer().id(), object.at("subscription").id());
        // An expired session bought nothing, so what it names proves nothing.
        if self.event.classic_kind() == "checkout.session.expired" {
            return;
        }
        let id = object.at("id").id().unwrap_or_default();
        // The seller's code writes metadata, but a buyer can set the reference in the address of a payment link.
        if let Some(user) = self.user_in(object.at("metadata"), id) {
            let place = "checkout.session.metadata";
            self.session_claims([ClaimRank::Session, ClaimRank::Purchase], &user, place, content);
        }
        if let Some(user) = self.reference(object) {
            let ranks = [ClaimRank::Reference, ClaimRank::ReferenceOfCustomer];
            self.session_claims(ranks, &user, "checkout.session", content);
        }
        if let (Some(subscription), Some(customer)) = (subscription, customer) {
            let evidence = "checkout.session".to_owned();
            self.bind(BindingKind::SubscriptionCustomer, subscription, customer, evidence, content);
        }
        let tiers = &self.context.settings.tiers;
        let tier = metadata::tier(object.at("metadata")).and_then(|name| tiers.named(name));
        if let (Some(subscription), Some(tier)) = (subscription, tier) {
            let evidence = "checkout.session.metadata".to_owned();
            self.bind(BindingKind::SubscriptionTier, subscription, tier, evidence, content);
        }
        self.session_money(content);
        self.fetched_subscription(subscription);
    }

    /// A session tells of the subscription that it made and, with less weight, of the customer.
    fn session_claims(
        &mut self,
        [of_subscription, of_customer]: [ClaimRank; 2],
        user: &NamedUser<'_>,
        place: &str,
        content: Content<'a>,
    ) {
        if let Some(id) = content.object.at("subscription").id() {
            self.claim(of_subscription, id, user, place, content);
        }
        if let Some(id) = content.object.customer().id() {
            self.claim(of_customer, id, user, place, content);
        }
    }

    /// The session's total is the amount of the invoice or the payment that it names. Once either of them tells its amount
    /// itself, that replaces this one.
    fn session_money(&mut self, content: Content<'a>) {
        let object = content.object;
        if object.at("payment_status").word() != Some("paid") {
            return;
        }
        let (invoice, intent) = (object.at("invoice").id(), object.at("payment_intent").id());
        // A session without an invoice does not prove that there will be none: a receipt can follow.
        if let (Some(intent), Some(invoice)) = (intent, invoice) {
            self.link(intent, invoice, Evidence::Named, content);
        }
        let (kind, key) = match (invoice, intent) {
            (Some(invoice), _) => (RevenueKind::Invoice, invoice),
            (None, Some(intent)) => (RevenueKind::Payment, intent),
            (None, None) => return,
        };
        let amount = object.at("amount_total").integer();
        let Some(mut row) = self.money(kind, key, amount, content, Standing::Provisional) else { return };
        row.occurred_at = self.event.created;
        row.payment_id = intent.map(str::to_owned);
        row.invoice_id = invoice.map(str::to_owned);
        row.subscription_id = object.at("subscription").id().map(str::to_owned);
        let reference = self.reference(object).map(|user| user.id.into_owned());
        row.user_id = row.user_id.or(reference);
        self.push_money(row);
    }
}
