//! What travels between the admin listener and the commands that use it: one form for both ends. `openapi.yaml` describes it.
//!
//! What a path shows of another room (an entry's story, what the ledger has of its event, problems, a step of an order) is that room's own type.

mod query;

use serde::{Deserialize, Serialize};

pub use query::{ListQuery, QueryError};

use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::named::named;
use crate::inbox::{EntryStory, Problems, Selection};
use crate::ledger::desk::EventReport;
use crate::ledger::person::Person;
use crate::ledger::report::Attention;

/// Body of `POST /admin/entries/{replay,release,drop,refetch}`. Answered with [`crate::inbox::OrderStep`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesOrder {
    #[serde(default)]
    pub selection: Selection,
    /// Means every entry; for a selection that names nothing.
    #[serde(default)]
    pub all: bool,
    /// Who orders it. The entries keep the name.
    #[serde(default)]
    pub by: Option<String>,
    /// Why. The entries keep the reason. A drop needs one.
    #[serde(default)]
    pub note: Option<String>,
    #[serde(default)]
    pub dry_run: bool,
    /// The entry at which the last step ended.
    #[serde(default)]
    pub after: Option<EntryId>,
}

/// Body of `POST /admin/operations`. Answered with [`super::Operation`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationOrder {
    /// `replay`, `release`, `drop` or `refetch`.
    pub action: String,
    #[serde(default)]
    pub selection: Selection,
    /// Means every entry; for a selection that names nothing.
    #[serde(default)]
    pub all: bool,
    /// Who orders it. The entries keep the name.
    #[serde(default)]
    pub by: Option<String>,
    /// Why. The entries keep the reason. A drop needs one.
    #[serde(default)]
    pub note: Option<String>,
}

/// Answer to `POST /admin/console/codes`: a code for one login to the console, within a minute.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoginCode {
    pub code: String,
    /// The console's path that takes it.
    pub path: String,
    pub expires: Timestamp,
}

/// Answer to `GET /admin/entries/{id}`: an entry, and what the ledger has about its event.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownEntry {
    #[serde(flatten)]
    pub story: EntryStory,
    /// `None` if the ledger did not answer.
    #[serde(default)]
    pub ledger: Option<EventReport>,
    /// Code of the problem, if it did not answer.
    #[serde(default)]
    pub ledger_fault: Option<String>,
}

/// Answer to `GET /admin/problems`: everything that waits for a person.
#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    #[serde(flatten)]
    pub problems: Problems,
    /// What the ledger reports; `None` if it does not answer.
    pub access: Option<Attention>,
}

/// Answer to `POST /admin/resume`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Resumed {
    pub was_paused: bool,
}

named! {
    /// What a command may do to the ledger by itself.
    pub enum CommandAction {
        Bind = "bind",
        Erase = "erase",
        ForgetErasure = "forget_erasure",
        Projections = "projections",
        Reconcile = "reconcile",
        ShadowBegin = "shadow_begin",
        ShadowClaim = "shadow_claim",
        ShadowEnd = "shadow_end",
    }
}

/// Body of `POST /admin/audit`: what a command did to the ledger. Answered with [`DeedNoted`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandDeed {
    pub action: CommandAction,
    /// The object it was done to, without persons.
    pub what: String,
    /// The result.
    #[serde(default)]
    pub result: Option<String>,
    /// Why, in the operator's words.
    #[serde(default)]
    pub note: Option<String>,
}

/// Answer to `POST /admin/audit`: the name under which the deed is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeedNoted {
    pub who: String,
}

/// Body of `POST /admin/erase`. Answered with [`crate::inbox::EraseStep`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseStepOrder {
    pub person: Person,
    /// Number of the entry at which the last step ended; 0 at the beginning.
    #[serde(default)]
    pub after: i64,
    #[serde(default)]
    pub dry_run: bool,
}
