//! The body of an event as a tree. Text of customers is dots until a person reveals it.
//!
//! Guarantees: what is shown is on a list: ids of Stripe's objects, names of types and states, amounts, currencies, dates and
//! counts; every other text is dots, and so is all below places that describe people; whatever a body holds, it is escaped, and a
//! tree has a bounded number of nodes.

mod mask;

use std::fmt::{self, Write as _};

use askama::filters::{Escaper as _, Html, HtmlSafe};
use serde_json::Value;

use mask::Place;

/// Most nodes of a tree; those beyond are counted.
const NODES_MAX: usize = 5000;

/// Larger bodies are shown as text, not as a tree, once they are revealed.
const TREE_BYTES_MAX: usize = 256 * 1024;

/// How many levels are open at first.
const OPEN_DEPTH: usize = 2;

const DOTS: &str = "•••";

/// A body as it can be shown.
#[derive(Debug)]
pub(super) enum Body {
    /// Retention or an erasure removed it.
    Removed,
    Tree(Tree),
    /// Revealed, but not JSON, or too large for a tree.
    Text(String),
    /// The same, but not revealed.
    Hidden {
        bytes: usize,
    },
}

/// One value that an event replaced.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) before: String,
    pub(super) after: String,
}

/// JSON as HTML.
#[derive(Debug)]
pub(super) struct Tree {
    value: Value,
    revealed: bool,
}

impl Body {
    pub(super) fn of(bytes: Option<&[u8]>, revealed: bool) -> Self {
        let Some(bytes) = bytes else { return Self::Removed };
        let value = if bytes.len() > TREE_BYTES_MAX { None } else { serde_json::from_slice(bytes).ok() };
        match (value, revealed) {
            (Some(value), _) => Self::Tree(Tree { value, revealed }),
            (None, true) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
            (None, false) => Self::Hidden { bytes: bytes.len() },
        }
    }

    /// The values that the event replaced, before and after, as far as it tells them.
    pub(super) fn changes(&self) -> Vec<Change> {
        let Self::Tree(Tree { value, revealed }) = self else { return Vec::new() };
        let (before, after) = (value.pointer("/data/previous_attributes"), value.pointer("/data/object"));
        let mut changes = Vec::new();
        if let (Some(before), Some(after)) = (before, after) {
            compare("", before, Some(after), Place::of_root(*revealed), &mut changes);
        }
        changes
    }
}

/// Most changes that are listed.
const CHANGES_MAX: usize = 100;

fn compare(path: &str, before: &Value, after: Option<&Value>, place: Place<'_>, changes: &mut Vec<Change>) {
    if changes.len() >= CHANGES_MAX {
        return;
    }
    match before {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, before) in fields {
                let place = place.below(key);
                let name = if place.shows_key() { key.as_str() } else { DOTS };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                compare(&path, before, after.and_then(|after| after.get(key)), place, changes);
            }
        }
        _ => {
            let text = |value: Option<&Value>| match value {
                Some(Value::Object(fields)) => format!("{} fields", fields.len()),
                Some(Value::Array(items)) => format!("{} items", items.len()),
                Some(Value::Null) | None => "nothing".to_owned(),
                Some(value) => place.text(value).unwrap_or_else(|| DOTS.to_owned()),
            };
            changes.push(Change { path: path.to_owned(), before: text(Some(before)), after: text(after) });
        }
    }
}

impl HtmlSafe for Tree {}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer { out: f, left: NODES_MAX };
        writer.children(&self.value, Place::of_root(self.revealed), 0)?;
        if writer.left == 0 {
            write!(writer.out, r#"<p class="quiet">More than {NODES_MAX} values: the rest is not shown.</p>"#)?;
        }
        Ok(())
    }
}

struct Writer<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl Writer<'_, '_> {
    fn children(&mut self, value: &Value, place: Place<'_>, depth: usize) -> fmt::Result {
        self.out.write_str("<ul class=\"tree\">")?;
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.node(key, value, place.below(key), depth)?;
                }
            }
            Value::Array(items) => {
                for (at, value) in items.iter().enumerate() {
                    self.node(&at.to_string(), value, place, depth)?;
                }
            }
            scalar => self.node("value", scalar, place, depth)?,
        }
        self.out.write_str("</ul>")
    }

    fn node(&mut self, key: &str, value: &Value, place: Place<'_>, depth: usize) -> fmt::Result {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        self.out.write_str("<li>")?;
        let size = match value {
            Value::Object(fields) => Some((fields.len(), "{", "}")),
            Value::Array(items) => Some((items.len(), "[", "]")),
            _ => None,
        };
        match size {
            Some((size, begin, end)) if size > 0 => {
                let open = if depth < OPEN_DEPTH { " open" } else { "" };
                write!(self.out, "<details{open}><summary>")?;
                self.key(key, place)?;
                write!(self.out, r#" <span class="quiet">{begin}{size}{end}</span></summary>"#)?;
                self.children(value, place, depth + 1)?;
                self.out.write_str("</details>")?;
            }
            Some((_, begin, end)) => {
                self.key(key, place)?;
                write!(self.out, r#" <span class="quiet">{begin}{end}</span>"#)?;
            }
            None => {
                self.key(key, place)?;
                self.out.write_char(' ')?;
                self.scalar(value, place)?;
            }
        }
        self.out.write_str("</li>")
    }

    fn key(&mut self, key: &str, place: Place<'_>) -> fmt::Result {
        self.out.write_str("<span class=\"key\">")?;
        Html.write_escaped_str(&mut *self.out, if place.shows_key() { key } else { DOTS })?;
        self.out.write_str("</span>")
    }

    fn scalar(&mut self, value: &Value, place: Place<'_>) -> fmt::Result {
        match place.text(value) {
            Some(text) => {
                self.out.write_str("<span class=\"value\">")?;
                Html.write_escaped_str(&mut *self.out, &text)?;
                self.out.write_str("</span>")
            }
            None => write!(self.out, r#"<span class="dots" title="hidden">{DOTS}</span>"#),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn html(value: &Value, revealed: bool) -> String {
        match Body::of(Some(value.to_string().as_bytes()), revealed) {
            Body::Tree(tree) => tree.to_string(),
            other => panic!("no tree: {other:?}"),
        }
    }

    #[test]
    fn text_of_customers_is_dots_until_it_is_revealed() {
        let event = json!({"id": "evt_1", "type": "customer.updated", "data": {"object": {
            "id": "cus_1", "object": "customer", "name": "Ada Lovelace", "email": "ada@example.com", "balance": 1200,
            "currency": "cad", "metadata": {"userId": "user_17", "Ada's note": "x"}, "client_reference_id": "cus_user",
            "address": {"line1": "12 Main", "country": "ca"}, "description": "paid"},
            "previous_attributes": {"name": "Ada Byron", "balance": 0}}});
        let masked = html(&event, false);
        for shown in ["evt_1", "customer.updated", "cus_1", "1200", "cad", "userId"] {
            assert!(masked.contains(shown), "{shown}: {masked}");
        }
        for hidden in ["Ada", "ada@", "user_17", "cus_user", "12 Main", ">ca<", "paid", "Byron"] {
            assert!(!masked.contains(hidden), "{hidden}: {masked}");
        }
        let revealed = html(&event, true);
        assert!(revealed.contains("Ada Lovelace") && revealed.contains("user_17"), "{revealed}");
        let changes = Body::of(Some(event.to_string().as_bytes()), false).changes();
        let told: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.before.as_str(), c.after.as_str())).collect();
        assert_eq!(told, [("balance", "0", "1200"), ("name", DOTS, DOTS)]);
    }

    #[test]
    fn what_is_made_like_an_id_or_a_word_and_is_none_stays_hidden() {
        let event = json!({"id": "evt_1", "request": {"id": "req_1", "idempotency_key": "sub_for_user_17"}, "data": {"object": {
            "client_secret": "pi_1_secret_abc", "last_payment_error": {"code": "card_declined", "message": "No, Ada"},
            "promotion": {"code": "adas-birthday"}, "individual": {"dob": {"day": 10, "year": 1815}, "verified": true},
            "card": {"exp_month": 12, "exp_year": 2031, "last4": "4242", "brand": "visa"},
            "cancellation_details": {"comment": "card_of_ada", "feedback": "too_complex"},
            "metadata": {"4165551234": "x"}, "lines": {"data": [{"price": {"nickname": "price_for_ada"}}]}}}});
        let masked = html(&event, false);
        for shown in ["req_1", "card_declined", "visa", "too_complex"] {
            assert!(masked.contains(shown), "{shown}: {masked}");
        }
        let hidden = [
            "user_17", "secret", "No, Ada", "birthday", "1815", "true", ">12<", "2031", "4242", "of_ada", "416555",
            "for_ada",
        ];
        for hidden in hidden {
            let keys = masked.replace("client_secret", "");
            assert!(!keys.contains(hidden), "{hidden}: {masked}");
        }
    }

    #[test]
    fn what_a_body_holds_is_escaped_in_keys_and_values() {
        let event = json!({"<img src=x onerror=alert(1)>": "</span><script>alert(2)</script>", "type": "a'\"<b>"});
        for revealed in [false, true] {
            let text = html(&event, revealed);
            assert!(!text.contains("<img") && !text.contains("<script") && !text.contains("<b>"), "{text}");
        }
    }

    #[test]
    fn a_tree_has_a_bounded_number_of_nodes() {
        let items: Vec<Value> = (0..NODES_MAX * 2).map(|number| json!(number)).collect();
        let text = html(&json!({ "items": items }), true);
        assert!(text.contains("the rest is not shown") && text.matches("<li>").count() == NODES_MAX, "{}", text.len());
        let large = "x".repeat(TREE_BYTES_MAX + 1);
        assert!(matches!(Body::of(Some(large.as_bytes()), false), Body::Hidden { .. }));
        assert!(matches!(Body::of(Some(large.as_bytes()), true), Body::Text(_)));
        assert!(matches!(Body::of(None, true), Body::Removed));
    }
}
