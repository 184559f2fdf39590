//! A look into a Stripe object of any API version.
//!
//! Every accessor answers `None` for what is absent, `null` or of another type, so that a reader can ask for the new
//! place of a field and then for its old one. Nothing here can panic. Texts that go on to a store are bounded.

use serde_json::Value;

use super::money::Decimal;
use crate::ID_BYTES_MAX;
use crate::Timestamp;

/// Longest text accepted as a keyword (status, interval, currency, version), in bytes.
pub const WORD_BYTES_MAX: usize = 64;

/// Last second of the year 9999. Later seconds have no RFC 3339 form and no place in a database.
const SECONDS_MAX: i64 = 253_402_300_799;

/// A place in a JSON document, which may hold nothing.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a>(Option<&'a Value>);

impl<'a> Object<'a> {
    /// The place that holds `value`.
    pub const fn new(value: &'a Value) -> Self {
        Self(Some(value))
    }

    /// The value here; `None` also for `null`.
    pub fn value(self) -> Option<&'a Value> {
        self.0.filter(|value| !value.is_null())
    }

    /// The field `key` of the object here.
    #[must_use]
    pub fn at(self, key: &str) -> Self {
        Self(self.0.and_then(|value| value.get(key)))
    }

    /// The field at a path of keys separated by dots.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        path.split('.').fold(self, Self::at)
    }

    /// The payer of the object here: its `customer`, else its `customer_account`, the account that acts as the
    /// customer if a seller uses Stripe's Accounts v2.
    #[must_use]
    pub fn customer(self) -> Self {
        if self.at("customer").is_some() { self.at("customer") } else { self.at("customer_account") }
    }

    /// Whether the field `key` is present, even if only as `null`.
    pub fn mentions(self, key: &str) -> bool {
        self.0.is_some_and(|value| value.get(key).is_some())
    }

    /// Whether something other than `null` is here.
    pub fn is_some(self) -> bool {
        self.value().is_some()
    }

    /// The text here.
    pub fn text(self) -> Option<&'a str> {
        self.0.and_then(Value::as_str)
    }

    /// The text here as one of Stripe's keywords: not empty and short.
    pub fn word(self) -> Option<&'a str> {
        self.text().filter(|text| !text.is_empty() && text.len() <= WORD_BYTES_MAX)
    }

    /// The identifier here, or that of the expanded object here.
    pub fn id(self) -> Option<&'a str> {
        self.text().or_else(|| self.at("id").text()).filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX)
    }

    /// The whole number here: a number without fraction, or such a number as text.
    pub fn integer(self) -> Option<i64> {
        self.decimal().and_then(Decimal::to_integer)
    }

    /// The number here, exactly.
    pub fn decimal(self) -> Option<Decimal> {
        match self.0? {
            // A float prints as the shortest text that reads back as the same number. That is the text that Stripe
            // sent, except for digits that it cannot have meant.
            Value::Number(number) => Decimal::parse(&number.to_string()),
            Value::String(text) => Decimal::parse(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The moment here: seconds since the Unix epoch, or RFC 3339 text, up to the year 9999.
    pub fn time(self) -> Option<Timestamp> {
        let moment = match self.0? {
            Value::String(text) if text.contains('T') => Timestamp::parse_rfc3339(text)?,
            Value::Number(_) | Value::String(_) => Timestamp::from_seconds(self.integer()?),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        (0..=SECONDS_MAX).contains(&moment.seconds()).then_some(moment)
    }

    /// The truth value here.
    pub fn flag(self) -> Option<bool> {
        self.0.and_then(Value::as_bool)
    }

    /// The items of the list here: an array, or one of Stripe's list objects.
    pub fn items(self) -> impl Iterator<Item = Self> {
        let array = self.0.and_then(Value::as_array).or_else(|| self.at("data").0.and_then(Value::as_array));
        array.into_iter().flatten().map(Self::new)
    }

    /// Whether a complete list object is here.
    pub fn is_whole_list(self) -> bool {
        self.at("data").0.is_some_and(Value::is_array) && !self.is_partial_list()
    }

    /// Whether a list object is here that says that it is incomplete.
    pub fn is_partial_list(self) -> bool {
        let Some(listed) = self.at("data").0.and_then(Value::as_array) else { return false };
        let listed = i64::try_from(listed.len()).unwrap_or(i64::MAX);
        self.at("has_more").flag() == Some(true) || self.at("total_count").integer().is_some_and(|all| all > listed)
    }

    /// The fields of the object here.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, Self)> {
        let object = self.0.and_then(Value::as_object);
        object.into_iter().flatten().map(|(key, value)| (key.as_str(), Self::new(value)))
    }
}

/// A copy of `value` in which no string and no key holds a NUL, which some databases cannot store. The JSON parser
/// bounds the depth of recursion to 128.
pub fn without_nul(value: &Value) -> Value {
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(items) => Value::Array(items.iter().map(without_nul).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (clean(key), without_nul(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identifiers_are_read_plain_and_expanded() {
        let value = json!({"customer": "cus_1", "invoice": {"id": "in_1", "object": "invoice"}, "charge": null});
        let object = Object::new(&value);
        assert_eq!(object.at("customer").id(), Some("cus_1"));
        assert_eq!(object.at("invoice").id(), Some("in_1"));
        assert_eq!(object.at("charge").id(), None);
        assert_eq!(object.path("invoice.customer.id").id(), None);
        assert!(object.mentions("charge") && !object.mentions("refunds"));
    }

    #[test]
    fn a_customer_may_be_an_account() {
        for (value, customer) in [
            (json!({"customer": "cus_1", "customer_account": "acct_1"}), Some("cus_1")),
            (json!({"customer": {"id": "cus_1", "object": "customer"}}), Some("cus_1")),
            (json!({"customer": null, "customer_account": "acct_1"}), Some("acct_1")),
            (json!({"customer_account": {"id": "acct_1", "object": "v2.core.account"}}), Some("acct_1")),
            (json!({"customer": null}), None),
        ] {
            assert_eq!(Object::new(&value).customer().id(), customer, "{value}");
        }
    }

    #[test]
    fn an_identifier_longer_than_stripe_promises_is_none() {
        assert_eq!(Object::new(&json!("x".repeat(ID_BYTES_MAX))).id().map(str::len), Some(ID_BYTES_MAX));
        assert_eq!(Object::new(&json!("x".repeat(ID_BYTES_MAX + 1))).id(), None);
    }

    #[test]
    fn a_word_longer_than_its_bound_is_none() {
        assert!(Object::new(&json!("x".repeat(WORD_BYTES_MAX))).word().is_some());
        assert_eq!(Object::new(&json!("x".repeat(WORD_BYTES_MAX + 1))).word(), None);
    }

    #[test]
    fn whole_numbers_are_read_from_numbers_and_texts_alike() {
        for value in [json!(1050), json!(1050.0), json!("1050"), json!("1050.00")] {
            assert_eq!(Object::new(&value).integer(), Some(1050), "{value}");
        }
        for value in [json!(10.5), json!("10.5"), json!("1e3"), json!(true), json!(1e300), json!(""), json!([1])] {
            assert_eq!(Object::new(&value).integer(), None, "{value}");
        }
    }

    #[test]
    fn moments_outside_of_what_a_database_holds_are_none() {
        assert_eq!(Object::new(&json!(0)).time(), Some(Timestamp::from_seconds(0)));
        assert_eq!(Object::new(&json!(SECONDS_MAX)).time(), Some(Timestamp::from_seconds(SECONDS_MAX)));
        for value in [json!(SECONDS_MAX + 1), json!(-1), json!(i64::MAX), json!("0000-01-01T00:00:00Z")] {
            assert_eq!(Object::new(&value).time(), None, "{value}");
        }
    }

    #[test]
    fn lists_are_read_from_arrays_and_list_objects() {
        let list = json!({"object": "list", "data": [1, 2], "has_more": false});
        assert_eq!(Object::new(&list).items().count(), 2);
        assert_eq!(Object::new(&json!([1, 2, 3])).items().count(), 3);
        assert_eq!(Object::new(&json!({"data": {"id": 1}})).items().count(), 0);
        assert!(Object::new(&list).is_whole_list());
        for partial in [json!({"data": [], "has_more": true}), json!({"data": [1], "total_count": 2})] {
            assert!(Object::new(&partial).is_partial_list() && !Object::new(&partial).is_whole_list());
        }
        assert!(!Object::new(&list).is_partial_list() && !Object::new(&json!([1])).is_partial_list());
    }
}
