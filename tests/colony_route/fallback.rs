//! The direct route while the colony does nothing, and the way back.

use std::time::Duration;

use colonies::messages::ProcessState;
use colony_gateway::domain::route::Route;
use colony_gateway::inbox::EntryState;
use colony_gateway::telemetry::health::Level;

use crate::world::{FALLBACK, World, until_state};

const SUBMITTED: &str = "colony_gateway_submissions_total{result=\"ok\"}";

#[tokio::test]
async fn a_server_that_comes_back_is_noticed_on_a_quiet_site() {
    let mut world = World::new().await;
    let memory = world.kill_server().await;
    let gateway = world.gateway().start();
    gateway.until_colony_is_left(&["because"]).await;
    world.revive(memory).await;
    gateway.until_route_in_time(&world, Route::ColonyOs).await;
    assert_eq!(gateway.metric(SUBMITTED), 0, "no event was needed");
    assert_eq!(gateway.board.read()["colony"].detail, "takes jobs");
    gateway.stop().await;
}

#[tokio::test]
async fn what_no_bee_takes_in_time_is_taken_back_and_applied_directly() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    gateway.receive_new(&world, 3).await;
    gateway.until("all are submitted", |counts| counts.submitted == 3).await;
    let EntryState::Submitted { process, .. } = gateway.newest().await else { panic!("not submitted") };
    world.pass(FALLBACK);
    assert_eq!(gateway.counts().await.submitted, 3, "the bound itself is not too old");
    world.pass(Duration::from_millis(1));
    gateway.until_settled().await;
    gateway.until_route(Route::Direct).await;
    gateway.until_metric("colony_gateway_entries_returned_total{reason=\"too_old\"}", 3).await;
    let process = world.user().process(&process).await.unwrap();
    until_state(&world.user(), &process, ProcessState::Cancelled).await;

    // While nobody works in the colony, new entries do not wait there.
    gateway.receive_new(&world, 2).await;
    gateway.until_settled().await;
    assert_eq!(gateway.board.read()["colony"].status, Level::Degraded);

    let before = gateway.metric(SUBMITTED);
    // Bees are back: a rehearsal finds that out without an event, and the flow returns.
    let bees = world.bees(None);
    gateway.until_route_in_time(&world, Route::ColonyOs).await;
    assert_eq!(gateway.metric(SUBMITTED), before, "no event was needed");
    gateway.receive_new(&world, 1).await;
    gateway.until_settled_in_time(&world).await;
    assert_eq!(gateway.metric(SUBMITTED), before + 1);
    assert_eq!(gateway.board.read()["colony"].status, Level::Ok);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn what_came_while_the_clock_was_ahead_does_not_wait_in_the_colony_for_as_long_as_that() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    gateway.until_route(Route::ColonyOs).await;
    let true_time = world.clock.now();
    world.pass(Duration::from_hours(24 * 30));
    gateway.receive_new(&world, 1).await;
    gateway.until("it is submitted", |counts| counts.submitted == 1).await;
    world.clock.set(true_time);
    gateway.until_settled().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_bee_that_wakes_up_late_finds_its_events_applied() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    let sleepy = world.lazy_bee("sleepy").await;
    let event = world.next_event();
    gateway.receive(&event).await;
    let process = crate::world::take(&sleepy).await;
    world.pass(FALLBACK + Duration::from_millis(1));
    gateway.until_settled().await;
    let output = crate::ends::result(&[("evt_0", "applied")]).to_output();
    drop(sleepy.close_successful(&process.id(), output).await);
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn entries_that_are_already_too_old_are_never_submitted() {
    let world = World::new().await;
    world.receive_before(3).await;
    // Nothing ran for a long time.
    world.pass(FALLBACK + Duration::from_secs(1));
    let (plan, completions) = world.gateway().told();
    let gateway = plan.start();
    let bees = world.bees(Some(completions));
    gateway.until_settled().await;
    assert_eq!(world.statistics().await.successfulprocesses, 0);
    gateway.until_route(Route::ColonyOs).await;
    gateway.receive_new(&world, 1).await;
    gateway.until_settled().await;
    assert_eq!(world.statistics().await.successfulprocesses, 1);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}
