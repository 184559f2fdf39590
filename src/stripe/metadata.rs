//! What the seller's own code writes into metadata: whose purchase it is and which tier was meant.

use super::object::Object;

/// A user's identifier and the field that named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedUser<'a> {
    /// The identifier.
    pub id: &'a str,
    /// Name of the field.
    pub field: &'static str,
}

/// What scripts write when they have no user at all. Bound once, such an id would collect every customer after it.
const NOBODY: [&str; 8] = ["undefined", "null", "none", "nan", "nil", "false", "[object object]", "anonymous"];

/// Longest user identifier, in bytes.
const USER_ID_BYTES_MAX: usize = 255;

/// The user named by `metadata.userId`, else by `metadata.user_id`.
pub fn user(metadata: Object<'_>) -> Option<NamedUser<'_>> {
    ["userId", "user_id"].into_iter().find_map(|field| user_id(metadata.at(field)).map(|id| NamedUser { id, field }))
}

/// The text here as the identifier of a user: trimmed, one printable word, and not what scripts write for nobody.
pub fn user_id(place: Object<'_>) -> Option<&str> {
    let id = place.text()?.trim();
    let fits =
        !id.is_empty() && id.len() <= USER_ID_BYTES_MAX && id.chars().all(|c| !c.is_whitespace() && !c.is_control());
    (fits && !NOBODY.contains(&id.to_ascii_lowercase().as_str())).then_some(id)
}

/// Whether a user is named by a value that [`user_id`] does not take.
pub fn names_nobody(metadata: Object<'_>) -> bool {
    let spoilt = |field: &str| metadata.at(field).is_some() && user_id(metadata.at(field)).is_none();
    spoilt("userId") || spoilt("user_id")
}

/// The tier named by `metadata.tier`, else by `metadata.tier_name`, as it was written.
pub fn tier(metadata: Object<'_>) -> Option<&str> {
    ["tier", "tier_name"].into_iter().find_map(|field| metadata.at(field).word())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_spellings_name_a_user() {
        assert_eq!(user(Object::new(&json!({"userId": " u1 "}))).map(|user| user.id), Some("u1"));
        let named = json!({"user_id": "u2"});
        assert_eq!(user(Object::new(&named)), Some(NamedUser { id: "u2", field: "user_id" }));
    }

    #[test]
    fn what_scripts_write_for_nobody_is_no_user() {
        for spoilt in ["undefined", "NULL", "", "  ", "a b", "[object Object]", "a\nb", &"u".repeat(256)] {
            let metadata = json!({"userId": spoilt});
            assert_eq!(user(Object::new(&metadata)), None, "{spoilt}");
            assert!(names_nobody(Object::new(&metadata)), "{spoilt}");
        }
        assert!(!names_nobody(Object::new(&json!({}))));
    }
}
