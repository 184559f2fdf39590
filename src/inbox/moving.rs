//! A move of an inbox: the order of its parts, and what each side notes of it. Giving it up: `moving/give_up.rs`.
//!
//! Guarantees: a move can be interrupted at any point and done again. No gateway works on an inbox that is being left or was left, nor
//! on a file that is being filled. An inbox that takes its entries back removes nothing until it is sure that they had arrived on the
//! other side. It also keeps unsettled entries that the other side does not know, unless it is sure that all had arrived there (see
//! [`super::generation`]). If two commands run at once, one of them fails.
//!
//! A place is named by a file's own number, or by a database's address. Addresses can be given to another database and files can be
//! restored from older copies, so that both sides note the move: the one that is left where its entries went, the other one where they
//! came from.

mod give_up;

use super::carry::Extent;
use super::deeds::DEEDS_PAGE_MAX;
use super::error::OpenError;
use super::generation::TO_MARK;
use super::{Inbox, InboxError, Store};

/// Mark with a random number that identifies a file in the database that its entries came from.
pub(super) const IDENTITY_MARK: &str = "identity";

/// Prefix of the mark that says where the entries of a database went; the rest of its name is the place. Its value is 1
/// while entries are carried, and 2 afterwards.
pub(super) const MOVED_MARK: &str = "moved to ";

/// Prefix of the mark that says which inbox came here; the rest of its name is a file's number or a database's address.
pub(super) const CAME_MARK: &str = "came from ";

/// Value of that mark while entries are carried.
pub(super) const ARRIVING: i64 = 1;

/// Its value once all entries had come.
pub(super) const ARRIVED: i64 = 2;

/// Marks that belong to the place and not to its entries.
const OWN_MARKS: [&str; 3] = ["format", "probe", IDENTITY_MARK];

/// Where entries are going, or went, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedTo {
    pub place: String,
    /// Whether all of them went. Otherwise only a part did, and the move must be run again.
    pub is_done: bool,
}

/// What a move carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Entries that the other inbox did not know.
    pub entries: u64,
    /// Entries whose events it knew already: from an earlier attempt, or because another gateway received them too.
    pub known: u64,
}

/// Why entries were not carried.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("cannot open the inbox")]
    Open(#[source] OpenError),
    #[error("the inbox that the entries leave ({place}) failed; run the same command again")]
    From {
        place: String,
        #[source]
        source: InboxError,
    },
    #[error("the inbox that the entries go to ({place}) does not take them; run the same command again")]
    Into {
        place: String,
        #[source]
        source: InboxError,
    },
    /// The inbox went to another place before.
    #[error(
        "the inbox of {from} was moved to {} already: move it back from there. Where that is lost altogether, `inbox move … --give-up \
         --lost` has gateways work on this one again",
        to.place
    )]
    Elsewhere { from: String, to: MovedTo },
    /// A move in the other direction, or to another place, has begun.
    #[error(
        "a move of the inbox of {from} to {} has begun and is not finished: run that command again, or give it up with \
         `inbox move … --give-up`",
        to.place
    )]
    Begun { from: String, to: MovedTo },
    /// The inbox to leave holds a part of another one.
    #[error(
        "the inbox of {here} is being filled from {place}, and not all of it is here: run `inbox move --from` again, or give that \
         move up with `inbox move --from … --give-up`"
    )]
    HalfFilled { here: String, place: String },
    /// All of `left` once came to `place`, but that place now holds something else.
    #[error(
        "the inbox of {left} was moved to {place}, and that place knows nothing of it: it was made anew, or an older copy was \
         restored there. The entries are still in {left}, and nothing was changed. Let gateways work on {left} again with \
         `{give_up}`, then move"
    )]
    NeverArrived {
        left: String,
        place: String,
        /// The command that gives the move of `left` up.
        give_up: &'static str,
    },
    /// Another command gave it up before it was finished.
    #[error(
        "the move of the inbox of {from} was given up in the meantime: gateways may work on it again, and entries that were moved to \
         {into} stay there too. Run the same command again to move it after all"
    )]
    GivenUp { from: String, into: String },
}

impl MoveError {
    fn gone(from: &str, to: &MovedTo) -> Self {
        let (from, to) = (from.to_owned(), MovedTo { place: shown(&to.place), is_done: to.is_done });
        if to.is_done { Self::Elsewhere { from, to } } else { Self::Begun { from, to } }
    }
}

impl Inbox {
    /// Where the entries of this inbox went.
    pub(super) async fn moved_to(&self) -> Result<Option<MovedTo>, InboxError> {
        match &self.store {
            Store::Local(local) => local.moved_to().await,
            Store::Postgres(postgres) => postgres.core.moved_to().await,
        }
    }

    /// Carries all entries, orders and marks into another inbox, after which this one is left. It can be interrupted at any
    /// point and run again. `here` and `there` are the names of the two for people.
    ///
    /// # Errors
    /// If one of the two fails. What was carried stays carried, and the same call continues.
    pub async fn move_into(
        &self,
        into: &Self,
        (here, there): (&str, &str),
        told: impl Fn(Moved),
    ) -> Result<Moved, MoveError> {
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let taken = |source| MoveError::Into { place: there.to_owned(), source };
        if let Some(place) = self.half_filled_from().await.map_err(from)? {
            return Err(MoveError::HalfFilled { here: here.to_owned(), place });
        }
        // The name of a file stays the same, whatever its machine or path.
        let to = format!("{}{there}", into.identity().await.map_err(taken)?);
        let back = format!("{}{here}", self.identity().await.map_err(from)?);
        let left = self.moved_to().await.map_err(from)?;
        match &left {
            Some(known) if !same_place(&known.place, &to) => return Err(MoveError::gone(here, known)),
            // A killed command may have finished after the next one had begun. Then the move is finished once more.
            Some(known) if known.is_done && !into.is_filled_from(&back).await.map_err(taken)? => {
                if into.has_all_of(&back).await.map_err(taken)? {
                    return Ok(Moved::default());
                }
                return Err(self.never_arrived((here, there)));
            }
            _ => {}
        }
        let is_back = self.takes_back(into, (&back, &to), (here, there)).await?;
        // A place that cannot be written to should fail before the inbox is closed to gateways.
        if !is_back {
            into.prepare().await.map_err(taken)?;
        }
        let noted = if let Some(known) = left {
            known.place
        } else {
            // Entries that came and were settled and forgotten since must not come back in their old state.
            if is_back && !self.has_last_move_of(into, lasting(&to), lasting(&back)).await.map_err(from)? {
                self.take_in_all(into, Extent::Unsettled, (&from, &taken), |_| {}).await?;
            }
            self.number_move(lasting(&to)).await.map_err(from)?;
            self.leave_for(&to, (here, there)).await?
        };
        if !into.is_filled_from(&back).await.map_err(taken)? {
            into.set_mark(came_mark(&back), ARRIVING).await.map_err(taken)?;
        }
        if is_back {
            into.empty().await.map_err(taken)?;
            into.prepare().await.map_err(taken)?;
        }
        let moved = into.take_in_all(self, Extent::All, (&taken, &from), told).await?;
        for page in self.all_deeds().await.map_err(from)?.chunks(DEEDS_PAGE_MAX) {
            into.take_in_deeds(page.to_vec()).await.map_err(taken)?;
        }
        let marks = self.marks().await.map_err(from)?;
        into.take_in_marks(marks.into_iter().filter(is_carried).collect()).await.map_err(taken)?;
        let number = self.number_of_move(lasting(&to)).await.map_err(from)?;
        into.note_move(lasting(&back), number).await.map_err(taken)?;
        into.set_mark(came_mark(&back), ARRIVED).await.map_err(taken)?;
        if self.end_leaving(&noted).await.map_err(from)? {
            return Ok(moved);
        }
        into.set_mark(came_mark(&back), ARRIVING).await.map_err(taken)?;
        Err(MoveError::GivenUp { from: here.to_owned(), into: there.to_owned() })
    }

    /// Whether the other inbox takes back entries that once came here, so that what it still has must be removed first.
    /// `back` and `to` are the places of this inbox and of the other one.
    async fn takes_back(
        &self,
        into: &Self,
        (back, to): (&str, &str),
        (here, there): (&str, &str),
    ) -> Result<bool, MoveError> {
        let taken = |source| MoveError::Into { place: there.to_owned(), source };
        let Some(known) = into.moved_to().await.map_err(taken)? else { return Ok(false) };
        if !known.is_done || !same_place(&known.place, back) {
            return Err(MoveError::gone(there, &known));
        }
        let from = |source| MoveError::From { place: here.to_owned(), source };
        if self.has_all_of(to).await.map_err(from)? {
            return Ok(true);
        }
        Err(into.never_arrived((there, here)))
    }

    /// Why this inbox, which was moved to `place`, is neither moved again nor emptied.
    fn never_arrived(&self, (left, place): (&str, &str)) -> MoveError {
        let give_up =
            if self.is_shared() { "inbox move --from … --give-up" } else { "inbox move --to … --give-up" };
        MoveError::NeverArrived { left: left.to_owned(), place: place.to_owned(), give_up }
    }

    /// Takes in the entries of another inbox, page by page. An error says which of the two failed.
    async fn take_in_all(
        &self,
        other: &Self,
        extent: Extent,
        (own, others): (&impl Fn(InboxError) -> MoveError, &impl Fn(InboxError) -> MoveError),
        told: impl Fn(Moved),
    ) -> Result<Moved, MoveError> {
        let (mut moved, mut after) = (Moved::default(), i64::MIN);
        loop {
            let page = other.carried(after, extent).await.map_err(others)?;
            let Some(last) = page.last().map(|entry| entry.number) else { return Ok(moved) };
            after = last;
            let entries = page.len() as u64;
            let fresh = self.take_in(page).await.map_err(own)?;
            moved.entries += fresh;
            moved.known += entries.saturating_sub(fresh);
            told(moved);
        }
    }

    /// Marks this inbox as left, and returns the place as it is noted.
    async fn leave_for(&self, to: &str, (here, there): (&str, &str)) -> Result<String, MoveError> {
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let begun = self.begin_leaving(to).await;
        // Another command may have been quicker.
        match self.moved_to().await.map_err(from)? {
            Some(known) if same_place(&known.place, to) => Ok(known.place),
            Some(known) => Err(MoveError::gone(here, &known)),
            None => {
                begun.map_err(from)?;
                Err(MoveError::GivenUp { from: here.to_owned(), into: there.to_owned() })
            }
        }
    }

    /// Whether all of the inbox of that place came here, by a finished move.
    async fn has_all_of(&self, place: &str) -> Result<bool, InboxError> {
        Ok(self.mark(came_mark(place)).await? == Some(ARRIVED))
    }

    /// Whether a move from that place to here has begun and is not finished.
    async fn is_filled_from(&self, place: &str) -> Result<bool, InboxError> {
        Ok(self.mark(came_mark(place)).await? == Some(ARRIVING))
    }

    /// The place that a file is being filled from, while some of it is still missing. A database is in use all the time:
    /// nothing in it depends on entries that are yet to come.
    async fn half_filled_from(&self) -> Result<Option<String>, InboxError> {
        if self.is_shared() {
            return Ok(None);
        }
        let marks = self.marks().await?.into_iter().filter(|(_, value)| *value == ARRIVING);
        let mut places = marks.filter_map(|(name, _)| name.strip_prefix(CAME_MARK).map(str::to_owned));
        Ok(places.next())
    }

    /// Removes everything, because all of it is in the inbox that it was moved to.
    async fn empty(&self) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.empty().await,
            Store::Postgres(postgres) => postgres.core.empty().await,
        }
    }

    /// The identity of a file; empty for a database, whose address is the same from every machine.
    async fn identity(&self) -> Result<String, InboxError> {
        if self.is_shared() {
            return Ok(String::new());
        }
        let number = if let Some(number) = self.mark(IDENTITY_MARK).await? {
            number
        } else {
            let made = fastrand::i64(1..i64::MAX);
            self.set_mark(IDENTITY_MARK, made).await?;
            made
        };
        Ok(format!("{number:016x}{IDENTITY_END}"))
    }

    /// Notes that no gateway may work on this inbox any more. From here on nothing in it changes.
    pub(super) async fn begin_leaving(&self, to: &str) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.begin_leaving(to.to_owned()).await,
            Store::Postgres(postgres) => postgres.core.begin_leaving(to).await,
        }
    }

    /// Notes that everything is at the noted place; false if the move was given up.
    async fn end_leaving(&self, to: &str) -> Result<bool, InboxError> {
        match &self.store {
            Store::Local(local) => local.end_leaving(to.to_owned()).await,
            Store::Postgres(postgres) => postgres.core.end_leaving(to).await,
        }
    }
}

/// The character between the number of a file and its name for people.
const IDENTITY_END: char = '@';

/// Whether both name one place: a file by its number, a database by its name.
fn same_place(one: &str, other: &str) -> bool {
    match (one.split_once(IDENTITY_END), other.split_once(IDENTITY_END)) {
        (Some((one, _)), Some((other, _))) => one == other,
        (None, None) => one == other,
        _ => false,
    }
}

/// A place for people.
pub(super) fn shown(place: &str) -> String {
    place.split_once(IDENTITY_END).map_or(place, |(_, name)| name).to_owned()
}

/// The part of a place's name that stays the same, whatever the machine or path.
fn lasting(place: &str) -> &str {
    place.split_once(IDENTITY_END).map_or(place, |(number, _)| number)
}

/// The mark that says that an inbox came here.
fn came_mark(place: &str) -> String {
    format!("{CAME_MARK}{}", lasting(place))
}

/// Whether a mark goes with the entries. The next gateway reports problems again and fills the index of references again,
/// so those marks stay. The marks of inboxes that came here go along, as their entries do.
fn is_carried((name, value): &(String, i64)) -> bool {
    let is_own = OWN_MARKS.contains(&name.as_str())
        || ["alert:", "refs.", MOVED_MARK, TO_MARK].into_iter().any(|start| name.starts_with(start));
    !is_own && (!name.starts_with(CAME_MARK) || *value == ARRIVED)
}
