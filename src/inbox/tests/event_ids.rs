//! An event of an endpoint has one entry, in whichever part of the index its id lies.

use super::*;

/// More than two merges.
const EVENTS: usize = 1_400;

/// Ids in an order that is neither theirs nor that of their numbers.
fn shuffled() -> Vec<String> {
    (0..EVENTS).map(|number| format!("evt_{:04}", number * 601 % EVENTS)).collect()
}

/// Appends a hundred at a time, so that they come in groups, in the order of the ids.
async fn append_all(fixture: &Fixture, ids: &[String]) -> Vec<Receipt> {
    let mut receipts = Vec::with_capacity(ids.len());
    for some in ids.chunks(100) {
        let mut appends = tokio::task::JoinSet::new();
        for (place, id) in some.iter().enumerate() {
            let (inbox, entry) = (fixture.inbox().clone(), entry(id));
            appends.spawn(async move { (place, inbox.append(entry).await.expect("appended")) });
        }
        let mut done = appends.join_all().await;
        done.sort_unstable_by_key(|(place, _)| *place);
        receipts.extend(done.into_iter().map(|(_, receipt)| receipt));
    }
    receipts
}

/// Ids in the large table and in the small one.
fn held(fixture: &Fixture) -> (usize, usize) {
    let connection = Connection::open(fixture.file()).unwrap();
    let count = |table| connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    (count("event_ids"), count("event_ids_new"))
}

#[tokio::test]
async fn an_event_is_stored_once_wherever_its_id_lies() {
    let mut fixture = Fixture::new();
    let ids = shuffled();
    let first = append_all(&fixture, &ids).await;
    assert!(first.iter().all(|receipt| !receipt.is_duplicate()));
    for _ in 0..2 {
        let again = append_all(&fixture, &ids).await;
        assert!(again.iter().zip(&first).all(|(again, first)| again.is_duplicate() && again.entry() == first.entry()));
        let (large, small) = held(&fixture);
        assert!(large > 0 && small > 0, "{large} and {small}: both parts are asked");
        assert_eq!(large + small, EVENTS);
        fixture.reopen();
    }
    assert_eq!(fixture.counts().await.waiting, EVENTS as u64);
}

#[tokio::test]
async fn an_event_that_comes_several_times_within_a_group_that_merges_is_stored_once() {
    let fixture = Fixture::new();
    let thrice: Vec<String> = shuffled().into_iter().flat_map(|id| [id.clone(), id.clone(), id]).collect();
    let receipts = append_all(&fixture, &thrice).await;
    assert_eq!(receipts.iter().filter(|receipt| !receipt.is_duplicate()).count(), EVENTS);
    let (large, small) = held(&fixture);
    assert_eq!(large + small, EVENTS);
}

#[tokio::test]
async fn every_endpoint_has_its_own_entry_of_an_event_and_both_are_found() {
    let fixture = Fixture::new();
    let other = |id: &str| {
        let body = body(id);
        let envelope = Envelope::read(&body).expect("an event");
        NewEntry::event(EndpointName::new("other"), envelope, Door::Open, delivery(&body))
    };
    let early = [fixture.append("evt_early").await, fixture.inbox().append(other("evt_early")).await.unwrap()];
    append_all(&fixture, &shuffled()).await;
    let late = [fixture.inbox().append(other("evt_late")).await.unwrap(), fixture.append("evt_late").await];
    for (id, receipts) in [("evt_early", early), ("evt_late", late)] {
        assert!(receipts.iter().all(|receipt| !receipt.is_duplicate()));
        let entries = fixture.inbox().entries_of_event(id.to_owned()).await.unwrap();
        assert_eq!(entries, receipts.map(|receipt| receipt.entry()));
    }
    assert_eq!(fixture.inbox().entries_of_event("evt_none".to_owned()).await.unwrap(), []);
}

#[tokio::test]
async fn an_entry_that_retention_removes_leaves_no_id_behind() {
    let fixture = Fixture::new();
    append_all(&fixture, &shuffled()).await;
    loop {
        let leased = fixture.lease(500).await;
        if leased.is_empty() {
            break;
        }
        fixture.settle(leased).await;
    }
    fixture.clock.advance(DAY * 2);
    while fixture.inbox().sweep(Retention { bodies: DAY, held_bodies: None, entries: DAY }).await.unwrap().more {}
    assert_eq!((fixture.counts().await.settled, held(&fixture)), (0, (0, 0)));
    assert!(!fixture.append("evt_0001").await.is_duplicate());
}
