//! What an event does to the state of record, as rows for any store.
//!
//! The rules live here and nowhere else. A store only merges: it keeps, per key, the row with the greatest
//! [`Version`]. A maximum does not depend on order and is unchanged by repetition, which is why any permutation of
//! the same events, with any duplicates, ends in the same rows.

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;

/// What is known of an event without its object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventFacts {
    /// `evt_…`
    pub id: EventId,
    /// `customer.subscription.updated` and the like.
    #[serde(rename = "type")]
    pub kind: String,
    /// Connected account the event belongs to, if any.
    pub account: Option<String>,
    /// False for test mode.
    pub livemode: bool,
    /// When Stripe made the event; whole seconds for snapshot events.
    pub created: Timestamp,
    /// API version the event was rendered in.
    pub api_version: Option<String>,
    /// Identifier of the event's object; `invoice.upcoming` has none.
    pub object_id: Option<String>,
}

/// Place of a row's content in the history of its object: a total order, so that two stores that have seen the same
/// events agree. Compared field by field, in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// A terminal state (`canceled`, `incomplete_expired`, deleted) is never left.
    pub terminal: bool,
    /// Moment the content is known to be true of: the event's `created`, or the time the fetch began.
    pub at: Timestamp,
    /// Breaks ties within a moment.
    pub rank: Rank,
    /// Breaks the ties that are left.
    pub event: EventId,
}

/// What the content of a row came from. Later ones win a tie in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Payload of a `….created` event.
    Created = 0,
    /// Payload of any other event.
    Updated = 1,
    /// Payload of a `….deleted` event.
    Deleted = 2,
    /// Fetched from Stripe.
    Fetched = 3,
}

impl Version {
    /// Text whose byte order is the order of versions, for stores to compare (in Postgres under `COLLATE "C"`).
    pub fn sort_key(&self) -> String {
        let terminal = u8::from(self.terminal);
        let at = u64::try_from(self.at.millis()).unwrap_or(0);
        format!("{terminal}.{at:020}.{}.{}", self.rank as u8, self.event)
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.sort_key())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version() -> impl Strategy<Value = Version> {
        let rank = prop_oneof![Just(Rank::Created), Just(Rank::Updated), Just(Rank::Deleted), Just(Rank::Fetched)];
        (any::<bool>(), 0..5_i64, rank, "evt_[ab]{1,2}").prop_map(|(terminal, at, rank, event)| Version {
            terminal,
            at: Timestamp::from_seconds(at * 1_000_000_000),
            rank,
            event: EventId::new(event),
        })
    }

    proptest! {
        #[test]
        fn sort_keys_order_as_versions_do(a in version(), b in version()) {
            prop_assert_eq!(a.cmp(&b), a.sort_key().cmp(&b.sort_key()));
        }
    }
}
