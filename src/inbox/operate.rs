//! What a person does to entries: replay, release, drop. In small transactions of the writer, so that webhooks do not wait.
//!
//! Guarantees: nothing is deleted; an entry that is being worked on is not touched; who did what, when and why stays in
//! the row. What the changed entries mean for the ledger is decided by whoever leases them.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::body::{self, Unpacker};
use super::entry::{StateName, state};
use super::report::EntryReport;
use super::select::{Direction, Selection};
use super::write::Writes;
use super::writer::Command;
use super::{Inbox, InboxError};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::stripe::event::Event;

/// Most entries changed in one transaction.
pub const STEP_ENTRIES_MAX: usize = 200;

/// Longest note and name kept with an entry, in bytes.
pub const NOTE_BYTES_MAX: usize = 500;

/// Codes of what the door holds back. The ledger has not seen such an event, and no rule will ever let it pass.
const HELD_AT_DOOR: [&str; 4] = ["malformed", "misrouted", "mode_mismatch", "account_mismatch"];

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A new attempt, as if it had just come in; also for what was applied before.
    Replay,
    /// Applied whatever rules say.
    Release,
    /// Never applied.
    Drop,
    /// Tried now instead of later. Not for people: it leaves no mark.
    #[serde(skip)]
    Hasten,
}

impl Action {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Release => "release",
            Self::Drop => "drop",
            Self::Hasten => "hasten",
        }
    }

    /// The states that are meant when a selection names neither entries nor states.
    pub const fn usual_states(self) -> &'static [StateName] {
        match self {
            Self::Replay | Self::Drop => &[StateName::Dead, StateName::Quarantined],
            Self::Release => &[StateName::Quarantined],
            Self::Hasten => &[StateName::Waiting],
        }
    }
}

/// An order to the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub action: Action,
    /// Who, as far as known.
    pub by: Option<String>,
    /// Why.
    pub note: Option<String>,
}

/// Why an entry was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is on its way already.
    OnItsWay,
    /// It is settled: there is nothing to drop.
    Settled,
    /// It is not in quarantine: there is nothing to release.
    NotQuarantined,
    /// The door held it back, and would do so again: release or drop it.
    HeldAtDoor,
    /// There is no event in it.
    NothingToApply,
    /// Retention has removed the body.
    BodyRemoved,
    /// It is gone.
    Gone,
}

impl Refusal {
    /// For people.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::OnItsWay => "it is on its way already",
            Self::Settled => "it is settled: nothing is left to drop",
            Self::NotQuarantined => "it is not in quarantine: `inbox replay` tries it again",
            Self::HeldAtDoor => "the door held it back and would do so again: `inbox release` or `inbox drop` it",
            Self::NothingToApply => "there is no event in it: only `inbox drop` makes sense",
            Self::BodyRemoved => {
                "retention has removed its body: fetch the event from Stripe with `reconcile`, or have Stripe resend it"
            }
            Self::Gone => "it is not in the inbox any more",
        }
    }
}

/// What became of one entry: changed, or why not.
pub(super) type Operated = Result<(), Refusal>;

/// One entry of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEntry {
    /// Row number.
    pub entry: EntryId,
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// Where it stood.
    pub state: StateName,
    /// Why it stood there.
    pub code: Option<String>,
    /// Why it was left as it is; absent when it was changed.
    pub refused: Option<Refusal>,
}

/// What one step did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The entries that the selection chose.
    pub entries: Vec<StepEntry>,
    /// The next step begins after this entry; absent when there is none.
    pub next: Option<EntryId>,
}

impl Step {
    /// How many entries were changed, or would be.
    pub fn changed(&self) -> usize {
        self.entries.iter().filter(|entry| entry.refused.is_none()).count()
    }
}

/// Whether the action makes sense for an entry that stands so.
fn verdict(action: Action, state: StateName, code: Option<&str>, has_body: bool) -> Operated {
    let at_door = code.is_some_and(|code| HELD_AT_DOOR.contains(&code));
    match (action, state) {
        (_, StateName::Leased | StateName::Submitted) | (Action::Replay | Action::Release, StateName::Waiting) => {
            Err(Refusal::OnItsWay)
        }
        (Action::Hasten, _) if state != StateName::Waiting => Err(Refusal::OnItsWay),
        (Action::Drop, StateName::Settled) => Err(Refusal::Settled),
        (Action::Release, StateName::Settled | StateName::Dead) => Err(Refusal::NotQuarantined),
        (Action::Replay | Action::Release, _) if !has_body => Err(Refusal::BodyRemoved),
        (Action::Replay, StateName::Quarantined) if at_door => Err(Refusal::HeldAtDoor),
        (Action::Replay, StateName::Settled | StateName::Dead | StateName::Quarantined)
        | (Action::Release, StateName::Quarantined)
        | (Action::Drop, StateName::Waiting | StateName::Dead | StateName::Quarantined)
        | (Action::Hasten, _) => Ok(()),
    }
}

impl Inbox {
    /// Does what is ordered to the next entries of a selection, oldest first: at most [`STEP_ENTRIES_MAX`] of them, in one
    /// transaction. Call again from `next` until there is none. With `dry_run` nothing is changed.
    ///
    /// A selection that names neither entries nor states means [`Action::usual_states`].
    pub async fn operate(
        &self,
        selection: &Selection,
        order: &Order,
        dry_run: bool,
        after: Option<EntryId>,
    ) -> Result<Step, InboxError> {
        let mut selection = selection.clone();
        if selection.states.is_empty() && !selection.is_by_id() {
            selection.states = order.action.usual_states().to_vec();
        }
        let page = self.page(&selection, Direction::Oldest, after, STEP_ENTRIES_MAX).await?;
        let mut step = Step { entries: self.consider(page.entries, order.action).await?, next: page.next };
        if dry_run {
            return Ok(step);
        }
        let entries: Vec<EntryId> =
            step.entries.iter().filter(|entry| entry.refused.is_none()).map(|entry| entry.entry).collect();
        if entries.is_empty() {
            return Ok(step);
        }
        let (reply, operated) = tokio::sync::oneshot::channel();
        self.send(Command::Operate { entries, order: order.clone(), reply }).await?;
        let operated = operated.await.map_err(|_| InboxError::Closed)??;
        // What changed between the look and the transaction is told as it was found there.
        for (entry, done) in step.entries.iter_mut().filter(|entry| entry.refused.is_none()).zip(operated) {
            entry.refused = done.err();
        }
        self.wake();
        Ok(step)
    }

    /// Has entries that wait for their next attempt tried now. Tells how many.
    pub async fn hasten(&self, entries: Vec<EntryId>) -> Result<usize, InboxError> {
        let order = Order { action: Action::Hasten, by: None, note: None };
        let mut hastened = 0;
        for entries in entries.chunks(STEP_ENTRIES_MAX) {
            let (reply, operated) = tokio::sync::oneshot::channel();
            self.send(Command::Operate { entries: entries.to_vec(), order: order.clone(), reply }).await?;
            let operated = operated.await.map_err(|_| InboxError::Closed)??;
            hastened += operated.iter().filter(|done| done.is_ok()).count();
        }
        Ok(hastened)
    }

    /// What would become of entries.
    async fn consider(&self, entries: Vec<EntryReport>, action: Action) -> Result<Vec<StepEntry>, InboxError> {
        self.read(move |connection| {
            let mut unpacker = Unpacker::default();
            let consider = |entry: EntryReport| {
                let is_malformed = entry.code.as_deref() == Some("malformed");
                let refused = if action == Action::Release && is_malformed {
                    let body = body::of_entry(connection, &mut unpacker, entry.entry.0)?.unwrap_or_default();
                    Event::parse(&body).err().map(|_| Refusal::NothingToApply)
                } else {
                    let has_body = has_body(connection, entry.entry.0)?;
                    verdict(action, entry.state, entry.code.as_deref(), has_body).err()
                };
                Ok(StepEntry {
                    entry: entry.entry,
                    event_id: entry.event_id,
                    event_type: entry.event_type,
                    state: entry.state,
                    code: entry.code.or(entry.outcome),
                    refused,
                })
            };
            entries.into_iter().map(consider).collect()
        })
        .await
    }
}

fn has_body(connection: &rusqlite::Connection, entry: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM bodies WHERE entry = ?1)")?
        .query_row([entry], |row| row.get(0))
}

/// The beginning of a text that is not longer than may be kept.
fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NOTE_BYTES_MAX)).unwrap_or(text)
}

impl Writes {
    /// Does what is ordered to entries that stand as they have to; tells in order what became of each.
    pub(super) fn operate(
        &mut self,
        entries: &[EntryId],
        order: &Order,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<Operated>> {
        entries.iter().map(|entry| self.operate_one(entry.0, order, now)).collect()
    }

    fn operate_one(&mut self, entry: i64, order: &Order, now: Timestamp) -> rusqlite::Result<Operated> {
        let found: Option<(i64, Option<String>, Option<String>)> = self
            .connection
            .prepare_cached("SELECT state, code, reason FROM entries WHERE id = ?1")?
            .query_row([entry], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((from, code, reason)) = found else { return Ok(Err(Refusal::Gone)) };
        let name = StateName::of_number(from);
        let has_body = has_body(&self.connection, entry)?;
        if let Err(refusal) = verdict(order.action, name, code.as_deref(), has_body) {
            return Ok(Err(refusal));
        }
        if order.action == Action::Hasten {
            self.connection
                .prepare_cached("UPDATE entries SET due_at = MIN(due_at, ?2) WHERE id = ?1")?
                .execute(params![entry, now.millis()])?;
            return Ok(Ok(()));
        }
        // How it stood before is part of its story.
        let before = match (code, reason) {
            (Some(code), Some(reason)) => format!("was {}, {code}: {reason}", name.as_str()),
            (Some(code), None) => format!("was {}, {code}", name.as_str()),
            (None, _) => format!("was {}", name.as_str()),
        };
        let to = match order.action {
            Action::Replay | Action::Release | Action::Hasten => state::WAITING,
            Action::Drop => state::SETTLED,
        };
        let is = |action: Action| (order.action == action).then_some(now.millis());
        self.connection
            .prepare_cached(
                "UPDATE entries SET state = ?2, due_at = ?3, lease_token = NULL,
                     attempts = IIF(?3 IS NULL, attempts, 0), crashes = IIF(?3 IS NULL, crashes, 0),
                     process_id = NULL, ended_at = ?4, code = ?5, reason = ?6,
                     released_at = COALESCE(?7, released_at), replayed_at = COALESCE(?8, replayed_at),
                     action = ?9, action_at = ?10, action_by = ?11, action_note = ?12
                 WHERE id = ?1",
            )?
            .execute(params![
                entry,
                to,
                (to == state::WAITING).then_some(now.millis()),
                is(Action::Drop),
                is(Action::Drop).map(|_| "dropped"),
                short(&before),
                is(Action::Release),
                is(Action::Replay),
                order.action.as_str(),
                now.millis(),
                order.by.as_deref().map(short),
                order.note.as_deref().map(short),
            ])?;
        self.moved(from, to);
        Ok(Ok(()))
    }
}
