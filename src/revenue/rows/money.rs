//! Money that came in or went out, in a form in which no amount can count twice.
//!
//! Up to six events tell of one payment (`invoice.paid`, `invoice.payment_succeeded`, `invoice_payment.paid`,
//! `charge.succeeded`, `payment_intent.succeeded`, `checkout.session.completed`), and in newer API versions a charge
//! no longer names its invoice. So an event writes what it knows under the key of the object that it speaks of, links
//! say which payment paid which invoice, and what counts is decided over all rows when they are read:
//!
//! 1. Every `invoice` row counts.
//! 2. A `payment` row counts unless a [`PaymentLink`] whose `payment_id` is the row's `key` or `charge_id` names an
//!    invoice that has an `invoice` row, or, for rows without any link, an `invoice` row that no link names has the
//!    same `match_key` and lies at most [`MATCH_WINDOW`] away (`occurred_at`).
//! 3. Every `refund` and `dispute` row counts (with its sign; failed refunds and won disputes are zero).
//! 4. A `refund_total` row counts with what the single refunds leave of it, which is at most zero:
//!    `least(0, total.amount_minor + voided - single)`, where, over the `refund` rows of the same `payment_id`,
//!    `single` is `sum(amount_minor)` and `voided` is `sum(voided_minor)` of those with `as_of >= total.as_of`.
//!
//! Rule 2 errs on the side of counting once: two equal payments of one customer within the window of one invoice, none
//! of which any event links, count as the invoice alone. With a key Stripe is asked for the link.
//!
//! An invoice that was paid outside of Stripe counts as paid. Fees, credit notes and payouts are not told by the events
//! that are mapped, and count for nothing.
//!
//! [`crate::revenue::net`] is this rule as code, for stores to be tested against.

use std::time::Duration;

use serde::Serialize;

use super::Version;
use crate::domain::clock::Timestamp;

/// How far apart an invoice and a payment without any link may be to be taken for the same money.
pub const MATCH_WINDOW: Duration = Duration::from_hours(1);

/// An amount of money, key (`kind`, `key`), merged by the greatest `version`.
///
/// The user, where `user_id` is not set, is that of the binding of `subscription_id`, else of `customer_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevenueRow {
    /// What kind of money.
    pub kind: RevenueKind,
    /// Stripe's id of the object whose money it is: `in_…`, `pi_…` (else `ch_…`), `re_…`, `du_…`.
    pub key: String,
    /// Place of this content in the object's history.
    pub version: Version,
    /// Moment the content is known to be true of (the time in `version`).
    pub as_of: Timestamp,
    /// Connected account, if any.
    pub account: Option<String>,
    /// False for test mode; never add up both.
    pub livemode: bool,
    /// Minor units of `currency`; negative is money that went out.
    pub amount_minor: i64,
    /// A refund that failed or was canceled: its amount, positive. A total told before may still hold it.
    pub voided_minor: i64,
    /// ISO 4217 code in lower case.
    pub currency: String,
    /// When the money moved.
    pub occurred_at: Timestamp,
    /// Payment it belongs to: `pi_…`, else `ch_…`. For `payment` rows the same as `key`.
    pub payment_id: Option<String>,
    /// `ch_…`, where it is known.
    pub charge_id: Option<String>,
    /// `in_…`, where it is known.
    pub invoice_id: Option<String>,
    /// `sub_…`, where it is known.
    pub subscription_id: Option<String>,
    /// `cus_…`, where it is known.
    pub customer_id: Option<String>,
    /// User named by the object itself, for payments of guests.
    pub user_id: Option<String>,
    /// Stripe's status of the object.
    pub status: Option<String>,
    /// Customer, currency and amount as one text, for rule 2; only on `invoice` and `payment` rows with a customer.
    pub match_key: Option<String>,
}

/// What kind of money a [`RevenueRow`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevenueKind {
    /// A paid invoice: all that was paid on it.
    Invoice,
    /// A payment by itself.
    Payment,
    /// One refund.
    Refund,
    /// All that was refunded of a charge so far, where Stripe does not say by which refunds. Its key is that of the
    /// payment.
    RefundTotal,
    /// A dispute: what the bank took back.
    Dispute,
}

impl RevenueKind {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::RefundTotal => "refund_total",
            Self::Dispute => "dispute",
        }
    }
}

/// Which invoice a payment paid: key `payment_id`, merged by the greatest `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentLink {
    /// `pi_…` or `ch_…`
    pub payment_id: String,
    /// `in_…`; `None` is the knowledge that it paid no invoice.
    pub invoice_id: Option<String>,
    /// Place of the evidence: a named invoice stands above the knowledge that there is none.
    pub version: Version,
}
