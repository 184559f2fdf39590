//! Events as endpoints of several API versions render them.

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::revenue::rows::{
    Action, BindingKind, ClaimRank, Decision, Finding, Rank, RawJson, RevenueKind, Severity, SubscriptionRow,
};
use colony_gateway::revenue::verdict::{Plan, Verdict};
use serde_json::json;

use crate::plans::Planned;

pub(super) const OLD: &str = "2024-11-20.acacia";
pub(super) const NEW: &str = "2025-03-31.basil";

/// The plan as an endpoint of this version renders it.
pub(super) fn rendered(planned: Planned, version: &str) -> Planned {
    planned.with(|plan| {
        plan.event.api_version = Some(version.to_owned());
        let id = plan.event.id.to_string();
        let object = plan.subscriptions.first().map(|row| (row.id.clone(), row.status.clone()));
        plan.event.object_id = object.as_ref().map(|(id, _)| id.clone());
        let object = object.map(|(id, status)| json!({"id": id, "object": "subscription", "status": status}));
        plan.event.payload = RawJson::from_value(&json!({"id": id, "object": "event", "type": plan.event.kind,
            "api_version": version, "data": {"object": object}}));
        let Plan { subscriptions, customers, claims, bindings, revenue, links, .. } = plan;
        let versions = subscriptions.iter_mut().map(|row| &mut row.version);
        let versions = versions.chain(customers.iter_mut().map(|row| &mut row.version));
        let versions = versions.chain(claims.iter_mut().map(|row| &mut row.version));
        let versions = versions.chain(bindings.iter_mut().map(|row| &mut row.version));
        let versions = versions.chain(revenue.iter_mut().map(|row| &mut row.version));
        for place in versions.chain(links.iter_mut().map(|row| &mut row.version)) {
            if place.rank < Rank::Fetched {
                place.rendering = Some(version.to_owned());
            }
        }
    })
}

fn decided(planned: Planned, rule: &str, action: Action, reason: &str) -> Planned {
    planned.with(|plan| {
        plan.decisions.push(Decision {
            rule: rule.to_owned(),
            severity: Severity::Warning,
            action,
            reason: reason.to_owned(),
        });
    })
}

pub(super) fn held(planned: Planned, rule: &str, reason: &str) -> Planned {
    decided(planned.suspect(), rule, Action::Quarantine, reason).with(|plan| {
        let suspicion = plan.suspicion.as_mut().unwrap();
        (suspicion.rule, suspicion.reason) = (rule.to_owned(), reason.to_owned());
    })
}

/// What a rule about the origin makes of a plan.
fn refused(planned: Planned, reason: &str) -> Verdict {
    let plan = decided(planned, "origin", Action::Quarantine, reason).plan;
    let (event, decisions) = (plan.event, plan.decisions);
    Verdict::Quarantine { event, rule: "origin".to_owned(), reason: reason.to_owned(), decisions }
}

/// An event of chance, in one to three renderings, and what a person decides about it in the end if none of them passes.
pub(super) fn event(number: usize, random: &mut fastrand::Rng) -> (Vec<Verdict>, Option<Verdict>) {
    let id = format!("evt_{number:02}");
    let seconds = random.i64(0..6);
    let kind = ["customer.subscription.updated", "customer.subscription.created", "x"][random.usize(..3)];
    let mut versions = vec![OLD, NEW, "2026-03-25.dahlia"];
    random.shuffle(&mut versions);
    versions.truncate(random.usize(1..4));
    let shape = random.u64(..);
    let ignored = random.u8(0..12) == 0;
    let (mut verdicts, mut decision, mut passes) = (Vec::new(), None, false);
    for version in versions {
        // What renderings have in common, and where they differ.
        let mut same = fastrand::Rng::with_seed(shape);
        let planned = rendered(anything(&id, kind, seconds, &mut same, random), version);
        let planned = if random.u8(0..5) == 0 {
            decided(planned, "minor", Action::Flag, &format!("minor in {version}"))
        } else {
            planned
        };
        decision = match random.u8(0..3) {
            0 => Some(planned.clone().with(|plan| plan.released = true).verdict()),
            1 => {
                let event = planned.plan.event.clone();
                Some(Verdict::Drop { event, reason: "dropped by ana".to_owned() })
            }
            _ => None,
        };
        verdicts.push(match random.u8(0..10) {
            0..4 => held(planned, ["odd", "large"][random.usize(..2)], &format!("held in {version}")).verdict(),
            4 => refused(planned, &format!("refused in {version}")),
            _ if ignored => {
                passes = true;
                let Plan { event, decisions, .. } = planned.plan;
                Verdict::Ignore { event, decisions, reopen: false }
            }
            _ => {
                passes = true;
                planned.verdict()
            }
        });
    }
    (verdicts, decision.filter(|_| !passes))
}

fn anything(id: &str, kind: &str, seconds: i64, same: &mut fastrand::Rng, random: &mut fastrand::Rng) -> Planned {
    let sub = ["sub_1", "sub_2", "sub_3"][same.usize(..3)];
    let customer = ["cus_1", "cus_2"][same.usize(..2)];
    let status =
        ["incomplete", "trialing", "active", "active", "past_due", "unpaid", "paused", "canceled"][same.usize(..8)];
    let tier = ["bronze", "silver", "gold"][same.usize(..3)];
    let mut planned = Planned::new(id, kind, seconds);
    if same.u8(0..4) > 0 {
        planned = planned.subscription(sub, customer, status, |row| change(row, tier, same, random));
    }
    if same.u8(0..4) == 0 {
        planned = planned.customer(customer, same.u8(0..4) == 0);
    }
    let user = ["user_a", "user_b", "user_c"][same.usize(..3)];
    // Older renderings may lack what newer ones say.
    let tells = random.u8(0..4) > 0;
    planned = match same.u8(0..9) {
        0 | 1 if tells => planned.claim(ClaimRank::Subscription, sub, user),
        2 if tells => planned.claim(ClaimRank::Session, sub, user).claim(ClaimRank::Purchase, customer, user),
        3 if tells => planned.claim(ClaimRank::Customer, customer, user),
        4 if tells => {
            planned.claim(ClaimRank::Reference, sub, user).claim(ClaimRank::ReferenceOfCustomer, customer, user)
        }
        5 if tells => planned.claim(ClaimRank::Invoice, sub, user),
        6 if tells => planned.binding(BindingKind::SubscriptionTier, sub, tier),
        7 => planned.binding(BindingKind::SubscriptionCustomer, sub, customer),
        _ => planned,
    };
    let (payment, invoice) = (format!("pi_{}", same.u8(0..3)), format!("in_{}", same.u8(0..3)));
    let amount = same.i64(1..9) * 100;
    planned = match same.u8(0..9) {
        0 => planned.money(RevenueKind::Payment, &payment, amount, |row| row.customer_id = Some(customer.to_owned())),
        1 => planned.money(RevenueKind::Invoice, &invoice, amount, |row| {
            row.outside_minor = if random.bool() { 100 } else { 0 };
            row.subscription_id = Some(sub.to_owned());
        }),
        2 => planned
            .money(RevenueKind::Part, &format!("inpay_{payment}_{invoice}"), amount, |row| {
                row.payment_id = tells.then(|| payment.clone());
                row.invoice_id = Some(invoice.clone());
            })
            .link(&payment, &invoice),
        3 => {
            planned.money(RevenueKind::Refund, &format!("re_{payment}"), -amount, |row| row.payment_id = Some(payment))
        }
        4 => planned.money(RevenueKind::RefundTotal, &payment, -amount, |row| row.payment_id = Some(payment.clone())),
        5 => {
            planned.money(RevenueKind::Dispute, &format!("du_{payment}"), -amount, |row| row.payment_id = Some(payment))
        }
        6 if tells => planned.hint(&payment, &invoice),
        6 => planned.link(&payment, &invoice),
        _ => planned,
    };
    planned.with(|plan| {
        if same.u8(0..4) == 0 {
            plan.findings.push(Finding {
                code: "doubt".to_owned(),
                severity: Severity::Info,
                subject: sub.to_owned(),
                detail: "the same".to_owned(),
            });
        }
    })
}

fn change(row: &mut SubscriptionRow, tier: &str, same: &mut fastrand::Rng, random: &mut fastrand::Rng) {
    row.tier = Some(tier.to_owned());
    row.tier_rank = match tier {
        "gold" => 3,
        "silver" => 2,
        _ => 1,
    };
    let created = row.created.map_or(0, Timestamp::seconds);
    row.preference = if row.entitles {
        format!("1.1.{:02}.07.{created:012}.{}", row.tier_rank, row.id)
    } else {
        format!("1.0.03.{:02}.{created:012}.{}", row.tier_rank, row.id)
    };
    row.partial = same.u8(0..6) == 0;
    row.version.progress = same.u64(0..3);
    row.version.rank = match same.u8(0..8) {
        0 => Rank::Created,
        1 => Rank::Announced,
        2 => Rank::Deleted,
        3 => Rank::Fetched,
        _ => Rank::Updated,
    };
    row.metadata_user_id = Some(["user_a", "user_b"][same.usize(..2)].to_owned());
    row.grace_days = (row.status == "past_due" && same.bool()).then_some(14);
    row.account = (same.u8(0..8) == 0).then(|| "acct_1".to_owned());
    // What was fetched is no rendering.
    row.unit_amount = (row.version.rank == Rank::Fetched || random.bool()).then_some(999);
    if same.u8(0..6) == 0 {
        row.pause_behavior = Some("void".to_owned());
        row.mrr_minor = 0;
    }
}
