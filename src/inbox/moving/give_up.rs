//! Gives a move up: an unfinished one, or a finished one whose other inbox lost the entries or is lost itself.
//!
//! Guarantees: entries that were moved stay on the other side too, which is safe because the ledger takes each event once. A finished
//! move is given up only if the other inbox has nothing of it, or if a person says that it is lost and it cannot be found.

use super::super::{Inbox, InboxError, Store};
use super::{MoveError, MovedTo, same_place, shown};

impl Inbox {
    /// Gives up a move from here: gateways may work on this inbox again. Entries that were moved stay on the other side too; the ledger
    /// takes each event once. A finished move is given up only if the inbox that it went to (`there`, with its name) no longer
    /// knows anything of it.
    ///
    /// # Errors
    /// Those of the store; [`MoveError::Elsewhere`] if the move was finished.
    pub async fn give_up_move(&self, here: &str, there: Option<(&Self, &str)>) -> Result<Option<MovedTo>, MoveError> {
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let Some(to) = self.moved_to().await.map_err(from)? else { return Ok(None) };
        if to.is_done && !self.is_unknown_to(there, &to, here).await? {
            return Err(MoveError::gone(here, &to));
        }
        self.stay(here, to).await
    }

    /// Like [`Self::give_up_move`], but also gives up a finished move if the operator says that the inbox it went to is lost altogether.
    /// If that inbox can be asked and has all entries, it is not lost.
    ///
    /// # Errors
    /// Those of [`Self::give_up_move`].
    pub async fn give_up_lost_move(
        &self,
        here: &str,
        there: Option<(&Self, &str)>,
    ) -> Result<Option<MovedTo>, MoveError> {
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let Some(to) = self.moved_to().await.map_err(from)? else { return Ok(None) };
        if let Some((there, name)) = there
            && let Ok(identity) = there.identity().await
            && same_place(&to.place, &format!("{identity}{name}"))
            && let Ok(false) = self.is_unknown_to(Some((there, name)), &to, here).await
        {
            return Err(MoveError::gone(here, &to));
        }
        self.stay(here, to).await
    }

    /// Lets gateways work again on this inbox, which was left for another place.
    async fn stay(&self, here: &str, to: MovedTo) -> Result<Option<MovedTo>, MoveError> {
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let given_up = match &self.store {
            Store::Local(local) => local.give_up_leaving().await,
            Store::Postgres(postgres) => postgres.core.give_up_leaving(&to).await,
        };
        // Another command may have finished it, or begun one to another place.
        match self.moved_to().await.map_err(from)? {
            None => Ok(Some(MovedTo { place: shown(&to.place), ..to })),
            Some(now) if now == to => Err(given_up.map_or_else(from, |()| MoveError::gone(here, &now))),
            Some(now) => Err(MoveError::gone(here, &now)),
        }
    }

    /// Whether the inbox to which all entries of this one went never received them, or has lost them.
    async fn is_unknown_to(&self, there: Option<(&Self, &str)>, to: &MovedTo, here: &str) -> Result<bool, MoveError> {
        let Some((there, name)) = there else { return Ok(false) };
        let taken = |source| MoveError::Into { place: name.to_owned(), source };
        if !same_place(&to.place, &format!("{}{name}", there.identity().await.map_err(taken)?)) {
            return Ok(false);
        }
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let back = format!("{}{here}", self.identity().await.map_err(from)?);
        Ok(!there.has_all_of(&back).await.map_err(taken)?)
    }

    /// Stops waiting for the rest of a file that is being filled: gateways may work on it with the entries that arrived. Returns whether it
    /// was being filled.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn give_up_arrival(&self) -> Result<bool, InboxError> {
        match &self.store {
            Store::Local(local) => local.give_up_arrival().await,
            Store::Postgres(_) => Ok(false),
        }
    }
}
