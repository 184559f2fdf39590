//! Which entries are meant: by id, event, type, state, code, endpoint, user, customer, what they refer to, and time.

use serde::{Deserialize, Serialize};
use stripe_events::ID_BYTES_MAX;

use super::reference::{Reference, references};
use super::report::EntryReport;
use super::state::StateName;
use super::subject::Subject;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;

/// Most values of one kind in a selection.
pub const VALUES_MAX: usize = 1000;

/// Which entries. Conditions of different kinds must all hold, and values of one kind are alternatives. An empty selection
/// means every entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Types of events; `invoice.*` is every type that begins with `invoice.`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<StateName>,
    /// Codes of dead and quarantined entries, outcomes of settled ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// The seller's users, as events name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub customers: Vec<String>,
    /// References of entries: Stripe objects, users, processes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
    /// Received at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Received earlier than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Why a selection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    #[error("at most {VALUES_MAX} {0} can be named at once")]
    TooMany(&'static str),
    /// A value that cannot be right.
    #[error("{0} must have 1 to {ID_BYTES_MAX} bytes")]
    Length(&'static str),
    /// A `*` that is not at the end of a type.
    #[error("a type may end with .* and has no other *: {0}")]
    Pattern(String),
    /// The window of time is empty.
    #[error("since must be before until")]
    Window,
}

impl Selection {
    /// Whether it names anything at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it names entries one by one.
    pub fn is_by_id(&self) -> bool {
        !self.entries.is_empty() || !self.events.is_empty()
    }

    /// Checks a selection from outside.
    pub fn check(&self) -> Result<(), SelectionError> {
        let texts = [
            ("events", &self.events),
            ("types", &self.types),
            ("codes", &self.codes),
            ("endpoints", &self.endpoints),
            ("users", &self.users),
            ("customers", &self.customers),
            ("refs", &self.refs),
        ];
        if self.entries.len() > VALUES_MAX {
            return Err(SelectionError::TooMany("entries"));
        }
        for (name, values) in texts {
            if values.len() > VALUES_MAX {
                return Err(SelectionError::TooMany(name));
            }
            if values.iter().any(|value| value.is_empty() || value.len() > ID_BYTES_MAX) {
                return Err(SelectionError::Length(name));
            }
        }
        let star = self.types.iter().find(|kind| kind.strip_suffix(".*").unwrap_or(kind).contains('*'));
        if let Some(kind) = star {
            return Err(SelectionError::Pattern(kind.clone()));
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return Err(SelectionError::Window);
        }
        Ok(())
    }

    /// Whether bodies have to be read too.
    pub(super) fn wants_bodies(&self) -> bool {
        !self.users.is_empty() || !self.customers.is_empty() || !self.refs.is_empty()
    }

    /// The references that lead to all entries meant, if the index helps.
    pub(super) fn leads(&self) -> Option<Vec<Reference>> {
        let kinds = [&self.refs, &self.customers, &self.users];
        let first = kinds.into_iter().find(|ids| !ids.is_empty()).filter(|_| !self.is_by_id())?;
        Some(first.iter().map(|id| Reference::to(id)).collect())
    }

    /// Whether the body of an entry that the index leads to must be read.
    pub(super) fn wants_bodies_of_indexed(&self) -> bool {
        !self.users.is_empty() || !self.customers.is_empty()
    }

    /// Whether the selection means an entry, as far as its row tells.
    pub(super) fn fits(&self, entry: &EntryReport) -> bool {
        let among = |values: &[String], value: &str| values.is_empty() || values.iter().any(|known| known == value);
        let is_type = |kind: &String| match kind.strip_suffix('*') {
            Some(prefix) => entry.event_type.starts_with(prefix),
            None => entry.event_type == *kind,
        };
        let code = entry.code.as_deref().or(entry.outcome.as_deref()).unwrap_or_default();
        (self.entries.is_empty() || self.entries.contains(&entry.entry))
            && among(&self.events, &entry.event_id)
            && (self.types.is_empty() || self.types.iter().any(is_type))
            && (self.states.is_empty() || self.states.contains(&entry.state))
            && among(&self.codes, code)
            && among(&self.endpoints, &entry.endpoint)
            && self.since.is_none_or(|since| entry.received >= since)
            && self.until.is_none_or(|until| entry.received < until)
    }

    /// Whether the selection means an entry with this body.
    pub(super) fn fits_body(&self, entry: &EntryReport, body: &[u8]) -> bool {
        if !self.refs.is_empty() {
            let named = references(entry.process.as_deref(), Some(body));
            if !self.refs.iter().any(|id| named.contains(&Reference::to(id))) {
                return false;
            }
        }
        let subject = Subject::of(body);
        let user = |user: &String| subject.users.iter().any(|named| named.eq_ignore_ascii_case(user));
        (self.users.is_empty() || self.users.iter().any(user))
            && (self.customers.is_empty() || subject.customer.is_some_and(|known| self.customers.contains(&known)))
    }
}
