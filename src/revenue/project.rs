//! From an event to the rows it writes.
//!
//! Pure: the same event, settings and fetched objects give the same plan. What an event does not say is left out
//! rather than guessed; what does not add up becomes a finding.

mod claims;
mod customer;
mod invoice;
mod payment;
mod session;
mod subscription;

use serde_json::Value;

use super::grace::Grace;
use super::rows::{
    BindingKind, BindingRow, EventFacts, Evidence, Finding, PaymentLink, Rank, RawJson, RevenueKind, RevenueRow,
    Severity, Source, Standing, Version,
};
use super::tiers::Tiers;
use super::verdict::Plan;
use crate::domain::clock::Timestamp;
use crate::stripe::api::Fetched;
use crate::stripe::event::{Event, Family};
use crate::stripe::metadata::UserFields;
use crate::stripe::money::{AMOUNT_MAX, Currency};
use crate::stripe::object::Object;
use crate::stripe::payment::shows_releases_as_refunds;

/// What the operator decides about the meaning of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a decision of its own")]
pub struct Settings {
    /// Tiers and their prices.
    pub tiers: Tiers,
    /// Whether a user keeps access while Stripe calls the subscription `unpaid`, that is, after it gave up collecting.
    pub unpaid_entitles: bool,
    /// Whether subscriptions on connected accounts (events with an `account`) give their users a tier on the platform. If
    /// not, they are recorded and counted, but no public table shows them.
    pub connect_entitles: bool,
    /// Whether a pause of collection takes access away until it ends.
    pub pause_withholds: bool,
    /// How long late payers keep access.
    pub grace: Grace,
    /// What the identifiers of users look like.
    pub user_ids: UserIds,
    /// Fields of metadata that name a user.
    pub user_fields: UserFields,
    /// Whether `client_reference_id` of a session names a cart or a partner here, and never a user.
    pub references_name_others: bool,
}

/// What the identifiers of users look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserIds {
    /// Any text without spaces.
    #[default]
    Any,
    /// UUIDs, as Supabase makes them. Other text names no user.
    Uuid,
}

/// What the projection knows besides the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The operator's decisions.
    pub settings: &'a Settings,
    /// The object of a thin event.
    pub related: Option<&'a Fetched>,
    /// The subscription that the event names.
    pub subscription: Option<&'a Fetched>,
    /// The event's `invoice_payment`s: how much its payment gave to which invoices, if Stripe said it and the event does
    /// not.
    pub given: &'a [Fetched],
    /// When a person released the event from quarantine.
    pub released_at: Option<Timestamp>,
    /// Whether a rule holds the event: then facts are written, but nothing is granted.
    pub is_suspect: bool,
}

/// An object, and what is known of its age.
#[derive(Clone, Copy, Debug)]
struct Content<'a> {
    object: Object<'a>,
    source: Source,
    at: Timestamp,
    /// For a fetched object: the moment of the fetch, which may be before that of the event that led to it.
    progress: u64,
}

/// The facts of an event that was parsed from `body`.
pub fn facts(event: &Event, body: &[u8]) -> EventFacts {
    let object_id = event.object().at("id").id().map(str::to_owned);
    EventFacts {
        id: event.id.clone(),
        kind: event.kind.clone(),
        account: event.account.clone(),
        livemode: event.livemode.unwrap_or(false),
        created: event.created,
        api_version: event.api_version.clone(),
        object_id: object_id.or_else(|| event.related.as_ref().map(|related| related.id.clone())),
        payload: RawJson::new(body, &event.value),
    }
}

/// The rows that an event writes.
pub fn project(event: &Event, facts: EventFacts, context: Context<'_>) -> Plan {
    let mut projection = Projection { event, context, plan: Plan::new(facts) };
    projection.plan.released = context.released_at.is_some();
    let own = match context.related {
        Some(fetched) => projection.fetched(fetched),
        None => Content { object: event.object(), source: Source::Payload, at: event.created, progress: 0 },
    };
    match event.family {
        Family::Subscription => projection.subscription_event(own),
        Family::Customer => projection.customer(own),
        Family::Session => projection.session(own),
        Family::Invoice => projection.invoice(own),
        Family::InvoicePayment => projection.invoice_payment(own),
        Family::Charge => projection.charge(own),
        Family::Refund => projection.refund(own),
        Family::Dispute => projection.dispute(own),
        Family::PaymentIntent => projection.payment_intent(own),
        Family::Other => {}
    }
    if context.is_suspect {
        projection.withhold_grants();
    } else if let Some(released_at) = context.released_at {
        projection.take_for_the_operators_word(released_at);
    }
    projection.plan
}

/// A plan under construction.
struct Projection<'a> {
    event: &'a Event,
    context: Context<'a>,
    plan: Plan,
}

impl<'a> Projection<'a> {
    /// An object as it is kept in a row of its own.
    fn raw(&self, object: &Value) -> RawJson {
        let own = self.event.object().value();
        if own.is_some_and(|own| std::ptr::eq(own, object)) {
            RawJson::in_payload(object)
        } else {
            RawJson::from_value(object)
        }
    }

    /// A fetch that an event led to is not older than the event, whatever the two clocks say.
    fn fetched(&self, fetched: &'a Fetched) -> Content<'a> {
        let at = fetched.began.max(self.event.created);
        let progress = u64::try_from(fetched.began.millis()).unwrap_or(0);
        Content { object: Object::new(&fetched.object), source: Source::Fetch, at, progress }
    }

    fn version(&self, content: Content<'_>, standing: Standing) -> Version {
        let rank = match content.source {
            Source::Fetch => Rank::Fetched,
            Source::Payload => Rank::of_payload(&self.event.kind),
        };
        let rendering = self.event.api_version.clone().filter(|_| content.source == Source::Payload);
        Version { standing, at: content.at, rank, progress: content.progress, event: self.event.id.clone(), rendering }
    }

    /// Notes what this content tells of a subscription. The first statement of an event counts. A second one that differs
    /// is a finding, because a plan must not contradict itself.
    fn bind(&mut self, kind: BindingKind, from: &str, to: &str, evidence: String, content: Content<'_>) {
        if let Some(first) = self.plan.bindings.iter().find(|row| row.kind == kind && row.from_id == from) {
            if first.to_id != to {
                let detail = format!("{} and {evidence} differ; the first was taken", first.evidence);
                self.finding("binding_evidence", Severity::Warning, from, detail);
            }
            return;
        }
        let version = self.version(content, Standing::Current);
        let (from_id, to_id) = (from.to_owned(), to.to_owned());
        self.plan.bindings.push(BindingRow { kind, from_id, to_id, evidence, version });
    }

    fn finding(&mut self, code: &str, severity: Severity, subject: &str, detail: String) {
        let known = |row: &Finding| row.code == code && row.subject == subject;
        if !self.plan.findings.iter().any(known) {
            let (code, subject) = (code.to_owned(), subject.to_owned());
            self.plan.findings.push(Finding { code, severity, subject, detail });
        }
    }

    /// A row of money about the object here. `None`, with a finding, if amount or currency cannot be read.
    fn money(
        &mut self,
        kind: RevenueKind,
        key: &str,
        amount: Option<i64>,
        content: Content<'_>,
        standing: Standing,
    ) -> Option<RevenueRow> {
        let object = content.object;
        let currency = object.at("currency").word().and_then(Currency::parse);
        let amount = amount.filter(|amount| amount.unsigned_abs() <= AMOUNT_MAX.unsigned_abs());
        let (Some(amount_minor), Some(currency)) = (amount, currency) else {
            let detail = "amount or currency is missing or no such thing; no money was recorded".to_owned();
            self.finding("money_unreadable", Severity::Critical, key, detail);
            return None;
        };
        let customer_id = object.customer().id().map(str::to_owned);
        let occurred_at = object.at("created").time().unwrap_or(self.event.created);
        Some(RevenueRow {
            kind,
            key: key.to_owned(),
            version: self.version(content, standing),
            as_of: content.at,
            account: self.event.account.clone(),
            livemode: self.livemode(object),
            amount_minor,
            outside_minor: 0,
            uncaptured_minor: 0,
            voided_minor: 0,
            currency: currency.as_str().to_owned(),
            occurred_at,
            payment_id: None,
            charge_id: None,
            invoice_id: None,
            subscription_id: None,
            customer_id,
            user_id: self.named_user(object),
            status: object.at("status").word().map(str::to_owned),
        })
    }

    /// Adds a row of money, unless nothing came in and nothing was authorised.
    fn push_money(&mut self, row: RevenueRow) {
        let incoming = matches!(row.kind, RevenueKind::Invoice | RevenueKind::Payment | RevenueKind::Part);
        if incoming && row.amount_minor == 0 && row.uncaptured_minor == 0 {
            return;
        }
        self.push_row(row);
    }

    /// Adds a row of money. Of several about one thing the first counts.
    fn push_row(&mut self, row: RevenueRow) {
        if !self.plan.revenue.iter().any(|known| known.kind == row.kind && known.key == row.key) {
            self.plan.revenue.push(row);
        }
    }

    /// Notes that a payment paid an invoice. Better evidence wins over newer evidence.
    fn link(&mut self, payment_id: &str, invoice_id: &str, evidence: Evidence, content: Content<'_>) {
        let known = |link: &PaymentLink| link.payment_id == payment_id && link.invoice_id == invoice_id;
        if self.plan.links.iter().any(known) {
            return;
        }
        let standing = match evidence {
            Evidence::Hint => Standing::Provisional,
            Evidence::Named => Standing::Current,
        };
        let version = self.version(content, standing);
        let (payment_id, invoice_id) = (payment_id.to_owned(), invoice_id.to_owned());
        self.plan.links.push(PaymentLink { payment_id, invoice_id, evidence, version });
    }

    /// Whether the object here is in an API version that shows the release of an authorisation as a refund. Requests to
    /// Stripe use a newer one.
    fn shows_releases_as_refunds(&self, content: Content<'_>) -> bool {
        content.source == Source::Payload && shows_releases_as_refunds(self.event.api_version.as_deref())
    }

    /// The user that an object's own metadata names, for the row about it.
    fn named_user(&self, object: Object<'_>) -> Option<String> {
        self.context.settings.user_fields.user(object.at("metadata")).map(|user| user.id.into_owned())
    }

    fn livemode(&self, object: Object<'_>) -> bool {
        self.event.livemode.or_else(|| object.at("livemode").flag()).unwrap_or(false)
    }
}
