//! Arrivals that this gateway keeps for its own pumps: stored as leased to it, and given to them from memory.
//!
//! A lease costs the database about as much as an append. An arrival that a pump of this gateway is waiting for would be leased by it a
//! moment later, so it is stored as leased at once. That spares the lease and the way back of the body. What is in the database is the
//! same as after a lease, so that a gateway that dies loses kept entries like leased ones.
//!
//! At most as many are kept as a lease may hold, and for [`KEEP`] at most. What no pump has taken by then is given back for all
//! gateways. Arrivals behind a backlog are not kept, because the pumps' leases are full then.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::lease::{Lease, LeaseRequest, Leased};
use super::lease::{LOOK_AGAIN, draw_token};
use crate::domain::clock::Timestamp;

/// Longest stay of an entry here.
pub(super) const KEEP: Duration = Duration::from_secs(1);

// A waiting pump says at least every LOOK_AGAIN that it leases again. It is believed for half as long again as entries are kept.
const _: () = assert!(LOOK_AGAIN.as_millis() < KEEP.as_millis() * 3 / 2);

/// Entries that wait for a pump of this gateway, and when the database has to be asked for others.
#[derive(Debug)]
pub(super) struct Kept {
    /// Longest stay of an entry.
    keep: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What a pump is about to ask for, and when it said so.
    wanted: Option<(LeaseRequest, Instant)>,
    queue: VecDeque<(Leased, Instant)>,
    /// What waits here or is being stored for it.
    amount: Amount,
    /// The last look into the database that left nothing due.
    look: Option<Look>,
    /// Counts what may have made entries due since a look began.
    changes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) entries: usize,
    /// Of bodies.
    pub(super) bytes: usize,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self { entries: self.entries + other.entries, bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn minus(self, other: Self) -> Self {
        Self { entries: self.entries.saturating_sub(other.entries), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    fn of(leased: &Leased) -> Self {
        Self { entries: 1, bytes: leased.body.len() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// When the next entry is due there.
    next_due: Option<Timestamp>,
}

/// Room for a group that is being stored. Gives it back when dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    kept: &'a Kept,
    amount: Amount,
    /// The token that the group is stored with.
    pub(super) token: i64,
    /// How long its leases last from the commit.
    pub(super) lease: Duration,
}

impl Room<'_> {
    /// Keeps what was stored with the token.
    pub(super) fn keep(self, stored: Vec<Leased>) {
        let now = Instant::now();
        let mut state = self.kept.state();
        let amount = stored.iter().map(Amount::of).fold(Amount::default(), Amount::plus);
        state.amount = state.amount.plus(amount);
        state.queue.extend(stored.into_iter().map(|leased| (leased, now)));
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut state = self.kept.state();
        state.amount = state.amount.minus(self.amount);
    }
}

impl Kept {
    /// Keeps entries for so long at most.
    pub(super) fn new(keep: Duration) -> Self {
        Self { keep, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pump is about to lease with this request.
    pub(super) fn want(&self, request: LeaseRequest) {
        self.state().wanted = Some((request, Instant::now()));
    }

    /// Room for so much, if a pump waits and would lease it with all that is kept already.
    pub(super) fn room(&self, amount: Amount) -> Option<Room<'_>> {
        let mut state = self.state();
        let (request, since) = state.wanted?;
        let all = state.amount.plus(amount);
        if since.elapsed() > self.keep * 3 / 2 || all.entries > request.entries_max || all.bytes > request.bytes_max {
            return None;
        }
        state.amount = all;
        Some(Room { kept: self, amount, token: draw_token(), lease: request.duration.saturating_add(self.keep) })
    }

    /// Takes what a lease may hold, the oldest first.
    pub(super) fn take(&self, request: LeaseRequest) -> Vec<Leased> {
        let mut state = self.state();
        let mut taken = Amount::default();
        let mut entries = Vec::new();
        while let Some((next, _)) = state.queue.front() {
            let all = taken.plus(Amount::of(next));
            if all.entries > request.entries_max || (all.bytes > request.bytes_max && !entries.is_empty()) {
                break;
            }
            taken = all;
            entries.extend(state.queue.pop_front().map(|(leased, _)| leased));
        }
        state.amount = state.amount.minus(taken);
        entries
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().queue.is_empty()
    }

    /// When the oldest has stayed for too long.
    pub(super) fn overdue_at(&self) -> Option<Instant> {
        self.state().queue.front().map(|(_, since)| *since + self.keep)
    }

    /// Takes what has stayed for too long, or at the end all, to be given back.
    pub(super) fn take_overdue(&self, is_end: bool) -> Vec<Lease> {
        let mut state = self.state();
        let mut leases = Vec::new();
        while state.queue.front().is_some_and(|(_, since)| is_end || since.elapsed() >= self.keep) {
            let Some((leased, _)) = state.queue.pop_front() else { break };
            state.amount = state.amount.minus(Amount::of(&leased));
            leases.push(leased.lease);
        }
        leases
    }

    /// When the database has to be asked again, by this machine's clock; `None` if now.
    pub(super) fn next_look(&self, now: Timestamp) -> Option<Timestamp> {
        let Look { at, next_due } = self.state().look?;
        let again = now.plus(LOOK_AGAIN.checked_sub(at.elapsed()).filter(|left| !left.is_zero())?);
        match next_due {
            Some(due) if due <= now => None,
            due => Some(due.map_or(again, |due| due.min(again))),
        }
    }

    /// A count that [`Self::looked`] takes back, so that what changed during a look is not overlooked.
    pub(super) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Notes a look into the database that began at `changes` and left nothing due, or that it left something.
    pub(super) fn looked(&self, changes: u64, left_nothing: bool, next_due: Option<Timestamp>) {
        let mut state = self.state();
        let is_told = left_nothing && state.changes == changes;
        state.look = is_told.then(|| Look { at: Instant::now(), next_due });
    }

    /// Something in the database may have become due.
    pub(super) fn look_again(&self) {
        let mut state = self.state();
        state.look = None;
        state.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{EndpointName, EntryId, EventId};

    const REQUEST: LeaseRequest = LeaseRequest { entries_max: 3, bytes_max: 100, duration: Duration::from_mins(1) };

    fn leased(entry: i64, token: i64, bytes: usize) -> Leased {
        Leased {
            lease: Lease { entry: EntryId(entry), token },
            endpoint: EndpointName::new("stripe"),
            event_id: EventId::new(format!("evt_{entry}")),
            event_type: "invoice.paid".to_owned(),
            attempts: 0,
            crashes: 0,
            awaited_stripe: false,
            awaits_bee: false,
            received: Timestamp::from_seconds(1),
            released: None,
            replayed: false,
            trace: None,
            body: vec![b'x'; bytes].into(),
        }
    }

    fn amount(entries: usize, bytes: usize) -> Amount {
        Amount { entries, bytes }
    }

    #[tokio::test(start_paused = true)]
    async fn as_much_is_kept_as_a_lease_may_hold_while_a_pump_waits() {
        let kept = Kept::new(KEEP);
        assert!(kept.room(amount(1, 1)).is_none(), "no pump waits");
        kept.want(REQUEST);
        let room = kept.room(amount(2, 60)).unwrap();
        assert!(kept.room(amount(2, 1)).is_none() && kept.room(amount(1, 41)).is_none(), "beside what is being stored");
        assert_eq!(room.lease, REQUEST.duration + KEEP);
        let token = room.token;
        room.keep(vec![leased(1, token, 30), leased(2, token, 30)]);
        drop(kept.room(amount(1, 40)).unwrap());
        assert!(kept.room(amount(2, 1)).is_none(), "beside what waits");
        let first = kept.take(LeaseRequest { bytes_max: 1, ..REQUEST });
        assert_eq!(first.iter().map(|one| one.lease.entry.0).collect::<Vec<_>>(), [1], "the first whatever its size");
        assert_eq!(kept.take(LeaseRequest { entries_max: 0, ..REQUEST }).len(), 0);
        assert_eq!(kept.take(REQUEST).len(), 1);
        assert!(kept.is_empty() && kept.room(amount(3, 100)).is_some());
        tokio::time::advance(KEEP * 3 / 2 + Duration::from_millis(1)).await;
        assert!(kept.room(amount(1, 1)).is_none(), "the pump is gone, or waits for the ledger");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_pump_takes_is_given_back_in_time() {
        let kept = Kept::new(KEEP);
        kept.want(REQUEST);
        assert_eq!(kept.overdue_at(), None);
        kept.room(amount(1, 1)).unwrap().keep(vec![leased(1, 7, 1)]);
        tokio::time::advance(KEEP / 2).await;
        kept.room(amount(1, 1)).unwrap().keep(vec![leased(2, 8, 1)]);
        assert!(kept.take_overdue(false).is_empty());
        tokio::time::advance(KEEP / 2).await;
        assert_eq!(kept.overdue_at(), Some(Instant::now()));
        assert_eq!(kept.take_overdue(false), [Lease { entry: EntryId(1), token: 7 }]);
        assert_eq!(kept.take_overdue(true).len(), 1, "at the end, all");
        assert!(kept.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_database_is_asked_again_in_time_and_when_something_may_be_due_there() {
        let (kept, now) = (Kept::new(KEEP), Timestamp::from_seconds(100));
        assert_eq!(kept.next_look(now), None, "there was no look");
        kept.looked(kept.changes(), true, None);
        assert_eq!(kept.next_look(now), Some(now.plus(LOOK_AGAIN)));
        let due = now.plus(LOOK_AGAIN / 2);
        kept.looked(kept.changes(), true, Some(due));
        assert_eq!((kept.next_look(now), kept.next_look(due)), (Some(due), None));
        kept.looked(kept.changes(), true, None);
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(kept.next_look(now), None, "others may have received something");
        kept.looked(kept.changes(), true, None);
        kept.look_again();
        assert_eq!(kept.next_look(now), None);
        let before = kept.changes();
        kept.look_again();
        kept.looked(before, true, None);
        assert_eq!(kept.next_look(now), None, "it changed during the look");
        kept.looked(kept.changes(), false, None);
        assert_eq!(kept.next_look(now), None, "the look left something due");
    }
}
