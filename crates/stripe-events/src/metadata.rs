//! What the seller's own code writes into metadata: whose purchase it is and which tier was meant.

use std::borrow::Cow;

use super::object::Object;

/// A user's identifier and the field that named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUser<'a> {
    /// The identifier.
    pub id: Cow<'a, str>,
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

/// The text here as the identifier of a user: trimmed, one printable word, and not what scripts write for nobody. A
/// UUID comes in lower case, because its case means nothing and two spellings would be two users.
pub fn user_id(place: Object<'_>) -> Option<Cow<'_, str>> {
    let id = place.text()?.trim();
    let fits =
        !id.is_empty() && id.len() <= USER_ID_BYTES_MAX && id.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if !fits || NOBODY.contains(&id.to_ascii_lowercase().as_str()) {
        return None;
    }
    let shouted = is_uuid(id) && id.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if shouted { Cow::Owned(id.to_ascii_lowercase()) } else { Cow::Borrowed(id) })
}

/// Whether a text is a UUID in its usual form (RFC 9562): 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
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
        let named = json!({"userId": " u1 "});
        assert_eq!(user(Object::new(&named)), Some(NamedUser { id: "u1".into(), field: "userId" }));
        let named = json!({"user_id": "u2"});
        assert_eq!(user(Object::new(&named)), Some(NamedUser { id: "u2".into(), field: "user_id" }));
    }

    #[test]
    fn one_uuid_in_two_spellings_is_one_user() {
        let named = json!("6F1C2F1E-77C1-4A8E-9F7A-0D5C4F7F5F10");
        assert_eq!(user_id(Object::new(&named)).as_deref(), Some("6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f10"));
        // Elsewhere case may mean something.
        assert_eq!(user_id(Object::new(&json!("Auth0|AbC"))).as_deref(), Some("Auth0|AbC"));
        assert!(!is_uuid("6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f1g") && !is_uuid("6f1c2f1e77c1-4a8e-9f7a-0d5c4f7f5f100"));
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
