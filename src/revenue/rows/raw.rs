//! JSON text that is stored as it came.
//!
//! Guarantees that the text is valid JSON, and that it holds no NUL escape, which Postgres' `jsonb` refuses and which
//! would otherwise let one event fail the batch it is in. Shows nothing of its content in `Debug`, because events
//! carry names and addresses of customers.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::stripe::event::holds_nul;
use crate::stripe::object::without_nul;

/// A JSON document, unparsed.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct RawJson {
    text: Box<RawValue>,
    #[serde(skip)]
    is_in_payload: bool,
}

impl RawJson {
    /// The document in `text`, which was parsed as `parsed`. The text is kept if possible. Otherwise `parsed` is written
    /// out, with every NUL replaced by U+FFFD.
    pub fn new(text: &[u8], parsed: &Value) -> Self {
        if !holds_nul(text)
            && let Ok(text) = std::str::from_utf8(text)
            && let Ok(raw) = RawValue::from_string(text.to_owned())
        {
            return Self::of(raw);
        }
        Self::from_value(parsed)
    }

    /// The document for `value`, with every NUL replaced by U+FFFD.
    pub fn from_value(value: &Value) -> Self {
        let raw = serde_json::value::to_raw_value(&without_nul(value));
        // Only a map key that is not a string can fail, and a `Value` has none.
        Self::of(raw.unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// As [`RawJson::from_value`], for the object in the payload of the row's event.
    pub fn in_payload(value: &Value) -> Self {
        Self { is_in_payload: true, ..Self::from_value(value) }
    }

    fn of(text: Box<RawValue>) -> Self {
        Self { text, is_in_payload: false }
    }

    /// Whether the document is the object in the payload of the row's event, so that it need not be sent twice.
    pub(super) fn is_in_payload(&self) -> bool {
        self.is_in_payload
    }

    pub fn as_str(&self) -> &str {
        self.text.get()
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.as_str().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_text_is_kept_to_the_byte() {
        let text = "{ \"b\": 1.10,\n \"a\": \"caf\\u00e9\" }";
        let parsed = serde_json::from_str(text).unwrap();
        assert_eq!(RawJson::new(text.as_bytes(), &parsed).as_str(), text);
    }

    #[test]
    fn nul_never_reaches_a_store() {
        let text = r#"{"a\u0000":["x\u0000y",{"k":"\u0000"}]}"#;
        let parsed = serde_json::from_str(text).unwrap();
        assert_eq!(
            RawJson::new(text.as_bytes(), &parsed).as_str(),
            "{\"a\u{fffd}\":[\"x\u{fffd}y\",{\"k\":\"\u{fffd}\"}]}"
        );
    }

    #[test]
    fn debug_output_shows_nothing_of_the_document() {
        let value = serde_json::json!({"email": "a@b.c"});
        assert_eq!(format!("{:?}", RawJson::from_value(&value)), "RawJson(17 bytes)");
    }
}
