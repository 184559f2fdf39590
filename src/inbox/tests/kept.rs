//! What an inbox in PostgreSQL keeps for the gateway that received it.

use testkit::proxy::{Mode, Proxy};

use super::*;

const REQUEST: LeaseRequest = LeaseRequest { entries_max: 2, bytes_max: 1 << 20, duration: MINUTE };

fn options(url: &str) -> PostgresInboxOptions {
    let options = PostgresInboxOptions::new(Secret::new(url));
    PostgresInboxOptions { time: Time::Clock, keep: KEEP, allows_unsafe: true, ..options }
}

#[tokio::test]
async fn what_arrives_while_a_pump_waits_is_leased_by_its_own_gateway() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    one.inbox().keep_arrivals(REQUEST);
    let receipt = one.append("evt_1").await;
    assert_eq!(one.counts().await.leased, 1);
    assert!(other.lease(10).await.is_empty() && other.append("evt_1").await.is_duplicate());
    let kept = one.lease(10).await;
    one.append("evt_2").await;
    assert_eq!((ids(&kept), kept[0].lease.entry(), kept[0].received), (vec!["evt_1"], receipt.entry(), START));
    assert_eq!((kept[0].body.as_ref(), kept[0].crashes), (body("evt_1").as_slice(), 0));
    assert_eq!(one.settle(kept).await, [Concluded::Done]);
    // Only what a lease may hold.
    one.append("evt_3").await;
    one.append("evt_4").await;
    assert_eq!(ids(&other.lease(10).await), ["evt_4"]);
    assert_eq!(ids(&one.lease(10).await), ["evt_2", "evt_3"]);
}

#[tokio::test]
async fn a_held_arrival_and_one_that_no_pump_waits_for_are_not_kept() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    one.append("evt_1").await;
    one.inbox().keep_arrivals(REQUEST);
    let held = NewEntry::malformed(EndpointName::new("stripe"), "not JSON".into(), delivery(b"\xff"));
    one.inbox().append(held).await.unwrap();
    assert_eq!(one.counts().await.quarantined, 1);
    assert_eq!(ids(&other.lease(10).await), ["evt_1"]);
}

#[tokio::test]
async fn what_is_due_in_the_database_comes_before_what_is_kept() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    one.inbox().keep_arrivals(REQUEST);
    one.append("evt_kept").await;
    other.append("evt_others").await;
    let first = one.take(10).await;
    assert_eq!((ids(&first.entries), first.next_due), (vec!["evt_others"], Some(START)), "more is there at once");
    let retry = Conclusion::Retry { after: Duration::ZERO, counted: true, reason: "again".into() };
    let lease = first.entries.into_iter().next().unwrap().lease;
    assert_eq!(one.inbox().conclude(vec![(lease, retry)]).await.unwrap(), [Concluded::Done]);
    assert_eq!(ids(&one.lease(10).await), ["evt_others"], "the database is asked after something became due there");
    assert_eq!(ids(&one.lease(10).await), ["evt_kept"]);
}

#[tokio::test]
async fn what_no_pump_takes_is_offered_to_all_and_counts_no_crash() {
    let fixture = Fixture::postgres().await;
    let url = fixture.database.as_ref().unwrap().url();
    let hasty = PostgresInboxOptions { keep: Duration::from_millis(1), ..options(&url) };
    let (inbox, threads) = Inbox::shared(&hasty, fixture.clock.clone()).unwrap();
    let mut number = 0;
    // On a slow machine the pump's word may be over before the arrival.
    while inbox.counts().await.unwrap().leased == 0 && number < 100 {
        inbox.keep_arrivals(REQUEST);
        inbox.append(entry(&format!("evt_{number}"))).await.unwrap();
        number += 1;
    }
    let mut seen = Vec::new();
    while seen.len() < number {
        for leased in fixture.lease(10).await {
            assert_eq!(leased.crashes, 0);
            seen.push(leased.event_id.to_string());
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.counts().await.leased, number as u64);
    drop(inbox);
    threads.join();
}

#[tokio::test]
async fn a_gateway_that_stops_gives_back_what_it_kept() {
    let mut one = Fixture::postgres().await;
    let other = one.neighbour();
    one.inbox().keep_arrivals(REQUEST);
    one.append("evt_1").await;
    assert!(other.lease(10).await.is_empty());
    one.close();
    let leased = other.lease(10).await;
    assert_eq!((ids(&leased), leased[0].crashes), (vec!["evt_1"], 0));
}

#[tokio::test]
async fn an_arrival_whose_answer_was_lost_is_not_kept_and_comes_back_at_once() {
    let fixture = Fixture::postgres().await;
    let port = fixture.database.as_ref().unwrap().port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let url = fixture.database.as_ref().unwrap().url().replace(&port.to_string(), &proxy.address().port().to_string());
    let (inbox, threads) = Inbox::shared(&options(&url), fixture.clock.clone()).unwrap();
    inbox.append(entry("evt_0")).await.unwrap();
    inbox.keep_arrivals(REQUEST);
    proxy.set(Mode::LoseReplies, 1);
    assert!(!inbox.append(entry("evt_1")).await.unwrap().is_duplicate());
    assert_eq!(proxy.broken(), 1);
    let taken = inbox.lease(LeaseRequest { entries_max: 8, ..REQUEST }).await.unwrap();
    let mut found = ids(&taken.entries);
    found.sort_unstable();
    assert_eq!((found, taken.entries.iter().map(|one| one.crashes).sum::<u32>()), (vec!["evt_0", "evt_1"], 0));
    drop(inbox);
    threads.join();
}
