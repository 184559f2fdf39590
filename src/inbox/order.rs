//! What a person can order about entries, and for which it makes sense.

use serde::{Deserialize, Serialize};

use super::state::StateName;
use crate::domain::named::named;
use crate::domain::outcome::ProblemCode;

/// Longest note and name kept with an entry, in bytes.
pub const NOTE_BYTES_MAX: usize = 500;

/// Codes of what the door holds back. The ledger has not seen such an event, and no rule will ever let it pass.
const HELD_AT_DOOR: [ProblemCode; 4] =
    [ProblemCode::Malformed, ProblemCode::Misrouted, ProblemCode::ModeMismatch, ProblemCode::AccountMismatch];

named! {
    /// What is to be done.
    pub enum Action {
        /// A new attempt, as if it had just come in; also for what was applied before.
        Replay = "replay",
        /// Applied whatever rules say.
        Release = "release",
        /// Never applied.
        Drop = "drop",
    }
}

impl Action {
    /// The states that are meant when a selection names neither entries nor states.
    pub const fn usual_states(self) -> &'static [StateName] {
        match self {
            Self::Replay | Self::Drop => &[StateName::Dead, StateName::Quarantined],
            Self::Release => &[StateName::Quarantined],
        }
    }
}

/// An order to the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub action: Action,
    /// Who, as far as known.
    pub by: Option<String>,
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

impl Action {
    /// Whether it makes sense for an entry that stands so.
    pub(super) fn check(self, state: StateName, code: Option<&str>, has_body: bool) -> Result<(), Refusal> {
        let at_door = code.and_then(|code| code.parse().ok()).is_some_and(|code| HELD_AT_DOOR.contains(&code));
        match (self, state) {
            (_, StateName::Leased | StateName::Submitted) | (Self::Replay | Self::Release, StateName::Waiting) => {
                Err(Refusal::OnItsWay)
            }
            (Self::Drop, StateName::Settled) => Err(Refusal::Settled),
            (Self::Release, StateName::Settled | StateName::Dead) => Err(Refusal::NotQuarantined),
            (Self::Replay | Self::Release, _) if !has_body => Err(Refusal::BodyRemoved),
            (Self::Replay, StateName::Quarantined) if at_door => Err(Refusal::HeldAtDoor),
            (Self::Replay, StateName::Settled | StateName::Dead | StateName::Quarantined)
            | (Self::Release, StateName::Quarantined)
            | (Self::Drop, StateName::Waiting | StateName::Dead | StateName::Quarantined) => Ok(()),
        }
    }
}
