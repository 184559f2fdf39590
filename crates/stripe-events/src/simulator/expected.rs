//! What the state of record must say after simulated events, computed from the stories and not from the payloads.
//!
//! It learns from events in any order and knows nothing of how the gateway reads them. Several events tell of one
//! payment; it counts from whichever is learnt first, and once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::SimulatedEvent;
use super::catalogue::{Currency, Tier};

/// Status of a subscription, as Stripe names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// It waits for the first payment.
    Incomplete,
    /// In its trial.
    Trialing,
    /// Paid.
    Active,
    /// A renewal is not paid yet.
    PastDue,
    /// Stripe gave up a renewal but not the subscription.
    Unpaid,
    /// The trial ended without a payment method.
    Paused,
    /// Ended for good.
    Canceled,
}

impl SubscriptionStatus {
    /// The name in Stripe's objects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the user may use what they bought. Late payers may, because Stripe still retries their payment.
    pub const fn entitles(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue)
    }
}

/// Expected state of one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpectedSubscription {
    /// `sub_…`
    pub id: String,
    /// Stripe's status.
    pub status: SubscriptionStatus,
    /// The tier that is sold.
    #[serde(serialize_with = "as_name")]
    pub tier: Tier,
    /// Start and end of the current period, in seconds since the Unix epoch.
    pub period: (i64, i64),
    /// Whether it will end by itself.
    pub will_cancel: bool,
}

/// Expected state of one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpectedUser {
    /// The application's user.
    pub user_id: String,
    /// `cus_…`
    pub customer_id: String,
    /// Whether an event has said that the customer is this user.
    pub bound: bool,
    /// Every subscription that the user had, in the order in which they were made.
    pub subscriptions: Vec<ExpectedSubscription>,
    /// ISO code in lower case.
    pub currency: &'static str,
    /// Paid, in minor units: all that a charge, a payment intent or an invoice has reported.
    pub paid: i64,
    /// Given back to the user, or taken by the bank in a dispute, in minor units.
    pub refunded: i64,
}

impl ExpectedUser {
    /// The latest subscription, if any. No user has two at once.
    pub fn subscription(&self) -> Option<&ExpectedSubscription> {
        self.subscriptions.last()
    }

    /// The tier that the user may use now: `free` without a subscription that entitles them.
    pub fn tier(&self) -> &'static str {
        let entitling = self.subscriptions.iter().filter(|subscription| subscription.status.entitles());
        entitling.map(|subscription| subscription.tier).max().map_or("free", Tier::as_str)
    }
}

/// Money in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Revenue {
    /// Paid.
    pub paid: i64,
    /// Given back.
    pub refunded: i64,
}

/// Expected state of record.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    events: u64,
    kinds: BTreeMap<&'static str, u64>,
    users: BTreeMap<String, Learned>,
}

#[derive(Clone, Debug)]
struct Learned {
    user: ExpectedUser,
    /// The place in the story up to which each of the user's subscriptions is known.
    known: Vec<u32>,
    /// Payments and refunds that were counted.
    counted: BTreeSet<(u32, bool)>,
    /// For each dispute, by number: the place in the story up to which it is known, and what the bank holds.
    disputes: BTreeMap<u32, (u32, i64)>,
}

/// What one event says about its user.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) user_id: String,
    pub(super) customer_id: String,
    pub(super) currency: Currency,
    /// Place in the user's story.
    pub(super) place: u32,
    pub(super) binds: bool,
    pub(super) fact: Fact,
}

/// A change of the state of record.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Nothing,
    Subscription(ExpectedSubscription),
    Money(Vec<Money>),
    Dispute(Disputed),
}

/// The money that the bank holds of a payment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disputed {
    /// Number of the payment within the story.
    pub(super) invoice: u32,
    /// Minor units; zero once the bank gave them back.
    pub(super) amount: i64,
}

/// A payment, or its refund. No payment is refunded twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Money {
    /// Number of the paid invoice within the story.
    pub(super) invoice: u32,
    pub(super) refund: bool,
    /// Minor units.
    pub(super) amount: i64,
}

impl Expected {
    /// Takes in one event. An event that comes again is counted again by [`Expected::events`] and changes nothing
    /// else.
    pub fn learn(&mut self, event: &SimulatedEvent) {
        self.events += 1;
        *self.kinds.entry(event.kind).or_default() += 1;
        let told = &event.told;
        let learned = self.users.entry(told.user_id.clone()).or_insert_with(|| Learned {
            user: ExpectedUser {
                user_id: told.user_id.clone(),
                customer_id: told.customer_id.clone(),
                bound: false,
                subscriptions: Vec::new(),
                currency: told.currency.as_str(),
                paid: 0,
                refunded: 0,
            },
            known: Vec::new(),
            counted: BTreeSet::new(),
            disputes: BTreeMap::new(),
        });
        learned.user.bound |= told.binds;
        match &told.fact {
            Fact::Nothing => {}
            Fact::Money(money) => money.iter().for_each(|money| learned.money(*money)),
            Fact::Dispute(disputed) => learned.dispute(told.place, *disputed),
            Fact::Subscription(subscription) => learned.subscription(told.place, subscription),
        }
    }

    /// Number of events taken in.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Number of events taken in, by type.
    pub fn kinds(&self) -> &BTreeMap<&'static str, u64> {
        &self.kinds
    }

    /// Users, by user identifier.
    pub fn users(&self) -> impl Iterator<Item = &ExpectedUser> {
        self.users.values().map(|learned| &learned.user)
    }

    /// The user with this identifier.
    pub fn user(&self, user_id: &str) -> Option<&ExpectedUser> {
        self.users.get(user_id).map(|learned| &learned.user)
    }

    /// Money by currency.
    pub fn revenue(&self) -> BTreeMap<&'static str, Revenue> {
        let mut totals: BTreeMap<&'static str, Revenue> = BTreeMap::new();
        for user in self.users().filter(|user| user.paid != 0 || user.refunded != 0) {
            let total = totals.entry(user.currency).or_default();
            total.paid += user.paid;
            total.refunded += user.refunded;
        }
        totals
    }

    /// Number of subscriptions, by status.
    pub fn statuses(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for subscription in self.users().flat_map(|user| &user.subscriptions) {
            *counts.entry(subscription.status.as_str()).or_default() += 1;
        }
        counts
    }
}

impl Learned {
    fn money(&mut self, money: Money) {
        if !self.counted.insert((money.invoice, money.refund)) {
            return;
        }
        let total = if money.refund { &mut self.user.refunded } else { &mut self.user.paid };
        *total += money.amount;
    }

    fn dispute(&mut self, place: u32, news: Disputed) {
        let known = self.disputes.entry(news.invoice).or_default();
        if place >= known.0 {
            self.user.refunded += news.amount - known.1;
            *known = (place, news.amount);
        }
    }

    fn subscription(&mut self, place: u32, news: &ExpectedSubscription) {
        let subscriptions = &mut self.user.subscriptions;
        match subscriptions.iter().position(|known| known.id == news.id) {
            Some(at) if self.known[at] < place => {
                self.known[at] = place;
                subscriptions[at] = news.clone();
            }
            Some(_) => {}
            None => {
                // Identifiers begin with the time at which they were made.
                let at = subscriptions.partition_point(|known| known.id < news.id);
                subscriptions.insert(at, news.clone());
                self.known.insert(at, place);
            }
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn as_name<S: serde::Serializer>(tier: &Tier, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(tier.as_str())
}
