//! Numbers of moves. By them an inbox that takes its entries back knows that all of them arrived in the very inbox that is being left.
//!
//! Guarantees: both sides have the same number only if that move was finished, and its entries are still there or were removed since,
//! for example by retention. The numbers differ if one side is an older copy; then both sides are searched for unsettled entries.

use super::{Inbox, InboxError};

/// Prefix of the mark that holds the number of a move, in the inbox that is left. The rest of the name is the destination.
pub(super) const TO_MARK: &str = "move to ";

/// Prefix of the mark that holds this number on the other side. The rest of the name is where the entries came from.
const FROM_MARK: &str = "move from ";

impl Inbox {
    /// Gives a move from here to that place a random number, which no other move has.
    pub(super) async fn number_move(&self, to: &str) -> Result<i64, InboxError> {
        let number = fastrand::i64(1..i64::MAX);
        self.set_mark(format!("{TO_MARK}{to}"), number).await?;
        Ok(number)
    }

    /// The number of the move from here to a place. A move that an earlier release began gets its number now.
    pub(super) async fn number_of_move(&self, to: &str) -> Result<i64, InboxError> {
        match self.mark(format!("{TO_MARK}{to}")).await? {
            Some(number) => Ok(number),
            None => self.number_move(to).await,
        }
    }

    /// Notes that all entries of the move with this number are here.
    pub(super) async fn note_move(&self, from: &str, number: i64) -> Result<(), InboxError> {
        self.set_mark(format!("{FROM_MARK}{from}"), number).await
    }

    /// Whether the last move from `other` came here: `from` is its place, `to` this one.
    pub(super) async fn has_last_move_of(&self, other: &Self, from: &str, to: &str) -> Result<bool, InboxError> {
        let Some(came) = self.mark(format!("{FROM_MARK}{from}")).await? else { return Ok(false) };
        Ok(other.mark(format!("{TO_MARK}{to}")).await? == Some(came))
    }
}
