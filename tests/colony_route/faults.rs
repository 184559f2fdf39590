//! Servers that die and lines that break, under load.

use std::time::Duration;

use colony_gateway::domain::route::Route;
use colony_gateway::telemetry::health::Level;

use crate::proxy::Mode;
use crate::world::World;

#[tokio::test]
async fn a_server_that_is_killed_and_restarted_under_load_loses_and_doubles_nothing() {
    let mut world = World::new().await;
    let (plan, completions) = world.gateway().told();
    let gateway = plan.start();
    let bees = world.bees(Some(completions));
    gateway.receive_new(&world, 40).await;
    let memory = world.kill_server().await;
    gateway.receive_new(&world, 40).await;
    gateway.until_route_in_time(&world, Route::Direct).await;
    gateway.receive_new(&world, 40).await;
    assert_eq!(gateway.board.read()["colony"].status, Level::Degraded);
    world.revive(memory).await;
    world.pass(Duration::from_secs(2));
    gateway.receive_new(&world, 40).await;
    gateway.until_settled_in_time(&world).await;
    // The flow returns.
    let before = world.statistics().await.successfulprocesses;
    world.pass(Duration::from_secs(2));
    gateway.receive_new(&world, 1).await;
    gateway.until_settled_in_time(&world).await;
    gateway.until_route(Route::ColonyOs).await;
    assert_eq!(world.statistics().await.successfulprocesses, before + 1);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn processes_that_a_new_server_does_not_know_are_decided_by_the_ledger() {
    let mut world = World::new().await;
    let gateway = world.gateway().start();
    gateway.receive_new(&world, 3).await;
    gateway.until("all are submitted", |counts| counts.submitted == 3).await;
    drop(world.kill_server().await);
    world.replace_server().await;
    world.pass(Duration::from_secs(2));
    let line = "colony_gateway_entries_returned_total{reason=\"unknown_process\"}";
    gateway.until_metric_in_time(&world, line, 3).await;
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn replies_that_are_lost_after_the_server_acted_have_no_second_effect() {
    let world = World::new().await;
    let (plan, completions) = world.gateway().told();
    let gateway = plan.start();
    let bees = world.bees(Some(completions));
    gateway.until_route(Route::ColonyOs).await;
    for round in 0..4 {
        world.proxy.set(Mode::LoseReplies, 1);
        gateway.receive_new(&world, 5).await;
        gateway.until_settled_in_time(&world).await;
        assert!(world.proxy.broken() > round, "nothing was lost");
        world.pass(Duration::from_secs(2));
    }
    // What was submitted and not heard of is run all the same.
    crate::world::patiently("the orphans are run", async {
        while world.statistics().await.waitingprocesses > 0 {
            crate::world::breath().await;
        }
    })
    .await;
    assert!(gateway.metric("colony_gateway_submissions_total{result=\"broken\"}") > 0);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn requests_that_are_lost_go_the_direct_route_at_once() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    // The question at its start would be what is lost.
    gateway.until_route(Route::ColonyOs).await;
    world.proxy.set(Mode::LoseRequests, 1);
    gateway.receive_new(&world, 1).await;
    gateway.until_settled().await;
    assert_eq!(world.statistics().await.waitingprocesses, 0);
    assert_eq!(gateway.in_force.get(), Route::ColonyOs, "one fault opens nothing");
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_line_that_refuses_opens_the_breaker_and_a_probe_closes_it() {
    let mut world = World::new().await;
    world.proxy.refuse().await;
    let (plan, completions) = world.gateway().told();
    let gateway = plan.start();
    let bees = world.bees(Some(completions));
    for _ in 0..2 {
        gateway.receive_new(&world, 1).await;
        gateway.until_settled().await;
    }
    assert_eq!(gateway.in_force.get(), Route::Direct);
    let refused = gateway.metric("colony_gateway_submissions_total{result=\"unreachable\"}");
    gateway.receive_new(&world, 5).await;
    gateway.until_settled().await;
    let line = "colony_gateway_submissions_total{result=\"unreachable\"}";
    assert_eq!(gateway.metric(line), refused, "an open breaker asks nobody");
    world.proxy.listen_again().await;
    gateway.until_route_in_time(&world, Route::ColonyOs).await;
    gateway.receive_new(&world, 1).await;
    gateway.until_settled().await;
    assert_eq!(world.statistics().await.successfulprocesses, 1);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_asked_about_a_few_processes_at_a_time() {
    let world = World::new().await;
    let mut plan = world.gateway();
    plan.options.processes_max = 12;
    let gateway = plan.start();
    for submitted in 1..=12 {
        gateway.receive_new(&world, 1).await;
        gateway.until("it is submitted", |counts| counts.submitted == submitted).await;
    }
    world.proxy.set(Mode::Hold, i64::MAX);
    crate::world::patiently("questions are held", async {
        while world.proxy.broken() < 8 {
            world.pass(Duration::from_millis(50));
            crate::world::breath().await;
        }
    })
    .await;
    // Many more looks at what is due.
    for _ in 0..20 {
        world.pass(Duration::from_millis(50));
        crate::world::breath().await;
    }
    assert_eq!(world.proxy.broken(), 8);
    gateway.kill().await;
}
