//! Lines that several reports share: recurring revenue, the money of a day, and why a subscription gives no user access.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a subscription that entitles gives no user access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No event names a user.
    Unnamed,
    /// Claims about its customer name several users.
    Contested,
    /// The user's id does not fit the columns of the public tables.
    Unfit,
    /// A rule holds the event that would give it, and no person has decided about that event yet.
    Withheld,
    /// The person's data was erased on request, and Stripe still collects money.
    Erased,
    /// It was paid for, or its checkout was completed, and no event told what it is.
    Untold,
}

impl Reason {
    pub const ALL: [Self; 6] =
        [Self::Unnamed, Self::Contested, Self::Unfit, Self::Withheld, Self::Erased, Self::Untold];

    /// The name in reports, metrics and alerts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unnamed => "unnamed",
            Self::Contested => "contested",
            Self::Unfit => "unfit",
            Self::Withheld => "withheld",
            Self::Erased => "erased",
            Self::Untold => "untold",
        }
    }

    /// What an operator can do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Unnamed => {
                "no event names the user: run `colony-gateway bind SUBSCRIPTION --user USER`, and have the checkout \
                 write `userId` into the metadata of the subscription"
            }
            Self::Contested => {
                "claims about the customer name several users: run `colony-gateway bind SUBSCRIPTION --user USER` for \
                 this one, or `bind CUSTOMER --user USER` for all of the customer's subscriptions that name no user"
            }
            Self::Unfit => {
                "the user's id does not fit the type of the public tables: change the type of their column, or \
                 `colony-gateway bind SUBSCRIPTION --user USER` with an id that fits"
            }
            Self::Withheld => {
                "a rule holds an event of the subscription: run `colony-gateway inbox release EVENT` if it is \
                 genuine, `inbox drop EVENT` if it is not, or `inbox replay EVENT` after you changed the rules; \
                 `reconcile subscriptions` asks Stripe again"
            }
            Self::Erased => {
                "the person's data was erased, and Stripe still collects: cancel the subscription at Stripe; if the \
                 person has come back, run `colony-gateway erase --forget` and then `bind SUBSCRIPTION --user USER`"
            }
            Self::Untold => {
                "no event tells what was bought: let the endpoint at Stripe send `customer.subscription.*` (`colony-gateway \
                 stripe setup` does it), then fetch the subscription with `colony-gateway reconcile subscriptions`, or \
                 resend one of its events at Stripe"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Recurring revenue of one mode, account, tier and currency. That of a connected account is not the operator's money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecurringLine {
    /// False for test mode.
    pub livemode: bool,
    /// Connected account; `None` for the operator's own.
    pub account: Option<String>,
    /// Tier; `None` for a price that no tier is mapped to.
    pub tier: Option<String>,
    /// ISO 4217 code in lower case.
    pub currency: Option<String>,
    /// Subscriptions that entitle their user now.
    pub subscriptions: u64,
    /// What they bring in a month, in minor units.
    pub mrr_minor: i64,
}

/// Money of one account, mode, day and currency, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayLine {
    /// Connected account whose money it is; `None` for the operator's own. Never add up both.
    #[serde(default)]
    pub account: Option<String>,
    /// False for test mode.
    pub livemode: bool,
    /// Day in UTC, as `YYYY-MM-DD`.
    pub day: String,
    /// ISO 4217 code in lower case.
    pub currency: String,
    /// Incoming money: invoices and payments.
    pub gross_minor: i64,
    /// Outgoing money: refunds and disputes; zero or negative.
    pub returned_minor: i64,
    /// The sum of both.
    pub net_minor: i64,
    /// The incoming money that came around Stripe: invoices paid out of band.
    #[serde(default)]
    pub outside_minor: i64,
}
