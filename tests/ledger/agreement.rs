//! The stores agree with each other, and with the rules in code that they carry in their own language.

use colony_gateway::ledger::report::Summary;
use colony_gateway::revenue::net::net;
use colony_gateway::revenue::rows::{PaymentLink, RevenueKind, RevenueRow};
use colony_gateway::revenue::verdict::Verdict;

use crate::contract::{apply, large_history};
use crate::plans::Planned;
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store, TABLES};

#[tokio::test]
async fn all_stores_hold_and_tell_the_same_after_the_same_events() {
    let batches: Vec<Vec<Verdict>> = large_history(11, 200).chunks(50).map(<[Verdict]>::to_vec).collect();
    let (sqlite, direct, rest) = (Sqlite::new(), Postgres::direct(Flavour::Plain).await, Postgres::rest().await);
    let stores: [&dyn Store; 3] = [&sqlite, &direct, &rest];
    let mut told = Vec::new();
    for store in stores {
        let outcomes = apply(store, &batches).await;
        let mut contents = store.contents().await;
        contents.0.retain(|table, _| TABLES.contains(table));
        let mut summary: Summary = store.ledger().summary(100).await.unwrap();
        summary.counts.not_shown = 0;
        let lines = store.ledger().subscriptions(100).await.unwrap();
        told.push((outcomes, contents, summary, lines));
    }
    for other in &told[1..] {
        assert_eq!(other.0, told[0].0);
        assert_eq!(other.1, told[0].1);
        assert_eq!(other.2, told[0].2);
        assert_eq!(other.3, told[0].3);
    }
}

/// Money and links over so few keys that every rule meets every other.
fn money(random: &mut fastrand::Rng) -> (Vec<RevenueRow>, Vec<PaymentLink>) {
    let kinds = [
        (RevenueKind::Invoice, "in"),
        (RevenueKind::Payment, "pi"),
        (RevenueKind::Refund, "re"),
        (RevenueKind::RefundTotal, "pi"),
        (RevenueKind::Dispute, "du"),
    ];
    let mut plan = Planned::new("evt_1", "x", 0);
    for (kind, prefix) in kinds {
        for number in 0..4 {
            if random.u8(0..3) == 0 {
                continue;
            }
            let key = format!("{prefix}_{number}");
            let sign = if matches!(kind, RevenueKind::Invoice | RevenueKind::Payment) { 1 } else { -1 };
            let payment = format!("pi_{}", random.u8(0..4));
            let (moved, told) = (random.i64(0..4) * 1800, random.i64(0..5));
            plan = plan.money(kind, &key, sign * random.i64(0..5) * 100, |row| {
                row.occurred_at = crate::plans::at(moved);
                row.as_of = crate::plans::at(told);
                row.match_key = random.bool().then(|| format!("cus.{}", random.u8(0..2)));
                row.charge_id = random.bool().then(|| format!("ch_{number}"));
                row.payment_id = Some(if kind == RevenueKind::Refund { payment } else { key.clone() });
                row.voided_minor = if kind == RevenueKind::Refund { random.i64(0..3) * 100 } else { 0 };
            });
        }
    }
    for number in 0..4 {
        for prefix in ["pi", "ch"] {
            if random.u8(0..3) == 0 {
                let invoice = format!("in_{}", random.u8(0..5));
                plan = plan.link(&format!("{prefix}_{number}"), random.bool().then_some(&*invoice));
            }
        }
    }
    (plan.plan.revenue, plan.plan.links)
}

#[tokio::test]
async fn the_views_count_money_as_the_rule_in_code_does() {
    let (sqlite, postgres) = (Sqlite::new(), Postgres::direct(Flavour::Plain).await);
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..150 {
        let (rows, links) = money(&mut random);
        let mut expected: Vec<(String, String, i64)> = net(&rows, &links)
            .into_iter()
            .map(|counted| (counted.row.kind.as_str().to_owned(), counted.row.key.clone(), counted.amount_minor))
            .collect();
        expected.sort();
        let verdict = Planned::new("evt_1", "x", 0).with(|plan| {
            plan.revenue.clone_from(&rows);
            plan.links.clone_from(&links);
        });
        let batch = vec![verdict.verdict()];
        for store in [&sqlite as &dyn Store, &postgres] {
            store.clear().await;
            apply(store, std::slice::from_ref(&batch)).await;
            let counted = store.counted().await;
            assert_eq!(counted, expected, "{} round {round}: {rows:#?} {links:#?}", store.ledger().name());
            let daily = store.ledger().summary(100).await.unwrap().daily;
            let total: i64 = expected.iter().map(|(_, _, amount)| amount).sum();
            assert_eq!(daily.iter().map(|line| line.net_minor).sum::<i64>(), total);
        }
    }
}
