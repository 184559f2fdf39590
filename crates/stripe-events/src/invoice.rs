//! A Stripe invoice of any API version.

use super::object::Object;
use super::payment::{InvoicePayment, PaymentIds};

/// A look at an invoice.
#[derive(Clone, Copy, Debug)]
pub struct Invoice<'a>(pub Object<'a>);

impl<'a> Invoice<'a> {
    /// The subscription that it bills: under `parent` since 2025-03-31, on the invoice before, else on a line of
    /// either shape.
    pub fn subscription_id(self) -> Option<&'a str> {
        let direct = ["parent.subscription_details.subscription", "subscription"];
        direct.into_iter().find_map(|path| self.0.path(path).id()).or_else(|| {
            let on_line = [
                "parent.subscription_item_details.subscription",
                "parent.invoice_item_details.subscription",
                "subscription",
            ];
            self.0.at("lines").items().find_map(|line| on_line.into_iter().find_map(|path| line.path(path).id()))
        })
    }

    /// The subscription's metadata at the time the invoice was made.
    pub fn subscription_metadata(self) -> Object<'a> {
        let place = self.0.path("parent.subscription_details.metadata");
        if place.is_some() { place } else { self.0.path("subscription_details.metadata") }
    }

    /// Whether it is paid. `paid` is gone since 2025-03-31, but very old invoices have nothing else.
    pub fn is_paid(self) -> bool {
        match self.0.at("status").word() {
            Some(status) => status == "paid",
            None => self.0.at("paid").flag() == Some(true),
        }
    }

    /// The payment that its own fields name. They exist until 2025-03-31.
    pub fn named_payment(self) -> Option<PaymentIds<'a>> {
        let ids = PaymentIds { intent: self.0.at("payment_intent").id(), charge: self.0.at("charge").id() };
        (!ids.is_empty()).then_some(ids)
    }

    /// The payments in `payments` that are paid. The list exists since 2025-03-31, if it is expanded.
    pub fn payments(self) -> impl Iterator<Item = InvoicePayment<'a>> {
        self.0.at("payments").items().map(InvoicePayment).filter(|payment| payment.is_paid())
    }

    /// Whether only a list that is not here shows its payments: since 2025-03-31, unless the list is expanded.
    pub fn hides_payments(self) -> bool {
        let told = ["payments", "payment_intent", "charge", "paid_out_of_band"];
        let paid = self.0.at("amount_paid").integer().is_some_and(|paid| paid > 0);
        self.is_paid() && paid && !told.into_iter().any(|field| self.0.mentions(field))
    }

    /// What was paid on it; `None` if its amounts are missing or out of range.
    ///
    /// Part of the money may have come around Stripe:
    /// - Very old versions have no `amount_paid`. Their charge paid all that was due; without a charge, all of it came around
    ///   Stripe.
    /// - Old versions say so with `paid_out_of_band`, and leave that money in `amount_remaining`. If they deny it,
    ///   the remainder of a paid invoice was forgiven.
    /// - Since 2025-03-31 (such invoices have a `parent`), `amount_paid` includes it, and the remainder of a paid invoice
    ///   was forgiven. `amount_paid_off_stripe`, in an invoice that was fetched since 2026-05-27, tells it apart; so does a
    ///   complete list of payments, even an empty one.
    /// - Without either, an `attempt_count` of zero means that no attempt was made to pay through Stripe: Stripe
    ///   counts the first attempt, even a manual one. A receipt has zero attempts too, but other objects report its
    ///   payment.
    pub fn paid(self) -> Option<Paid> {
        if !self.0.mentions("amount_paid") && self.0.at("paid").flag() == Some(true) {
            let due = self.0.at("amount_due").integer()?;
            let outside = if self.0.mentions("charge") && self.named_payment().is_none() { due } else { 0 };
            return Some(Paid { amount: due, outside });
        }
        let paid = self.0.at("amount_paid").integer()?;
        let remaining = self.0.at("amount_remaining").integer().unwrap_or(0).max(0);
        let out_of_band = self.0.at("paid_out_of_band").flag();
        if remaining > 0 && !self.0.mentions("parent") {
            let outside = if out_of_band == Some(false) { 0 } else { remaining };
            return Some(Paid { amount: paid.checked_add(outside)?, outside });
        }
        let outside = if let Some(off_stripe) = self.0.at("amount_paid_off_stripe").integer() {
            off_stripe
        } else if out_of_band == Some(true) && self.named_payment().is_none() {
            paid
        } else if self.hides_payments() {
            if self.0.at("attempt_count").integer() == Some(0) { paid } else { 0 }
        } else if self.0.at("payments").is_whole_list() {
            let through = self.payments().filter(|payment| !payment.is_outside());
            let through =
                through.map(InvoicePayment::amount).try_fold(0_i64, |sum, amount| sum.checked_add(amount?))?;
            paid.saturating_sub(through)
        } else {
            0
        };
        Some(Paid { amount: paid, outside: outside.clamp(0, paid.max(0)) })
    }

    /// Tax on top of the lines, in minor units. The lines already include inclusive tax.
    pub fn exclusive_tax(self) -> Option<i64> {
        if self.0.at("total_taxes").is_some() {
            let exclusive =
                self.0.at("total_taxes").items().filter(|tax| tax.at("tax_behavior").word() != Some("inclusive"));
            return sum(exclusive);
        }
        // What is taxed by a percentage of the subscription, as before there were tax rates, is in no list.
        if self.0.at("total_tax_amounts").items().next().is_some() {
            return sum(self.0.at("total_tax_amounts").items().filter(|tax| tax.at("inclusive").flag() != Some(true)));
        }
        Some(self.0.at("tax").integer().unwrap_or(0))
    }

    /// All discounts, on the whole invoice and on single lines, in minor units.
    pub fn discount(self) -> Option<i64> {
        sum(self.0.at("total_discount_amounts").items())
    }

    /// Credits that are taken off before tax but are not discounts, in minor units.
    pub fn pretax_credit(self) -> Option<i64> {
        let credits = self.0.at("total_pretax_credit_amounts").items();
        sum(credits.filter(|credit| credit.at("type").word() == Some("credit_balance_transaction")))
    }
}

/// What was paid on an invoice, in minor units of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The whole sum.
    pub amount: i64,
    /// The part that came around Stripe.
    pub outside: i64,
}

/// Identifier of the price (or plan) of an invoice line: under `pricing` since 2025-03-31.
pub fn line_price_id(line: Object<'_>) -> Option<&str> {
    ["pricing.price_details.price", "price", "plan"].into_iter().find_map(|path| line.path(path).id())
}

/// The sum of the `amount`s; `None` if one is missing or the sum is out of range.
pub fn sum<'a>(mut items: impl Iterator<Item = Object<'a>>) -> Option<i64> {
    items.try_fold(0_i64, |sum, item| sum.checked_add(item.at("amount").integer()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_subscription_is_found_in_every_shape() {
        for value in [
            json!({"parent": {"subscription_details": {"subscription": "sub_1"}}}),
            json!({"parent": {"subscription_details": {"subscription": {"id": "sub_1"}}}}),
            json!({"subscription": "sub_1"}),
            json!({"lines": {"data": [{}, {"subscription": "sub_1"}]}}),
            json!({"lines": {"data": [{"parent": {"subscription_item_details": {"subscription": "sub_1"}}}]}}),
            json!({"lines": {"data": [{"parent": {"invoice_item_details": {"subscription": "sub_1"}}}]}}),
        ] {
            assert_eq!(Invoice(Object::new(&value)).subscription_id(), Some("sub_1"), "{value}");
        }
    }

    #[test]
    fn only_paid_payments_are_listed() {
        let value = json!({"payments": {"data": [
            {"status": "open", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
            {"status": "paid", "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_2"}}}
        ]}});
        let listed: Vec<_> = Invoice(Object::new(&value))
            .payments()
            .map(|payment| PaymentIds::of_invoice_payment(payment.0).key())
            .collect();
        assert_eq!(listed, [Some("pi_2")]);
    }

    #[test]
    fn money_around_stripe_is_told_apart_in_every_shape() {
        let listed = |payment| json!({"data": [{"status": "paid", "amount_paid": 30, "payment": payment}]});
        let (card, record) = (json!({"payment_intent": "pi_1"}), json!({"payment_record": "pr_1"}));
        for (value, amount, outside) in [
            (json!({"amount_paid": 70, "amount_remaining": 0}), 70, 0),
            (json!({"paid": true, "amount_due": 70, "charge": "ch_1"}), 70, 0),
            (json!({"paid": true, "amount_due": 70, "charge": null}), 70, 70),
            (json!({"amount_paid": 0, "amount_remaining": 70, "paid_out_of_band": true}), 70, 70),
            (json!({"amount_paid": 0, "amount_remaining": 70}), 70, 70),
            (json!({"amount_paid": 60, "amount_remaining": 10, "paid_out_of_band": false}), 60, 0),
            (json!({"amount_paid": 60, "amount_remaining": 10, "parent": null, "payments": null}), 60, 0),
            (json!({"amount_paid": 70, "amount_remaining": 0, "paid_out_of_band": true}), 70, 70),
            (json!({"amount_paid": 70, "payments": {"data": []}}), 70, 70),
            (
                json!({"amount_paid": 70, "payments": {"data": [{"status": "open", "payment": {"payment_intent": "pi_1"}}]}}),
                70,
                70,
            ),
            (json!({"amount_paid": 70, "payments": null}), 70, 0),
            (json!({"status": "paid", "amount_paid": 70, "attempt_count": 0}), 70, 70),
            (json!({"status": "paid", "amount_paid": 70, "attempt_count": 1}), 70, 0),
            (json!({"status": "paid", "amount_paid": 70}), 70, 0),
            (
                json!({"status": "paid", "amount_paid": 70, "attempt_count": 0, "payment_intent": null, "paid_out_of_band": false}),
                70,
                0,
            ),
            (json!({"amount_paid": 70, "payments": listed(card.clone())}), 70, 40),
            (json!({"amount_paid": 30, "payments": listed(card)}), 30, 0),
            (json!({"amount_paid": 30, "payments": listed(record)}), 30, 30),
            (json!({"amount_paid": 70, "payments": {"data": [], "has_more": true}}), 70, 0),
            (json!({"amount_paid": 70, "amount_paid_off_stripe": 20}), 70, 20),
        ] {
            assert_eq!(Invoice(Object::new(&value)).paid(), Some(Paid { amount, outside }), "{value}");
        }
    }

    #[test]
    fn payments_are_hidden_where_no_field_could_tell_them() {
        for (value, hidden) in [
            (json!({"status": "paid", "amount_paid": 70}), true),
            (json!({"status": "open", "amount_paid": 70}), false),
            (json!({"status": "paid", "amount_paid": 0}), false),
            (json!({"status": "paid", "amount_paid": 70, "payments": {"data": []}}), false),
            (json!({"status": "paid", "amount_paid": 70, "payment_intent": null}), false),
        ] {
            assert_eq!(Invoice(Object::new(&value)).hides_payments(), hidden, "{value}");
        }
    }

    #[test]
    fn the_price_of_a_line_is_found_in_every_shape() {
        for value in [
            json!({"pricing": {"price_details": {"price": "price_1"}}}),
            json!({"price": {"id": "price_1"}}),
            json!({"plan": {"id": "price_1"}}),
        ] {
            assert_eq!(line_price_id(Object::new(&value)), Some("price_1"), "{value}");
        }
    }

    #[test]
    fn inclusive_tax_is_not_added() {
        let new = json!({"total_taxes": [{"amount": 5, "tax_behavior": "exclusive"}, {"amount": 7, "tax_behavior": "inclusive"}]});
        let old = json!({"total_tax_amounts": [{"amount": 5, "inclusive": false}, {"amount": 7, "inclusive": true}]});
        let oldest = json!({"tax": 5});
        for value in [new, old, oldest] {
            assert_eq!(Invoice(Object::new(&value)).exclusive_tax(), Some(5), "{value}");
        }
    }
}
