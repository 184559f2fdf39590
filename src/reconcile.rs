//! Comparing what is here with what Stripe has: events that never arrived, and subscriptions that changed unseen; and rows
//! with what the payloads that they stand on come to by today's rules.
//!
//! Guarantees: an event that Stripe lists, that the gateway maps and that neither ledger nor inbox knows is put into the
//! inbox, from where it takes the way of every other event; the cursor moves only when everything older is durable here
//! or recorded in the ledger; a page that cannot be read ends the run with an error and leaves the cursor where it is. A
//! subscription is repaired under the fence that every fetched one has, so that a repair never overwrites what is newer.
//!
//! The cursor is in the inbox file, because it vouches for the entries of that file: a gateway that has lost its disk has lost
//! the cursor too, and compares all that Stripe still lists. The ledger records whose turn it is, as a lease.

mod bounds;
mod events;
mod handle;
mod recount;
mod refetch;
mod report;
mod runner;
mod stubborn;
mod subscriptions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::bounds::{
    CONFIRMATIONS_MAX, HORIZON, HORIZON_WARNING, OVERLAP, SECOND_PAGES_MAX, SUBSCRIPTIONS_MAX, WINDOW_PAGES_MAX,
};
pub use self::handle::{Handle, OrderRefused, PastRun, handle};
pub use self::recount::Recounter;
pub use self::refetch::{REFETCH_ENTRIES_MAX, Refetcher};
pub use self::report::{
    EventsReport, Example, MendedRows, ReconcileOrder, ReconcileReport, ReconcileScope, ReconcileStatus, RecountReport,
    SubscriptionsReport,
};
pub use self::runner::{Runner, Schedule};
pub use self::stubborn::{ATTEMPTS_MAX, ReconcileError};

use crate::domain::backoff::Backoff;
use crate::domain::clock::{Clock, Timestamp};
use crate::inbox::Inbox;
use crate::ledger::report::StateOfRecord;
use crate::revenue::validator::Validator;
use crate::stripe::api::{Scope, StripeApi};
use crate::stripe::endpoint::Endpoint;

/// Compares, and corrects the differences.
#[derive(Debug)]
pub struct Reconciler {
    pub api: Arc<StripeApi>,
    pub inbox: Inbox,
    pub ledger: Arc<dyn StateOfRecord>,
    /// Makes rows of listed subscriptions.
    pub validator: Arc<Validator>,
    /// A missing event goes to the one of these that matches its mode and account.
    pub endpoints: Vec<Endpoint>,
    /// Connected accounts whose lists are read besides our own.
    pub accounts: Vec<String>,
    /// The directory for the scratch file of a recount.
    pub scratch: PathBuf,
    /// Waits between attempts at one page.
    pub backoff: Backoff,
    pub clock: Clock,
}

/// The terms of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunTerms {
    pub order: ReconcileOrder,
    /// Events younger than this may still be on their way as webhooks and are left to the next run.
    pub grace: Duration,
    /// The moment up to which another gateway has compared events, if known.
    pub covered: Option<Timestamp>,
    /// Whether rows are counted again.
    pub recounts: bool,
}

impl RunTerms {
    /// For an operator's order, up to this moment.
    pub fn ordered(order: ReconcileOrder) -> Self {
        Self { order, grace: Duration::ZERO, covered: None, recounts: order.what.counts() }
    }
}

impl Reconciler {
    /// Does what is ordered, and reports its progress after each page. An error ends its part of the run and is in the
    /// report. Dropping the run between two steps loses nothing.
    pub async fn run(&self, terms: RunTerms, mut tell: impl FnMut(&ReconcileReport) + Send) -> ReconcileReport {
        let order = terms.order;
        let mut report = ReconcileReport { dry_run: order.dry_run, ..ReconcileReport::default() };
        if order.what.events() {
            let mut events = EventsReport::default();
            let result = {
                let report = &mut report;
                let mut tell = |events: &EventsReport| {
                    report.events = Some(events.clone());
                    tell(report);
                };
                self.compare_events(terms, &mut events, &mut tell).await
            };
            events.error = result.err().map(|error| crate::domain::causes::chain(&error));
            report.events = Some(events);
            tell(&report);
        }
        if order.what.subscriptions() {
            let mut subscriptions = SubscriptionsReport::default();
            let result = {
                let report = &mut report;
                let mut tell = |subscriptions: &SubscriptionsReport| {
                    report.subscriptions = Some(subscriptions.clone());
                    tell(report);
                };
                self.compare_subscriptions(order.dry_run, &mut subscriptions, &mut tell).await
            };
            subscriptions.error = result.err().map(|error| crate::domain::causes::chain(&error));
            report.subscriptions = Some(subscriptions);
            tell(&report);
        }
        if terms.recounts {
            let counts = {
                let report = &mut report;
                self.recounter()
                    .run(order.dry_run, |counts| {
                        report.counts = Some(counts.clone());
                        tell(report);
                    })
                    .await
            };
            report.counts = Some(counts);
            tell(&report);
        }
        report
    }

    fn recounter(&self) -> Recounter<'_> {
        let (ledger, validator) = (&*self.ledger, &*self.validator);
        Recounter { ledger, validator, scratch: &self.scratch, backoff: self.backoff }
    }

    /// Our own account and the connected ones.
    fn scopes(&self) -> impl Iterator<Item = Scope> {
        let connected = self.accounts.iter().map(|account| Scope { account: Some(account.clone()), context: None });
        std::iter::once(Scope::default()).chain(connected)
    }
}
