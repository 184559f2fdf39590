//! The truth about one Stripe subscription.

use serde::Serialize;

use super::{RawJson, Version};
use crate::domain::clock::Timestamp;

/// One row per Stripe subscription, key `id`, merged by the greatest `version`.
///
/// This row does not tell readers the user: all claims about this `id` and `customer_id` do (see
/// [`crate::revenue::owners`]). A row whose user is unknown is an orphan. It waits here until a claim names its user.
///
/// A user has what the row with the greatest `preference` gives, among the user's rows whose `projected_status` is set.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// False for test mode.
    pub livemode: bool,
    /// `cus_…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Stripe's status as it came, even if Stripe added it later.
    pub status: String,
    /// Status for the predecessor's readers. `None` is not shown: `incomplete`, unknown statuses, and subscriptions on
    /// connected accounts unless configured to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projected_status: Option<ProjectedStatus>,
    /// Whether the user has what the tier gives, apart from time. Access does not begin before `access_from`. A late
    /// payer's access ends with the grace, which stores work out from `grace_days` and all events (`late_since`).
    pub entitles: bool,
    /// The moment at which access resumes, while a pause of collection withholds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_from: Option<Timestamp>,
    /// Text whose byte order (in Postgres under `COLLATE "C"`) is the order of preference among a user's
    /// subscriptions; no two subscriptions share it.
    pub preference: String,
    /// Best tier among the items: `bronze`, `silver`, `gold` or a name from the configuration. `None`: no tier is mapped to
    /// the price and no metadata names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Place of the tier among the configured ones, from 1; 0 for none.
    pub tier_rank: i64,
    /// Price (or plan) of the item that decides the tier, else of the first item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_id: Option<String>,
    /// Product of that price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    /// Quantity of that item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// ISO 4217 code in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Price of one unit of that item in minor units; `None` for tiered prices and fractions of a minor unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_amount: Option<i64>,
    /// `day`, `week`, `month` or `year`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Intervals in one billing period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_count: Option<i64>,
    /// Number of items, including those that are not listed.
    pub items: i64,
    /// Whether only a part of the items is listed. Tier and monthly amount are then those of that part. If the newest
    /// content that listed all items has a better tier or a greater amount, stores use that.
    pub partial: bool,
    /// The monthly price of all items together, in minor units, before discounts and tax. Zero unless it recurs now
    /// (`active` or `past_due`, and collection not paused). Metered and tiered items count nothing.
    pub mrr_minor: i64,
    /// The amount that recurs from `pause_resumes_at` on, if that moment is in the future.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_mrr_minor: Option<i64>,
    /// When the subscription was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it started, or the start that Stripe was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Start of the current period; the earliest over the items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_period_start: Option<Timestamp>,
    /// End of that period; the latest over the items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_period_end: Option<Timestamp>,
    /// Whether it ends by itself: `cancel_at_period_end` is true, or `cancel_at` is set.
    pub will_cancel: bool,
    /// Whether it goes on with another period unless something happens: it is alive and not about to end by itself.
    pub will_renew: bool,
    /// Whether it will end with the period.
    pub cancel_at_period_end: bool,
    /// The moment at which it will end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_at: Option<Timestamp>,
    /// The moment at which the end was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canceled_at: Option<Timestamp>,
    /// The moment at which it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Start of the trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_start: Option<Timestamp>,
    /// End of the trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_end: Option<Timestamp>,
    /// `pause_collection.behavior` while collection is paused; the status stays `active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_behavior: Option<String>,
    /// When collection resumes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_resumes_at: Option<Timestamp>,
    /// `charge_automatically` or `send_invoice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection_method: Option<String>,
    /// Days that a late payer keeps access, counted from the first late event; `None`: without end, or not late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_days: Option<i64>,
    /// When the payment became late, as far as the content itself tells; for stores that know no event of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_hint: Option<Timestamp>,
    /// `in_…` of the latest invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_invoice_id: Option<String>,
    /// User named by the subscription's own metadata: evidence, not the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_user_id: Option<String>,
    /// The subscription as Stripe gave it. Not sent if the event's payload already includes it.
    #[serde(skip_serializing_if = "RawJson::is_in_payload")]
    pub raw: RawJson,
}

/// Where the content of a truth row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The event's own object.
    Payload,
    /// Fetched from Stripe.
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

/// A status in the predecessor's words.
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
