//! A Stripe subscription of any API version.

use super::money::Decimal;
use super::object::Object;
use crate::Timestamp;

/// A look at a subscription.
#[derive(Clone, Copy, Debug)]
pub struct Subscription<'a>(pub Object<'a>);

impl<'a> Subscription<'a> {
    /// Stripe's status, unchanged.
    pub fn status(self) -> Option<&'a str> {
        self.0.at("status").word()
    }

    /// The items that are subscribed to. Before items existed, the one plan was on the subscription itself.
    pub fn items(self) -> Vec<Item<'a>> {
        let items: Vec<_> = self.0.at("items").items().map(Item).collect();
        if items.is_empty() && self.0.at("plan").is_some() { vec![Item(self.0)] } else { items }
    }

    /// Start of the current period: the subscription's own, else the earliest of its items (since 2025-03-31).
    pub fn current_period_start(self) -> Option<Timestamp> {
        let field = "current_period_start";
        self.0.at(field).time().or_else(|| self.0.at("items").items().filter_map(|item| item.at(field).time()).min())
    }

    /// End of the current period: the subscription's own, else the latest of its items (since 2025-03-31).
    pub fn current_period_end(self) -> Option<Timestamp> {
        let field = "current_period_end";
        self.0.at(field).time().or_else(|| self.0.at("items").items().filter_map(|item| item.at(field).time()).max())
    }

    /// Whether it ends with the period. Since 2025-09-30 the portal sets `cancel_at` instead.
    pub fn cancel_at_period_end(self) -> bool {
        self.0.at("cancel_at_period_end").flag().unwrap_or(false)
    }

    /// The moment at which it will end.
    pub fn cancel_at(self) -> Option<Timestamp> {
        self.0.at("cancel_at").time()
    }

    /// Whether collection is paused, whatever the status.
    pub fn collection_paused(self) -> bool {
        self.0.at("pause_collection").is_some()
    }

    /// When the pause of collection will end by itself.
    pub fn resumes_at(self) -> Option<Timestamp> {
        self.0.path("pause_collection.resumes_at").time()
    }

    /// How money is collected: `charge_automatically` or `send_invoice`. Until 2019-10-17 the field was called `billing`.
    pub fn collection_method(self) -> Option<&'a str> {
        self.0.at("collection_method").word().or_else(|| self.0.at("billing").word())
    }

    /// How many items it has, including those that are not listed.
    pub fn item_count(self) -> i64 {
        let listed = i64::try_from(self.items().len()).unwrap_or(i64::MAX);
        self.0.path("items.total_count").integer().unwrap_or(0).max(listed)
    }

    /// Currency as it was written: the subscription's own, else that of an item.
    pub fn currency(self) -> Option<&'a str> {
        self.0.at("currency").word().or_else(|| self.items().into_iter().find_map(Item::currency))
    }

    /// The currency in which its items show their amounts: the subscription's own, unless the seller's price has several
    /// currencies and the subscription was sold in the second. Such an item shows the price in the first currency, and its
    /// amount in the subscription's own only if `currency_options` is expanded.
    pub fn priced_in(self) -> Option<&'a str> {
        let own = self.currency()?;
        let items = self.items();
        let told = items.is_empty() || items.iter().any(|item| item.is_priced_in(own));
        if told { Some(own) } else { items.into_iter().find_map(Item::currency) }
    }
}

/// A look at one item of a subscription.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a>(pub Object<'a>);

impl<'a> Item<'a> {
    /// The price, or the plan, as a price was called before.
    pub fn price(self) -> Object<'a> {
        if self.0.at("price").is_some() { self.0.at("price") } else { self.0.at("plan") }
    }

    /// Identifier of the price or plan.
    pub fn price_id(self) -> Option<&'a str> {
        self.0.at("price").id().or_else(|| self.0.at("plan").id())
    }

    /// Identifier of the product.
    pub fn product_id(self) -> Option<&'a str> {
        self.0.path("price.product").id().or_else(|| self.0.path("plan.product").id())
    }

    /// Quantity; metered items have none.
    pub fn quantity(self) -> Option<i64> {
        self.0.at("quantity").integer()
    }

    /// Currency as it was written.
    pub fn currency(self) -> Option<&'a str> {
        self.0.path("price.currency").word().or_else(|| self.0.path("plan.currency").word())
    }

    /// Whether the item tells what it costs in `currency`. One that names no currency is in its subscription's.
    pub fn is_priced_in(self, currency: &str) -> bool {
        self.currency().is_none_or(|own| own.eq_ignore_ascii_case(currency)) || self.option(currency).is_some()
    }

    /// What the price is in `currency`, where it is sold in several.
    fn option(self, currency: &str) -> Object<'a> {
        self.0.path("price.currency_options").at(&currency.to_ascii_lowercase())
    }

    /// Price of one unit in minor units of `currency`, with its fraction.
    pub fn unit_amount(self, currency: &str) -> Option<Decimal> {
        let first = |object: Object<'a>, paths: &[&str]| paths.iter().find_map(|path| object.path(path).decimal());
        if self.currency().is_none_or(|own| own.eq_ignore_ascii_case(currency)) {
            let paths = ["price.unit_amount_decimal", "price.unit_amount", "plan.amount_decimal", "plan.amount"];
            return first(self.0, &paths);
        }
        first(self.option(currency), &["unit_amount_decimal", "unit_amount"])
    }

    /// `day`, `week`, `month` or `year`.
    pub fn interval(self) -> Option<&'a str> {
        self.0.path("price.recurring.interval").word().or_else(|| self.0.path("plan.interval").word())
    }

    /// How many intervals make one billing period.
    pub fn interval_count(self) -> Option<i64> {
        let count = self.0.path("price.recurring.interval_count").integer();
        count.or_else(|| self.0.path("plan.interval_count").integer())
    }

    /// What the item costs per month in minor units of `currency`, before discounts and tax. `None` if that depends on use
    /// (metered, tiered) or is unknown.
    pub fn monthly(self, currency: &str) -> Option<Decimal> {
        let usage = self.0.path("price.recurring.usage_type").word().or_else(|| self.0.path("plan.usage_type").word());
        let scheme = self.0.path("price.billing_scheme").word().or_else(|| self.0.path("plan.billing_scheme").word());
        if usage == Some("metered") || scheme == Some("tiered") {
            return None;
        }
        let count = self.interval_count().unwrap_or(1);
        let (factor, divisor) = match self.interval()? {
            "day" => (365, 12),
            "week" => (52, 12),
            "month" => (1, 1),
            "year" => (1, 12),
            _ => return None,
        };
        let amount = self.unit_amount(currency)?.scale(self.units()?, 1)?;
        amount.scale(factor, count.checked_mul(divisor)?)
    }

    /// Number of units billed: `transform_quantity` sells in packages.
    fn units(self) -> Option<i64> {
        let quantity = self.quantity().unwrap_or(1);
        let transform = [self.0.path("price.transform_quantity"), self.0.path("plan.transform_usage")]
            .into_iter()
            .find(|place| place.is_some());
        let Some(transform) = transform else { return Some(quantity) };
        let package = transform.at("divide_by").integer()?;
        let whole = quantity.checked_div(package)?;
        let rest = quantity.checked_rem(package)?;
        let up = transform.at("round").word() == Some("up") && rest > 0;
        whole.checked_add(i64::from(up))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn monthly(item: &Value) -> Option<i64> {
        Item(Object::new(item)).monthly("eur").and_then(Decimal::round)
    }

    fn price(amount: &Value, interval: &str, count: i64) -> Value {
        json!({"quantity": 1, "price": {"unit_amount_decimal": amount,
            "recurring": {"interval": interval, "interval_count": count, "usage_type": "licensed"}}})
    }

    #[test]
    fn every_interval_comes_down_to_a_month() {
        assert_eq!(monthly(&price(&json!("1200"), "year", 1)), Some(100));
        assert_eq!(monthly(&price(&json!("3000"), "month", 3)), Some(1000));
        assert_eq!(monthly(&price(&json!("1200"), "week", 1)), Some(5200));
        assert_eq!(monthly(&price(&json!("12"), "day", 1)), Some(365));
        assert_eq!(monthly(&price(&json!("0.5"), "month", 1)), Some(1));
        assert_eq!(monthly(&price(&json!("1200"), "aeon", 1)), None);
        assert_eq!(monthly(&price(&json!("1200"), "month", 0)), None);
    }

    #[test]
    fn what_depends_on_use_has_no_monthly_amount() {
        let metered = json!({"plan": {"amount": 5, "interval": "month", "usage_type": "metered"}});
        let tiered = json!({"price": {"billing_scheme": "tiered", "recurring": {"interval": "month"}}});
        assert_eq!((monthly(&metered), monthly(&tiered)), (None, None));
    }

    #[test]
    fn packages_are_rounded_as_the_price_says() {
        let item = |round: &str| {
            json!({"quantity": 25, "price": {"unit_amount": 100, "recurring": {"interval": "month"},
                "transform_quantity": {"divide_by": 10, "round": round}}})
        };
        assert_eq!((monthly(&item("up")), monthly(&item("down"))), (Some(300), Some(200)));
    }

    #[test]
    fn a_price_of_several_currencies_counts_in_that_in_which_it_is_told() {
        let item = |more: Value| {
            let mut item = price(&json!("2000"), "month", 1);
            item["price"]["currency"] = json!("usd");
            item["price"]["currency_options"] = more;
            item
        };
        let told = item(json!({"eur": {"unit_amount": 1850, "unit_amount_decimal": "1850"}}));
        let other = item(json!({"gbp": {"unit_amount": 1500}}));
        let own = price(&json!("100"), "month", 1);
        for (items, currency, amounts) in [
            (json!([told]), "eur", vec![Some(1850)]),
            (json!([other]), "usd", vec![Some(2000)]),
            (json!([other, told, own]), "eur", vec![None, Some(1850), Some(100)]),
            (json!([]), "eur", vec![]),
        ] {
            let value = json!({"currency": "eur", "items": {"data": items}});
            let subscription = Subscription(Object::new(&value));
            assert_eq!(subscription.priced_in(), Some(currency), "{value}");
            let monthly: Vec<_> = subscription.items().into_iter().map(|item| item.monthly(currency)).collect();
            assert_eq!(
                monthly,
                amounts.into_iter().map(|amount| amount.map(Decimal::from)).collect::<Vec<_>>(),
                "{value}"
            );
        }
    }

    #[test]
    fn periods_of_items_are_joined_to_the_widest() {
        let value = json!({"items": {"data": [
            {"current_period_start": 20, "current_period_end": 30}, {"current_period_start": 10, "current_period_end": 40}
        ]}});
        let subscription = Subscription(Object::new(&value));
        assert_eq!(subscription.current_period_start(), Some(Timestamp::from_seconds(10)));
        assert_eq!(subscription.current_period_end(), Some(Timestamp::from_seconds(40)));
    }

    #[test]
    fn the_way_of_collecting_has_two_names() {
        for (value, method) in [
            (json!({"collection_method": "send_invoice"}), Some("send_invoice")),
            (json!({"billing": "send_invoice"}), Some("send_invoice")),
            (
                json!({"collection_method": "charge_automatically", "billing": "send_invoice"}),
                Some("charge_automatically"),
            ),
            (json!({}), None),
        ] {
            assert_eq!(Subscription(Object::new(&value)).collection_method(), method, "{value}");
        }
    }

    #[test]
    fn a_subscription_without_items_is_its_own_item() {
        let value = json!({"plan": {"id": "gold-monthly", "amount": 500, "interval": "month"}, "quantity": 2});
        let items = Subscription(Object::new(&value)).items();
        assert_eq!(items.iter().map(|item| item.price_id()).collect::<Vec<_>>(), [Some("gold-monthly")]);
        assert_eq!(items[0].monthly("eur").and_then(Decimal::to_integer), Some(1000));
    }
}
