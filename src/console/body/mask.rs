//! What of a body may be seen without revealing it.

use serde_json::Value;

/// Below these fields, everything describes a person or was written by one.
const PRIVATE: [&str; 22] = [
    "address",
    "billing_details",
    "collected_information",
    "company",
    "custom_fields",
    "custom_text",
    "customer_address",
    "customer_details",
    "customer_shipping",
    "customer_tax_ids",
    "dob",
    "evidence",
    "individual",
    "metadata",
    "owner",
    "receipt_email",
    "sepa_debit",
    "shipping",
    "shipping_details",
    "tos_acceptance",
    "verification",
    "verified_address",
];

/// Fields that people or the seller's code may write freely. Their text may look like an id or a word.
const WRITTEN: [&str; 17] = [
    "client_reference_id",
    "comment",
    "customer_purchase_order",
    "description",
    "email",
    "footer",
    "idempotency_key",
    "lookup_key",
    "memo",
    "name",
    "nickname",
    "phone",
    "receipt_number",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
    "value",
];

/// Numbers that belong to a customer.
const OWN_NUMBERS: [&str; 3] = ["exp_month", "exp_year", "last4"];

/// Fields whose text is one of Stripe's own words.
const WORDS: [&str; 40] = [
    "api_version",
    "billing",
    "billing_reason",
    "billing_scheme",
    "brand",
    "cancellation_reason",
    "capture_method",
    "category",
    "code",
    "collection_method",
    "confirmation_method",
    "currency",
    "decline_code",
    "failure_code",
    "feedback",
    "funding",
    "interval",
    "missing_payment_method",
    "mode",
    "network_status",
    "object",
    "outcome",
    "payment_behavior",
    "payment_method_collection",
    "payment_status",
    "pricing_type",
    "proration_behavior",
    "reason",
    "refund_status",
    "reporting_category",
    "risk_level",
    "save_default_payment_method",
    "setup_future_usage",
    "status",
    "submit_type",
    "tax_behavior",
    "type",
    "ui_mode",
    "update_behavior",
    "usage_type",
];

/// Prefixes of the ids of Stripe objects.
const IDS: [&str; 45] = [
    "acct", "ba", "bps", "btok", "card", "cbtxn", "ch", "cn", "cs", "cus", "di", "dp", "du", "evt", "fee", "fr",
    "gcus", "ii", "il", "in", "inpay", "li", "mandate", "payout", "pi", "plan", "pm", "po", "price", "prod", "promo",
    "py", "pyr", "re", "req", "seti", "setatt", "si", "src", "sub", "tr", "trr", "txn", "txr", "we",
];

/// Longest text that may be an id or a word, in bytes.
const SHORT_MAX: usize = 255;

/// Longest name of a field that is shown below private places.
const KEY_MAX: usize = 40;

/// The place of a value in a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    key: &'a str,
    /// The field that contains this one.
    parent: &'a str,
    /// Whether it is below a place that describes people.
    private: bool,
    revealed: bool,
}

impl<'a> Place<'a> {
    pub(super) fn of_root(revealed: bool) -> Self {
        Self { key: "", parent: "", private: false, revealed }
    }

    /// The field `key` of the object at this place.
    pub(super) fn below(self, key: &'a str) -> Self {
        Self { key, parent: self.key, private: self.private || PRIVATE.contains(&key), revealed: self.revealed }
    }

    /// Whether the name of this field may be shown: it looks like a name in a program.
    pub(super) fn shows_key(self) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = !self.key.starts_with(|first: char| first.is_ascii_digit()) && !self.key.contains("__");
        self.revealed || self.key.len() <= KEY_MAX && self.key.bytes().all(is_plain) && is_name
    }

    /// The text of a value, if it may be shown.
    pub(super) fn text(self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) if self.revealed || self.shows(text) => Some(text.clone()),
            Value::String(_) => None,
            Value::Null => Some("null".to_owned()),
            Value::Bool(_) | Value::Number(_) if self.is_own() && !self.revealed => None,
            Value::Bool(is) => Some(is.to_string()),
            other => Some(other.to_string()),
        }
    }

    /// Whether the value here belongs to a customer, whatever its form.
    fn is_own(self) -> bool {
        self.private || OWN_NUMBERS.contains(&self.key)
    }

    fn shows(self, text: &str) -> bool {
        if self.private || WRITTEN.contains(&self.key) || text.len() > SHORT_MAX {
            return false;
        }
        let is_word =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte));
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
        // The code of an error is Stripe's own word. Elsewhere a code is what a customer typed at the checkout.
        let is_stripes = self.key != "code" || self.parent.ends_with("error");
        is_id(text)
            || WORDS.contains(&self.key) && is_stripes && is_word
            || self.key.ends_with("_decimal") && is_number
            || self.key.ends_with("currency") && is_word
            || self.key == "created" && is_moment(text)
    }
}

/// Whether it looks like a Stripe id. A secret that lets a browser act for a customer looks like one too, but is not.
fn is_id(text: &str) -> bool {
    let Some((prefix, rest)) = text.split_once('_') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    IDS.contains(&prefix) && !rest.is_empty() && rest.bytes().all(is_plain) && !text.contains("_secret")
}

fn is_moment(text: &str) -> bool {
    crate::domain::clock::Timestamp::parse_rfc3339(text).is_some()
}
