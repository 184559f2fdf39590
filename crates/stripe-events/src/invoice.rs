//! A Stripe invoice of any API version.

use super::object::Object;
use super::payment::PaymentIds;

/// A look at an invoice.
#[derive(Clone, Copy, Debug)]
pub struct Invoice<'a>(pub Object<'a>);

impl<'a> Invoice<'a> {
    /// The subscription it bills: at `parent` since 2025-03-31, on the invoice before, else on a line of either shape.
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

    /// The subscription's metadata as it was when the invoice was made.
    pub fn subscription_metadata(self) -> Object<'a> {
        let place = self.0.path("parent.subscription_details.metadata");
        if place.is_some() { place } else { self.0.path("subscription_details.metadata") }
    }

    /// Whether it is paid. `paid` is gone since 2025-03-31; very old invoices have nothing else.
    pub fn is_paid(self) -> bool {
        match self.0.at("status").word() {
            Some(status) => status == "paid",
            None => self.0.at("paid").flag() == Some(true),
        }
    }

    /// The payments it names: its own fields until 2025-03-31, the paid ones of `payments` since (if expanded).
    pub fn payments(self) -> Vec<PaymentIds<'a>> {
        let legacy = PaymentIds { intent: self.0.at("payment_intent").id(), charge: self.0.at("charge").id() };
        let listed = self.0.at("payments").items().filter(|payment| payment.at("status").word() == Some("paid"));
        std::iter::once(legacy)
            .chain(listed.map(PaymentIds::of_invoice_payment))
            .filter(|ids| !ids.is_empty())
            .collect()
    }

    /// Tax added on top of the lines, in minor units; inclusive tax is in the lines already.
    pub fn exclusive_tax(self) -> Option<i64> {
        if self.0.at("total_taxes").is_some() {
            let exclusive =
                self.0.at("total_taxes").items().filter(|tax| tax.at("tax_behavior").word() != Some("inclusive"));
            return sum(exclusive);
        }
        if self.0.at("total_tax_amounts").is_some() {
            return sum(self.0.at("total_tax_amounts").items().filter(|tax| tax.at("inclusive").flag() != Some(true)));
        }
        Some(self.0.at("tax").integer().unwrap_or(0))
    }

    /// Discounts of the whole invoice, in minor units.
    pub fn discount(self) -> Option<i64> {
        sum(self.0.at("total_discount_amounts").items())
    }
}

/// Identifier of the price (or plan) of an invoice line: under `pricing` since 2025-03-31.
pub fn line_price_id(line: Object<'_>) -> Option<&str> {
    ["pricing.price_details.price", "price", "plan"].into_iter().find_map(|path| line.path(path).id())
}

/// The sum of the `amount`s; `None` when one is missing or the sum is out of range.
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
    fn only_paid_payments_are_named() {
        let value = json!({"payments": {"data": [
            {"status": "open", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
            {"status": "paid", "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_2"}}}
        ]}});
        let named: Vec<_> = Invoice(Object::new(&value)).payments().iter().map(PaymentIds::key).collect();
        assert_eq!(named, [Some("pi_2")]);
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
