//! Customers, and which user a customer or subscription belongs to.

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
    /// Stripe has deleted it.
    pub deleted: bool,
    /// Currency that the customer is billed in, ISO 4217 in lower case.
    pub currency: Option<String>,
    /// An invoice is overdue.
    pub delinquent: Option<bool>,
    /// Credit (negative) or debt in minor units, applied to the next invoice.
    pub balance_minor: Option<i64>,
    /// User named by the customer's own metadata: evidence, not the binding.
    pub metadata_user_id: Option<String>,
    /// The customer as Stripe gave it.
    pub raw: RawJson,
}

/// Evidence that `from_id` belongs to `to_id`: key (`kind`, `from_id`), merged by the greatest `version`.
///
/// A binding is never re-pointed: when the store already has the key with another `to_id` (from an earlier batch, or
/// from an event earlier in the same batch), and the plan is not `released`, it writes none of the event's rows and
/// answers `Quarantined` with rule `binding_conflict`. When the plan is `released` the greatest `version` wins; so it
/// does, always, for `subscription_tier`, which is no claim to anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingRow {
    /// What is bound to what.
    pub kind: BindingKind,
    /// `cus_…` or `sub_…`, by kind.
    pub from_id: String,
    /// The user's id, `cus_…` or a tier, by kind. A user id is text as the event gave it, mostly but not always a UUID.
    pub to_id: String,
    /// Where in the event it was said, e.g. `checkout.session.client_reference_id`.
    pub evidence: String,
    /// Place of the evidence in time. The greatest wins among those that agree.
    pub version: Version,
}

/// What a [`BindingRow`] binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingKind {
    /// A customer to a user.
    CustomerUser,
    /// A subscription to a user.
    SubscriptionUser,
    /// A subscription to a customer.
    SubscriptionCustomer,
    /// A subscription to the tier that its checkout session names. Readers take it where the subscription's own row
    /// has no tier, as happens when no price map is configured.
    SubscriptionTier,
}

impl BindingKind {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomerUser => "customer_user",
            Self::SubscriptionUser => "subscription_user",
            Self::SubscriptionCustomer => "subscription_customer",
            Self::SubscriptionTier => "subscription_tier",
        }
    }
}
