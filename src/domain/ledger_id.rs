//! The identity of a ledger, by which jobs and bees know whether they are for the same state of record.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The identity of a ledger: 32 lower-case hex digits, drawn when its tables were made. A copy of a ledger has the
/// original's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LedgerId(String);

/// Digits of a ledger's identity.
const DIGITS: usize = 32;

impl LedgerId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Draws one.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; DIGITS / 2];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not the identity of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity of a ledger is {DIGITS} lower-case hex digits")]
pub struct NotALedgerId;

impl TryFrom<String> for LedgerId {
    type Error = NotALedgerId;

    fn try_from(text: String) -> Result<Self, NotALedgerId> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == DIGITS && text.bytes().all(is_digit) { Ok(Self(text)) } else { Err(NotALedgerId) }
    }
}

impl From<LedgerId> for String {
    fn from(id: LedgerId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_in_its_one_form() {
        let drawn = LedgerId::draw().unwrap();
        assert_eq!(LedgerId::try_from(drawn.as_str().to_owned()), Ok(drawn.clone()));
        assert_ne!(drawn, LedgerId::draw().unwrap());
        for text in ["", "0", &"0".repeat(31), &"A".repeat(32), &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(LedgerId::try_from(text.to_owned()), Err(NotALedgerId), "{text}");
        }
    }
}
