//! Choosing entries and what a person does to them.

use super::*;

on_every_store! {
    entries_are_chosen_by_each_of_their_marks_and_by_several_at_once,
    pages_give_each_entry_once_while_others_arrive_and_change,
    a_replay_is_a_new_life_whatever_state_the_entry_had,
    an_entry_whose_body_retention_removed_is_not_replayed,
    a_release_is_remembered_for_every_later_life,
    what_the_door_held_back_is_released_but_not_replayed_and_what_holds_no_event_is_only_dropped,
    what_is_dropped_stays_with_who_and_why_and_is_replayed_only_when_it_is_named,
    the_ledger_is_told_of_a_drop_until_it_knows_and_of_no_delivery_whose_event_lives_elsewhere,
    an_event_that_is_dropped_in_all_its_deliveries_at_once_is_told_to_the_ledger_once,
    an_event_that_is_settled_is_not_in_hand_because_the_door_held_another_delivery_of_it,
    a_large_change_is_made_in_bounded_steps_and_leaves_what_is_on_its_way,
    a_story_shows_ids_and_hides_people_unless_asked,
    problems_are_grouped_by_state_code_and_type_with_a_sample_and_advice,
}

fn order(action: Action) -> Order {
    Order { action, by: Some("ana".to_owned()), note: Some("seen".to_owned()) }
}

impl Fixture {
    /// An event of a type whose object names a customer and a user.
    async fn append_of(&self, id: &str, kind: &str, customer: &str, user: &str) -> EntryId {
        let body = format!(
            r#"{{"id":"{id}","object":"event","type":"{kind}","created":1700000000,"livemode":true,
            "data":{{"object":{{"id":"in_{id}","object":"invoice","customer":"{customer}","metadata":{{"userId":"{user}"}}}}}}}}"#
        );
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body.as_bytes()));
        self.inbox().append(entry).await.unwrap().entry()
    }

    /// Ends everything that is due.
    async fn end(&self, conclusion: Conclusion) {
        loop {
            let leased = self.lease(256).await;
            if leased.is_empty() {
                return;
            }
            let conclusions = leased.into_iter().map(|leased| (leased.lease, conclusion.clone())).collect();
            self.inbox().conclude(conclusions).await.unwrap();
        }
    }

    async fn operate(&self, selection: &Selection, action: Action) -> OrderStep {
        self.inbox().operate(selection, &order(action), false, None).await.unwrap()
    }

    async fn select(&self, selection: Selection) -> Vec<String> {
        let page = self.inbox().select(&selection, None, 100).await.unwrap();
        assert_eq!(page.next, None);
        page.entries.into_iter().map(|entry| entry.event_id).collect()
    }
}

fn dead() -> Conclusion {
    Conclusion::Dead { code: "ledger_rejected".to_owned(), reason: "no".to_owned() }
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

async fn entries_are_chosen_by_each_of_their_marks_and_by_several_at_once(fixture: Fixture) {
    let first = fixture.append_of("evt_1", "invoice.paid", "cus_1", "user_1").await;
    fixture.end(dead()).await;
    fixture.clock.advance(MINUTE);
    fixture.append_of("evt_2", "invoice.voided", "cus_2", "user_2").await;
    fixture.end(Conclusion::Quarantine { code: "age".to_owned(), reason: "old".to_owned() }).await;
    fixture.clock.advance(MINUTE);
    fixture.append_of("evt_3", "charge.succeeded", "cus_1", "user_2").await;
    let all = Selection::default();
    assert_eq!(fixture.select(all.clone()).await, ["evt_3", "evt_2", "evt_1"], "newest first");
    let cases = [
        (Selection { entries: vec![first, EntryId(99)], ..all.clone() }, vec!["evt_1"]),
        (Selection { events: texts(&["evt_2", "evt_9"]), ..all.clone() }, vec!["evt_2"]),
        (Selection { types: texts(&["invoice.*"]), ..all.clone() }, vec!["evt_2", "evt_1"]),
        (Selection { types: texts(&["invoice.paid", "charge.succeeded"]), ..all.clone() }, vec!["evt_3", "evt_1"]),
        (Selection { types: texts(&["invoice"]), ..all.clone() }, vec![]),
        (Selection { states: vec![StateName::Dead, StateName::Quarantined], ..all.clone() }, vec!["evt_2", "evt_1"]),
        (Selection { states: vec![StateName::Waiting], ..all.clone() }, vec!["evt_3"]),
        (Selection { codes: texts(&["age"]), ..all.clone() }, vec!["evt_2"]),
        (Selection { endpoints: texts(&["other"]), ..all.clone() }, vec![]),
        (Selection { users: texts(&["user_2"]), ..all.clone() }, vec!["evt_3", "evt_2"]),
        (Selection { customers: texts(&["cus_1"]), ..all.clone() }, vec!["evt_3", "evt_1"]),
        (Selection { users: texts(&["user_2"]), customers: texts(&["cus_1"]), ..all.clone() }, vec!["evt_3"]),
        (Selection { since: Some(START.plus(MINUTE)), ..all.clone() }, vec!["evt_3", "evt_2"]),
        (Selection { until: Some(START.plus(MINUTE)), ..all.clone() }, vec!["evt_1"]),
    ];
    for (selection, expected) in cases {
        assert_eq!(fixture.select(selection.clone()).await, expected, "{selection:?}");
    }
}

#[test]
fn selections_that_make_no_sense_are_refused() {
    let good = Selection { types: texts(&["invoice.*", "charge.refunded"]), ..Selection::default() };
    assert_eq!(good.check(), Ok(()));
    let wrong = [
        Selection { types: texts(&["*"]), ..Selection::default() },
        Selection { types: texts(&["in*.paid"]), ..Selection::default() },
        Selection { users: texts(&[""]), ..Selection::default() },
        Selection { codes: vec!["x".repeat(256)], ..Selection::default() },
        Selection { events: vec!["e".to_owned(); VALUES_MAX + 1], ..Selection::default() },
        Selection { entries: vec![EntryId(1); VALUES_MAX + 1], ..Selection::default() },
        Selection { since: Some(START), until: Some(START), ..Selection::default() },
    ];
    for selection in wrong {
        assert!(selection.check().is_err(), "{selection:?}");
    }
    assert!(matches!(
        Selection { types: texts(&["*"]), ..Selection::default() }.check(),
        Err(SelectionError::Pattern(_))
    ));
    assert!(serde_json::from_str::<Selection>(r#"{"state": ["dead"]}"#).is_err(), "a misspelt name selects nothing");
}

async fn pages_give_each_entry_once_while_others_arrive_and_change(fixture: Fixture) {
    let appends = (0..2500).map(|number| fixture.append_of_number(number));
    for append in appends {
        append.await;
    }
    let selection = Selection { users: texts(&["user_1"]), ..Selection::default() };
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = fixture.inbox().select(&selection, after, 100).await.unwrap();
        assert!(page.entries.len() <= 100);
        seen.extend(page.entries.into_iter().map(|entry| entry.event_id));
        pages += 1;
        fixture.append_of(&format!("evt_new_{pages}"), "invoice.paid", "cus_1", "user_1").await;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<String> =
        (0..2500).rev().filter(|number| number % 2 == 1).map(|number| format!("evt_{number}")).collect();
    assert_eq!(seen, expected);
    assert!(pages >= 13, "{pages}");
}

impl Fixture {
    async fn append_of_number(&self, number: usize) {
        self.append_of(&format!("evt_{number}"), "invoice.paid", "cus_1", &format!("user_{}", number % 2)).await;
    }
}

async fn a_replay_is_a_new_life_whatever_state_the_entry_had(fixture: Fixture) {
    let kept = fixture.append_of("evt_1", "invoice.paid", "cus_1", "user_1").await;
    let leased = fixture.lease(9).await;
    let retry = Conclusion::RetryAlone { after: Duration::ZERO, reason: "r".to_owned() };
    fixture.inbox().conclude(leased.into_iter().map(|leased| (leased.lease, retry.clone())).collect()).await.unwrap();
    fixture.end(dead()).await;
    let by_id = Selection { entries: vec![kept], ..Selection::default() };
    for conclusion in [dead(), Conclusion::Settle { outcome: Settled::Applied }, dead()] {
        fixture.clock.advance(MINUTE);
        let step = fixture.operate(&by_id, Action::Replay).await;
        assert_eq!((step.changed(), step.next), (1, None));
        let story = fixture.inbox().story(kept, false).await.unwrap().unwrap().entry;
        assert_eq!((story.state, story.attempts, story.crashes), (StateName::Waiting, 0, 0));
        assert_eq!((story.replayed, story.ended), (Some(fixture.clock.now()), None));
        assert!(story.reason.unwrap().starts_with("was "));
        let intervention = story.intervention.unwrap();
        assert_eq!((intervention.action.as_str(), intervention.by.as_deref()), ("replay", Some("ana")));
        // While an entry is being worked on it is left alone, and the lease of its earlier life concludes nothing.
        let leased = fixture.lease(9).await;
        assert!(leased[0].replayed && leased[0].received == fixture.clock.now());
        assert_eq!(fixture.operate(&by_id, Action::Replay).await.entries[0].refused, Some(Refusal::OnItsWay));
        assert_eq!(fixture.operate(&by_id, Action::Drop).await.entries[0].refused, Some(Refusal::OnItsWay));
        let conclusions = leased.into_iter().map(|leased| (leased.lease, conclusion.clone())).collect();
        fixture.inbox().conclude(conclusions).await.unwrap();
    }
    let counts = fixture.counts().await;
    assert_eq!((counts.dead, counts.settled, counts.backlog()), (1, 0, 0));
}

async fn an_entry_whose_body_retention_removed_is_not_replayed(fixture: Fixture) {
    let entry = fixture.append_of("evt_1", "invoice.paid", "cus_1", "user_1").await;
    fixture.end(Conclusion::Settle { outcome: Settled::Applied }).await;
    fixture.clock.advance(2 * DAY);
    fixture.inbox().sweep(Retention { bodies: DAY, held_bodies: None, entries: 9 * DAY }).await.unwrap();
    let by_id = Selection { entries: vec![entry], ..Selection::default() };
    let step = fixture.operate(&by_id, Action::Replay).await;
    assert_eq!((step.changed(), step.entries[0].refused), (0, Some(Refusal::BodyRemoved)));
    assert!(Refusal::BodyRemoved.explain().contains("retention"));
    assert_eq!(fixture.counts().await.settled, 1);
    assert_eq!(fixture.inbox().story(entry, true).await.unwrap().unwrap().body, None);
}

async fn a_release_is_remembered_for_every_later_life(mut fixture: Fixture) {
    let held = fixture.append_of("evt_1", "invoice.paid", "cus_1", "user_1").await;
    let dead_one = fixture.append_of("evt_2", "invoice.paid", "cus_1", "user_1").await;
    let leased = fixture.lease(1).await;
    let quarantine = Conclusion::Quarantine { code: "large".to_owned(), reason: "c".to_owned() };
    let conclusions = leased.into_iter().map(|leased| (leased.lease, quarantine.clone())).collect();
    fixture.inbox().conclude(conclusions).await.unwrap();
    fixture.end(dead()).await;
    let both = Selection { entries: vec![held, dead_one], ..Selection::default() };
    let step = fixture.operate(&both, Action::Release).await;
    assert_eq!(
        step.entries.iter().map(|entry| entry.refused).collect::<Vec<_>>(),
        [None, Some(Refusal::NotQuarantined)]
    );
    let released = fixture.clock.now();
    fixture.reopen();
    let leased = fixture.lease(9).await;
    assert_eq!((ids(&leased), leased[0].released, leased[0].replayed), (vec!["evt_1"], Some(released), false));
    drop(leased);
    fixture.reopen();
    // In a file the lease ended with its gateway; in a database its time must be over.
    fixture.clock.advance(MINUTE);
    fixture.end(Conclusion::Settle { outcome: Settled::Applied }).await;
    fixture.clock.advance(MINUTE);
    fixture.operate(&both, Action::Replay).await;
    let mut leased = fixture.lease(9).await;
    leased.sort_by_key(|leased| leased.lease.entry());
    assert_eq!((leased[0].released, leased[0].replayed), (Some(released), true));
    assert_eq!((leased[1].released, leased[1].replayed), (None, true));
}

async fn what_the_door_held_back_is_released_but_not_replayed_and_what_holds_no_event_is_only_dropped(
    fixture: Fixture,
) {
    let event = br#"{"id":"evt_1","object":"event","type":"invoice.paid","created":1700000000,"data":{"object":{"id":"in_1"}}}"#;
    let hold = Door::Hold { code: "mode_mismatch", reason: "test event".to_owned() };
    let envelope = Envelope::read(event).unwrap();
    let endpoint = || EndpointName::new("stripe");
    fixture.inbox().append(NewEntry::event(endpoint(), envelope, hold, delivery(event))).await.unwrap();
    fixture.inbox().append(NewEntry::malformed(endpoint(), "not JSON".to_owned(), delivery(b"<html>"))).await.unwrap();
    let all = Selection { states: vec![StateName::Quarantined], ..Selection::default() };
    let refusals = |step: OrderStep| step.entries.into_iter().map(|entry| entry.refused).collect::<Vec<_>>();
    assert_eq!(refusals(fixture.operate(&all, Action::Replay).await), [Some(Refusal::HeldAtDoor); 2]);
    let dry = fixture.inbox().operate(&all, &order(Action::Release), true, None).await.unwrap();
    assert_eq!(refusals(dry), [None, Some(Refusal::NothingToApply)]);
    assert_eq!(fixture.counts().await.quarantined, 2, "a dry run changes nothing");
    assert_eq!(refusals(fixture.operate(&all, Action::Release).await), [None, Some(Refusal::NothingToApply)]);
    assert_eq!(refusals(fixture.operate(&all, Action::Drop).await), [None]);
    let counts = fixture.counts().await;
    assert_eq!((counts.waiting, counts.quarantined, counts.settled), (1, 0, 1));
}

async fn what_is_dropped_stays_with_who_and_why_and_is_replayed_only_when_it_is_named(fixture: Fixture) {
    let entry = fixture.append_of("evt_1", "invoice.paid", "cus_1", "user_1").await;
    fixture.end(dead()).await;
    let long = Order { action: Action::Drop, by: None, note: Some("é".repeat(NOTE_BYTES_MAX)) };
    let all = Selection { codes: texts(&["ledger_rejected"]), ..Selection::default() };
    fixture.inbox().operate(&all, &long, false, None).await.unwrap();
    let story = fixture.inbox().story(entry, false).await.unwrap().unwrap();
    assert_eq!((story.entry.state, story.entry.outcome.as_deref()), (StateName::Settled, Some("dropped")));
    assert_eq!(story.entry.reason.as_deref(), Some("was dead, ledger_rejected: no"));
    assert_eq!(story.entry.intervention.unwrap().note.unwrap().len(), NOTE_BYTES_MAX);
    assert!(story.body.is_some());
    let by_id = Selection { entries: vec![entry], ..Selection::default() };
    assert_eq!(fixture.operate(&by_id, Action::Drop).await.entries[0].refused, Some(Refusal::Settled));
    let settled = Selection { states: vec![StateName::Settled], ..Selection::default() };
    let step = fixture.operate(&settled, Action::Replay).await;
    assert_eq!((step.changed(), step.entries[0].refused), (0, Some(Refusal::Dropped)));
    assert_eq!(fixture.operate(&by_id, Action::Replay).await.changed(), 1);
    let orders = fixture.inbox().story(entry, false).await.unwrap().unwrap().orders;
    let told: Vec<(&str, &str)> = orders.iter().map(|order| (order.action.as_str(), order.was.as_str())).collect();
    assert_eq!(told[0], ("drop", "was dead, ledger_rejected: no"));
    assert!(told[1].0 == "replay" && told[1].1.starts_with("was settled, dropped: was dead"), "{told:?}");
    assert!(orders[0].note.is_some(), "the reason stays");
}

async fn the_ledger_is_told_of_a_drop_until_it_knows_and_of_no_delivery_whose_event_lives_elsewhere(
    mut fixture: Fixture,
) {
    let first = fixture.append_of("evt_1", "invoice.paid", "cus_1", "user_1").await;
    fixture.append_of("evt_2", "invoice.paid", "cus_1", "user_1").await;
    let body = br#"{"id":"evt_2","object":"event","type":"invoice.paid","created":1700000000,"data":{"object":{"id":"in_1"}}}"#;
    let hold = Door::Hold { code: "mode_mismatch", reason: "test event".to_owned() };
    let elsewhere = NewEntry::event(EndpointName::new("other"), Envelope::read(body).unwrap(), hold, delivery(body));
    fixture.inbox().append(elsewhere).await.unwrap();
    fixture.end(dead()).await;
    let misrouted = Selection { endpoints: texts(&["other"]), ..Selection::default() };
    fixture.operate(&misrouted, Action::Drop).await;
    assert_eq!(fixture.inbox().untold_drops().await.unwrap(), [], "the event itself is alive");
    let by_id = Selection { entries: vec![first], ..Selection::default() };
    fixture.operate(&by_id, Action::Drop).await;
    fixture.reopen();
    let untold = fixture.inbox().untold_drops().await.unwrap();
    assert_eq!((untold.len(), untold[0].event_id.as_str(), untold[0].by.as_deref()), (1, "evt_1", Some("ana")));
    // Retention waits until the ledger was told.
    fixture.clock.advance(40 * DAY);
    let retention = Retention { bodies: DAY, held_bodies: None, entries: DAY };
    fixture.inbox().sweep(retention).await.unwrap();
    assert_eq!(fixture.inbox().untold_drops().await.unwrap().len(), 1);
    fixture.inbox().drops_told(vec![untold[0].order]).await.unwrap();
    assert_eq!(fixture.inbox().untold_drops().await.unwrap(), []);
    while fixture.inbox().sweep(retention).await.unwrap().more {}
    fixture.inbox().sweep(retention).await.unwrap();
    assert_eq!(fixture.inbox().story(first, false).await.unwrap(), None);
}

/// One event by two endpoints, waiting in one state.
async fn append_by_two_endpoints(fixture: &Fixture, id: &str) -> Vec<EntryId> {
    let mut entries = vec![fixture.append(id).await.entry()];
    let (body, name) = (body(id), EndpointName::new("other"));
    let other = NewEntry::event(name, Envelope::read(&body).unwrap(), Door::Open, delivery(&body));
    entries.push(fixture.inbox().append(other).await.unwrap().entry());
    entries
}

async fn an_event_that_is_dropped_in_all_its_deliveries_at_once_is_told_to_the_ledger_once(fixture: Fixture) {
    append_by_two_endpoints(&fixture, "evt_dead").await;
    fixture.end(dead()).await;
    assert_eq!(fixture.operate(&Selection::default(), Action::Drop).await.changed(), 2);
    let waiting = append_by_two_endpoints(&fixture, "evt_waits").await;
    let by_id = Selection { entries: waiting, ..Selection::default() };
    assert_eq!(fixture.operate(&by_id, Action::Drop).await.changed(), 2);
    let untold = fixture.inbox().untold_drops().await.unwrap();
    let events: Vec<&str> = untold.iter().map(|drop| drop.event_id.as_str()).collect();
    assert_eq!(events, ["evt_dead", "evt_waits"]);
}

async fn an_event_that_is_settled_is_not_in_hand_because_the_door_held_another_delivery_of_it(fixture: Fixture) {
    let held = || async { fixture.inbox().holds(texts(&["evt_1"])).await.unwrap()["evt_1"] };
    let body = body("evt_1");
    let hold = |code| Door::Hold { code, reason: "not for this endpoint".to_owned() };
    let by = |name: &str, door| {
        NewEntry::event(EndpointName::new(name), Envelope::read(&body).unwrap(), door, delivery(&body))
    };
    fixture.inbox().append(by("misrouted", hold("misrouted"))).await.unwrap();
    assert_eq!(held().await, Held::Open, "only a person can say what becomes of it");
    fixture.append("evt_1").await;
    assert_eq!(held().await, Held::Open);
    fixture.settle(fixture.lease(1).await).await;
    assert_eq!(held().await, Held::Settled);
    fixture.inbox().append(by("other", Door::Open)).await.unwrap();
    assert_eq!(held().await, Held::Open);
    fixture.end(dead()).await;
    assert_eq!(held().await, Held::Open, "it waits for a person");
}

async fn a_large_change_is_made_in_bounded_steps_and_leaves_what_is_on_its_way(fixture: Fixture) {
    for number in 0..STEP_ENTRIES_MAX * 2 + 7 {
        fixture.append_of_number(number).await;
    }
    fixture.end(dead()).await;
    fixture.append_of("evt_waits", "invoice.paid", "cus_1", "user_1").await;
    let (mut after, mut steps, mut changed) = (None, 0, 0);
    loop {
        let step = fixture.inbox().operate(&Selection::default(), &order(Action::Replay), false, after).await.unwrap();
        assert!(step.entries.len() <= STEP_ENTRIES_MAX);
        changed += step.changed();
        steps += 1;
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((changed, steps >= 3), (STEP_ENTRIES_MAX * 2 + 7, true));
    let counts = fixture.counts().await;
    assert_eq!((counts.waiting, counts.dead), (STEP_ENTRIES_MAX as u64 * 2 + 8, 0));
}

async fn a_story_shows_ids_and_hides_people_unless_asked(fixture: Fixture) {
    let entry = fixture.append_of("evt_1", "invoice.paid", "cus_1", "ada@example.com").await;
    let told = fixture.inbox().story(entry, false).await.unwrap().unwrap();
    let text = serde_json::to_string(&told).unwrap();
    assert!(text.contains("cus_1") && text.contains("in_evt_1") && !text.contains("ada@example.com"), "{text}");
    assert_eq!(serde_json::from_str::<EntryStory>(&text).unwrap(), told);
    let body = fixture.inbox().story(entry, true).await.unwrap().unwrap().body.unwrap();
    assert!(body.content.unwrap().contains("ada@example.com"));
    assert_eq!(fixture.inbox().story(EntryId(99), true).await.unwrap(), None);
}

async fn problems_are_grouped_by_state_code_and_type_with_a_sample_and_advice(fixture: Fixture) {
    for (number, kind) in ["invoice.paid", "invoice.paid", "charge.succeeded"].into_iter().enumerate() {
        fixture.append_of(&format!("evt_{number}"), kind, "cus_1", "u").await;
        fixture.end(Conclusion::Dead { code: "ledger_rejected".to_owned(), reason: format!("no {number}") }).await;
        fixture.clock.advance(MINUTE);
    }
    fixture.append_of("evt_9", "invoice.paid", "cus_1", "u").await;
    fixture.end(Conclusion::Quarantine { code: "my_rule".to_owned(), reason: "odd".to_owned() }).await;
    let problems = fixture.inbox().problems().await.unwrap();
    assert_eq!((problems.entries, problems.groups.len()), (4, 3));
    let first = &problems.groups[0];
    assert_eq!((first.count, first.oldest, first.newest), (2, START, START.plus(MINUTE)));
    assert_eq!((first.sample_reason.as_deref(), first.event_type.as_str()), (Some("no 1"), "invoice.paid"));
    assert!(first.advice.contains("inbox replay"));
    let held = problems.groups.iter().find(|group| group.state == StateName::Quarantined).unwrap();
    assert!(held.advice.contains("Guardian"), "{held:?}");
    let told: Vec<_> =
        problems.groups.iter().map(|group| (group.count, group.state, group.event_type.as_str())).collect();
    let dead = |count, kind| (count, StateName::Dead, kind);
    let expected = [dead(2, "invoice.paid"), dead(1, "charge.succeeded"), (1, StateName::Quarantined, "invoice.paid")];
    assert_eq!(told, expected, "groups of one size come by state, code and type");
    let counts = fixture.inbox().problem_counts().await.unwrap();
    assert_eq!(counts[&("ledger_rejected".to_owned(), "invoice.paid".to_owned())], 2);
    fixture.operate(&Selection::default(), Action::Drop).await;
    assert_eq!(fixture.inbox().problem_counts().await.unwrap().len(), 0);
    assert_eq!(fixture.inbox().problems().await.unwrap(), Problems::default());
}
