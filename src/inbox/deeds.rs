//! What people did here: orders, looks at hidden text, logins. Kept beside the entries, so that all gateways of a shared inbox
//! show the same.
//!
//! Guarantees: nothing is changed once it is written; the newest [`DEEDS_MAX`] that changed or revealed something stay, and the newest
//! [`LIGHT_DEEDS_MAX`] others, so that no number of logins pushes an order out; none stays for longer than [`DEEDS_KEPT`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::operate::short;
use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;

/// Most deeds kept that changed or revealed something. One more removes the oldest.
pub const DEEDS_MAX: usize = 50_000;

/// Most deeds kept of all others: what viewers did, dry runs, logins.
pub(super) const LIGHT_DEEDS_MAX: usize = 5_000;

/// Whether a row of a store is light, as [`Deed::is_light`] says.
macro_rules! light {
    () => {
        "(role = 'viewer' OR dry_run OR action IN ('login', 'logout', 'console_code', 'refused'))"
    };
}
pub(super) use light;

/// How long a deed is kept.
pub const DEEDS_KEPT: Duration = Duration::from_hours(24 * 400);

/// Most deeds on a page.
pub const DEEDS_PAGE_MAX: usize = 500;

/// Something that a person did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Name of the operator.
    pub who: String,
    /// `operator` or `viewer`.
    pub role: String,
    /// The address it came from, if a trusted proxy tells it.
    pub peer: Option<String>,
    /// `console`, `api` or `command`.
    pub via: String,
    /// The kind of deed: `replay`, `reveal`, `route`, `login`…
    pub action: String,
    /// What it was done to, without persons.
    pub what: String,
    pub dry_run: bool,
    /// The result.
    pub result: Option<String>,
    /// Why, in the operator's words.
    pub note: Option<String>,
}

/// A deed with its number and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastDeed {
    pub id: i64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub deed: Deed,
}

impl Deed {
    /// Whether it neither changed nor revealed anything.
    pub(super) fn is_light(&self) -> bool {
        let comes_or_goes = ["login", "logout", "console_code", "refused"].contains(&self.action.as_str());
        self.role == "viewer" || self.dry_run || comes_or_goes
    }

    /// How many such deeds are kept.
    pub(super) fn most(&self) -> usize {
        if self.is_light() { LIGHT_DEEDS_MAX } else { DEEDS_MAX }
    }

    /// With every text cut to its bound.
    fn bounded(self) -> Self {
        let short = |text: String| short(&text).to_owned();
        let Self { who, role, peer, via, action, what, dry_run, result, note } = self;
        Self {
            who: short(who),
            role,
            peer,
            via,
            action,
            what: short(what),
            dry_run,
            result: result.map(short),
            note: note.map(short),
        }
    }
}

impl Inbox {
    /// Records what a person did. Resolves when it is durable.
    ///
    /// # Errors
    /// If the store does not take it.
    pub async fn note_deed(&self, deed: Deed) -> Result<(), InboxError> {
        let deed = deed.bounded();
        match &self.store {
            Store::Local(local) => local.note_deed(deed).await,
            Store::Postgres(postgres) => postgres.core.note_deed(&deed).await,
        }
    }

    /// What people did, the latest first, from before the deed with this number, at most `most` and [`DEEDS_PAGE_MAX`].
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn deeds(&self, before: Option<i64>, most: usize) -> Result<Vec<PastDeed>, InboxError> {
        let (before, most) = (before.unwrap_or(i64::MAX), most.min(DEEDS_PAGE_MAX));
        match &self.store {
            Store::Local(local) => local.deeds(before, most).await,
            Store::Postgres(postgres) => postgres.core.deeds(before, most).await,
        }
    }
}
