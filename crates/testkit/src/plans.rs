//! Verdicts made by hand, for tests of the stores: what a store does with rows does not depend on how the rows came
//! about.

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::domain::ids::EventId;
use colony_gateway::revenue::rows::{
    BindingKind, BindingRow, ClaimRank, ClaimRow, CustomerRow, EventFacts, Evidence, PaymentLink, ProjectedStatus,
    Rank, RawJson, RevenueKind, RevenueRow, Source, Standing, SubscriptionRow, Version,
};
use colony_gateway::revenue::verdict::{Plan, Suspicion, Verdict};

/// 2026-01-02T03:04:05Z, the moment from which the tests count time.
pub const EPOCH_SECONDS: i64 = 1_767_323_045;

/// `seconds` after the tests' epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(EPOCH_SECONDS + seconds)
}

/// An event with a small payload.
pub fn event(id: &str, kind: &str, seconds: i64) -> EventFacts {
    EventFacts {
        id: EventId::new(id),
        kind: kind.to_owned(),
        account: None,
        livemode: true,
        created: at(seconds),
        api_version: Some("2025-03-31.basil".to_owned()),
        object_id: None,
        payload: RawJson::from_value(&serde_json::json!({"id": id, "object": "event", "type": kind})),
    }
}

/// The place of an ordinary update that `event` made at `seconds`.
pub fn version(event: &str, seconds: i64) -> Version {
    Version {
        standing: Standing::Current,
        at: at(seconds),
        rank: Rank::Updated,
        progress: 0,
        event: EventId::new(event),
        rendering: None,
    }
}

/// A plan that a test builds up row by row.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan so far.
    pub plan: Plan,
    seconds: i64,
}

impl Planned {
    /// An event at `seconds`, with no rows yet.
    pub fn new(id: &str, kind: &str, seconds: i64) -> Self {
        Self { plan: Plan::new(event(id, kind, seconds)), seconds }
    }

    fn version(&self) -> Version {
        version(self.plan.event.id.as_str(), self.seconds)
    }

    /// Adds that a customer's metadata names a user.
    pub fn customer_user(self, customer: &str, user: &str) -> Self {
        self.claim(ClaimRank::Customer, customer, user)
    }

    /// Adds that a subscription's metadata names a user.
    pub fn subscription_user(self, subscription: &str, user: &str) -> Self {
        self.claim(ClaimRank::Subscription, subscription, user)
    }

    /// Adds a claim to a subscription or a customer for a user.
    pub fn claim(mut self, rank: ClaimRank, subject: &str, user: &str) -> Self {
        let version = self.version();
        self.plan.claims.push(ClaimRow {
            subject: subject.to_owned(),
            user_id: user.to_owned(),
            rank,
            evidence: "subscription.metadata.userId".to_owned(),
            version,
        });
        self
    }

    /// Makes the event suspect: a rule holds it.
    pub fn suspect(mut self) -> Self {
        self.plan.suspicion = Some(Suspicion { rule: "large".to_owned(), reason: "a large one".to_owned() });
        self.plan.claims.clear();
        self.plan.bindings.retain(|row| row.kind != BindingKind::SubscriptionTier);
        self
    }

    /// Adds a binding of one thing to another.
    pub fn binding(mut self, kind: BindingKind, from: &str, to: &str) -> Self {
        let version = self.version();
        self.plan.bindings.push(BindingRow {
            kind,
            from_id: from.to_owned(),
            to_id: to.to_owned(),
            evidence: "checkout.session.metadata".to_owned(),
            version,
        });
        self
    }

    /// Adds a subscription in `status`, after `change`.
    pub fn subscription(
        mut self,
        id: &str,
        customer: &str,
        status: &str,
        change: impl FnOnce(&mut SubscriptionRow),
    ) -> Self {
        let mut row = subscription(id, customer, status, self.version());
        change(&mut row);
        self.plan.subscriptions.push(row);
        self
    }

    /// Adds a customer.
    pub fn customer(mut self, id: &str, deleted: bool) -> Self {
        let version = self.version();
        self.plan.customers.push(CustomerRow {
            id: id.to_owned(),
            version: Version { standing: if deleted { Standing::Final } else { Standing::Current }, ..version },
            source: Source::Payload,
            account: None,
            livemode: true,
            deleted,
            currency: Some("cad".to_owned()),
            delinquent: Some(false),
            balance_minor: Some(-250),
            metadata_user_id: None,
            raw: RawJson::from_value(&serde_json::json!({"id": id, "object": "customer"})),
        });
        self
    }

    /// Adds money, after `change`.
    pub fn money(mut self, kind: RevenueKind, key: &str, amount: i64, change: impl FnOnce(&mut RevenueRow)) -> Self {
        let version = self.version();
        let mut row = RevenueRow {
            kind,
            key: key.to_owned(),
            as_of: version.at,
            version,
            account: None,
            livemode: true,
            amount_minor: amount,
            outside_minor: 0,
            uncaptured_minor: 0,
            voided_minor: 0,
            currency: "cad".to_owned(),
            occurred_at: at(self.seconds),
            payment_id: None,
            charge_id: None,
            invoice_id: None,
            subscription_id: None,
            customer_id: None,
            user_id: None,
            status: Some("paid".to_owned()),
        };
        change(&mut row);
        self.plan.revenue.push(row);
        self
    }

    /// Adds which invoice a payment paid.
    pub fn link(self, payment: &str, invoice: &str) -> Self {
        self.linked(payment, invoice, Evidence::Named)
    }

    /// Adds a hint at the invoice that a payment paid.
    pub fn hint(self, payment: &str, invoice: &str) -> Self {
        self.linked(payment, invoice, Evidence::Hint)
    }

    fn linked(mut self, payment: &str, invoice: &str, evidence: Evidence) -> Self {
        let version = self.version();
        let standing = if evidence == Evidence::Named { Standing::Current } else { Standing::Provisional };
        self.plan.links.push(PaymentLink {
            payment_id: payment.to_owned(),
            invoice_id: invoice.to_owned(),
            evidence,
            version: Version { standing, ..version },
        });
        self
    }

    /// Changes the plan in any other way.
    pub fn with(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }

    /// The verdict.
    pub fn verdict(self) -> Verdict {
        Verdict::Apply(Box::new(self.plan))
    }
}

/// The subscription row that the projection would make from an ordinary monthly subscription.
pub fn subscription(id: &str, customer: &str, status: &str, version: Version) -> SubscriptionRow {
    let (standing, projected_status, entitles) = match status {
        "active" | "trialing" => (Standing::Current, Some(ProjectedStatus::Active), true),
        "past_due" => (Standing::Current, Some(ProjectedStatus::PastDue), true),
        "unpaid" => (Standing::Current, Some(ProjectedStatus::PastDue), false),
        "paused" => (Standing::Current, Some(ProjectedStatus::Paused), false),
        "canceled" => (Standing::Final, Some(ProjectedStatus::Canceled), false),
        "incomplete_expired" => (Standing::Final, Some(ProjectedStatus::Expired), false),
        _ => (Standing::Provisional, None, false),
    };
    let tier = "silver";
    SubscriptionRow {
        id: id.to_owned(),
        version: Version { standing, ..version },
        source: Source::Payload,
        account: None,
        livemode: true,
        customer_id: Some(customer.to_owned()),
        status: status.to_owned(),
        projected_status,
        entitles,
        access_from: None,
        preference: preference(entitles, tier, id),
        tier: Some(tier.to_owned()),
        tier_rank: 2,
        price_id: Some("price_silver".to_owned()),
        product_id: Some("prod_1".to_owned()),
        quantity: Some(1),
        currency: Some("cad".to_owned()),
        unit_amount: Some(999),
        interval: Some("month".to_owned()),
        interval_count: Some(1),
        items: 1,
        partial: false,
        mrr_minor: if matches!(status, "active" | "past_due") { 999 } else { 0 },
        resumed_mrr_minor: None,
        created: Some(at(0)),
        started_at: Some(at(0)),
        current_period_start: Some(at(0)),
        current_period_end: Some(at(30 * 86_400)),
        will_cancel: false,
        will_renew: matches!(status, "active" | "trialing" | "past_due"),
        cancel_at_period_end: false,
        cancel_at: None,
        canceled_at: (status == "canceled").then(|| at(86_400)),
        ended_at: (status == "canceled").then(|| at(86_400)),
        trial_start: None,
        trial_end: None,
        pause_behavior: None,
        pause_resumes_at: None,
        collection_method: None,
        grace_days: None,
        late_hint: None,
        latest_invoice_id: None,
        metadata_user_id: None,
        raw: RawJson::from_value(&serde_json::json!({"id": id, "object": "subscription", "status": status})),
    }
}

/// A preference as the projection makes it. Entitling subscriptions come first, then better tiers, then the id decides.
pub fn preference(entitles: bool, tier: &str, id: &str) -> String {
    let rank = ["bronze", "silver", "gold"].iter().position(|name| *name == tier).unwrap_or(0);
    format!("{}.{rank}.{id}", u8::from(entitles))
}
