//! What an event does to the state of record, as rows for any store.
//!
//! The rules live here and nowhere else. A store only merges: it keeps, per key, the row with the greatest
//! [`Version`]. A maximum does not depend on order and is unchanged by repetition, which is why any permutation of
//! the same events, with any duplicates, ends in the same rows. Whatever needs the rows of several events (the user
//! of a subscription, which payments count) is joined when it is read; each row type says how.
//!
//! All text in rows is free of NUL and every timestamp lies between the years 1970 and 9999, so that no row of one
//! event can make a store refuse the batch of its neighbours.

mod binding;
mod claim;
mod money;
mod raw;
mod review;
mod subscription;

use serde::Serialize;

pub use self::binding::{BindingKind, BindingRow, CustomerRow};
pub use self::claim::{ClaimRank, ClaimRow};
pub use self::money::{Evidence, MATCH_WINDOW, PaymentLink, RevenueKind, RevenueRow};
pub use self::raw::RawJson;
pub use self::review::{Action, Decision, Finding, Severity};
pub use self::subscription::{ProjectedStatus, Source, SubscriptionRow};

use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;

/// What is known of an event without looking into its object.
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
    /// The whole event. Written separately from its facts.
    #[serde(skip_serializing)]
    pub payload: RawJson,
}

/// Place of a row's content in the history of its object. This is a total order, so that two stores that have seen the same
/// events agree. The fields are compared in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// What the content itself says about its place, independent of clocks.
    pub standing: Standing,
    /// The moment at which the content is known to be true: the event's `created`, or the time the fetch began.
    pub at: Timestamp,
    /// Breaks ties within a moment.
    pub rank: Rank,
    /// Breaks ties within a moment between contents of the same rank by a value that grows in an object's life, such as the
    /// amount refunded so far; zero if there is no such value. For a subscription it is the end of the period, which counts
    /// only where `previous_attributes` tell no order.
    pub progress: u64,
    /// Breaks the remaining ties.
    pub event: EventId,
    /// API version of the event's payload. Endpoints of several versions get one event in several renderings. The newest
    /// rendering is its content, whichever came first. `None` if the version is unknown, and for contents without a
    /// payload.
    pub rendering: Option<String>,
}

/// The part of the order that needs no clock: states that Stripe never returns to, and states that never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Anything else replaces it: an `incomplete` subscription (Stripe never returns to it), an authorisation, or an amount
    /// told by another object than the payment itself.
    Provisional = 0,
    /// The ordinary case: the later moment wins.
    Current = 1,
    /// It never ends: `canceled`, `incomplete_expired`, a deleted customer, a link that cannot change.
    Final = 2,
}

/// Where the content of a row came from. In a tie, later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Payload of a `….created` event.
    Created = 0,
    /// Payload of a `….trial_will_end` event. Stripe also sends it when a trial is ended early, before the update that ends
    /// it.
    Announced = 1,
    /// Payload of any other event.
    Updated = 2,
    /// Payload of a `….deleted` or `….closed` event.
    Deleted = 3,
    /// Fetched from Stripe.
    Fetched = 4,
    /// Decided by a person who released the event from quarantine.
    Released = 5,
}

impl Rank {
    /// The rank of the payload of an event of this type.
    pub fn of_payload(kind: &str) -> Self {
        match kind.rsplit('.').next() {
            Some("created") => Self::Created,
            Some("trial_will_end") => Self::Announced,
            Some("deleted" | "closed") => Self::Deleted,
            _ => Self::Updated,
        }
    }
}

/// Length of the part of a sort key that tells the moment and the kind of a content: standing, time and rank. Contents that
/// share it are tied, and [`crate::revenue::order`] decides which of them is the last.
pub const SORT_KEY_CLASS: usize = 24;

/// Length of a sort key up to the identifier of the event. A space and the rendering may follow the identifier.
pub const SORT_KEY_EVENT: usize = 46;

/// The event of a sort key.
pub fn event_of_sort_key(key: &str) -> &str {
    key.get(SORT_KEY_EVENT..).and_then(|rest| rest.split(' ').next()).unwrap_or_default()
}

impl Version {
    /// Text whose byte order is the order of versions, for stores to compare (in Postgres under `COLLATE "C"`).
    pub fn sort_key(&self) -> String {
        let at = u64::try_from(self.at.millis()).unwrap_or(0);
        let mut key =
            format!("{}.{at:020}.{}.{:020}.{}", self.standing as u8, self.rank as u8, self.progress, self.event);
        if let Some(rendering) = &self.rendering {
            // A space sorts before every letter of an identifier, so that one event's keys stay together.
            key.push(' ');
            key.push_str(rendering);
        }
        key
    }
}

impl Serialize for Version {
    /// As [`Version::sort_key`].
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.sort_key())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version() -> impl Strategy<Value = Version> {
        let standing = prop_oneof![Just(Standing::Provisional), Just(Standing::Current), Just(Standing::Final)];
        let rank = prop_oneof![
            Just(Rank::Created),
            Just(Rank::Announced),
            Just(Rank::Updated),
            Just(Rank::Deleted),
            Just(Rank::Fetched),
            Just(Rank::Released)
        ];
        let rendering = proptest::option::of("20[12][0-9]-0[1-9]");
        (standing, 0..5_i64, rank, 0..12_u64, "evt_[ab]{1,2}", rendering).prop_map(
            |(standing, at, rank, progress, event, rendering)| Version {
                standing,
                at: Timestamp::from_seconds(at * 1_000_000_000),
                rank,
                progress: progress * 1_000_000_000,
                event: EventId::new(event),
                rendering,
            },
        )
    }

    proptest! {
        #[test]
        fn sort_keys_order_as_versions_do(a in version(), b in version()) {
            prop_assert_eq!(a.cmp(&b), a.sort_key().cmp(&b.sort_key()));
        }

        #[test]
        fn sort_keys_have_their_parts_where_stores_look_for_them(a in version()) {
            let key = a.sort_key();
            prop_assert_eq!(event_of_sort_key(&key), a.event.as_str());
            let rank = format!(".{}", a.rank as u8);
            prop_assert!(key[..SORT_KEY_CLASS].ends_with(&rank));
        }
    }
}
