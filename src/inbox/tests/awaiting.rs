//! What an entry waits for, and what that spares it.

use super::*;
use crate::inbox::lease::CRASHES_ALONE;

on_every_store! {
    an_entry_that_waits_for_stripe_pays_no_attempt_and_does_not_make_the_colony_look_slow,
    an_entry_that_waits_for_a_bee_is_known_as_such_while_a_process_has_it,
}

/// More crashes than give an entry up.
const CRASHES: i64 = CRASHES_MAX + 4;

/// Crashes on the record of each entry.
fn crashes(fixture: &Fixture) -> Vec<i64> {
    let connection = Connection::open(fixture.file()).unwrap();
    let mut statement = connection.prepare("SELECT crashes FROM entries ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_process_that_dies_while_it_waits_for_an_answer_is_blamed_on_no_entry() {
    let mut fixture = Fixture::new();
    for number in 0..8 {
        fixture.append(&format!("evt_{number}")).await;
    }
    for _ in 0..CRASHES {
        // As many pumps as there are entries, so that each has its turn.
        for _ in 0..8 {
            let leased = fixture.lease(8).await;
            Suspects::among(fixture.inbox(), &leased).wait().await;
        }
        fixture.reopen();
    }
    assert!(crashes(&fixture).iter().all(|crashes| *crashes <= CRASHES_ALONE), "{:?}", crashes(&fixture));
    assert_eq!(fixture.counts().await.waiting, 8);
}

#[tokio::test]
async fn an_entry_that_kills_its_process_after_an_answer_came_is_given_up_all_the_same() {
    let mut fixture = Fixture::new();
    fixture.append("evt_poison").await;
    for _ in 0..CRASHES_MAX {
        let leased = fixture.lease(1).await;
        let suspects = Suspects::among(fixture.inbox(), &leased);
        suspects.wait().await;
        suspects.work().await;
        // It keeps the inbox open.
        drop(suspects);
        fixture.reopen();
    }
    assert!(fixture.lease(1).await.is_empty());
    assert_eq!(fixture.counts().await.dead, 1);
}

#[tokio::test]
async fn a_note_is_made_for_entries_of_earlier_crashes_alone_and_ends_with_the_lease() {
    let mut fixture = Fixture::new();
    fixture.append("evt_1").await;
    let leased = fixture.lease(1).await;
    assert!(Suspects::among(fixture.inbox(), &leased).is_empty(), "no commit is spent on ordinary traffic");
    fixture.reopen();
    let leased = fixture.lease(1).await;
    let late = Suspects::among(fixture.inbox(), &leased);
    late.wait().await;
    let retry = Conclusion::Retry { after: Duration::ZERO, counted: false, reason: "later".into() };
    fixture.inbox().conclude(leased.into_iter().map(|leased| (leased.lease, retry.clone())).collect()).await.unwrap();
    let again = fixture.lease(1).await;
    late.wait().await;
    drop(late);
    fixture.reopen();
    assert_eq!((again[0].crashes, crashes(&fixture)), (0, vec![1]), "the lease of before says nothing about this one");
}

async fn an_entry_that_waits_for_stripe_pays_no_attempt_and_does_not_make_the_colony_look_slow(fixture: Fixture) {
    fixture.append("evt_1").await;
    assert_eq!(fixture.inbox().oldest_unattended().await.unwrap(), Some(START));
    for _ in 0..3 {
        let [leased] = fixture.lease(1).await.try_into().unwrap();
        let wait = Conclusion::AwaitStripe { after: MINUTE, reason: "no answer".into() };
        fixture.inbox().conclude(vec![(leased.lease, wait)]).await.unwrap();
        assert_eq!(fixture.inbox().oldest_unattended().await.unwrap(), None);
        assert_eq!(fixture.counts().await.oldest, Some(START), "its age is told");
        fixture.clock.advance(MINUTE);
    }
    let [leased] = fixture.lease(1).await.try_into().unwrap();
    assert_eq!((leased.attempts, leased.awaited_stripe), (0, true));
    let retry = Conclusion::Retry { after: Duration::ZERO, counted: false, reason: "later".into() };
    fixture.inbox().conclude(vec![(leased.lease, retry)]).await.unwrap();
    assert_eq!(fixture.inbox().oldest_unattended().await.unwrap(), Some(START));
    assert!(!fixture.lease(1).await[0].awaited_stripe);
}

async fn an_entry_that_waits_for_a_bee_is_known_as_such_while_a_process_has_it(fixture: Fixture) {
    fixture.append("evt_1").await;
    let [leased] = fixture.lease(1).await.try_into().unwrap();
    let wait = Conclusion::AwaitBee { after: MINUTE, reason: "no key".into() };
    fixture.inbox().conclude(vec![(leased.lease, wait)]).await.unwrap();
    assert_eq!(fixture.inbox().oldest_unattended().await.unwrap(), None);
    fixture.clock.advance(MINUTE);
    let [leased] = fixture.lease(1).await.try_into().unwrap();
    assert_eq!((leased.attempts, leased.awaits_bee, leased.awaited_stripe), (0, true, false));
    let entry = leased.lease.entry();
    submit(&fixture, vec![leased], "p1", Duration::ZERO).await;
    let processes = fixture.inbox().submitted(10).await.unwrap();
    assert_eq!((processes[0].entries, processes[0].oldest), (1, None), "it has nowhere else to go");
    assert_eq!(fixture.inbox().oldest_unattended().await.unwrap(), None);
    let retry = Conclusion::Retry { after: Duration::ZERO, counted: false, reason: "later".into() };
    fixture.inbox().conclude_submitted(ProcessId::new("p1"), vec![(entry, retry)]).await.unwrap();
    assert!(!fixture.lease(1).await[0].awaits_bee);
}
