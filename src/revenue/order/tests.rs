//! Which content of one second was the last, case by case.

use serde_json::json;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "a test reads better so")]
fn told(version: &str, object: Value, previous: Value) -> Told {
    Told::new(version.to_owned(), &object, (!previous.is_null()).then_some(&previous))
}

/// The answer, which must not depend on the order of the set.
fn answer(earlier: &[Moment], tied: &[Told]) -> (String, Proof) {
    let last = last(earlier, tied).unwrap();
    let mut turned: Vec<Told> = tied.to_vec();
    for _ in 0..tied.len() {
        turned.rotate_left(1);
        assert_eq!(super::last(earlier, &turned).unwrap(), last);
        let back: Vec<Told> = turned.iter().rev().cloned().collect();
        assert_eq!(super::last(earlier, &back).unwrap(), last);
    }
    (last.version, last.proof)
}

fn moment(contents: Vec<Told>) -> Moment {
    Moment { contents, is_aside: false }
}

fn is(version: &str, proof: Proof) -> (String, Proof) {
    (version.to_owned(), proof)
}

#[test]
fn the_content_whose_previous_values_are_the_others_is_later_whatever_the_ids_say() {
    let yearly = json!({"plan": "gold", "end": 900, "metadata": {"reason": "downgrade"}});
    let monthly = json!({"plan": "silver", "end": 100, "metadata": {"reason": "downgrade"}});
    for (first, second) in [("a", "b"), ("b", "a")] {
        let noted = told(first, yearly.clone(), json!({"metadata": {"reason": null}}));
        let changed = told(second, monthly.clone(), json!({"plan": "gold", "end": 900}));
        assert_eq!(answer(&[], &[noted, changed]), is(second, Proof::Whole));
    }
}

#[test]
fn three_updates_of_a_customer_are_a_chain() {
    let object =
        |name: &str, currency: Value, balance: i64| json!({"name": name, "currency": currency, "balance": balance});
    let tied = [
        told("c", object("x", json!(null), 0), json!({"name": null})),
        told("a", object("x", json!("cad"), 0), json!({"currency": null})),
        told("b", object("x", json!("cad"), -5), json!({"balance": 0})),
    ];
    assert_eq!(answer(&[], &tied), is("b", Proof::Whole));
    // One of them was never delivered.
    assert_eq!(answer(&[], &[tied[0].clone(), tied[2].clone()]), is("b", Proof::Likely));
}

#[test]
fn a_cancellation_that_was_undone_is_told_from_one_made_again_by_what_was_before() {
    let state = |cancel: bool| json!({"cancel_at_period_end": cancel, "canceled_at": if cancel { json!(5) } else { json!(null) }});
    let cancel =
        |version: &str| told(version, state(true), json!({"cancel_at_period_end": false, "canceled_at": null}));
    let undo = |version: &str| told(version, state(false), json!({"cancel_at_period_end": true, "canceled_at": 5}));
    let (running, ending) = (told("0", state(false), json!(null)), told("0", state(true), json!(null)));
    let tied = [cancel("b"), undo("a")];
    assert_eq!(answer(&[moment(vec![running.clone()])], &tied), is("a", Proof::Whole));
    assert_eq!(answer(&[moment(vec![ending])], &tied), is("b", Proof::Whole));
    assert_eq!(answer(&[], &tied), is("b", Proof::Open));
    let thrice = [cancel("a"), undo("c"), cancel("b")];
    assert_eq!(answer(&[], &thrice), is("b", Proof::Whole));
    assert_eq!(answer(&[moment(vec![running.clone()])], &thrice), is("b", Proof::Whole));
    // The same happened in the second before: the state before that decides both.
    assert_eq!(answer(&[moment(vec![running]), moment(vec![cancel("x"), undo("y")])], &tied), is("a", Proof::Whole));
}

#[test]
fn an_announcement_of_the_second_shows_a_content_between_any_two_of_its_changes() {
    let state = |status: &str, end: i64, cancel: bool| json!({"status": status, "trial_end": end, "cancel": cancel, "at": if cancel { json!(5) } else { json!(null) }});
    let created = moment(vec![told("0", state("trialing", 30, false), json!(null))]);
    let announced = Moment { contents: vec![told("1", state("trialing", 0, true), json!(null))], is_aside: true };
    let tied = [
        told("c", state("trialing", 30, true), json!({"cancel": false, "at": null})),
        told("b", state("active", 0, true), json!({"status": "trialing", "trial_end": 30})),
        told("a", state("active", 0, false), json!({"cancel": true, "at": 5})),
    ];
    assert_eq!(answer(&[created.clone(), announced.clone()], &tied), is("a", Proof::Whole));
    // The cancellation was never delivered.
    assert_eq!(answer(&[created, announced.clone()], &tied[1..]), is("a", Proof::Whole));
    assert_eq!(answer(&[announced], &tied), is("a", Proof::Whole));
}

#[test]
fn lists_are_compared_as_a_whole_and_by_the_fields_that_both_renderings_have() {
    let items = |price: &str| json!({"object": "list", "data": [{"id": "si", "price": {"id": price, "amount": 1}}], "has_more": false});
    let tied = [
        told("b", json!({"items": items("gold"), "metadata": {}}), json!({"metadata": {"note": "x"}})),
        told(
            "a",
            json!({"items": items("silver"), "metadata": {}}),
            json!({"items": {"data": [{"price": {"id": "gold"}}]}}),
        ),
    ];
    assert_eq!(answer(&[], &tied), is("a", Proof::Whole));
    let more = [
        told("b", json!({"items": {"data": [1]}, "x": 2}), json!({"x": 1})),
        told("a", json!({"items": {"data": [1, 2]}, "x": 2}), json!({"items": {"data": [1]}})),
    ];
    assert_eq!(answer(&[], &more), is("a", Proof::Whole));
    // An item was added and another removed: the event tells only the former items, not how many there were.
    let swapped = [
        told("b", json!({"items": {"data": [1, 2], "total_count": 2}}), json!({"items": {"data": [1]}})),
        told("a", json!({"items": {"data": [2], "total_count": 1}}), json!({"items": {"data": [1, 2]}})),
    ];
    assert_eq!(answer(&[], &swapped), is("a", Proof::Whole));
}

#[test]
fn contents_that_say_the_same_need_no_order() {
    let paused = json!({"status": "paused"});
    let tied = [told("a", paused.clone(), json!({"status": "trialing"})), told("b", paused, json!(null))];
    assert_eq!(answer(&[], &tied), is("b", Proof::Whole));
    assert_eq!(last(&[], &[]), None);
}

#[test]
fn lists_that_old_versions_embed_say_nothing() {
    let tied = [
        told("b", json!({"name": "x", "phone": 1, "subscriptions": {"data": []}}), json!({"name": null})),
        told("a", json!({"name": "x", "phone": 2, "subscriptions": {"data": [1]}}), json!({"phone": 1})),
    ];
    assert_eq!(answer(&[], &tied), is("a", Proof::Whole));
}

#[test]
fn more_than_can_be_looked_at_in_every_order_are_still_a_chain() {
    let chain = |length: usize| -> Vec<Told> {
        let step = |n: usize| told(&format!("{:03}", (n * 7) % 101), json!({"n": n + 1}), json!({"n": n}));
        (0..length).map(step).collect()
    };
    for length in [EXACT_MAX, EXACT_MAX + 1, 60] {
        assert_eq!(answer(&[], &chain(length)), is(&format!("{:03}", ((length - 1) * 7) % 101), Proof::Whole));
    }
    // A button that was pressed again and again: only the state before tells where that ended.
    let pressed = |on: bool, times: usize| -> Vec<Told> {
        let press = |n: usize| {
            let is_on = n.is_multiple_of(2) != on;
            told(&format!("{:03}", (n * 7) % 101), json!({"on": is_on}), json!({"on": !is_on}))
        };
        (0..times).map(press).collect()
    };
    for (on, times) in [(false, 10), (true, 10), (false, 11), (true, 21)] {
        let before = told("-", json!({"on": on}), json!(null));
        let tied = pressed(on, times);
        let (version, proof) = answer(&[moment(vec![before])], &tied);
        let last = tied.iter().find(|one| one.version == version).unwrap();
        assert_eq!((&last.after["on"], proof), (&json!(on != (times % 2 == 1)), Proof::Whole), "{on} {times}");
    }
    // One of many was lost.
    let mut gap = chain(12);
    gap.remove(5);
    assert_eq!(answer(&[], &gap).1, Proof::Open);
    // The changes lead back to the beginning, and no event tells where that was.
    let mut circle = chain(EXACT_MAX);
    circle.push(told("200", json!({"n": 0}), json!({"n": EXACT_MAX})));
    assert_eq!(answer(&[], &circle), is("200", Proof::Open));
}
