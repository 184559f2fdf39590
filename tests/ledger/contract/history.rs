//! Histories of events for the order tests. Bindings in them agree: which of two contradicting claims is held back
//! depends on which came first, and is tested by itself.

use colony_gateway::revenue::rows::{Action, BindingKind, Decision, Finding, Rank, RevenueKind, Severity, Source};
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::{Planned, event};

/// Families small enough to try every order of them.
pub(super) fn small_families() -> Vec<(&'static str, Vec<Verdict>)> {
    vec![
        ("checkout to cancellation", checkout_to_cancellation()),
        ("updates of one second", updates_of_one_second()),
        ("resubscription", resubscription()),
        ("one payment told five times", one_payment_told_five_times()),
        ("fetch and payload", fetch_and_payload()),
    ]
}

fn checkout_to_cancellation() -> Vec<Verdict> {
    vec![
        Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).verdict(),
        Planned::new("evt_2", "customer.subscription.created", 1)
            .subscription("sub_1", "cus_1", "incomplete", |_| {})
            .binding(BindingKind::SubscriptionCustomer, "sub_1", "cus_1")
            .verdict(),
        Planned::new("evt_3", "checkout.session.completed", 1)
            .customer_user("cus_1", "user_1")
            .subscription_user("sub_1", "user_1")
            .binding(BindingKind::SubscriptionTier, "sub_1", "gold")
            .verdict(),
        Planned::new("evt_4", "customer.subscription.updated", 2)
            .subscription("sub_1", "cus_1", "active", |_| {})
            .verdict(),
        Planned::new("evt_5", "customer.subscription.deleted", 3)
            .subscription("sub_1", "cus_1", "canceled", |row| row.version.rank = Rank::Deleted)
            .verdict(),
    ]
}

fn updates_of_one_second() -> Vec<Verdict> {
    let update = |id: &str, status: &str, rank: Rank| {
        Planned::new(id, "customer.subscription.updated", 5)
            .subscription("sub_1", "cus_1", status, |row| row.version.rank = rank)
            .customer("cus_1", false)
            .verdict()
    };
    vec![
        update("evt_b", "past_due", Rank::Updated),
        update("evt_a", "active", Rank::Updated),
        update("evt_c", "trialing", Rank::Created),
        update("evt_d", "paused", Rank::Updated),
        Planned::new("evt_e", "customer.deleted", 5).customer("cus_1", true).verdict(),
    ]
}

fn resubscription() -> Vec<Verdict> {
    vec![
        Planned::new("evt_1", "checkout.session.completed", 0).customer_user("cus_1", "user_1").verdict(),
        Planned::new("evt_2", "customer.subscription.deleted", 10)
            .subscription("sub_1", "cus_1", "canceled", |_| {})
            .verdict(),
        Planned::new("evt_3", "customer.subscription.created", 20)
            .subscription("sub_2", "cus_1", "active", |row| row.tier = None)
            .verdict(),
        Planned::new("evt_4", "checkout.session.completed", 20)
            .customer_user("cus_1", "user_1")
            .binding(BindingKind::SubscriptionTier, "sub_2", "silver")
            .verdict(),
        Planned::new("evt_5", "checkout.session.completed", 21)
            .binding(BindingKind::SubscriptionTier, "sub_2", "gold")
            .verdict(),
    ]
}

fn one_payment_told_five_times() -> Vec<Verdict> {
    vec![
        Planned::new("evt_1", "invoice.paid", 0)
            .money(RevenueKind::Invoice, "in_1", 999, |row| row.customer_id = Some("cus_1".to_owned()))
            .verdict(),
        Planned::new("evt_2", "charge.succeeded", 0)
            .money(RevenueKind::Payment, "pi_1", 999, |row| row.charge_id = Some("ch_1".to_owned()))
            .verdict(),
        Planned::new("evt_3", "invoice_payment.paid", 1).link("pi_1", "in_1").verdict(),
        Planned::new("evt_4", "payment_intent.succeeded", 0)
            .money(RevenueKind::Payment, "pi_1", 999, |_| {})
            .hint("pi_1", "in_1")
            .verdict(),
        Planned::new("evt_5", "refund.created", 9)
            .money(RevenueKind::Refund, "re_1", -100, |row| row.payment_id = Some("pi_1".to_owned()))
            .with(|plan| {
                plan.findings.push(Finding {
                    code: "refund_above_charge".to_owned(),
                    severity: Severity::Warning,
                    subject: "re_1".to_owned(),
                    detail: "100 of 999".to_owned(),
                });
            })
            .verdict(),
    ]
}

fn fetch_and_payload() -> Vec<Verdict> {
    let fetched = |id: &str, began: i64, status: &str| {
        Planned::new(id, "customer.subscription.updated", began)
            .subscription("sub_1", "cus_1", status, |row| {
                row.version.rank = Rank::Fetched;
                row.source = Source::Fetch;
            })
            .verdict()
    };
    vec![
        fetched("evt_1", 50, "active"),
        fetched("evt_2", 50, "past_due"),
        Planned::new("evt_3", "customer.subscription.updated", 50)
            .subscription("sub_1", "cus_1", "paused", |_| {})
            .verdict(),
        fetched("evt_4", 49, "trialing"),
    ]
}

/// A history of `length` events over a few customers with everything that a plan can hold.
pub(crate) fn large(seed: u64, length: usize) -> Vec<Verdict> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|number| anything(&format!("evt_{number:04}"), &mut random)).collect()
}

fn anything(id: &str, random: &mut fastrand::Rng) -> Verdict {
    let seconds = random.i64(0..30);
    let customer_number = random.u8(0..6);
    let customer = format!("cus_{customer_number}");
    let user = format!("user_{customer_number}");
    let subscription = format!("sub_{customer_number}_{}", random.u8(0..3));
    let payment = format!("pi_{customer_number}_{}", random.u8(0..3));
    let invoice = format!("in_{customer_number}_{}", random.u8(0..3));
    let status = random.choice(["incomplete", "trialing", "active", "past_due", "unpaid", "paused", "canceled"]);
    let tier = random.choice(["bronze", "silver", "gold"]).unwrap_or("gold");
    let planned = Planned::new(id, "anything", seconds);
    match random.u8(0..10) {
        0..3 => planned
            .subscription(&subscription, &customer, status.unwrap_or("active"), |row| row.tier = Some(tier.to_owned()))
            .binding(BindingKind::SubscriptionCustomer, &subscription, &customer)
            .verdict(),
        3 => planned.customer(&customer, random.bool()).verdict(),
        4 => planned.customer_user(&customer, &user).subscription_user(&subscription, &user).verdict(),
        5 => planned.binding(BindingKind::SubscriptionTier, &subscription, tier).verdict(),
        6 => planned
            .money(RevenueKind::Payment, &payment, random.i64(1..9999), |row| row.customer_id = Some(customer))
            .money(RevenueKind::Invoice, &invoice, random.i64(1..9999), |_| {})
            .verdict(),
        7 if random.bool() => planned.hint(&payment, &invoice).verdict(),
        7 => planned
            .money(RevenueKind::Part, &format!("inpay_{payment}_{invoice}"), random.i64(1..9999), |row| {
                row.payment_id = random.bool().then(|| payment.clone());
                row.invoice_id = Some(invoice.clone());
            })
            .link(&payment, &invoice)
            .verdict(),
        8 => Verdict::Ignore {
            event: event(id, "price.created", seconds),
            decisions: vec![Decision {
                rule: "age".to_owned(),
                severity: Severity::Info,
                action: Action::Flag,
                reason: "old".to_owned(),
            }],
            reopen: false,
        },
        _ => Verdict::Quarantine {
            event: event(id, "customer.updated", seconds),
            rule: "injection".to_owned(),
            reason: "metadata looks like SQL".to_owned(),
            decisions: vec![Decision {
                rule: "injection".to_owned(),
                severity: Severity::Critical,
                action: Action::Quarantine,
                reason: "metadata looks like SQL".to_owned(),
            }],
        },
    }
}
