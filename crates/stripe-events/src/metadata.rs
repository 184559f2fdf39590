//! What the seller's own code writes into metadata: whose purchase it is and which tier was meant.

use std::borrow::Cow;

use super::object::Object;

/// A user's identifier and the field that named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUser<'a> {
    /// The identifier.
    pub id: Cow<'a, str>,
    /// Name of the field.
    pub field: &'a str,
}

/// Metadata fields that name a user unless the operator says otherwise. The first one wins: our own fields, then
/// those of the usual starters for Supabase, Firebase, Clerk and Auth0.
pub const USER_FIELDS: [&str; 13] = [
    "userId",
    "user_id",
    "supabaseUUID",
    "supabase_uuid",
    "supabaseUserId",
    "supabase_user_id",
    "firebaseUID",
    "firebase_uid",
    "firebaseUserId",
    "clerk_user_id",
    "clerkUserId",
    "auth0_user_id",
    "auth0UserId",
];

/// The largest number of fields in a configuration.
pub const USER_FIELDS_MAX: usize = 32;

/// Longest name of a field, in characters. This is Stripe's own bound.
const FIELD_CHARS_MAX: usize = 40;

/// Names of the metadata fields that hold a user. The first one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFields(Vec<String>);

/// Why a text is not a list of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to {USER_FIELDS_MAX} different names of metadata fields between commas, each of at most {FIELD_CHARS_MAX} characters"
)]
pub struct UserFieldsError;

impl Default for UserFields {
    fn default() -> Self {
        Self(USER_FIELDS.map(str::to_owned).to_vec())
    }
}

impl std::str::FromStr for UserFields {
    type Err = UserFieldsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields: Vec<String> = Vec::new();
        for name in text.split(',').map(str::trim) {
            let fits = !name.is_empty() && name.chars().count() <= FIELD_CHARS_MAX && !name.contains(['[', ']']);
            if !fits || fields.iter().any(|known| known == name) || fields.len() == USER_FIELDS_MAX {
                return Err(UserFieldsError);
            }
            fields.push(name.to_owned());
        }
        Ok(Self(fields))
    }
}

impl UserFields {
    /// The user that metadata names.
    pub fn user<'a>(&'a self, metadata: Object<'a>) -> Option<NamedUser<'a>> {
        named(metadata, self.0.iter().map(String::as_str))
    }

    /// Whether metadata names a user by a value that [`user_id`] refuses.
    pub fn name_nobody(&self, metadata: Object<'_>) -> bool {
        self.0.iter().any(|field| metadata.at(field).is_some() && user_id(metadata.at(field)).is_none())
    }
}

/// What scripts write when they have no user at all. Once bound, such an id would collect every customer after it.
const NOBODY: [&str; 8] = ["undefined", "null", "none", "nan", "nil", "false", "[object object]", "anonymous"];

/// Longest user identifier, in bytes.
const USER_ID_BYTES_MAX: usize = 255;

/// The user that metadata names in one of [`USER_FIELDS`].
pub fn user(metadata: Object<'_>) -> Option<NamedUser<'_>> {
    named(metadata, USER_FIELDS.into_iter())
}

fn named<'a>(metadata: Object<'a>, mut fields: impl Iterator<Item = &'a str>) -> Option<NamedUser<'a>> {
    fields.find_map(|field| user_id(metadata.at(field)).map(|id| NamedUser { id, field }))
}

/// The text here as the identifier of a user: trimmed, one printable word, and not a word that stands for no user.
/// A UUID is returned in lower case: case means nothing in it, and two spellings would be two users.
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

/// The tier in `metadata.tier`, else in `metadata.tier_name`, as it was written.
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
    fn the_fields_of_starters_are_known_and_the_operators_take_their_place() {
        let starter = json!({"supabaseUUID": "u1", "plan": "pro"});
        let found =
            UserFields::default().user(Object::new(&starter)).map(|user| (user.id.into_owned(), user.field.to_owned()));
        assert_eq!(found, Some(("u1".to_owned(), "supabaseUUID".to_owned())));
        let own: UserFields = "member, owner".parse().unwrap();
        let both = json!({"owner": "u3", "member": "u2", "userId": "u1"});
        assert_eq!(own.user(Object::new(&both)).map(|user| user.id.into_owned()).as_deref(), Some("u2"));
        assert_eq!(own.user(Object::new(&starter)), None);
        let many: Vec<String> = (0..=USER_FIELDS_MAX).map(|number| format!("f{number}")).collect();
        assert!(many[..USER_FIELDS_MAX].join(",").parse::<UserFields>().is_ok());
        for text in ["", "a,,b", "a,a", &"x".repeat(41), "a[b]", &many.join(",")] {
            assert_eq!(text.parse::<UserFields>(), Err(UserFieldsError), "{text}");
        }
    }

    #[test]
    fn one_uuid_in_two_spellings_is_one_user() {
        let named = json!("6F1C2F1E-77C1-4A8E-9F7A-0D5C4F7F5F10");
        assert_eq!(user_id(Object::new(&named)).as_deref(), Some("6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f10"));
        // Case may mean something in other identifiers.
        assert_eq!(user_id(Object::new(&json!("Auth0|AbC"))).as_deref(), Some("Auth0|AbC"));
        assert!(!is_uuid("6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f1g") && !is_uuid("6f1c2f1e77c1-4a8e-9f7a-0d5c4f7f5f100"));
    }

    #[test]
    fn what_scripts_write_for_nobody_is_no_user() {
        for spoilt in ["undefined", "NULL", "", "  ", "a b", "[object Object]", "a\nb", &"u".repeat(256)] {
            let metadata = json!({"userId": spoilt});
            assert_eq!(user(Object::new(&metadata)), None, "{spoilt}");
            assert!(UserFields::default().name_nobody(Object::new(&metadata)), "{spoilt}");
        }
        assert!(!UserFields::default().name_nobody(Object::new(&json!({}))));
    }
}
