//! What happens while nothing breaks.

use std::time::Duration;

use colonies::messages::ProcessState;
use colony_gateway::dispatch::switch::Wish;
use colony_gateway::domain::backoff::Backoff;
use colony_gateway::domain::route::Route;
use colony_gateway::inbox::EntryState;

use crate::world::{World, take};

#[tokio::test]
async fn an_event_goes_through_the_colony_and_the_bee_says_when_it_is_done() {
    let world = World::new().await;
    let (plan, completions) = world.gateway().told();
    let gateway = plan.start();
    let bees = world.bees(Some(completions));
    for _ in 0..3 {
        gateway.receive_new(&world, 1).await;
        gateway.until_settled().await;
    }
    assert_eq!(gateway.in_force.get(), Route::ColonyOs);
    let statistics = world.statistics().await;
    assert_eq!((statistics.successfulprocesses, statistics.waitingprocesses), (3, 0), "one event, one job");
    gateway.until_metric("colony_gateway_confirmations_total{way=\"told\"}", 3).await;
    gateway.until_metric("colony_gateway_events_ended_total{outcome=\"applied\"}", 3).await;
    gateway.until_metric("colony_gateway_processes_in_flight", 0).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn sealed_events_go_through_a_server_that_cannot_read_them() {
    let world = World::new().await;
    world.receive_before(3).await;
    let mut plan = world.gateway();
    plan.sealed = true;
    let gateway = plan.start();
    let nosy = world.lazy_bee("nosy").await;
    let process = take(&nosy).await;
    let held = serde_json::to_string(&process.spec).unwrap();
    assert!(held.contains("sealed+zstd+json") && held.contains("HPKE"), "{held}");
    for readable in ["evt_0", "invoice", "cus_", "amount"] {
        assert!(!held.contains(readable), "the server reads {readable}");
    }
    // It goes to bees that have the key when the lease ends.
    world.pass(crate::world::LEASE + Duration::from_secs(1));
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    gateway.until_metric("colony_gateway_events_ended_total{outcome=\"applied\"}", 3).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_backlog_goes_in_few_large_jobs() {
    let world = World::new().await;
    let mut plan = world.gateway();
    plan.options.processes_max = 1;
    let gateway = plan.start();
    // The first takes the only place; the others pile up behind it.
    gateway.receive_new(&world, 1).await;
    gateway.until("the first is submitted", |counts| counts.submitted == 1).await;
    gateway.receive_new(&world, 300).await;
    assert_eq!(world.statistics().await.waitingprocesses, 1, "no more processes in flight than allowed");
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    assert_eq!(world.statistics().await.successfulprocesses, 3, "1, 256 and 44 events");
    assert!(gateway.metrics.render().contains("colony_gateway_batch_entries_bucket{le=\"256\"} 3"));
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn the_server_is_asked_about_processes_that_others_run_and_ever_more_rarely() {
    let world = World::new().await;
    let mut plan = world.gateway();
    plan.options.status = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(4) };
    let gateway = plan.start();
    gateway.receive_new(&world, 1).await;
    gateway.until("it is submitted", |counts| counts.submitted == 1).await;
    let mut polls = Vec::new();
    for _ in 0..4 {
        let EntryState::Submitted { poll, .. } = gateway.newest().await else { panic!("not submitted") };
        let wait = poll.since(world.clock.now());
        polls.push(wait.as_secs());
        world.pass(wait);
        crate::world::patiently("the next question is set", async {
            while matches!(gateway.newest().await, EntryState::Submitted { poll: now, .. } if now == poll) {
                crate::world::breath().await;
            }
        })
        .await;
    }
    assert_eq!(polls, [1, 2, 4, 4]);
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    gateway.until_metric("colony_gateway_confirmations_total{way=\"asked\"}", 1).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn the_switch_takes_effect_at_run_time_and_back() {
    let world = World::new().await;
    let (plan, completions) = world.gateway().told();
    let gateway = plan.start();
    let bees = world.bees(Some(completions));
    gateway.receive_new(&world, 1).await;
    gateway.until_settled().await;
    gateway.switch.set(Wish::Direct);
    gateway.until_route(Route::Direct).await;
    gateway.receive_new(&world, 5).await;
    gateway.until_settled().await;
    assert_eq!(world.statistics().await.successfulprocesses, 1);
    gateway.switch.set(Wish::Auto);
    gateway.until_route(Route::ColonyOs).await;
    gateway.receive_new(&world, 1).await;
    gateway.until_settled().await;
    assert_eq!(world.statistics().await.successfulprocesses, 2);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_gateway_that_crashed_finds_its_processes_again() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    gateway.receive_new(&world, 3).await;
    gateway.until("all are submitted", |counts| counts.submitted == 3).await;
    gateway.kill().await;
    // They end while nobody listens.
    let bees = world.bees(None);
    crate::world::patiently("the bees run them", async {
        while world.statistics().await.waitingprocesses + world.statistics().await.runningprocesses > 0 {
            crate::world::breath().await;
        }
    })
    .await;
    let gateway = world.gateway().start();
    gateway.until_settled_in_time(&world).await;
    gateway.until_metric("colony_gateway_events_ended_total{outcome=\"applied\"}", 3).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn draining_waits_for_what_the_bees_bring_to_its_end() {
    let world = World::new().await;
    let (plan, completions) = world.gateway().told();
    let gateway = plan.start();
    let bee = world.lazy_bee("slow").await;
    gateway.receive_new(&world, 1).await;
    let process = take(&bee).await;
    let stop = gateway.stop();
    let finish = async {
        let result = crate::ends::result(&[("evt_0", "applied")]);
        bee.close_successful(&process.id(), result.to_output()).await.unwrap();
        let completed = colony_gateway::job::completion::Completed { process: process.id(), result };
        completions.try_send(completed).unwrap();
        drop(completions);
    };
    tokio::join!(stop, finish);
    let gateway = world.gateway().start();
    assert!(matches!(gateway.newest().await, EntryState::Settled { .. }));
    assert_eq!(world.user().process(&process.id()).await.unwrap().state, ProcessState::Success);
    gateway.stop().await;
}
