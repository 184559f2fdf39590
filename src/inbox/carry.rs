//! Carrying all entries of an inbox into another one, from a file into a database or back.
//!
//! Guarantees: a page of entries that is taken in again changes nothing, so that what was interrupted is simply done once more; an
//! inbox that is being left, or was, is worked on by no gateway; an event that the other inbox knows already stays as it
//! is there, and the orders of people about it are added. Numbers of entries change on the way, nothing else that is told of them.

use super::deeds::{DEEDS_PAGE_MAX, PastDeed};
use super::error::OpenError;
use super::state::StateName;
use super::steps::PastStep;
use super::{Inbox, InboxError, Store};

/// Most entries of a page.
pub(super) const PAGE_ENTRIES: usize = 200;

/// A page of a file ends when it has this many bytes of bodies.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Marks that belong to the place and not to what is in it.
const OWN_MARKS: [&str; 3] = ["format", "probe", IDENTITY_MARK];

/// Mark with a random number that a file is known by in the database that its entries came from.
pub(super) const IDENTITY_MARK: &str = "identity";

/// What the name of the mark begins with that says where the entries of a database went; the rest is the place. Its value is 1 while
/// they are carried, and 2 afterwards.
pub(super) const MOVED_MARK: &str = "moved to ";

/// An entry as a store has it. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// Its number in the inbox that it comes from.
    pub(super) number: i64,
    pub(super) endpoint: String,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) account: Option<String>,
    pub(super) livemode: Option<bool>,
    pub(super) source: String,
    pub(super) secret: String,
    pub(super) received_at: i64,
    pub(super) traceparent: Option<String>,
    /// Anything but leased: what was, waits.
    pub(super) state: StateName,
    pub(super) due_at: Option<i64>,
    pub(super) ended_at: Option<i64>,
    pub(super) attempts: i64,
    pub(super) crashes: i64,
    pub(super) process_id: Option<String>,
    pub(super) code: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) released_at: Option<i64>,
    pub(super) replayed_at: Option<i64>,
    pub(super) action: Option<String>,
    pub(super) action_at: Option<i64>,
    pub(super) action_by: Option<String>,
    pub(super) action_note: Option<String>,
    /// As it is stored, with its length where it is compressed. `None`: retention or an erasure removed it.
    pub(super) body: Option<(Vec<u8>, Option<i64>)>,
    /// What people ordered about it, the oldest first.
    pub(super) orders: Vec<CarriedOrder>,
    /// What became of it until now, the oldest first.
    pub(super) steps: Vec<PastStep>,
}

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CarriedOrder {
    pub(super) action: String,
    pub(super) at: i64,
    pub(super) by: Option<String>,
    pub(super) note: Option<String>,
    pub(super) was: String,
    pub(super) untold: bool,
}

/// Where entries are, or went, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedTo {
    pub place: String,
    /// All of them went. Otherwise a part did, and the move is to be done again.
    pub is_done: bool,
}

/// What a move carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Entries that the other inbox did not know.
    pub entries: u64,
    /// Entries whose events it knew: from an attempt before this one, or because another gateway received them too.
    pub known: u64,
}

/// Why entries were not carried.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("cannot open the inbox")]
    Open(#[source] OpenError),
    #[error("the inbox that is being left ({place}) does not do what it is asked; run the same command again")]
    From {
        place: String,
        #[source]
        source: InboxError,
    },
    #[error("the inbox that entries are carried into ({place}) does not take them; run the same command again")]
    Into {
        place: String,
        #[source]
        source: InboxError,
    },
    /// The inbox went elsewhere before.
    #[error("the inbox of {from} was moved to {} already: move it back from there", to.place)]
    Elsewhere { from: String, to: MovedTo },
    /// A move in the other direction, or to another place, has begun.
    #[error(
        "a move of the inbox of {from} to {} has begun and is not finished: run that command again, or give it up with \
         `inbox move … --give-up`",
        to.place
    )]
    Begun { from: String, to: MovedTo },
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

    /// Carries all entries, orders and marks into another inbox, and has this one be left. Can be interrupted at any point and done
    /// again. `here` and `there` name the two for people.
    ///
    /// # Errors
    /// When one of the two does not do its part; what was carried stays carried, and the same call goes on.
    pub async fn move_into(
        &self,
        into: &Self,
        (here, there): (&str, &str),
        told: impl Fn(Moved),
    ) -> Result<Moved, MoveError> {
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let taken = |source| MoveError::Into { place: there.to_owned(), source };
        // The name that a file goes by lasts, whatever machine or path it is at.
        let to = format!("{}{there}", into.identity().await.map_err(taken)?);
        let left = self.moved_to().await.map_err(from)?;
        match &left {
            Some(known) if !same_place(&known.place, &to) => return Err(MoveError::gone(here, known)),
            Some(known) if known.is_done => return Ok(Moved::default()),
            _ => {}
        }
        let back = format!("{}{here}", self.identity().await.map_err(from)?);
        let is_back = match into.moved_to().await.map_err(taken)? {
            None => false,
            // All that it has came here, and comes back changed.
            Some(known) if known.is_done && same_place(&known.place, &back) => true,
            Some(known) => return Err(MoveError::gone(there, &known)),
        };
        // What cannot be written to is found out before the inbox is closed to gateways.
        if !is_back {
            into.prepare().await.map_err(taken)?;
        }
        if left.is_none() {
            self.begin_leaving(&to).await.map_err(from)?;
        }
        if is_back {
            into.empty().await.map_err(taken)?;
            into.prepare().await.map_err(taken)?;
        }
        let (mut moved, mut after) = (Moved::default(), i64::MIN);
        loop {
            let page = self.carried(after).await.map_err(from)?;
            let Some(last) = page.last().map(|entry| entry.number) else { break };
            after = last;
            let entries = page.len() as u64;
            let fresh = into.take_in(page).await.map_err(taken)?;
            moved.entries += fresh;
            moved.known += entries.saturating_sub(fresh);
            told(moved);
        }
        for page in self.all_deeds().await.map_err(from)?.chunks(DEEDS_PAGE_MAX) {
            into.take_in_deeds(page.to_vec()).await.map_err(taken)?;
        }
        let marks = self.marks().await.map_err(from)?;
        into.take_in_marks(marks.into_iter().filter(|(name, _)| is_carried(name)).collect()).await.map_err(taken)?;
        self.end_leaving().await.map_err(from)?;
        Ok(moved)
    }

    /// Gives a move from here up that has begun: gateways may work on this inbox again. What was carried stays where it went too;
    /// the ledger takes each event once.
    ///
    /// # Errors
    /// Those of the store; [`MoveError::Elsewhere`] when the move was finished.
    pub async fn give_up_move(&self, here: &str) -> Result<Option<MovedTo>, MoveError> {
        let from = |source| MoveError::From { place: here.to_owned(), source };
        let Some(to) = self.moved_to().await.map_err(from)? else { return Ok(None) };
        if to.is_done {
            return Err(MoveError::gone(here, &to));
        }
        match &self.store {
            Store::Local(local) => local.give_up_leaving().await,
            Store::Postgres(postgres) => postgres.core.give_up_leaving().await,
        }
        .map_err(from)?;
        Ok(Some(MovedTo { place: shown(&to.place), ..to }))
    }

    /// Removes everything: all of it is in the inbox that it was moved to.
    async fn empty(&self) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.empty().await,
            Store::Postgres(postgres) => postgres.core.empty().await,
        }
    }

    /// What a file is known by; nothing for a database, whose address does not change with the machine that asks.
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

    async fn end_leaving(&self) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.end_leaving().await,
            Store::Postgres(postgres) => postgres.core.end_leaving().await,
        }
    }

    /// The next entries after a number, in order.
    async fn carried(&self, after: i64) -> Result<Vec<Carried>, InboxError> {
        match &self.store {
            Store::Local(local) => local.carried(after).await,
            Store::Postgres(postgres) => postgres.core.carried(after).await,
        }
    }

    /// Stores entries of another inbox; how many of them were not known. Resolves when all of them are durable.
    async fn take_in(&self, entries: Vec<Carried>) -> Result<u64, InboxError> {
        match &self.store {
            Store::Local(local) => local.take_in(entries).await,
            Store::Postgres(postgres) => postgres.core.take_in(&entries).await,
        }
    }

    /// All that people did, the oldest first.
    async fn all_deeds(&self) -> Result<Vec<PastDeed>, InboxError> {
        let mut all = Vec::new();
        loop {
            let before = all.last().map(|deed: &PastDeed| deed.id);
            let page = self.deeds(before, DEEDS_PAGE_MAX).await?;
            if page.is_empty() {
                all.reverse();
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Stores what people did, the oldest first. What is there already is not stored again.
    async fn take_in_deeds(&self, deeds: Vec<PastDeed>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.take_in_deeds(deeds).await,
            Store::Postgres(postgres) => postgres.core.take_in_deeds(&deeds).await,
        }
    }

    async fn marks(&self) -> Result<Vec<(String, i64)>, InboxError> {
        match &self.store {
            Store::Local(local) => local.marks().await,
            Store::Postgres(postgres) => postgres.core.marks().await,
        }
    }

    /// Stores marks of another inbox. Of two the smaller stays: a cursor then stands before all that it speaks of.
    async fn take_in_marks(&self, marks: Vec<(String, i64)>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.take_in_marks(marks).await,
            Store::Postgres(postgres) => postgres.core.take_in_marks(&marks).await,
        }
    }
}

/// What stands between the number of a file and its name for people.
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

/// Whether a mark goes with the entries. What was said of problems is said anew by whoever finds them, and the index of references
/// is made anew.
fn is_carried(name: &str) -> bool {
    !OWN_MARKS.contains(&name) && !["alert:", "refs.", MOVED_MARK].into_iter().any(|start| name.starts_with(start))
}
