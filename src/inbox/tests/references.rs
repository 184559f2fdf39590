//! Searching by what entries refer to, with the index and without.

use super::*;

on_every_store! {
    a_search_by_reference_finds_the_same_with_the_index_as_without,
    pages_by_reference_give_each_entry_once_while_the_index_moves_on,
    the_index_waits_for_an_entry_to_end_and_then_knows_its_process,
    what_leads_to_an_erased_person_is_forgotten_and_so_is_what_retention_removed,
    an_order_by_reference_reaches_what_the_index_covers_and_the_rest,
    a_step_of_the_index_is_bounded,
}

impl Fixture {
    /// An event of a customer with an invoice, a payment and a user.
    async fn refer(&self, id: &str, customer: &str, user: &str) -> EntryId {
        let body = format!(
            r#"{{"id":"{id}","object":"event","type":"invoice.paid","created":1700000000,"livemode":true,"data":{{"object":{{
            "id":"in_{id}","object":"invoice","customer":"{customer}","payment_intent":"pi_{id}","metadata":{{"userId":"{user}"}}}}}}}}"#
        );
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body.as_bytes()));
        self.inbox().append(entry).await.unwrap().entry()
    }

    async fn settle_all(&self) {
        loop {
            let leased = self.lease(256).await;
            if leased.is_empty() {
                return;
            }
            let settle = |leased: Leased| (leased.lease, Conclusion::Settle { outcome: Settled::Applied });
            self.inbox().conclude(leased.into_iter().map(settle).collect()).await.unwrap();
        }
    }

    /// Takes in everything that can be, and returns how many entries that were.
    async fn index(&self) -> usize {
        self.clock.advance(2 * MINUTE);
        let mut entries = 0;
        loop {
            let step = self.inbox().index_step(1).await.unwrap();
            entries += step.entries;
            if !step.more {
                return entries;
            }
        }
    }

    async fn found(&self, selection: &Selection) -> Vec<String> {
        let page = self.inbox().select(selection, None, 100).await.unwrap();
        assert_eq!(page.next, None);
        page.entries.into_iter().map(|entry| entry.event_id).collect()
    }
}

fn refs(ids: &[&str]) -> Selection {
    Selection { refs: ids.iter().map(|id| (*id).to_owned()).collect(), ..Selection::default() }
}

fn customer(id: &str) -> Selection {
    Selection { customers: vec![id.to_owned()], ..Selection::default() }
}

async fn a_search_by_reference_finds_the_same_with_the_index_as_without(mut fixture: Fixture) {
    for (id, customer, user) in [("evt_1", "cus_a", "Ann"), ("evt_2", "cus_b", "Bob"), ("evt_3", "cus_a", "Ann")] {
        fixture.refer(id, customer, user).await;
    }
    let cases = [
        (refs(&["cus_a"]), vec!["evt_3", "evt_1"]),
        (refs(&["in_evt_2"]), vec!["evt_2"]),
        (refs(&["pi_evt_3", "pi_evt_2"]), vec!["evt_3", "evt_2"]),
        (refs(&["ann"]), vec!["evt_3", "evt_1"]),
        (refs(&["cus_c"]), vec![]),
        (customer("cus_a"), vec!["evt_3", "evt_1"]),
        (Selection { users: vec!["ANN".to_owned()], ..customer("cus_a") }, vec!["evt_3", "evt_1"]),
        (Selection { users: vec!["bob".to_owned()], ..customer("cus_a") }, vec![]),
        (Selection { events: vec!["evt_1".to_owned(), "evt_2".to_owned()], ..refs(&["cus_a"]) }, vec!["evt_1"]),
        (Selection { types: vec!["charge.*".to_owned()], ..refs(&["cus_a"]) }, vec![]),
    ];
    for (selection, expected) in &cases {
        assert_eq!(&fixture.found(selection).await, expected, "without: {selection:?}");
    }
    fixture.settle_all().await;
    assert_eq!(fixture.index().await, 3);
    assert_eq!(fixture.index().await, 0, "once");
    for (selection, expected) in &cases {
        assert_eq!(&fixture.found(selection).await, expected, "with: {selection:?}");
    }
    // Entries that arrived since are found too.
    fixture.refer("evt_4", "cus_a", "Ann").await;
    assert_eq!(fixture.found(&refs(&["cus_a"])).await, ["evt_4", "evt_3", "evt_1"]);
    fixture.reopen();
    assert_eq!(fixture.found(&refs(&["cus_a"])).await, ["evt_4", "evt_3", "evt_1"], "after a restart");
    // Without a body, only the index knows.
    let held = Retention { bodies: Duration::ZERO, held_bodies: None, entries: DAY };
    fixture.inbox().sweep(held).await.unwrap();
    assert_eq!(fixture.found(&refs(&["in_evt_2"])).await, ["evt_2"]);
}

async fn pages_by_reference_give_each_entry_once_while_the_index_moves_on(fixture: Fixture) {
    for number in 0..30 {
        fixture.refer(&format!("evt_{number}"), if number % 3 == 0 { "cus_a" } else { "cus_b" }, "u").await;
        if number == 14 {
            fixture.settle_all().await;
            fixture.index().await;
        }
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = fixture.inbox().select(&refs(&["cus_a"]), after, 2).await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.event_id));
        after = page.next;
        if found.len() == 4 {
            fixture.settle_all().await;
            fixture.index().await;
        }
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..30).rev().filter(|number| number % 3 == 0).map(|n| format!("evt_{n}")).collect();
    assert_eq!(found, expected);
}

async fn the_index_waits_for_an_entry_to_end_and_then_knows_its_process(fixture: Fixture) {
    fixture.refer("evt_1", "cus_a", "u").await;
    assert_eq!(fixture.index().await, 0, "it waits for its end");
    let process = ProcessId::new("ab".repeat(32));
    let leased = fixture.lease(1).await.remove(0);
    let submit = Conclusion::Submitted { process: process.clone(), poll_after: MINUTE };
    fixture.inbox().conclude(vec![(leased.lease, submit)]).await.unwrap();
    let by_process = refs(&[process.as_str()]);
    assert_eq!(fixture.found(&by_process).await, ["evt_1"], "while the process has it");
    fixture.clock.advance(Duration::from_mins(11));
    assert_eq!(fixture.index().await, 1, "and no longer than ten minutes");
    assert_eq!(fixture.found(&by_process).await, ["evt_1"]);
    assert_eq!(fixture.found(&refs(&["cus_a"])).await, ["evt_1"]);
}

async fn what_leads_to_an_erased_person_is_forgotten_and_so_is_what_retention_removed(fixture: Fixture) {
    fixture.refer("evt_1", "cus_a", "u").await;
    fixture.refer("evt_2", "cus_b", "v").await;
    fixture.settle_all().await;
    fixture.index().await;
    fixture.inbox().forget_references(vec!["cus_a".to_owned(), "in_evt_1".to_owned()]).await.unwrap();
    assert_eq!(fixture.found(&refs(&["cus_a", "in_evt_1"])).await, Vec::<String>::new());
    assert_eq!(fixture.found(&refs(&["cus_b"])).await, ["evt_2"]);
    fixture.clock.advance(2 * DAY);
    let all = Retention { bodies: DAY, held_bodies: None, entries: DAY };
    while fixture.inbox().sweep(all).await.unwrap().more {}
    fixture.inbox().forget_references(Vec::new()).await.unwrap();
    assert_eq!(fixture.found(&refs(&["cus_b"])).await, Vec::<String>::new());
}

async fn an_order_by_reference_reaches_what_the_index_covers_and_the_rest(fixture: Fixture) {
    let first = fixture.refer("evt_1", "cus_a", "u").await;
    fixture.refer("evt_2", "cus_b", "u").await;
    let dead = Conclusion::Dead { code: "ledger_rejected".to_owned(), reason: "no".to_owned() };
    let give_up = async |fixture: &Fixture| {
        let leased = fixture.lease(10).await;
        let all = leased.into_iter().map(|leased| (leased.lease, dead.clone())).collect();
        fixture.inbox().conclude(all).await.unwrap();
    };
    give_up(&fixture).await;
    fixture.index().await;
    let last = fixture.refer("evt_3", "cus_a", "u").await;
    give_up(&fixture).await;
    let order = Order { action: Action::Replay, by: None, note: None };
    let step = fixture.inbox().operate(&refs(&["cus_a"]), &order, false, None).await.unwrap();
    let changed: Vec<EntryId> = step.entries.iter().map(|entry| entry.entry).collect();
    assert_eq!((changed, step.changed(), step.next), (vec![first, last], 2, None));
}

async fn a_step_of_the_index_is_bounded(fixture: Fixture) {
    for number in 0..=INDEX_STEP_MAX {
        fixture.refer(&format!("evt_{number}"), "cus_a", "u").await;
    }
    fixture.settle_all().await;
    fixture.clock.advance(2 * MINUTE);
    let mut steps = Vec::new();
    while steps.last().is_none_or(|step: &IndexStep| step.more) {
        steps.push(fixture.inbox().index_step(1).await.unwrap());
    }
    let entries: Vec<usize> = steps.iter().map(|step| step.entries).filter(|entries| *entries > 0).collect();
    assert_eq!(entries, [INDEX_STEP_MAX, 1]);
    assert_eq!(fixture.inbox().index_step(500).await.unwrap(), IndexStep::default(), "a few wait for others");
}

#[tokio::test]
async fn an_index_of_another_inbox_or_one_that_is_damaged_is_made_anew() {
    let mut fixture = Fixture::new();
    fixture.refer("evt_1", "cus_a", "u").await;
    fixture.settle_all().await;
    fixture.index().await;
    // As a restore of an older copy does.
    fixture.close();
    for name in ["inbox.db", "inbox.db-wal", "inbox.db-shm"] {
        let _ = std::fs::remove_file(fixture.directory.path().join(name));
    }
    fixture.reopen();
    fixture.refer("evt_2", "cus_b", "u").await;
    fixture.settle_all().await;
    assert_eq!(fixture.index().await, 1);
    assert_eq!(fixture.found(&refs(&["cus_a"])).await, Vec::<String>::new(), "another entry has the number now");
    assert_eq!(fixture.found(&refs(&["cus_b"])).await, ["evt_2"]);
    fixture.close();
    std::fs::write(fixture.directory.path().join("inbox-references.db"), "no index").unwrap();
    fixture.reopen();
    assert_eq!(fixture.index().await, 1, "made anew");
    assert_eq!(fixture.found(&refs(&["cus_b"])).await, ["evt_2"]);
}

/// Entries that are carried in get numbers by the time of their receipt, which the index may have passed.
#[tokio::test]
async fn what_is_carried_into_a_database_is_found_by_reference_also_behind_what_the_index_covers() {
    let mut file = Fixture::new();
    file.refer("evt_old", "cus_a", "u").await;
    file.settle_all().await;
    file.index().await;
    let database = Fixture::postgres().await;
    database.clock.advance(DAY);
    database.refer("evt_new", "cus_a", "u").await;
    database.settle_all().await;
    assert_eq!(database.index().await, 1);
    file.inbox().move_into(database.inbox(), ("the file", "db/x"), |_| {}).await.unwrap();
    assert_eq!(database.found(&refs(&["cus_a"])).await, ["evt_new", "evt_old"], "without the index");
    assert!(database.index().await >= 1);
    assert_eq!(database.found(&refs(&["cus_a"])).await, ["evt_new", "evt_old"], "and with it");
    // And back, where the numbers differ.
    file.close();
    file.open = Some(Inbox::open_for_move(&file.options, file.clock.clone()).unwrap());
    database.inbox().move_into(file.inbox(), ("db/x", "the file"), |_| {}).await.unwrap();
    file.clock.advance(2 * DAY);
    file.reopen();
    file.index().await;
    assert_eq!(file.found(&refs(&["cus_a"])).await.len(), 2);
    file.close();
    file.open = Some(Inbox::open_for_move(&file.options, file.clock.clone()).unwrap());
    file.inbox().move_into(database.inbox(), ("the file", "db/x"), |_| {}).await.unwrap();
    assert_eq!(database.found(&refs(&["cus_a"])).await.len(), 2);
    assert_eq!(database.index().await, 2, "of an index that began anew");
    assert_eq!(database.found(&refs(&["cus_a"])).await.len(), 2);
}

#[tokio::test]
async fn a_step_that_entries_are_carried_into_meanwhile_takes_nothing() {
    let fixture = Fixture::postgres().await;
    fixture.refer("evt_1", "cus_a", "u").await;
    fixture.settle_all().await;
    assert_eq!(fixture.index().await, 1);
    fixture.refer("evt_2", "cus_a", "u").await;
    fixture.settle_all().await;
    fixture.clock.advance(2 * MINUTE);
    let admin = fixture.database.as_ref().unwrap().sessions();
    let mut carrying = admin.begin().await.unwrap();
    carrying.execute("UPDATE gateway_inbox.marks SET value = value + 1 WHERE name = 'refs.carried'").await.unwrap();
    let inbox = fixture.inbox().clone();
    let mut steps = tokio::task::JoinSet::new();
    steps.spawn(async move { inbox.index_step(1).await.unwrap() });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while admin.value::<i64>(waits).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    carrying.commit().await.unwrap();
    assert_eq!(steps.join_next().await.unwrap().unwrap(), IndexStep { entries: 0, more: true });
    assert_eq!(fixture.index().await, 1, "the next one does");
}
