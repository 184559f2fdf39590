//! Claims: what events and operators say about the user of a subscription or customer.

use serde::{Serialize, Serializer};

use super::Version;

/// One claim: key (`subject`, `rank`, `user_id`), merged by the greatest `version`.
///
/// Claims are kept as a set. No claim is refused because another contradicts it. [`crate::revenue::owners`] finds the owner
/// from all of them, so the order in which they came does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimRow {
    /// `sub_…` or `cus_…`, by rank.
    pub subject: String,
    /// The user, as text: mostly but not always a UUID.
    pub user_id: String,
    /// How much the evidence weighs.
    pub rank: ClaimRank,
    /// Where it was found, e.g. `checkout.session.client_reference_id`.
    pub evidence: String,
    /// Place of the evidence in time.
    pub version: Version,
}

/// How much a claim weighs, and whether it is about a subscription or a customer. A stronger claim wins over a weaker one,
/// and a claim about the subscription itself over one that it has from its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimRank {
    /// The predecessor's own rows, which users cannot write, about a customer.
    PredecessorOfCustomer = 10,
    /// The same, about a subscription.
    Predecessor = 15,
    /// `client_reference_id` of a session of the customer. Anyone can put it into the address of a payment link.
    ReferenceOfCustomer = 30,
    /// `client_reference_id` of the session that made the subscription.
    Reference = 35,
    /// Metadata of a purchase of the customer: a session, or an invoice of no subscription.
    Purchase = 40,
    /// Metadata of an invoice of the subscription.
    Invoice = 45,
    /// The customer's own metadata.
    Customer = 50,
    /// An operator's word about the customer.
    OperatorOfCustomer = 60,
    /// Metadata of the session that made the subscription.
    Session = 70,
    /// The subscription's own metadata.
    Subscription = 80,
    /// An operator's word about the subscription.
    Operator = 90,
}

impl ClaimRank {
    /// Whether the subject is a customer.
    pub const fn is_of_customer(self) -> bool {
        match self {
            Self::PredecessorOfCustomer
            | Self::ReferenceOfCustomer
            | Self::Purchase
            | Self::Customer
            | Self::OperatorOfCustomer => true,
            Self::Predecessor
            | Self::Reference
            | Self::Invoice
            | Self::Session
            | Self::Subscription
            | Self::Operator => false,
        }
    }

    /// Whether several users at this rank contradict each other. A customer has one user, and no event tells which of two
    /// is right. A subscription may be moved, and an operator may change their mind: there the newer claim holds.
    pub const fn can_be_contested(self) -> bool {
        self.is_of_customer() && !matches!(self, Self::OperatorOfCustomer)
    }

    /// The rank that a claim of this rank gets as the operator's word, when a person who releases the event vouches for it.
    /// A reference is not the seller's word, so a release makes it no stronger.
    pub(crate) const fn when_released(self) -> Option<Self> {
        match self {
            Self::Subscription | Self::Session | Self::Invoice => Some(Self::Operator),
            Self::Customer | Self::Purchase => Some(Self::OperatorOfCustomer),
            Self::PredecessorOfCustomer
            | Self::Predecessor
            | Self::ReferenceOfCustomer
            | Self::Reference
            | Self::OperatorOfCustomer
            | Self::Operator => None,
        }
    }
}

impl Serialize for ClaimRank {
    /// As the number that stores compare.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i16(*self as i16)
    }
}
