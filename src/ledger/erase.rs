//! Erasing a person's data from the state of record.
//!
//! In four parts, each of which can be repeated: find the identifiers that lead to the person; leave a tombstone, so that
//! whatever comes from then on (a redelivery, a replay, `reconcile`) is recorded without personal data; reduce the events
//! that are there, in bounded steps; at last reduce the rows and cut the link to the user. Until the link is cut the
//! person can be found again, so an erasure that was interrupted is simply run again.
//!
//! What stays are the records of accounting: amounts, currencies, dates, states and Stripe's identifiers. Rows of public
//! tables belong to the app; those that the gateway writes are brought to what is true of a user without a subscription.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::person::{PERSON_IDS_MAX, Person, Subject};
use super::{BoxFuture, LedgerError};

/// Most events looked at in one step.
pub const ERASE_EVENTS_MAX: u32 = 500;

/// Finding of an event that named an erased person and was recorded without personal data.
pub const ERASED_PERSON: &str = "erased_person";

/// The detail of that finding.
pub(super) const ERASED_DETAIL: &str =
    "names a person whose data was erased: recorded without personal data and without a link to the user";

/// Erasing, on every ledger.
pub trait Erasure: Send + Sync + fmt::Debug {
    /// The identifiers that lead to a person. Changes nothing.
    fn find_person<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, Result<Found, LedgerError>>;

    /// Writes tombstones for the person's users and customers. From then on nothing personal about them is recorded.
    fn mark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<(), LedgerError>>;

    /// Removes the tombstones of a person who has come back. Erased data stays erased.
    fn unmark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<u64, LedgerError>>;

    /// Reduces the person's events among the next [`ERASE_EVENTS_MAX`] after the id `after` (empty: from the beginning).
    /// With `dry_run` it only counts.
    fn erase_events<'a>(
        &'a self,
        person: &'a Person,
        after: &'a str,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<EventsStep, LedgerError>>;

    /// Reduces the person's rows and cuts the link to the user, in one transaction. With `dry_run` it only counts.
    fn erase_rows<'a>(&'a self, person: &'a Person, dry_run: bool) -> BoxFuture<'a, Result<RowsErased, LedgerError>>;
}

/// The person that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The identifiers; the subject itself is always among them.
    pub person: Person,
    /// Subscriptions that entitle the person now.
    pub entitling: u64,
    /// Whether the subject was erased before.
    pub erased_before: bool,
}

/// One step over the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsStep {
    /// Id of the last event looked at; `None` when there are no more.
    pub last: Option<String>,
    /// How many were reduced, or would be.
    pub erased: u64,
}

/// Rows that were reduced, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsErased {
    /// Customers whose raw object was reduced.
    pub customers: u64,
    /// Subscriptions whose raw object was reduced.
    pub subscriptions: u64,
    /// Amounts that named the user.
    pub revenue: u64,
    /// Links from a customer or subscription to the user that were cut.
    pub bindings: u64,
    /// Users whom the public tables still show as before: a table was locked or refused. Run again.
    #[serde(default)]
    pub not_shown: u64,
}

/// A call of `public.gateway_erase`.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Request<'a> {
    Find { subject: &'a Subject, most: usize },
    Mark { person: &'a Person },
    Unmark { person: &'a Person },
    Events { person: &'a Person, after: &'a str, most: u32, dry_run: bool },
    Rows { person: &'a Person, dry_run: bool },
}

/// The answer to `mark` and `unmark`.
#[derive(Debug, Deserialize)]
pub(super) struct Marked {
    pub(super) marked: u64,
}

impl<'a> Request<'a> {
    pub(super) fn find(subject: &'a Subject) -> Self {
        Self::Find { subject, most: PERSON_IDS_MAX }
    }

    pub(super) fn events(person: &'a Person, after: &'a str, dry_run: bool) -> Self {
        Self::Events { person, after, most: ERASE_EVENTS_MAX, dry_run }
    }

    pub(super) fn document(&self, ledger: &'static str) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|error| {
            let kind = super::LedgerErrorKind::Rejected;
            LedgerError::new(ledger, kind, "the request cannot be written as JSON").caused_by(error)
        })
    }
}
