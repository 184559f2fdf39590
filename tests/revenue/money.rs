//! No money counts twice and none is lost, whichever of the events that tell of it an endpoint gets, in any order.

use colony_gateway::revenue::rows::RevenueKind;
use colony_gateway::revenue::verdict::Plan;
use colony_gateway::stripe::money::AMOUNT_MAX;
use serde_json::{Value, json};

use crate::merge::Record;
use crate::story::{START, VERSIONS, bodies, kind, plans};

/// The plans about the first payment of a story: up to six.
async fn first_payment(version: &str) -> Vec<Plan> {
    let all = plans(&bodies(version)).await;
    let told = all.into_iter().filter(|plan| {
        let first = plan.event.created.seconds() < START + 86_400;
        first && !kind(plan).starts_with("customer.")
    });
    told.collect()
}

/// Every order of `items`.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let rest: Vec<T> =
            items.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, item)| item.clone()).collect();
        all.extend(orders(&rest).into_iter().map(|mut order| {
            order.push(item.clone());
            order
        }));
    }
    all
}

#[tokio::test]
async fn one_payment_counts_once_for_every_choice_of_events() {
    for (version, _) in VERSIONS {
        let told = first_payment(version).await;
        assert!(told.len() >= 5, "{version}");
        for choice in 1..1_usize << told.len() {
            let chosen: Vec<&Plan> =
                (0..told.len()).filter(|bit| choice & (1 << bit) != 0).map(|bit| &told[bit]).collect();
            let names: Vec<&str> = chosen.iter().map(|plan| kind(plan)).collect();
            // A session did not name its invoice then, so by itself it tells of no money.
            let silent = version == "2020-08-27" && names == ["checkout.session.completed"];
            let expected = if silent { 0 } else { 2300 };
            assert_eq!(Record::of(chosen).net(), expected, "{version}: {names:?}");
        }
    }
}

#[tokio::test]
async fn one_payment_counts_once_in_every_order_of_its_events() {
    for (version, _) in VERSIONS {
        let told: Vec<Plan> = first_payment(version).await;
        let numbers: Vec<usize> = (0..told.len()).collect();
        let expected = Record::of(&told);
        for order in orders(&numbers) {
            assert_eq!(Record::of(order.iter().map(|&number| &told[number])), expected, "{version}");
        }
    }
}

/// Projects events of a made-up object, each `(type, seconds after the start, object)`.
pub(crate) async fn projected(events: &[(&str, i64, Value)]) -> Vec<Plan> {
    projected_in("2025-03-31.basil", events).await
}

/// As [`projected`], in an API version.
pub(crate) async fn projected_in(version: &str, events: &[(&str, i64, Value)]) -> Vec<Plan> {
    let bodies: Vec<_> = events
        .iter()
        .enumerate()
        .map(|(number, (kind, at, object))| {
            let event = json!({"id": format!("evt_{number:02}"), "object": "event", "type": kind, "livemode": false,
                "created": START + at, "api_version": version, "data": {"object": object}});
            bytes::Bytes::from(event.to_string())
        })
        .collect();
    plans(&bodies).await
}

fn charge(refunded: i64) -> Value {
    json!({"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "customer": null, "amount": 100,
        "amount_captured": 100, "amount_refunded": refunded, "currency": "eur", "status": "succeeded", "created": START})
}

fn refund(id: &str, amount: i64, status: &str) -> Value {
    json!({"id": id, "object": "refund", "charge": "ch_1", "payment_intent": "pi_1", "amount": amount,
        "currency": "eur", "status": status, "created": START})
}

#[tokio::test]
async fn refunds_count_once_told_singly_in_total_or_both() {
    let charged = ("charge.succeeded", 0, charge(0));
    let totals = [("charge.refunded", 10, charge(30)), ("charge.refunded", 20, charge(70))];
    let singles = [
        ("refund.created", 10, refund("re_1", 30, "pending")),
        ("refund.updated", 11, refund("re_1", 30, "succeeded")),
        ("refund.created", 20, refund("re_2", 40, "succeeded")),
    ];
    for (name, events) in [
        ("totals", totals.to_vec()),
        ("singles", singles.to_vec()),
        ("both", [&totals[..], &singles[..]].concat()),
        ("the second only singly", vec![totals[0].clone(), singles[1].clone(), singles[2].clone()]),
        ("the first only in total", vec![totals[0].clone(), totals[1].clone(), singles[2].clone()]),
    ] {
        let plans = projected(&[std::slice::from_ref(&charged), &events[..]].concat()).await;
        for order in orders(&(0..plans.len()).collect::<Vec<_>>()) {
            let record = Record::of(order.iter().map(|&number| &plans[number]));
            assert_eq!(record.net(), 100 - 70, "{name}");
        }
    }
}

#[tokio::test]
async fn two_refunds_of_one_second_keep_the_larger_total() {
    let plans = projected(&[
        ("charge.succeeded", 0, charge(0)),
        ("charge.refunded", 10, charge(70)),
        ("charge.refunded", 10, charge(30)),
    ])
    .await;
    assert_eq!(Record::of(&plans).net(), 30);
}

#[tokio::test]
async fn a_refund_that_fails_gives_the_money_back() {
    let plans = projected(&[
        ("charge.succeeded", 0, charge(0)),
        ("charge.refunded", 10, charge(30)),
        ("refund.failed", 90, refund("re_1", 30, "failed")),
    ])
    .await;
    assert_eq!(Record::of(&plans).net(), 100);
    // A total told after the failure does not hold it any more.
    let later = projected(&[("charge.refunded", 95, charge(20))]).await;
    assert_eq!(Record::of(plans.iter().chain(&later)).net(), 80);
}

#[tokio::test]
async fn a_dispute_counts_while_the_bank_holds_the_money() {
    let dispute = |status: &str| {
        json!({"id": "du_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1", "amount": 100,
            "currency": "eur", "status": status, "created": START})
    };
    for (last, net) in [("won", 100), ("lost", 0), ("warning_closed", 100), ("under_review", 0)] {
        let plans = projected(&[
            ("charge.succeeded", 0, charge(0)),
            ("charge.dispute.created", 10, dispute("needs_response")),
            ("charge.dispute.closed", 20, dispute(last)),
        ])
        .await;
        for order in orders(&(0..plans.len()).collect::<Vec<_>>()) {
            assert_eq!(Record::of(order.iter().map(|&number| &plans[number])).net(), net, "{last}");
        }
    }
}

#[tokio::test]
async fn an_unlinked_payment_is_an_invoices_only_within_the_window() {
    let invoice = json!({"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 100, "amount_due": 100,
        "currency": "eur", "customer": "cus_1", "status_transitions": {"paid_at": START}});
    let payment = |id: &str, amount: i64, customer: Value| {
        json!({"id": id, "object": "payment_intent", "amount": amount, "amount_received": amount, "currency": "eur",
            "customer": customer, "status": "succeeded"})
    };
    for (name, seconds, amount, customer, net) in [
        ("the invoice's", 3600, 100, json!("cus_1"), 100),
        ("too late", 3601, 100, json!("cus_1"), 200),
        ("another amount", 5, 101, json!("cus_1"), 201),
        ("another customer", 5, 100, json!("cus_2"), 200),
        ("a guest", 5, 100, json!(null), 200),
    ] {
        let plans = projected(&[
            ("invoice.paid", 0, invoice.clone()),
            ("payment_intent.succeeded", seconds, payment("pi_1", amount, customer)),
        ])
        .await;
        assert_eq!(Record::of(&plans).net(), net, "{name}");
    }
}

#[tokio::test]
async fn parts_of_an_invoice_count_until_the_invoice_is_paid() {
    let part = |number: i64, amount: i64| {
        let payment = json!({"type": "payment_intent", "payment_intent": format!("pi_{number}")});
        let object = json!({"id": format!("inpay_{number}"), "object": "invoice_payment", "invoice": "in_1",
            "amount_paid": amount, "currency": "eur", "status": "paid", "payment": payment});
        ("invoice_payment.paid", number, object)
    };
    let paid = json!({"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 100, "amount_due": 100,
        "currency": "eur", "customer": "cus_1"});
    let plans = projected(&[part(1, 60), part(2, 40), ("invoice.paid", 3, paid)]).await;
    assert_eq!(Record::of(&plans[..1]).net(), 60);
    assert_eq!(Record::of(&plans[..2]).net(), 100);
    assert_eq!(Record::of(&plans).net(), 100);
}

#[tokio::test]
async fn currencies_without_and_with_three_decimals_stay_in_their_minor_unit() {
    for (code, amount) in [("jpy", 1200), ("kwd", 1_234_567), ("eur", 1200)] {
        let object = json!({"id": "pi_1", "object": "payment_intent", "amount": amount, "amount_received": amount,
            "currency": code.to_uppercase(), "customer": null, "status": "succeeded"});
        let plans = projected(&[("payment_intent.succeeded", 0, object)]).await;
        let row = &plans[0].revenue[0];
        assert_eq!((row.currency.as_str(), row.amount_minor, row.kind), (code, amount, RevenueKind::Payment));
    }
}

#[tokio::test]
async fn what_moved_no_money_makes_no_row() {
    let session = |status: &str| {
        json!({"id": "cs_1", "object": "checkout.session", "payment_status": status, "payment_intent": "pi_1",
            "amount_total": 100, "currency": "eur", "mode": "payment"})
    };
    let free = json!({"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 0, "amount_due": 0,
        "currency": "eur", "customer": "cus_1"});
    let plans = projected(&[
        ("checkout.session.completed", 0, session("unpaid")),
        ("checkout.session.async_payment_failed", 1, session("unpaid")),
        ("checkout.session.expired", 1, session("unpaid")),
        ("invoice.paid", 2, free),
        ("payment_intent.payment_failed", 3, json!({"id": "pi_1", "object": "payment_intent", "amount": 100})),
    ])
    .await;
    assert!(plans.iter().all(|plan| plan.revenue.is_empty()));
    let paid = projected(&[("checkout.session.async_payment_succeeded", 9, session("paid"))]).await;
    assert_eq!(Record::of(plans.iter().chain(&paid)).net(), 100);
}

#[tokio::test]
async fn money_that_cannot_be_read_is_a_finding_not_a_guess() {
    let nested = |amount: i64, currency: &str| {
        let refund =
            json!({"id": "re_1", "object": "refund", "charge": "ch_1", "amount": amount, "currency": currency});
        let mut charge = charge(0);
        charge["refunds"] = json!([refund]);
        ("charge.refunded", 0, charge)
    };
    for (amount, currency, rows) in [(5, "eur", 2), (AMOUNT_MAX, "eur", 2), (AMOUNT_MAX + 1, "eur", 1), (5, "?", 1)] {
        let plans = projected(&[nested(amount, currency)]).await;
        assert_eq!(plans[0].revenue.len(), rows, "{amount} {currency}");
        let unreadable = plans[0].findings.iter().any(|finding| finding.code == "money_unreadable");
        assert_eq!(unreadable, rows == 1, "{amount} {currency}");
    }
}
