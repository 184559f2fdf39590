//! The identifier of an event.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identifier of an event or object, in bytes (Stripe documentation, "Upgrades").
pub const ID_BYTES_MAX: usize = 255;

/// Identifier of a Stripe event, `evt_…`. Stripe promises at most [`ID_BYTES_MAX`] bytes; the readers check it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for EventId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
