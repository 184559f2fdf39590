//! Money that came in or went out, in a form in which no amount can count twice.
//!
//! Up to six events tell of one payment (`invoice.paid`, `invoice.payment_succeeded`, `invoice_payment.paid`,
//! `charge.succeeded`, `payment_intent.succeeded`, `checkout.session.completed`), and in newer API versions a charge
//! no longer names its invoice. So an event writes what it knows under the key of the object that it speaks of, links
//! say which payment paid which invoice, and what counts is decided over all rows when they are read:
//!
//! Rows of one payment are found by its names: what names a charge is about the payment intent that any row names
//! together with this charge.
//!
//! 1. An `invoice` row counts; what of it came around Stripe is what `part` rows without a payment say of it, and what it
//!    says itself as far as the steps below find no payment for it: a receipt, and an invoice that a seller marks as paid
//!    after a payment of the seller's own, say so of money that came through Stripe.
//! 2. A `payment` row counts with what no known invoice of it tells. `part` rows tell with their amounts, together no more
//!    than was paid on the invoice; a link of
//!    [`Evidence::Named`] tells what is left of both, the invoice and the payment; a link of [`Evidence::Hint`] does so
//!    only where nothing better is known of the payment, and only for the one invoice of the same customer and currency that
//!    it fits: a reference that was cut and fits several names none of them.
//! 3. What is then left of payments and invoices, and belongs to no invoice or payment that is not known yet, is matched: the
//!    same account, mode, customer, currency and amount, and no gap longer than [`MATCH_WINDOW`] between the times. Of such a
//!    group as many payments are told as it has invoices, the earliest first, and invoices that say of themselves that they
//!    were paid around Stripe last. One of those may be paid by another payment than it names.
//! 4. A `part` row without a payment row counts as long as its invoice is not known.
//! 5. A `refund` row counts (a failed one is zero), unless it is the release of what was authorised and never captured:
//!    the first refund of a payment of just what was left uncaptured, or one that says that it moved nothing.
//! 6. A `refund_total` row counts with what the single refunds leave of it, which is at most zero.
//! 7. Refunds of a payment count up to what was captured of it.
//! 8. A `dispute` row counts with what the bank took.
//!
//! Fees, credit notes and payouts are not told by the events that are mapped, and count for nothing.
//!
//! [`crate::revenue::counting`] is this rule as code, for stores to be tested against.

use std::time::Duration;

use serde::Serialize;

use super::Version;
use crate::domain::clock::Timestamp;

/// Longest gap between invoices and payments without a link that are still taken for the same money.
pub const MATCH_WINDOW: Duration = Duration::from_hours(1);

/// An amount of money, key (`kind`, `key`), merged by the greatest `version`. `payment_id`, `charge_id`, `customer_id` and
/// `outside_minor` never change, so the greatest value of any version is kept.
///
/// If `user_id` is not set, the user is that of `subscription_id`, else that of `customer_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevenueRow {
    /// What kind of money.
    pub kind: RevenueKind,
    /// Stripe's id of the object whose money it is: `in_…`, `pi_…` (else `ch_…`), `inpay_…`, `re_…`, `du_…`.
    pub key: String,
    /// Place of this content in the object's history.
    pub version: Version,
    /// The moment at which the content is known to be true (the time in `version`).
    pub as_of: Timestamp,
    /// Connected account, if any.
    pub account: Option<String>,
    /// False for test mode; never add up both.
    pub livemode: bool,
    /// Minor units of `currency`; outgoing money is negative.
    pub amount_minor: i64,
    /// How much of the amount came around Stripe; only on `invoice` and `part` rows.
    pub outside_minor: i64,
    /// On `payment` rows, the amount that was authorised and not captured. On `refund` and `refund_total` rows of old API
    /// versions, the amount, as a positive number: it may be the release of an amount that was not captured. If a refund
    /// says itself that it moved nothing, it has its amount here and zero in `amount_minor`.
    pub uncaptured_minor: i64,
    /// The amount of a refund that failed or was canceled, as a positive number. An earlier total may still include it.
    pub voided_minor: i64,
    /// ISO 4217 code in lower case.
    pub currency: String,
    /// When the money moved.
    pub occurred_at: Timestamp,
    /// Payment it belongs to: `pi_…`, else `ch_…`. For `payment` rows the same as `key`.
    pub payment_id: Option<String>,
    /// `ch_…`, if known.
    pub charge_id: Option<String>,
    /// `in_…`, if known.
    pub invoice_id: Option<String>,
    /// `sub_…`, if known.
    pub subscription_id: Option<String>,
    /// `cus_…`, if known.
    pub customer_id: Option<String>,
    /// User named by the object itself, for payments of guests.
    pub user_id: Option<String>,
    /// Stripe's status of the object.
    pub status: Option<String>,
}

/// What kind of money a [`RevenueRow`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevenueKind {
    /// A paid invoice: the total paid on it.
    Invoice,
    /// A payment.
    Payment,
    /// The amount that a payment, or money around Stripe, gave to one invoice.
    Part,
    /// One refund.
    Refund,
    /// The total refunded of a charge so far, if Stripe does not say by which refunds. It has the payment's key.
    RefundTotal,
    /// A dispute: the amount that the bank took back.
    Dispute,
}

impl RevenueKind {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::Payment => "payment",
            Self::Part => "part",
            Self::Refund => "refund",
            Self::RefundTotal => "refund_total",
            Self::Dispute => "dispute",
        }
    }
}

/// A payment that paid an invoice: key (`payment_id`, `invoice_id`), merged by the greatest `version`. `part` rows tell how
/// much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentLink {
    /// `pi_…` or `ch_…`
    pub payment_id: String,
    /// `in_…`; in a hint perhaps only its first characters.
    pub invoice_id: String,
    pub evidence: Evidence,
    /// Place of the evidence: better evidence wins.
    pub version: Version,
}

/// The evidence that a payment paid an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A reference that Stripe cuts off, and that a seller can write too.
    Hint = 1,
    /// The invoice names the payment, the payment names the invoice, or a session names both.
    Named = 2,
}

impl Serialize for Evidence {
    /// As the number that stores keep.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}
