//! The truth about one Stripe subscription.

use serde::Serialize;

use super::{RawJson, Version};
use crate::domain::clock::Timestamp;

/// One row per Stripe subscription, key `id`, merged by the greatest `version`.
///
/// The user is not in this row for readers: it is told by all claims about this `id` and `customer_id` (see
/// [`crate::revenue::owners`]). A row whose user is unknown is an orphan; it waits here and heals when a claim comes.
///
/// What a user has is the row with the greatest `preference` among the user's rows whose `projected_status` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a flat row: each is a column of its own")]
pub struct SubscriptionRow {
    /// `sub_…`
    pub id: String,
    /// Place of this content in the subscription's history.
    pub version: Version,
    /// Where the content came from.
    pub source: Source,
    /// Connected account, if any.
    pub account: Option<String>,
    /// False for test mode.
    pub livemode: bool,
    /// `cus_…`
    pub customer_id: Option<String>,
    /// Stripe's status as it came, also when it is one that Stripe added since.
    pub status: String,
    /// Status for the predecessor's readers; `None` is not projected (`incomplete`, statuses not known here, and
    /// subscriptions on connected accounts unless they are configured to count).
    pub projected_status: Option<ProjectedStatus>,
    /// Whether the user has what the tier gives, now.
    pub entitles: bool,
    /// Text whose byte order (in Postgres under `COLLATE "C"`) is the order of preference among a user's
    /// subscriptions; no two subscriptions share it.
    pub preference: String,
    /// Best tier among the items: `bronze`, `silver`, `gold` or a name from the configuration. `None`: the price is
    /// in no map and no metadata names a tier.
    pub tier: Option<String>,
    /// Price (or plan) of the item that decides the tier, else of the first item.
    pub price_id: Option<String>,
    /// Product of that price.
    pub product_id: Option<String>,
    /// Quantity of that item.
    pub quantity: Option<i64>,
    /// ISO 4217 code in lower case.
    pub currency: Option<String>,
    /// Price of one unit of that item in minor units; `None` for tiered prices and fractions of a minor unit.
    pub unit_amount: Option<i64>,
    /// `day`, `week`, `month` or `year`.
    pub interval: Option<String>,
    /// Intervals in one billing period.
    pub interval_count: Option<i64>,
    /// Number of items.
    pub items: i64,
    /// What all items together cost in a month, in minor units, before discounts and tax; zero unless it recurs now
    /// (`active` or `past_due`, collection not paused). Metered and tiered items count nothing.
    pub mrr_minor: i64,
    /// When the subscription was made.
    pub created: Option<Timestamp>,
    /// When it started or will be taken to have started.
    pub started_at: Option<Timestamp>,
    /// Start of the period that was paid last; the earliest over the items.
    pub current_period_start: Option<Timestamp>,
    /// End of that period; the latest over the items.
    pub current_period_end: Option<Timestamp>,
    /// Ends by itself: `cancel_at_period_end`, or `cancel_at` is set.
    pub will_cancel: bool,
    /// Set to end with the period.
    pub cancel_at_period_end: bool,
    /// Moment it will end.
    pub cancel_at: Option<Timestamp>,
    /// Moment somebody asked for the end.
    pub canceled_at: Option<Timestamp>,
    /// Moment it ended.
    pub ended_at: Option<Timestamp>,
    /// Start of the trial.
    pub trial_start: Option<Timestamp>,
    /// End of the trial.
    pub trial_end: Option<Timestamp>,
    /// `pause_collection.behavior` while collection is paused; the status stays `active` then.
    pub pause_behavior: Option<String>,
    /// When collection resumes by itself.
    pub pause_resumes_at: Option<Timestamp>,
    /// `in_…` of the latest invoice.
    pub latest_invoice_id: Option<String>,
    /// User named by the subscription's own metadata: evidence, not the owner.
    pub metadata_user_id: Option<String>,
    /// The subscription as Stripe gave it.
    pub raw: RawJson,
}

/// Where the content of a truth row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The event's own object.
    Payload,
    /// Asked of Stripe.
    Fetch,
}

impl Source {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Fetch => "fetch",
        }
    }
}

/// Status in the predecessor's vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectedStatus {
    /// `active` and `trialing`.
    Active,
    /// `past_due` and `unpaid`.
    PastDue,
    /// `paused`.
    Paused,
    /// `canceled`.
    Canceled,
    /// `incomplete_expired`.
    Expired,
}

impl ProjectedStatus {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Paused => "paused",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
        }
    }
}
