//! Leases that are lost, granted unheard, or in hand when the end comes.

use std::time::Duration;

use colonies::messages::ProcessState;
use colony_gateway::lifecycle::Ending;

use crate::hive::{Hive, patiently};

#[tokio::test]
async fn when_a_lease_ends_while_the_bee_works_another_bee_does_the_job_and_nothing_happens_twice() {
    let hive = Hive::with_time_stopped().await;
    let bees = hive.bees(2).await;
    hive.ledger.hold_next();
    let process = hive.submit(&["a", "b"]).await;
    hive.ledger.until_held().await;
    hive.pass(hive.lease + Duration::from_secs(1));
    let result = hive.result(&process).await;
    assert_eq!((result.counts.applied, hive.now(&process).await.retries), (2, 1));
    // The slow bee finds its events applied, and its lease gone.
    hive.ledger.let_go();
    bees.until("colony_gateway_bee_jobs_total{end=\"lease_lost\"}", 1).await;
    assert_eq!(bees.metric("colony_gateway_bee_events_total{outcome=\"duplicate\"}"), 2);
    assert_eq!(hive.result(&process).await, result, "the one that held the lease decided");
    bees.stop().await;
    hive.assert_applied_once(2).await;
}

#[tokio::test]
async fn draining_finishes_and_closes_the_job_in_hand() {
    let hive = Hive::new().await;
    let bees = hive.bees(1).await;
    hive.ledger.hold_next();
    let process = hive.submit(&["a"]).await;
    hive.ledger.until_held().await;
    bees.shutdown.drain();
    let waiting = hive.submit(&["b"]).await;
    assert_eq!(hive.now(&process).await.state, ProcessState::Running);
    hive.ledger.let_go();
    assert_eq!(bees.stop().await, Ending::Clean);
    assert_eq!(hive.now(&process).await.state, ProcessState::Success);
    assert_eq!(hive.now(&waiting).await.state, ProcessState::Waiting, "nothing new is taken");
    let others = hive.bees(1).await;
    hive.result(&waiting).await;
    others.stop().await;
    hive.assert_applied_once(2).await;
}

#[tokio::test]
async fn an_idle_bee_ends_at_once_though_its_poll_is_long() {
    let hive = Hive::with_time_stopped().await;
    let mut plan = hive.plan("hive", 3);
    plan.options.poll = Duration::from_mins(1);
    let bees = plan.start();
    bees.until_registered(3).await;
    assert_eq!(patiently("the bees end", bees.stop()).await, Ending::Clean);
}

#[tokio::test]
async fn a_bee_that_is_cut_off_mid_work_loses_nothing() {
    let hive = Hive::with_time_stopped().await;
    let bees = hive.bees(1).await;
    hive.ledger.hold_next();
    let process = hive.submit(&["a"]).await;
    hive.ledger.until_held().await;
    // As a crash would: the tasks are gone, the lease is still there.
    drop(bees);
    hive.pass(hive.lease + Duration::from_secs(1));
    let others = hive.bees(1).await;
    assert_eq!(hive.result(&process).await.counts.applied, 1);
    others.stop().await;
    hive.assert_applied_once(1).await;
}
