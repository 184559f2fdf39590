//! What a person can order about entries, and for which it makes sense.

use serde::{Deserialize, Serialize};

use super::state::StateName;
use crate::domain::named::named;
use crate::domain::outcome::{DROPPED, ProblemCode};

/// Longest note and name kept with an entry, in bytes.
pub const NOTE_BYTES_MAX: usize = 500;

/// Codes of events that the door holds back. The ledger has not seen such an event, and no rule will ever let it pass.
pub(super) const HELD_AT_DOOR: [ProblemCode; 4] =
    [ProblemCode::Malformed, ProblemCode::Misrouted, ProblemCode::ModeMismatch, ProblemCode::AccountMismatch];

named! {
    /// What to do.
    pub enum Action {
        /// A new attempt, as if it had just come in; also for an event that was applied before.
        Replay = "replay",
        /// Apply it, whatever rules say.
        Release = "release",
        /// Never apply it.
        Drop = "drop",
        /// A replay with the body that Stripe has, in place of a damaged or missing one.
        Refetch = "refetch",
    }
}

impl Action {
    /// The states of a selection that names neither entries nor states.
    pub const fn usual_states(self) -> &'static [StateName] {
        match self {
            Self::Replay | Self::Drop | Self::Refetch => &[StateName::Dead, StateName::Quarantined],
            Self::Release => &[StateName::Quarantined],
        }
    }
}

/// An order to the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub action: Action,
    /// The operator, as far as known.
    pub by: Option<String>,
    pub note: Option<String>,
}

/// Why an entry was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It already waits or is being worked on.
    OnItsWay,
    /// It is settled, so there is nothing to drop.
    Settled,
    /// It is not in quarantine, so there is nothing to release.
    NotQuarantined,
    /// The door held it back and would do so again: release or drop it.
    HeldAtDoor,
    /// It has no event.
    NothingToApply,
    /// It was dropped, and the order does not name it.
    Dropped,
    /// Stripe has no such event.
    NotAtStripe,
    /// Stripe did not answer.
    StripeSilent,
    /// Retention or an erasure removed the body.
    BodyRemoved,
    Gone,
}

impl Refusal {
    /// For people.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::OnItsWay => "it is on its way already",
            Self::Settled => "it is settled already: there is nothing to drop",
            Self::NotQuarantined => "it is not in quarantine: `inbox replay` tries it again",
            Self::HeldAtDoor => "the door held it back and would do so again: `inbox release` or `inbox drop` it",
            Self::NothingToApply => "there is no event in it: only `inbox drop` makes sense",
            Self::BodyRemoved => {
                "retention or an erasure has removed its body: `inbox refetch` takes it from Stripe, which has the events of 30 days"
            }
            Self::Dropped => "it was dropped: only an order that names it takes it up again",
            Self::NotAtStripe => {
                "Stripe has no such event under this key: it is older than 30 days, of another account, or forged"
            }
            Self::StripeSilent => "Stripe did not answer: order it again later",
            Self::Gone => "it is not in the inbox any more",
        }
    }
}

/// The state of an entry, as far as an order depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) state: StateName,
    /// Code, or outcome.
    pub(super) code: Option<&'a str>,
    pub(super) has_body: bool,
    /// Whether it has the id of an event, not the digest of bytes.
    pub(super) is_event: bool,
    /// Whether the order names it by its number or its event.
    pub(super) is_named: bool,
}

impl Action {
    /// Whether the order makes sense for an entry in this state.
    pub(super) fn check(self, entry: Standing<'_>) -> Result<(), Refusal> {
        let Standing { state, code, has_body, is_event, is_named } = entry;
        let at_door = code.and_then(|code| code.parse().ok()).is_some_and(|code| HELD_AT_DOOR.contains(&code));
        match (self, state) {
            (_, StateName::Leased | StateName::Submitted)
            | (Self::Replay | Self::Release | Self::Refetch, StateName::Waiting) => Err(Refusal::OnItsWay),
            (Self::Refetch, _) if !is_event => Err(Refusal::NothingToApply),
            (Self::Replay | Self::Refetch, StateName::Settled) if code == Some(DROPPED) && !is_named => {
                Err(Refusal::Dropped)
            }
            (Self::Drop, StateName::Settled) => Err(Refusal::Settled),
            (Self::Release, StateName::Settled | StateName::Dead) => Err(Refusal::NotQuarantined),
            (Self::Replay | Self::Release, _) if !has_body => Err(Refusal::BodyRemoved),
            (Self::Replay | Self::Refetch, StateName::Quarantined) if at_door => Err(Refusal::HeldAtDoor),
            (Self::Replay | Self::Refetch, StateName::Settled | StateName::Dead | StateName::Quarantined)
            | (Self::Release, StateName::Quarantined)
            | (Self::Drop, StateName::Waiting | StateName::Dead | StateName::Quarantined) => Ok(()),
        }
    }
}
