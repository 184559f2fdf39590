//! How processes end, well and otherwise.

use std::time::Duration;

use colonies::messages::ProcessState;
use colony_gateway::domain::outcome::OutcomeName;
use colony_gateway::domain::route::Route;
use colony_gateway::inbox::EntryState;
use colony_gateway::job::Sender;
use colony_gateway::job::completion::{EventResult, JobResult};
use colony_gateway::ledger::witness::Witness;
use serde_json::json;

use crate::world::{FALLBACK, LEASE, World, take, until_state};

fn returned(reason: &str) -> String {
    format!("colony_gateway_entries_returned_total{{reason=\"{reason}\"}}")
}

/// A result with these outcomes.
pub(crate) fn result(events: &[(&str, &str)]) -> JobResult {
    let outcome = |name: &str| serde_json::from_value::<OutcomeName>(json!(name)).unwrap();
    let event = |(event, name): &(&str, &str)| EventResult {
        event: (*event).to_owned(),
        outcome: outcome(name),
        code: None,
        reason: None,
    };
    JobResult::new(events.iter().map(event).collect())
}

#[tokio::test]
async fn a_lease_that_ends_while_a_bee_works_gives_the_job_to_another_and_nothing_happens_twice() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    let slow = world.lazy_bee("slow").await;
    gateway.receive_new(&world, 2).await;
    let process = take(&slow).await;
    world.pass(LEASE + Duration::from_secs(1));
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    let late = slow.close_successful(&process.id(), Vec::new()).await;
    assert!(late.is_err(), "its lease is gone");
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

const LEASES_LOST: &str = "colony_gateway_entries_returned_total{reason=\"leases_lost\"}";

#[tokio::test]
async fn lost_leases_are_submitted_again_and_go_the_direct_route_after_the_bound() {
    let world = World::new().await;
    let mut plan = world.gateway();
    plan.retries = 0;
    let resubmissions = plan.options.resubmissions_max;
    let gateway = plan.start();
    let silent = world.lazy_bee("silent").await;
    gateway.receive_new(&world, 1).await;
    for submission in 1..=resubmissions {
        take(&silent).await;
        world.pass(LEASE + Duration::from_secs(1));
        gateway.until_metric_in_time(&world, LEASES_LOST, u64::from(submission)).await;
    }
    take(&silent).await;
    world.pass(LEASE + Duration::from_secs(1));
    gateway.until_settled_in_time(&world).await;
    gateway.until_metric(LEASES_LOST, u64::from(resubmissions) + 1).await;
    assert_eq!(world.statistics().await.waitingprocesses, 0, "the colony is not given it again");
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_batch_whose_leases_are_lost_comes_again_one_by_one_so_that_neighbours_pass() {
    let world = World::new().await;
    world.receive_before(5).await;
    let mut plan = world.gateway();
    plan.retries = 0;
    let gateway = plan.start();
    let silent = world.lazy_bee("silent").await;
    take(&silent).await;
    assert_eq!(world.statistics().await.waitingprocesses, 0, "all in one");
    world.pass(LEASE + Duration::from_secs(1));
    gateway.until_metric_in_time(&world, LEASES_LOST, 5).await;
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    assert_eq!(world.statistics().await.successfulprocesses, 5);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn an_output_that_says_nothing_is_as_good_as_none() {
    let nothing = JobResult::default().to_output().remove(0);
    for output in [json!("done"), json!({}), nothing, result(&[("evt_9", "applied")]).to_output().remove(0)] {
        let world = World::new().await;
        let gateway = world.gateway().start();
        let idler = world.lazy_bee("idler").await;
        gateway.receive_new(&world, 1).await;
        let process = take(&idler).await;
        idler.close_successful(&process.id(), vec![output]).await.unwrap();
        let begun = world.clock.now();
        gateway.until_metric_in_time(&world, &returned("no_result"), 1).await;
        gateway.until_settled_in_time(&world).await;
        assert!(world.clock.now().since(begun) < FALLBACK, "it is not given to the same executor again and again");
        gateway.until_colony_is_left(&[idler.id().as_str()]).await;
        gateway.stop().await;
        world.assert_applied_once().await;
    }
}

#[tokio::test]
async fn what_a_result_leaves_out_comes_again_and_its_bee_is_good() {
    let world = World::new().await;
    world.receive_before(2).await;
    let gateway = world.gateway().start();
    let bee = world.lazy_bee("bee").await;
    let process = take(&bee).await;
    world.apply(1).await;
    bee.close_successful(&process.id(), result(&[("evt_1", "applied")]).to_output()).await.unwrap();
    gateway.until_metric_in_time(&world, &returned("missing"), 1).await;
    assert_eq!(gateway.in_force.get(), Route::ColonyOs);
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_process_that_somebody_cancelled_leaves_its_events_to_the_ledger() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    gateway.receive_new(&world, 1).await;
    gateway.until("it is submitted", |counts| counts.submitted == 1).await;
    let EntryState::Submitted { process, .. } = gateway.newest().await else { panic!("not submitted") };
    world.user().cancel(&process).await.unwrap();
    let line = "colony_gateway_entries_returned_total{reason=\"cancelled\"}";
    gateway.until_metric_in_time(&world, line, 1).await;
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_job_that_was_submitted_and_not_recorded_has_no_second_effect() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    // What a gateway left behind that crashed between the two: the same events, in a process that holds nothing.
    let event = world.next_event();
    let terms = colony_gateway::job::Terms::new(crate::world::COLONY, crate::world::KIND);
    let now = world.clock.now();
    let ledger = world.ledger.witness(&[]).await.unwrap().ledger;
    let user = world.user();
    let sender = Sender {
        terms: &terms,
        signer: &world.signer,
        ledger: &ledger,
        submitter: user.id().as_str(),
        recipients: None,
    };
    let orphan = colony_gateway::job::seal(&sender, &[&event], now).unwrap();
    let orphan = world.user().submit(orphan).await.unwrap();
    gateway.receive(&event).await;
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    until_state(&world.user(), &orphan, ProcessState::Success).await;
    assert_eq!(world.statistics().await.successfulprocesses, 2);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_job_that_is_delivered_twice_has_one_effect() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    gateway.receive_new(&world, 1).await;
    gateway.until("it is submitted", |counts| counts.submitted == 1).await;
    let EntryState::Submitted { process, .. } = gateway.newest().await else { panic!("not submitted") };
    let spec = world.user().process(&process).await.unwrap().spec;
    let twin = world.user().submit(spec).await.unwrap();
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    // Its attestation belongs to the other process, whichever came first.
    let states = [world.user().process(&process).await.unwrap().state, {
        crate::world::patiently("the twin ends", async {
            while !world.user().process(&twin.id()).await.unwrap().state.is_final() {
                crate::world::breath().await;
            }
        })
        .await;
        world.user().process(&twin.id()).await.unwrap().state
    }];
    assert!(states.contains(&ProcessState::Success) && states.contains(&ProcessState::Failed), "{states:?}");
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}
