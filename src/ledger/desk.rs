//! What people ask about persons, events and money: what a user has and why, what an event did, what recurs, what came and went. Answers are bounded, and made
//! where the rows are.
//!
//! Guarantees: of all questions here only that about a person names users; nothing is added up over modes, accounts or
//! currencies; what is noted of a day are sums alone.

mod event;
mod person;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::event::{
    Age, Content, EVENT_OBJECTS_MAX, EventCustomer, EventDecision, EventFinding, EventMoney, EventRecord, EventReport,
    EventSubscription, EventWanted, PublicTables, RowVersion,
};
pub use self::person::{
    PersonAccess, PersonClaim, PersonCustomer, PersonEvent, PersonFinding, PersonMoney, PersonReport,
    PersonSubscription, PersonVouched,
};
use super::lines::{DayLine, Reason, RecurringLine};
use super::{BoxFuture, LedgerError};

/// Most rows of one kind in an answer about a person or an event.
pub const PERSON_ROWS_MAX: u32 = 50;

/// Most days that an answer goes back.
pub const BUSINESS_DAYS_MAX: u32 = 1000;

/// Most prices without a tier that are named of one mode, account and currency.
pub const UNMAPPED_MAX: usize = 50;

/// Most subscriptions on a page.
pub const SUBSCRIPTIONS_MAX: u32 = 500;

/// Questions that people ask, and the notes that answer them.
pub trait Desk: Send + Sync + fmt::Debug {
    /// What the ledger has about a person; an empty report if it knows nothing.
    fn person<'a>(&'a self, whom: &'a Whom) -> BoxFuture<'a, Result<PersonReport, LedgerError>>;

    /// Recurring revenue, and the last `days` days, at most [`BUSINESS_DAYS_MAX`].
    fn business(&self, days: u32) -> BoxFuture<'_, Result<Business, LedgerError>>;

    /// A page of subscriptions without their users, by descending id.
    fn subscription_page<'a>(
        &'a self,
        wanted: &'a SubscriptionsWanted,
    ) -> BoxFuture<'a, Result<SubscriptionPage, LedgerError>>;

    /// What the ledger has about an event, without users. If the event is not recorded, what it holds about the event's
    /// objects.
    fn event<'a>(&'a self, wanted: &'a EventWanted) -> BoxFuture<'a, Result<EventReport, LedgerError>>;

    /// Notes the present recurring revenue as that of this day, in place of an earlier note of the day.
    fn note_recurring(&self) -> BoxFuture<'_, Result<Noted, LedgerError>>;
}

/// The person that a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Whom {
    /// A user of the app, by the app's own id.
    User(String),
    /// The person to whom a Stripe customer leads.
    Customer(String),
    /// The person to whom a subscription leads.
    Subscription(String),
}

impl Whom {
    /// A customer or a subscription by its id; anything else is a user.
    pub fn named(id: &str) -> Self {
        let id = id.to_owned();
        match id.split_once('_') {
            Some(("cus", _)) => Self::Customer(id),
            Some(("sub", _)) => Self::Subscription(id),
            _ => Self::User(id),
        }
    }

    /// `user`, `customer` or `subscription`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Customer(_) => "customer",
            Self::Subscription(_) => "subscription",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Customer(id) | Self::Subscription(id) => id,
        }
    }
}

/// The business at a glance. Days are UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Business {
    /// This day, `YYYY-MM-DD`.
    pub day: String,
    /// Recurring revenue now.
    pub recurring: Vec<RecurringLine>,
    /// Recurring revenue of each noted day, the earliest first. A noted day on which nothing recurred has one line of nothing.
    pub history: Vec<HistoryLine>,
    /// Money by day, the earliest first.
    pub daily: Vec<DayLine>,
    /// Subscriptions that began and ended, by day.
    pub moved: Vec<MovedLine>,
    /// Subscriptions that entitle and give no user access.
    pub idle: Vec<IdleLine>,
    /// Prices that no tier is mapped to, of subscriptions that entitle: of each mode, account and currency the
    /// [`UNMAPPED_MAX`] with most subscriptions.
    pub unmapped: Vec<UnmappedLine>,
    /// Subscriptions in any status without a user.
    pub orphans: u64,
}

/// Recurring revenue of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    pub day: String,
    #[serde(flatten)]
    pub line: RecurringLine,
}

impl HistoryLine {
    /// Whether it only says that nothing recurred on its day, in no mode and currency.
    pub fn is_of_nothing(&self) -> bool {
        self.line.subscriptions == 0 && self.line.mrr_minor == 0
    }
}

/// What began and ended on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedLine {
    pub day: String,
    pub livemode: bool,
    pub account: Option<String>,
    pub currency: Option<String>,
    pub began: u64,
    pub ended: u64,
}

/// Subscriptions that give no user access, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleLine {
    pub livemode: bool,
    pub account: Option<String>,
    pub currency: Option<String>,
    pub reason: Reason,
    pub subscriptions: u64,
    pub mrr_minor: i64,
}

/// A price that no tier is mapped to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmappedLine {
    pub livemode: bool,
    pub account: Option<String>,
    pub currency: Option<String>,
    pub price: Option<String>,
    pub subscriptions: u64,
    pub mrr_minor: i64,
    /// How many such prices its mode, account and currency have in all.
    #[serde(default)]
    pub prices: u64,
}

/// Which subscriptions a page should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionsWanted {
    pub chosen: Chosen,
    /// Only those with a lower id.
    pub before: Option<String>,
    /// At most [`SUBSCRIPTIONS_MAX`].
    pub most: u32,
}

/// A list of subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chosen {
    #[default]
    All,
    /// They give access.
    Active,
    /// They give access, and will end by themselves.
    Ending,
    /// Their payers are late.
    Late,
    /// They entitle and give no user access.
    Idle,
    /// No tier is mapped to their price.
    Unmapped,
    Ended,
}

impl Chosen {
    pub const ALL: [Self; 7] =
        [Self::All, Self::Active, Self::Ending, Self::Late, Self::Idle, Self::Unmapped, Self::Ended];

    /// The name in requests and addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Late => "late",
            Self::Idle => "idle",
            Self::Unmapped => "unmapped",
            Self::Ended => "ended",
        }
    }
}

/// Some subscriptions, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPage {
    pub subscriptions: Vec<SubscriptionRow>,
    /// The next page has lower ids than this; absent on the last page.
    pub next: Option<String>,
}

/// A subscription without its user.
#[expect(clippy::struct_excessive_bools, reason = "a flat line: each is a field of its own")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRow {
    pub id: String,
    pub livemode: bool,
    pub account: Option<String>,
    pub customer_id: Option<String>,
    pub status: String,
    pub currency: Option<String>,
    pub mrr_minor: i64,
    pub will_cancel: bool,
    pub price_id: Option<String>,
    pub entitles: bool,
    pub tier: Option<String>,
    pub has_user: bool,
    pub current_period_end_ms: Option<i64>,
    pub grace_ends_at_ms: Option<i64>,
    pub ended_at_ms: Option<i64>,
    /// Why it gives no user access although it should.
    pub reason: Option<Reason>,
}

/// The note that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    pub day: String,
    pub lines: u64,
}

/// A call of `public.gateway_desk`.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Request<'a> {
    Person { kind: &'static str, id: &'a str, most: u32 },
    Business { days: u32 },
    Subscriptions { chosen: &'static str, before: Option<&'a str>, most: u32 },
    Event { id: &'a str, objects: &'a [String], most: u32 },
    Note,
}

impl<'a> Request<'a> {
    pub(super) fn person(whom: &'a Whom) -> Self {
        Self::Person { kind: whom.kind(), id: whom.id(), most: PERSON_ROWS_MAX }
    }

    pub(super) fn business(days: u32) -> Self {
        Self::Business { days: days.min(BUSINESS_DAYS_MAX) }
    }

    pub(super) fn subscriptions(wanted: &'a SubscriptionsWanted) -> Self {
        let most = wanted.most.clamp(1, SUBSCRIPTIONS_MAX);
        Self::Subscriptions { chosen: wanted.chosen.as_str(), before: wanted.before.as_deref(), most }
    }

    pub(super) fn event(wanted: &'a EventWanted) -> Self {
        Self::Event { id: &wanted.id, objects: &wanted.objects, most: PERSON_ROWS_MAX }
    }

    pub(super) fn document(&self, ledger: &'static str) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|error| {
            let kind = super::LedgerErrorKind::Rejected;
            LedgerError::new(ledger, kind, "the request cannot be written as JSON").caused_by(error)
        })
    }
}
