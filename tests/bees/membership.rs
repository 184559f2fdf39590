//! How bees become members, stay members, and what they say while they are none.

use std::sync::Arc;

use colonies::messages::{ExecutorState, ProcessState};
use colony_gateway::bees::KeySource;
use colony_gateway::bees::approval::{Approval, Candidate, NotApproved};
use colony_gateway::telemetry::health::Level;

use crate::hive::{Hive, KIND, key};

#[tokio::test]
async fn without_the_owners_key_a_bee_says_what_it_waits_for_and_works_once_it_is_approved() {
    let hive = Hive::new().await;
    let mut plan = hive.plan("hive", 1);
    plan.owner = None;
    let bees = plan.start();
    bees.until_health_says("waits for approval").await;
    let health = bees.board.read()["bees"].clone();
    assert_eq!(health.status, Level::Degraded);
    let id = hive.executor_key.id();
    let run = format!("colony-gateway colony setup --executor hive-1={id}`");
    assert!(health.detail.contains(&run), "{run}: {}", health.detail);
    let process = hive.submit(&["a"]).await;

    let done = hive.approver().approve(&[Candidate::known("hive-1", id.clone())]).await.unwrap();
    assert!(matches!(done["hive-1"], Ok(Approval::Added)), "{done:?}");
    bees.until_registered(1).await;
    assert_eq!(hive.result(&process).await.counts.applied, 1);
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn bees_that_were_approved_beforehand_work_without_the_owners_key_and_come_back_when_they_are_approved_again() {
    let hive = Hive::new().await;
    let pools = || {
        let of = |pool: &str, count| Candidate::of_pool(&KeySource::Given(Arc::clone(&hive.executor_key)), pool, count);
        [of("hive", 2).unwrap(), of("other", 1).unwrap()].concat()
    };
    let approved = async || {
        let done = hive.approver().approve(&pools()).await.unwrap();
        ["hive-1", "hive-2", "other-1"].map(|name| *done[name].as_ref().unwrap())
    };
    assert_eq!(approved().await, [Approval::Added; 3]);
    assert_eq!(approved().await, [Approval::There; 3]);
    let start = |pool: &str, count| {
        let mut plan = hive.plan(pool, count);
        plan.owner = None;
        plan.start()
    };
    let (bees, others) = (start("hive", 2), start("other", 1));
    bees.until_registered(2).await;
    others.until_registered(1).await;
    others.stop().await;
    hive.result(&hive.submit(&["a"]).await).await;

    hive.owner.remove_executor("hive-2").await.unwrap();
    bees.until_health_says("waits for approval").await;
    assert_eq!(approved().await, [Approval::There, Approval::Approved, Approval::There]);
    bees.until_registered(3).await;
    hive.result(&hive.submit(&["b"]).await).await;
    bees.stop().await;
    hive.assert_applied_once(2).await;
}

#[tokio::test]
async fn a_name_of_somebody_else_or_of_another_type_is_not_approved() {
    let hive = Hive::new().await;
    hive.owner.add_executor("hive-1", KIND, key().id()).await.unwrap();
    hive.owner.add_executor("hive-2", "other-type", hive.executor_key.derive("hive-2").id()).await.unwrap();
    let keys = KeySource::Given(Arc::clone(&hive.executor_key));
    let done = hive.approver().approve(&Candidate::of_pool(&keys, "hive", 2).unwrap()).await.unwrap();
    assert!(matches!(done["hive-1"], Err(NotApproved::NameTaken)), "{done:?}");
    assert!(matches!(done["hive-2"], Err(NotApproved::OtherType { .. })), "{done:?}");
    let executors = hive.gateway.executors().await.unwrap();
    assert!(executors.iter().all(|executor| executor.state == ExecutorState::Pending), "{executors:?}");
}

#[tokio::test]
async fn a_bee_tells_its_function_once_however_often_it_starts() {
    let hive = Hive::new().await;
    for _ in 0..3 {
        hive.bees(2).await.stop().await;
    }
    for name in ["hive-1", "hive-2"] {
        let functions = hive.gateway.functions(name).await.unwrap();
        let names: Vec<&str> = functions.iter().map(|function| function.funcname.as_str()).collect();
        assert_eq!(names, ["validate_revenue"], "{name}");
    }
}

#[tokio::test]
async fn a_bee_that_was_removed_registers_again_and_works_on() {
    let hive = Hive::new().await;
    let bees = hive.bees(1).await;
    hive.result(&hive.submit(&["a"]).await).await;
    hive.owner.remove_executor("hive-1").await.unwrap();
    bees.until_registered(2).await;
    hive.result(&hive.submit(&["b"]).await).await;
    assert_eq!(hive.gateway.functions("hive-1").await.unwrap().len(), 1);
    bees.stop().await;
    hive.assert_applied_once(2).await;
}

#[tokio::test]
async fn a_bee_that_is_removed_while_it_works_does_no_harm() {
    let hive = Hive::new().await;
    let bees = hive.bees(1).await;
    hive.ledger.hold_next();
    let process = hive.submit(&["a"]).await;
    hive.ledger.until_held().await;
    hive.owner.remove_executor("hive-1").await.unwrap();
    hive.ledger.let_go();
    assert_eq!(hive.result(&process).await.counts.duplicate, 1, "its first run was applied and could not be closed");
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn while_assignments_are_paused_bees_take_nothing_and_say_so() {
    let hive = Hive::new().await;
    let bees = hive.bees(2).await;
    hive.owner.pause_assignments().await.unwrap();
    let process = hive.submit(&["a"]).await;
    bees.until_health_says("assignments are paused").await;
    assert_eq!(hive.now(&process).await.state, ProcessState::Waiting);
    hive.owner.resume_assignments().await.unwrap();
    hive.result(&process).await;
    bees.until("colony_gateway_bees{state=\"idle\"}", 2).await;
    assert_eq!(bees.board.read()["bees"].status, Level::Ok);
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn a_second_machine_with_the_same_key_and_another_name_shares_the_work() {
    let hive = Hive::new().await;
    let left = hive.plan("left", 2).start();
    left.until_registered(2).await;
    let right = hive.plan("right", 2).start();
    right.until_registered(2).await;
    let executors = hive.gateway.executors().await.unwrap();
    let mut ids: Vec<&str> = executors.iter().map(|executor| executor.executorid.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each has an identity of its own");
    for number in 0..8 {
        hive.submit(&[&number.to_string()]).await;
    }
    let last = hive.submit(&["last"]).await;
    hive.result(&last).await;
    left.stop().await;
    right.stop().await;
    hive.assert_applied_once(9).await;
}

#[tokio::test]
async fn a_name_that_belongs_to_somebody_else_is_not_taken_over() {
    let hive = Hive::new().await;
    let other = key();
    hive.owner.add_executor("hive-1", KIND, other.id()).await.unwrap();
    let bees = hive.plan("hive", 1).start();
    bees.until_health_says("another EXECUTOR_NAME").await;
    let executors = hive.client.member(crate::hive::COLONY, Arc::clone(&other)).executors().await.unwrap();
    assert_eq!(executors.len(), 1);
    assert_eq!(executors[0].executorid, other.id().as_str());
    assert_eq!(executors[0].state, colonies::messages::ExecutorState::Pending, "nor approved");
    bees.stop().await;
}

#[tokio::test]
async fn a_users_key_is_refused_with_what_to_do() {
    let hive = Hive::new().await;
    let mut plan = hive.plan("hive", 1);
    plan.keys = KeySource::Given(Arc::clone(&hive.gateway_key));
    let bees = plan.start();
    bees.until_health_says("must be a key of its own").await;
    bees.stop().await;
}
