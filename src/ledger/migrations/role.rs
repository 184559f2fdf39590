//! Roles of the database: the one that runs the gateway, and what it may do.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Longest name of a role, in bytes (`NAMEDATALEN` of PostgreSQL less one).
const BYTES_MAX: usize = 63;

/// The name of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleName(String);

impl RoleName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RoleName {
    type Err = &'static str;

    /// Letters, digits, `_` and `-`, in the case that the role has in the database.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if text.is_empty() || text.len() > BYTES_MAX || !text.bytes().all(is_taken) {
            return Err("must be the name of a role of the database: letters, digits, _ and -, at most 63 of them");
        }
        if matches!(text, "anon" | "authenticated") {
            return Err("must not be a role that everybody has");
        }
        Ok(Self(text.to_owned()))
    }
}

/// The role that calls, and what it may do besides calling the gateway's entries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Caller {
    pub role: String,
    pub is_superuser: bool,
    /// Whether it owns the schema `gateway`, or may act for its owner.
    pub is_owner: bool,
    /// Whether it may write to tables of the schema, or make objects there.
    pub writes: bool,
}

impl Caller {
    /// What the role may do beyond the needs of `serve` and `bee`; `None` if nothing.
    pub fn excess(&self) -> Option<&'static str> {
        match self {
            Self { is_superuser: true, .. } => Some("is a superuser"),
            Self { is_owner: true, .. } => Some("owns the schema gateway, or may act for the role that does"),
            Self { writes: true, .. } => Some("may write to the gateway's tables by itself"),
            Self { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_escapes_and_roles_of_everybody_are_refused() {
        for good in ["gateway_run", "colony-gateway", "Run1"] {
            assert_eq!(good.parse::<RoleName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "it's", "x\"y", "$1", "anon", &"r".repeat(64)] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad}");
        }
    }
}
