//! `charge.*`, `payment_intent.*`, `refund.*`, `charge.dispute.*`: single payments, and money that goes back.

use super::{Content, Projection};
use crate::revenue::rows::{RevenueKind, Standing};
use crate::stripe::object::Object;
use crate::stripe::payment::{PaidInvoice, PaymentIds, captured, dispute_holds_money, paid_invoice, refund_failed};

impl<'a> Projection<'a> {
    pub(super) fn charge(&mut self, content: Content<'a>) {
        let object = content.object;
        let ids = PaymentIds::of_charge(object);
        let Some(key) = ids.key() else { return };
        if object.at("status").word().is_none_or(|status| status == "succeeded") {
            // A refund long after says nothing new of the payment, only perhaps something first.
            let succeeded = self.event.classic_kind() == "charge.succeeded";
            let standing = if succeeded { Standing::Current } else { Standing::Provisional };
            self.payment(&ids, captured(object), content, standing);
        }
        let refunded = object.at("amount_refunded").integer().unwrap_or(0);
        if refunded > 0
            && let Some(mut row) =
                self.money(RevenueKind::RefundTotal, key, refunded.checked_neg(), content, Standing::Current)
        {
            row.occurred_at = self.event.created;
            row.version.progress = refunded.unsigned_abs();
            row.payment_id = Some(key.to_owned());
            row.charge_id = ids.charge.map(str::to_owned);
            self.push_money(row);
        }
        // Until 2022-11-15 a charge carried its refunds.
        for refund in object.at("refunds").items() {
            self.refund(Content { object: refund, ..content });
        }
    }

    pub(super) fn payment_intent(&mut self, content: Content<'a>) {
        let object = content.object;
        if self.event.classic_kind() != "payment_intent.succeeded" {
            return;
        }
        let amount = object.at("amount_received").integer().or_else(|| object.at("amount").integer());
        self.payment(&PaymentIds::of_intent(object), amount, content, Standing::Current);
    }

    /// A payment by itself, with what it says about an invoice.
    fn payment(&mut self, ids: &PaymentIds<'_>, amount: Option<i64>, content: Content<'a>, standing: Standing) {
        let Some(key) = ids.key() else { return };
        let invoice = match paid_invoice(content.object) {
            PaidInvoice::Unknown => self.context.paid_invoice,
            told => told,
        };
        match invoice {
            PaidInvoice::Named(id) => self.link(key, Some(id), content),
            PaidInvoice::Standalone => self.link(key, None, content),
            PaidInvoice::Unknown => {}
        }
        let Some(mut row) = self.money(RevenueKind::Payment, key, amount, content, standing) else { return };
        if standing == Standing::Current {
            row.occurred_at = self.event.created;
        }
        row.payment_id = Some(key.to_owned());
        row.charge_id = ids.charge.map(str::to_owned);
        if let PaidInvoice::Named(id) = invoice {
            row.invoice_id = Some(id.to_owned());
        }
        self.push_money(row);
    }

    pub(super) fn refund(&mut self, content: Content<'a>) {
        let object = content.object;
        let Some(id) = object.at("id").id() else { return };
        let amount = object.at("amount").integer();
        let failed = refund_failed(object.at("status").word());
        let moved = if failed { amount.map(|_| 0) } else { amount.and_then(i64::checked_neg) };
        let Some(mut row) = self.money(RevenueKind::Refund, id, moved, content, Standing::Current) else { return };
        row.voided_minor = if failed { amount.unwrap_or(0) } else { 0 };
        row.version.progress = u64::from(failed);
        self.push_reversal(row, object);
    }

    pub(super) fn dispute(&mut self, content: Content<'a>) {
        let object = content.object;
        let Some(id) = object.at("id").id() else { return };
        let held = dispute_holds_money(object.at("status").word());
        let amount = object.at("amount").integer();
        let moved = if held { amount.and_then(i64::checked_neg) } else { amount.map(|_| 0) };
        let Some(row) = self.money(RevenueKind::Dispute, id, moved, content, Standing::Current) else { return };
        self.push_reversal(row, object);
    }

    fn push_reversal(&mut self, mut row: crate::revenue::rows::RevenueRow, object: Object<'_>) {
        let ids = PaymentIds::of_reversal(object);
        row.payment_id = ids.key().map(str::to_owned);
        row.charge_id = ids.charge.map(str::to_owned);
        self.push_money(row);
    }
}
