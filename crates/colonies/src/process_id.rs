//! The identifier of a process.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest id that the client takes from a server, in bytes.
const BYTES_MAX: usize = 128;

/// The identifier that a server gave to a submitted job. A real server's has 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(String);

impl ProcessId {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it can be an id: a short text of visible ASCII. The client takes no other one from a server.
    pub fn is_plain(&self) -> bool {
        (1..=BYTES_MAX).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ProcessId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
