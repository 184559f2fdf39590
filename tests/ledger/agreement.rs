//! The stores agree with each other, and with the rules in code that they carry in their own language.

use colony_gateway::ledger::report::Summary;
use colony_gateway::revenue::counting::count;
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
        (RevenueKind::Part, "inpay"),
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
            let incoming = matches!(kind, RevenueKind::Invoice | RevenueKind::Payment | RevenueKind::Part);
            let amount = random.i64(0..5) * 100;
            plan = plan.money(kind, &key, if incoming { amount } else { -amount }, |row| {
                change(row, number, amount, random);
            });
        }
    }
    for number in 0..4 {
        for prefix in ["pi", "ch"] {
            let payment = format!("{prefix}_{number}");
            let invoice = invoice(random.u8(0..5));
            match random.u8(0..4) {
                0 => plan = plan.link(&payment, &invoice),
                1 => plan = plan.hint(&payment, &invoice[..25]),
                2 => plan = plan.hint(&payment, &invoice),
                _ => {}
            }
        }
    }
    (plan.plan.revenue, plan.plan.links)
}

/// An id as long as Stripe's; the last two share what a hint has of them.
fn invoice(number: u8) -> String {
    format!("in_{:022}{}", number.min(3), if number == 4 { "xy" } else { "aa" })
}

fn change(row: &mut RevenueRow, number: u8, amount: i64, random: &mut fastrand::Rng) {
    row.occurred_at = crate::plans::at(random.i64(0..4) * 1800);
    row.as_of = crate::plans::at(random.i64(0..5));
    row.customer_id = (random.u8(0..4) > 0).then(|| format!("cus_{}", random.u8(0..2)));
    row.account = (random.u8(0..6) == 0).then(|| "acct_1".to_owned());
    let payment = if random.u8(0..4) == 0 { "ch" } else { "pi" };
    let payment = format!("{payment}_{}", random.u8(0..4));
    match row.kind {
        RevenueKind::Invoice => {
            row.key = invoice(if number == 3 && random.bool() { 4 } else { number });
            row.outside_minor = if random.u8(0..4) == 0 { amount / 2 } else { 0 };
        }
        RevenueKind::Payment => {
            row.payment_id = Some(row.key.clone());
            row.charge_id = random.bool().then(|| format!("ch_{number}"));
            row.uncaptured_minor = random.i64(0..3) * 100;
        }
        RevenueKind::Part => {
            row.payment_id = (random.u8(0..4) > 0).then_some(payment);
            row.outside_minor = if row.payment_id.is_none() { amount } else { 0 };
            row.invoice_id = Some(invoice(random.u8(0..5)));
        }
        RevenueKind::Refund => {
            row.payment_id = (random.u8(0..8) > 0).then_some(payment);
            match random.u8(0..4) {
                0 => (row.amount_minor, row.voided_minor) = (0, amount),
                1 => row.uncaptured_minor = amount,
                2 => (row.amount_minor, row.uncaptured_minor) = (0, amount),
                _ => {}
            }
        }
        RevenueKind::RefundTotal => {
            row.payment_id = Some(row.key.clone());
            row.uncaptured_minor = if random.bool() { amount } else { 0 };
        }
        RevenueKind::Dispute => row.payment_id = Some(payment),
    }
}

#[tokio::test]
async fn the_views_count_money_as_the_rule_in_code_does() {
    let (sqlite, postgres) = (Sqlite::new(), Postgres::direct(Flavour::Plain).await);
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..150 {
        let (rows, links) = money(&mut random);
        let mut expected: Vec<(String, String, i64, i64)> = count(&rows, &links)
            .into_iter()
            .map(|counted| {
                let (kind, key) = (counted.row.kind.as_str().to_owned(), counted.row.key.clone());
                (kind, key, counted.amount_minor, counted.outside_minor)
            })
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
            let total: i64 = expected.iter().map(|(_, _, amount, _)| amount).sum();
            assert_eq!(daily.iter().map(|line| line.net_minor).sum::<i64>(), total);
            let outside: i64 = expected.iter().map(|(_, _, _, outside)| outside).sum();
            assert_eq!(daily.iter().map(|line| line.outside_minor).sum::<i64>(), outside);
        }
    }
}
