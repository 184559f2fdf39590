//! Payloads in the state of record that are older than the operator keeps them.
//!
//! What is left of such an event are its ids, type, moments, outcome and the status of its object: a replay stays harmless, and
//! grace is counted as before. Rows stay as they are. A payload that may still decide what a row is stays whole, whatever its
//! age: of a subscription or customer those up to which the order within a second can reach back. So whatever comes later, as
//! long as it is newer than what was reduced, ends in the same rows. That is why nothing younger than
//! [`KEEP_MIN`](crate::domain::limits::KEEP_MIN) is reduced: Stripe lists events for 30 days.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::person::reduced_event;
use super::{BoxFuture, LedgerError};
use crate::domain::clock::Timestamp;
use crate::revenue::rows::Rank;

/// Most events looked at in one step.
pub const EXPIRE_EVENTS_MAX: u32 = 200;

/// Reducing payloads, on every ledger.
pub trait Expiry: Send + Sync + fmt::Debug {
    /// Looks at the next [`EXPIRE_EVENTS_MAX`] events made at or before `before` that still have a payload, after the place
    /// `after` (`None`: from the beginning), and reduces those no longer needed. One transaction; repeating it is harmless.
    fn expire_payloads<'a>(
        &'a self,
        before: Timestamp,
        after: Option<&'a Place>,
    ) -> BoxFuture<'a, Result<Expired, LedgerError>>;
}

/// Where a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// When the event was made, in microseconds since the Unix epoch.
    pub at: i64,
    /// Id of the event.
    pub id: String,
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The last event looked at; `None` when there are no more.
    pub last: Option<Place>,
    /// How many were reduced.
    pub reduced: u64,
}

/// What is left of an event whose payload is no longer kept. As `gateway.reduced_event`.
pub(super) fn expired_event(event: &Value) -> Value {
    let mut left = reduced_event(event);
    let data = event.get("data").unwrap_or(&Value::Null);
    let status =
        |object: Option<&Value>| object.and_then(|object| object.get("status")).filter(|one| !one.is_null()).cloned();
    if let Some(status) = status(data.get("object")) {
        left["data"]["object"]["status"] = status;
    }
    if let Some(status) = status(data.get("previous_attributes")) {
        left["data"]["previous_attributes"] = json!({ "status": status });
    }
    if let Some(fields) = left.as_object_mut() {
        fields.remove("erased");
        fields.insert("expired".to_owned(), Value::Bool(true));
    }
    left
}

/// Whether the payload of an event is gone, for either reason. If the event came from an erased person later, only the
/// payload itself says so.
pub fn is_reduced(payload: &Value) -> bool {
    ["erased", "expired"].iter().any(|mark| payload.get(mark).is_some())
}

/// A moment of an object: milliseconds since the Unix epoch, and the rank of its events.
pub(super) type Moment = (i64, u8);

/// The spans of moments of an object whose payloads are needed, both ends included. `moments` are those up to the cutoff,
/// with the number of their events. `reaching` are the moments of the contents kept beside a row. As
/// `gateway.needed_payloads`.
pub(super) fn needed(moments: &BTreeMap<Moment, usize>, reaching: &[Moment]) -> Vec<(Moment, Moment)> {
    const ANY: Moment = (i64::MAX, u8::MAX);
    let is_aside =
        |moment: &Moment| moment.1 == Rank::Announced as u8 && moments.contains_key(&(moment.0, Rank::Updated as u8));
    let starts: Vec<Moment> = moments
        .iter()
        .filter(|(moment, events)| **events == 1 && !is_aside(moment))
        .map(|(moment, _)| *moment)
        .collect();
    let span = |until: Moment| {
        let since = starts.iter().rev().find(|start| **start < until);
        (since.copied().unwrap_or((i64::MIN, 0)), until)
    };
    reaching.iter().copied().chain([ANY]).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_needed(moments: &[(Moment, usize)], reaching: &[Moment], moment: Moment) -> bool {
        needed(&moments.iter().copied().collect(), reaching)
            .iter()
            .any(|(since, until)| (*since..=*until).contains(&moment))
    }

    #[test]
    fn of_single_events_only_the_last_is_needed() {
        let moments = [((1, 0), 1), ((2, 2), 1), ((3, 2), 1)];
        assert!(is_needed(&moments, &[], (3, 2)));
        assert!(!is_needed(&moments, &[], (2, 2)));
        assert!(is_needed(&moments, &[(3, 2)], (2, 2)), "what is kept beside the row is compared with it");
        assert!(!is_needed(&moments, &[(3, 2)], (1, 0)));
    }

    #[test]
    fn what_is_undecided_reaches_back_to_the_last_single_event_that_announces_nothing() {
        let moments = [((1, 2), 1), ((2, 2), 2), ((3, 1), 1), ((3, 2), 3)];
        for moment in [(1, 2), (2, 2), (3, 1), (3, 2)] {
            assert!(is_needed(&moments, &[], moment), "{moment:?}");
        }
        assert!(!is_needed(&[((0, 2), 1), ((1, 2), 1), ((2, 2), 2)], &[], (0, 2)));
    }

    #[test]
    fn contents_that_stand_above_later_events_keep_what_they_are_compared_with() {
        // The row has the end, which outranks later updates, and two contents of its second are kept.
        let moments = [((1, 2), 1), ((2, 3), 2), ((5, 2), 1)];
        assert!(is_needed(&moments, &[(2, 3)], (1, 2)));
        assert!(!is_needed(&moments, &[], (1, 2)));
    }

    #[test]
    fn ids_type_and_status_are_left_of_an_event() {
        let event = json!({"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "created": 5,
            "livemode": true, "api_version": "v", "request": {"id": "req_1"},
            "data": {"object": {"id": "sub_1", "object": "subscription", "status": "past_due", "metadata": {"a": "b"}},
                "previous_attributes": {"status": "active", "metadata": {"a": "c"}}}});
        let left = json!({"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "created": 5,
            "livemode": true, "api_version": "v", "expired": true,
            "data": {"object": {"id": "sub_1", "object": "subscription", "status": "past_due"},
                "previous_attributes": {"status": "active"}}});
        assert_eq!(expired_event(&event), left);
        assert!(is_reduced(&left) && !is_reduced(&event));
        assert_eq!(expired_event(&left), left);
    }
}
