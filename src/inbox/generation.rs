//! Numbers of moves, by which an inbox that takes its entries back knows that all of them had come to the very inbox that is left.
//!
//! Guarantees: the numbers of both sides are the same only where that move was finished, and what came is there or was removed since, as
//! retention does. They differ where one side is an older copy; then what is not settled is looked for on both.

use super::{Inbox, InboxError};

/// What the name of the mark begins with that an inbox which is left numbers its move with; the rest is the place that it goes to.
pub(super) const TO_MARK: &str = "move to ";

/// What the name of the mark begins with that the other side keeps the number in; the rest is the place that it came from.
const FROM_MARK: &str = "move from ";

impl Inbox {
    /// Gives a move from here to a place a number that no other move has.
    pub(super) async fn number_move(&self, to: &str) -> Result<i64, InboxError> {
        let number = fastrand::i64(1..i64::MAX);
        self.set_mark(format!("{TO_MARK}{to}"), number).await?;
        Ok(number)
    }

    /// The number of the move from here to a place. One that an earlier release began is numbered now.
    pub(super) async fn number_of_move(&self, to: &str) -> Result<i64, InboxError> {
        match self.mark(format!("{TO_MARK}{to}")).await? {
            Some(number) => Ok(number),
            None => self.number_move(to).await,
        }
    }

    /// Notes that all of the move with this number is here.
    pub(super) async fn note_move(&self, from: &str, number: i64) -> Result<(), InboxError> {
        self.set_mark(format!("{FROM_MARK}{from}"), number).await
    }

    /// Whether the last move from `other` came here: `from` is its place, `to` this one.
    pub(super) async fn has_last_move_of(&self, other: &Self, from: &str, to: &str) -> Result<bool, InboxError> {
        let Some(came) = self.mark(format!("{FROM_MARK}{from}")).await? else { return Ok(false) };
        Ok(other.mark(format!("{TO_MARK}{to}")).await? == Some(came))
    }
}
