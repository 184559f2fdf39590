//! Who may use the admin listener: OPERATORS, roles and tokens.

use super::reader::Reader;
use super::setting::{Setting, setting};
use crate::domain::secret::Secret;

const OPERATORS: Setting = setting(
    "http.operators",
    "GATEWAY_OPERATORS",
    "Operators, each with a token: `name role token`, one per line or separated by commas. A `viewer` may look; an \
     `operator` may also reveal and change.",
);

/// Shortest token; shorter ones can be guessed.
pub(super) const ADMIN_TOKEN_BYTES_MIN: usize = 16;

/// Most operators.
const OPERATORS_MAX: usize = 64;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorRole {
    /// Looks, and sees customers' text masked.
    Viewer,
    /// Looks, reveals and changes.
    Operator,
}

impl OperatorRole {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    pub name: String,
    pub role: OperatorRole,
    pub token: Secret,
}

pub(super) fn read(r: &mut Reader) -> Vec<OperatorConfig> {
    let Some(text) = r.secret(OPERATORS) else { return Vec::new() };
    match parse(text.expose()) {
        Ok(operators) => operators,
        Err(message) => {
            r.fault(OPERATORS.variable, message);
            Vec::new()
        }
    }
}

/// One operator per line, or separated by commas: name, role and token. No error message shows a word of them: with the words in
/// another order, a name is a token.
fn parse(text: &str) -> Result<Vec<OperatorConfig>, String> {
    let lines = text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut operators: Vec<OperatorConfig> = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(role), Some(token), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("operator {number} is not of the form `name role token`"));
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
        if name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) || name == "token" {
            return Err(format!("the name of operator {number} must be letters, digits and . _ - @, and not `token`"));
        }
        let role = match role {
            "viewer" => OperatorRole::Viewer,
            "operator" => OperatorRole::Operator,
            _ => return Err(format!("the role of operator {number} must be viewer or operator")),
        };
        if token.len() < ADMIN_TOKEN_BYTES_MIN {
            return Err(format!(
                "the token of operator {number} must be at least {ADMIN_TOKEN_BYTES_MIN} characters, made at random"
            ));
        }
        let token = Secret::new(token);
        if let Some(other) = operators.iter().position(|known| known.name == name || known.token == token) {
            return Err(format!("operator {number} has the name or the token of operator {}", other + 1));
        }
        operators.push(OperatorConfig { name: name.to_owned(), role, token });
        if operators.len() > OPERATORS_MAX {
            return Err(format!("there can be {OPERATORS_MAX} operators"));
        }
    }
    if operators.is_empty() { Err("names no operator".to_owned()) } else { Ok(operators) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_have_a_name_a_role_and_a_token_of_their_own() {
        let operators =
            parse("# people\nana operator 0123456789abcdef\n\nben@example.com viewer fedcba9876543210\n").unwrap();
        let told: Vec<_> = operators.iter().map(|one| (one.name.as_str(), one.role)).collect();
        assert_eq!(told, [("ana", OperatorRole::Operator), ("ben@example.com", OperatorRole::Viewer)]);
        assert_eq!(parse("ana operator 0123456789abcdef, ben viewer fedcba9876543210").unwrap().len(), 2);
        for text in [
            "",
            "ana operator",
            "ana owner 0123456789abcdef",
            "ana operator short",
            "token operator 0123456789abcdef",
            "a/b operator 0123456789abcdef",
            "ana operator 0123456789abcdef\nana viewer fedcba9876543210",
            "ana operator 0123456789abcdef\nben viewer 0123456789abcdef",
            "ana operator 0123456789abcdef more",
            "0123456789abcdef ana operator",
            "0123456789abcdef operator ana",
            "0123456789abcdef operator fedcba9876543210\n0123456789abcdef operator fedcba9876543210",
        ] {
            let message = parse(text).unwrap_err();
            assert!(!message.contains("0123456789"), "{message}");
        }
        let many: Vec<_> =
            (0..=OPERATORS_MAX).map(|number| format!("o{number} viewer 0123456789abcdef{number}")).collect();
        assert!(parse(&many.join(",")).is_err() && parse(&many[1..].join(",")).is_ok());
    }
}
