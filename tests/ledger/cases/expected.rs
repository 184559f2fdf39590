//! The right end of each case.

use colony_gateway::ledger::report::SubscriptionLine;

type IsRight = fn(&SubscriptionLine) -> bool;

/// What is right at the end of a case, in every order of all its events.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// One's own money by currency, minor units; other currencies have none.
    pub(super) net: &'static [(&'static str, i64)],
    /// Of it, what came around Stripe.
    pub(super) outside: &'static [(&'static str, i64)],
    /// Subscriptions, and what must hold of each.
    pub(super) subscriptions: &'static [(&'static str, IsRight)],
    /// Whether the checks must be silent.
    pub(super) no_findings: bool,
    /// Money at the end of an order of the file, by its number, that leaves events out.
    pub(super) parts: &'static [(usize, &'static [(&'static str, i64)])],
}

const SILENT: Expected = Expected { net: &[], outside: &[], subscriptions: &[], no_findings: true, parts: &[] };

impl Expected {
    pub(super) fn of_order(self, number: usize) -> Self {
        let part = self.parts.iter().find(|(order, _)| *order == number);
        part.map_or(self, |(_, net)| Self { net, ..self })
    }
}

/// Cases by the name of their file.
pub(super) const CASES: &[(&str, Expected)] = &[
    ("01-authorization-released", SILENT),
    ("04-dispute-of-partly-refunded-charge", SILENT),
    ("12-connected-account-money", Expected { net: &[("eur", 1500)], no_findings: false, ..SILENT }),
    ("23-one-payment-two-invoices", Expected { net: &[("usd", 30_000)], parts: &[(3, &[("usd", 25_000)])], ..SILENT }),
    ("24-legacy-capture", Expected { net: &[("eur", 8000)], ..SILENT }),
    ("27-discount-on-a-line", Expected { net: &[("usd", 18_810)], ..SILENT }),
    ("30a-out-of-band-before-basil", Expected { net: &[("eur", 7000)], outside: &[("eur", 7000)], ..SILENT }),
    ("38-order-reference-cut-to-25", Expected { net: &[("usd", 2500)], ..SILENT }),
];
