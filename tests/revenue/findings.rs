//! Findings: what does not add up is told, what adds up is not, and nothing is held back for it.

use serde_json::{Value, json};

use crate::money::{projected, projected_in};

/// Codes of the findings about one object.
async fn codes(kind: &str, object: Value) -> Vec<String> {
    let plans = projected(&[(kind, 0, object)]).await;
    plans[0].findings.iter().map(|finding| finding.code.clone()).collect()
}

fn invoice(change: &[(&str, Value)]) -> Value {
    let mut invoice = json!({"id": "in_1", "object": "invoice", "status": "paid", "customer": "cus_1", "currency": "cad",
        "subtotal": 2000, "total": 2070, "amount_due": 2070, "amount_paid": 2070, "amount_remaining": 0,
        "total_discount_amounts": [{"amount": 200}], "shipping_cost": {"amount_total": 0},
        "total_taxes": [{"amount": 270, "tax_behavior": "exclusive"}, {"amount": 9, "tax_behavior": "inclusive"}],
        "lines": {"data": [{"amount": 2500}, {"amount": -500}], "has_more": false, "total_count": 2},
        "payments": {"data": [{"status": "paid", "amount_paid": 2000}, {"status": "paid", "amount_paid": 70},
            {"status": "canceled", "amount_paid": null}], "has_more": false}});
    for (key, value) in change {
        invoice[key] = value.clone();
    }
    invoice
}

#[tokio::test]
async fn an_invoice_that_adds_up_has_no_findings() {
    assert_eq!(codes("invoice.paid", invoice(&[])).await, [""; 0]);
}

#[tokio::test]
async fn each_sum_of_an_invoice_is_checked() {
    for (expected, change) in [
        ("invoice_total", ("lines", json!({"data": [{"amount": 1999}], "has_more": false}))),
        ("invoice_total", ("shipping_cost", json!({"amount_total": 1, "amount_subtotal": 1}))),
        ("invoice_total", ("total_discount_amounts", json!([]))),
        ("currency", ("customer", json!({"id": "cus_1", "object": "customer", "currency": "usd"}))),
    ] {
        assert_eq!(codes("invoice.paid", invoice(std::slice::from_ref(&change))).await, [expected], "{change:?}");
    }
}

#[tokio::test]
async fn what_is_only_partly_told_is_not_judged() {
    for change in [
        ("lines", json!({"data": [{"amount": 1}], "has_more": true})),
        ("lines", json!({"data": [{"amount": 1}], "has_more": false, "total_count": 11})),
        ("payments", json!({"data": [{"status": "paid", "amount_paid": 1}], "has_more": true})),
        ("payments", json!(null)),
        ("lines", json!({"data": [{"amount": 1}], "has_more": false, "total_count": 2})),
        ("lines", json!({"data": [], "has_more": false})),
        ("total", json!(null)),
        ("customer", json!({"id": "cus_1", "object": "customer", "currency": null})),
    ] {
        // That a part is missing is all that is said.
        let partial = change.1["has_more"] == true || change.1.get("total_count").is_some();
        let missing = partial.then(|| format!("{}_partial", change.0));
        let said = codes("invoice.paid", invoice(std::slice::from_ref(&change))).await;
        assert_eq!(said, missing.into_iter().collect::<Vec<_>>(), "{change:?}");
    }
    let open = invoice(&[("status", json!("open")), ("amount_paid", json!(0)), ("amount_remaining", json!(2070))]);
    assert_eq!(codes("invoice.finalized", open).await, [""; 0]);
    let credited =
        [("amount_paid", json!(2000)), ("post_payment_credit_notes_amount", json!(70)), ("payments", json!(null))];
    assert_eq!(codes("invoice.paid", invoice(&credited)).await, [""; 0]);
}

/// Each of these is in Stripe's documentation.
#[tokio::test]
async fn a_documented_invoice_has_no_findings_however_it_was_settled() {
    let line = |amount: i64| json!({"data": [{"amount": amount}], "has_more": false, "total_count": 1});
    let none = || ("total_discount_amounts", json!([]));
    let untaxed = || ("total_taxes", json!([]));
    let discounts = json!([{"amount": 1900, "discount": "di_whole"}, {"amount": 1000, "discount": "di_line"}]);
    let credits = json!([{"amount": 100, "type": "credit_balance_transaction"}, {"amount": 200, "type": "discount"}]);
    let shipping = json!({"amount_subtotal": 500, "amount_tax": 65, "amount_total": 565});
    for (name, changes) in [
        ("paid out of band before basil", vec![("amount_paid", json!(0)), ("amount_remaining", json!(2070))]),
        ("overpaid", vec![("amount_paid", json!(3000)), ("amount_overpaid", json!(930))]),
        ("paid from the balance", vec![("amount_due", json!(0)), ("amount_paid", json!(0)), ("payments", json!(null))]),
        ("below the least charge", vec![("amount_due", json!(0)), ("total", json!(30)), ("lines", line(-40))]),
        ("forgiven", vec![("amount_remaining", json!(5)), ("paid_out_of_band", json!(false))]),
        ("negative", vec![none(), untaxed(), ("lines", line(-500)), ("total", json!(-500))]),
        ("free", vec![untaxed(), ("lines", line(200)), ("total", json!(0)), ("amount_paid", json!(0))]),
        (
            "a discount of a line beside one of the whole",
            vec![
                ("lines", line(20_000)),
                ("subtotal", json!(19_000)),
                ("total_discount_amounts", discounts),
                untaxed(),
                ("total", json!(17_100)),
            ],
        ),
        ("credits before tax", vec![("total_pretax_credit_amounts", credits), ("total", json!(1970))]),
        ("shipping whose tax is among the taxes", vec![("shipping_cost", shipping), ("total", json!(2570))]),
    ] {
        assert_eq!(codes("invoice.paid", invoice(&changes)).await, [""; 0], "{name}");
    }
}

#[tokio::test]
async fn the_release_of_an_authorisation_is_no_refund_above_the_charge() {
    let charge = json!({"id": "ch_1", "object": "charge", "amount": 100, "amount_captured": 30, "captured": true,
        "amount_refunded": 70, "currency": "eur", "status": "succeeded"});
    for (version, expected) in [("2022-08-01", vec![]), ("2025-03-31.basil", vec!["refund_above_charge"])] {
        let plans = projected_in(version, &[("charge.refunded", 0, charge.clone())]).await;
        let codes: Vec<&str> = plans[0].findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, expected, "{version}");
    }
}

#[tokio::test]
async fn a_discount_that_is_told_only_by_its_coupon_is_not_computed_anew() {
    let mut old = invoice(&[("discount", json!({"coupon": {"percent_off": 10}}))]);
    old.as_object_mut().unwrap().remove("total_discount_amounts");
    assert_eq!(codes("invoice.paid", old).await, [""; 0]);
}

#[tokio::test]
async fn more_cannot_go_back_than_came_in() {
    let charge = |refunded: i64, refunds: Value| {
        json!({"id": "ch_1", "object": "charge", "customer": null, "amount": 100, "amount_captured": 80,
            "amount_refunded": refunded, "currency": "eur", "status": "succeeded", "refunds": refunds})
    };
    assert_eq!(codes("charge.refunded", charge(80, json!(null))).await, [""; 0]);
    assert_eq!(codes("charge.refunded", charge(81, json!(null))).await, ["refund_above_charge"]);
    let refunds = json!({"data": [{"id": "re_1", "amount": 30, "currency": "eur", "status": "succeeded"},
        {"id": "re_2", "amount": 9, "currency": "eur", "status": "failed"}], "has_more": false});
    assert_eq!(codes("charge.refunded", charge(30, refunds.clone())).await, [""; 0]);
    assert_eq!(codes("charge.refunded", charge(40, refunds)).await, ["refund_total"]);
    let refund = json!({"id": "re_1", "object": "refund", "amount": 101, "currency": "usd", "status": "succeeded",
        "charge": {"id": "ch_1", "amount": 100, "currency": "eur"}});
    assert_eq!(codes("refund.created", refund).await, ["refund_above_charge", "currency"]);
}

#[tokio::test]
async fn a_subscription_is_compared_with_its_price_customer_and_invoice() {
    let subscription = |change: (&str, Value)| {
        let mut object = json!({"id": "sub_1", "object": "subscription", "status": "active", "customer": "cus_1",
            "currency": "cad", "metadata": {"tier": "or"},
            "items": {"data": [{"price": {"id": "price_gold_monthly", "currency": "cad"}}]}});
        object[change.0] = change.1;
        object
    };
    let kind = "customer.subscription.updated";
    assert_eq!(codes(kind, subscription(("x", json!(1)))).await, [""; 0]);
    for (expected, change) in [
        (vec!["tier_price"], ("metadata", json!({"tier": "silver"}))),
        (vec!["tier_unknown"], ("metadata", json!({"tier": "platine"}))),
        (vec!["price_unmapped"], ("items", json!({"data": [{"price": {"id": "price_new"}}]}))),
        (vec!["currency"], ("customer", json!({"id": "cus_1", "currency": "usd"}))),
        (vec!["status_invoice"], ("latest_invoice", json!({"id": "in_1", "status": "uncollectible"}))),
    ] {
        assert_eq!(codes(kind, subscription(change.clone())).await, expected, "{change:?}");
    }
    let items = json!({"data": [{"price": {"id": "price_gold_monthly", "currency": "cad"}}, {"price": {"id": "p", "currency": "usd"}}]});
    assert_eq!(codes(kind, subscription(("items", items))).await, ["currency_items"]);
}
