//! What the stores say about the order of contents of one second. The rule itself is [`crate::revenue::order`].

use crate::revenue::order::Proof;
use crate::revenue::rows::{Finding, SORT_KEY_CLASS, Severity};

/// Code of the finding that the last of several contents is unknown. PostgreSQL's functions use the same.
pub(super) const ORDER_UNDECIDED: &str = "order_undecided";

/// Code of the finding that the last of several contents is unknown, on which the access by a held subscription depends.
pub(super) const VOUCHED_UNDECIDED: &str = "vouched_order_undecided";

/// The finding for an order that is not proven.
pub(super) fn finding(proof: Proof, subject: &str) -> Option<Finding> {
    let (severity, detail) = match proof {
        Proof::Whole => return None,
        Proof::Likely => (
            Severity::Info,
            "events of one second lack a change between them; the likeliest order was taken, until a later event",
        ),
        Proof::Open => (
            Severity::Warning,
            "events of one second do not tell which of them is the last; one was taken, until a later event or reconcile",
        ),
    };
    let (code, subject, detail) = (ORDER_UNDECIDED.to_owned(), subject.to_owned(), detail.to_owned());
    Some(Finding { code, severity, subject, detail })
}

/// As [`finding`], for the vouched state of a subscription whose contents give different things.
pub(super) fn vouched_finding(proof: Proof, subject: &str) -> Option<Finding> {
    let found = finding(proof, subject)?;
    let detail = "events of one second that no rule holds do not tell which of them is the last; access follows the likeliest of \
                  them, until a later event, a release or reconcile";
    Some(Finding { code: VOUCHED_UNDECIDED.to_owned(), detail: detail.to_owned(), ..found })
}

/// The moment of a version, in milliseconds, and its rank.
pub(super) fn moment_of(version: &str) -> Option<(i64, u8)> {
    let mut parts = version.get(..SORT_KEY_CLASS)?.split('.').skip(1);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
