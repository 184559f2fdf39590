//! `charge.*`, `payment_intent.*`, `refund.*`, `charge.dispute.*`: single payments, and money that goes back.

use super::{Content, Projection};
use crate::revenue::rows::{Evidence, Rank, RevenueKind, RevenueRow, Source, Standing};
use crate::stripe::dispute::Dispute;
use crate::stripe::object::Object;
use crate::stripe::payment::{
    Captured, InvoicePayment, PaidInvoice, PaymentIds, captured, captured_just_now, paid_invoice, received,
    refund_failed, refund_moved_nothing, refunds_no_payment, succeeded,
};

impl<'a> Projection<'a> {
    pub(super) fn charge(&mut self, content: Content<'a>) {
        let object = content.object;
        let ids = PaymentIds::of_charge(object);
        if ids.is_empty() {
            return;
        }
        if succeeded(object.at("status").word()) {
            let captured = if self.event.classic_kind() == "charge.captured" {
                captured_just_now(object, self.shows_releases_as_refunds(content))
            } else {
                captured(object)
            };
            // A refund long afterwards says nothing new about the payment, though it may be the first to tell of it. The
            // same goes for a charge that does not say how much of it was captured. An authorisation is not the end: if the
            // event of the capture does not come, a refund tells of it.
            let tells = matches!(self.event.classic_kind(), "charge.succeeded" | "charge.captured");
            let told = captured.is_none_or(|captured| captured.told && captured.amount > 0);
            let standing = if tells && told { Standing::Current } else { Standing::Provisional };
            self.payment(&ids, captured, content, standing);
        }
        self.refund_total(&ids, content);
        // Until 2022-11-15 a charge carried its refunds. They belong to it even if they do not name it.
        for refund in object.at("refunds").items() {
            self.refund_of(Content { object: refund, ..content }, ids);
        }
    }

    /// The total refunded of a charge so far.
    fn refund_total(&mut self, ids: &PaymentIds<'_>, content: Content<'a>) {
        let (Some(key), refunded) = (ids.key(), content.object.at("amount_refunded").integer().unwrap_or(0)) else {
            return;
        };
        if refunded <= 0 {
            return;
        }
        let total = self.money(RevenueKind::RefundTotal, key, refunded.checked_neg(), content, Standing::Current);
        let Some(mut row) = total else { return };
        row.occurred_at = self.event.created;
        row.version.progress = refunded.unsigned_abs();
        row.uncaptured_minor = if self.shows_releases_as_refunds(content) { refunded } else { 0 };
        row.payment_id = Some(key.to_owned());
        row.charge_id = ids.charge.map(str::to_owned);
        self.push_money(row);
    }

    pub(super) fn payment_intent(&mut self, content: Content<'a>) {
        let object = content.object;
        if self.event.classic_kind() != "payment_intent.succeeded" {
            return;
        }
        self.payment(&PaymentIds::of_intent(object), received(object), content, Standing::Current);
    }

    /// A payment, with what it says about an invoice.
    fn payment(&mut self, ids: &PaymentIds<'_>, came: Option<Captured>, content: Content<'a>, standing: Standing) {
        let Some(key) = ids.key() else { return };
        match paid_invoice(content.object) {
            PaidInvoice::Named(id) => self.link(key, id, Evidence::Named, content),
            PaidInvoice::Hinted(id) => self.link(key, id, Evidence::Hint, content),
            PaidInvoice::Standalone | PaidInvoice::Unknown => {}
        }
        for given in self.context.given {
            let part = InvoicePayment(Object::new(&given.object));
            if part.is_paid() {
                self.part(part, None, *ids, self.fetched(given));
            }
        }
        let amount = came.map(|came| came.amount);
        let Some(mut row) = self.money(RevenueKind::Payment, key, amount, content, standing) else { return };
        if standing == Standing::Current || matches!(self.event.classic_kind(), "charge.succeeded" | "charge.captured")
        {
            row.occurred_at = self.event.created;
        }
        // Of two states in one second, the one with more captured is the later one.
        row.version.progress = row.amount_minor.unsigned_abs();
        row.uncaptured_minor = came.map_or(0, |came| came.rest);
        row.payment_id = Some(key.to_owned());
        row.charge_id = ids.charge.map(str::to_owned);
        self.push_money(row);
    }

    pub(super) fn refund(&mut self, content: Content<'a>) {
        self.refund_of(content, PaymentIds::default());
    }

    /// A refund with its own id; `owner` is the charge that lists it.
    fn refund_of(&mut self, content: Content<'a>, owner: PaymentIds<'_>) {
        let object = content.object;
        let Some(id) = object.at("id").id() else { return };
        // What never came in does not go out.
        if owner.is_empty() && refunds_no_payment(object) {
            return;
        }
        let amount = object.at("amount").integer();
        let failed = refund_failed(object.at("status").word());
        let released = !failed && self.shows_releases_as_refunds(content);
        let moved_nothing = failed || (released && refund_moved_nothing(object));
        let moved = if moved_nothing { amount.map(|_| 0) } else { amount.and_then(i64::checked_neg) };
        let Some(mut row) = self.money(RevenueKind::Refund, id, moved, content, Standing::Current) else { return };
        row.voided_minor = if failed { amount.unwrap_or(0) } else { 0 };
        row.uncaptured_minor = if released { amount.unwrap_or(0) } else { 0 };
        row.version.progress = u64::from(failed);
        let own = PaymentIds::of_reversal(object);
        let ids = PaymentIds { intent: own.intent.or(owner.intent), charge: own.charge.or(owner.charge) };
        self.push_reversal(row, &ids);
    }

    pub(super) fn dispute(&mut self, content: Content<'a>) {
        let (object, dispute) = (content.object, Dispute(content.object));
        let Some(id) = object.at("id").id() else { return };
        let moved = dispute.taken().and_then(i64::checked_neg);
        let Some(mut row) = self.money(RevenueKind::Dispute, id, moved, content, Standing::Current) else { return };
        // Four events can be of one second. What the dispute has come to tells their order better than their types.
        row.version.progress = dispute.progress();
        if content.source == Source::Payload {
            row.version.rank = Rank::Updated;
        }
        self.push_reversal(row, &PaymentIds::of_reversal(object));
    }

    fn push_reversal(&mut self, mut row: RevenueRow, ids: &PaymentIds<'_>) {
        row.payment_id = ids.key().map(str::to_owned);
        row.charge_id = ids.charge.map(str::to_owned);
        self.push_money(row);
    }
}
