//! Customers, and what sessions and invoices tell of subscriptions.

use serde::Serialize;

use super::{RawJson, Source, Version};

/// The truth about one Stripe customer: key `id`, merged by the greatest `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomerRow {
    /// `cus_…`
    pub id: String,
    /// Place of this content in the customer's history.
    pub version: Version,
    /// Where the content came from.
    pub source: Source,
    /// Connected account, if any.
    pub account: Option<String>,
    /// False for test mode.
    pub livemode: bool,
    /// Whether Stripe has deleted it.
    pub deleted: bool,
    /// Currency that the customer is billed in, ISO 4217 in lower case.
    pub currency: Option<String>,
    /// Whether an invoice is overdue.
    pub delinquent: Option<bool>,
    /// Credit (negative) or debt in minor units, applied to the next invoice.
    pub balance_minor: Option<i64>,
    /// User named by the customer's own metadata: evidence, not the owner.
    pub metadata_user_id: Option<String>,
    /// The customer as Stripe gave it. Not sent if the event's payload already includes it.
    #[serde(skip_serializing_if = "RawJson::is_in_payload")]
    pub raw: RawJson,
}

/// What another object tells of a subscription: key (`kind`, `from_id`), merged by the greatest `version`. It names no
/// user; see [`super::ClaimRow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingRow {
    /// What is bound to what.
    pub kind: BindingKind,
    /// `sub_…`
    pub from_id: String,
    /// `cus_…` or a tier, by kind.
    pub to_id: String,
    /// Where in the event it was found, e.g. `checkout.session.metadata`.
    pub evidence: String,
    /// Place of the evidence in time.
    pub version: Version,
}

/// What a [`BindingRow`] binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingKind {
    /// A subscription to a customer.
    SubscriptionCustomer,
    /// A subscription to the tier that its checkout session names. It counts if the subscription's own row has no tier,
    /// such as when no tiers are configured for prices.
    SubscriptionTier,
}

impl BindingKind {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SubscriptionCustomer => "subscription_customer",
            Self::SubscriptionTier => "subscription_tier",
        }
    }
}
