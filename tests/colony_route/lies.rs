//! Bees and servers that say what is not so, or refuse what others run: no event is lost, dead or believed because of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::route::Route;
use colony_gateway::inbox::EntryState;

use crate::ends::result;
use crate::world::{FALLBACK, World, breath, patiently, take};

const SUBMITTED: &str = "colony_gateway_submissions_total{result=\"ok\"}";

fn returned(reason: &str) -> String {
    format!("colony_gateway_entries_returned_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn what_a_lying_bee_says_is_applied_and_the_ledger_does_not_know_is_applied_directly() {
    let world = World::new().await;
    world.receive_before(3).await;
    let gateway = world.gateway().start();
    let liar = world.lazy_bee("liar").await;
    let process = take(&liar).await;
    let claims = [("evt_0", "applied"), ("evt_1", "duplicate"), ("evt_2", "quarantined")];
    liar.close_successful(&process.id(), result(&claims).to_output()).await.unwrap();
    gateway.until_metric_in_time(&world, &returned("not_recorded"), 3).await;
    gateway.until_settled_in_time(&world).await;
    gateway.until_colony_is_left(&[liar.id().as_str()]).await;
    let suspect = format!("colony_gateway_suspect_bees{{executor=\"{}\"}}", liar.id());
    assert_eq!(gateway.metric(&suspect), 1);
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_lie_about_a_job_of_an_earlier_life_costs_the_breaker_too() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    let liar = world.lazy_bee("liar").await;
    gateway.receive_new(&world, 1).await;
    let process = take(&liar).await;
    gateway.until("it is submitted", |counts| counts.submitted == 1).await;
    gateway.kill().await;
    liar.close_successful(&process.id(), result(&[("evt_0", "applied")]).to_output()).await.unwrap();
    let gateway = world.gateway().start();
    gateway.until_settled_in_time(&world).await;
    gateway.until_metric(&returned("not_recorded"), 1).await;
    assert_eq!(gateway.metric(SUBMITTED), 0, "it was not given to the colony again");
    gateway.until_colony_is_left(&[liar.id().as_str()]).await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_doubt_that_a_restart_forgets_costs_one_more_round_and_ends_with_the_age_of_the_entry() {
    let world = World::new().await;
    let liar = world.lazy_bee("liar").await;
    world.receive_before(1).await;
    for life in 1..=3 {
        let gateway = world.gateway().start();
        let process = take(&liar).await;
        gateway.until("it is submitted", |counts| counts.submitted == 1).await;
        liar.close_successful(&process.id(), result(&[("evt_0", "applied")]).to_output()).await.unwrap();
        // Long enough for the question about the process, and too short for the entry to be due again.
        world.pass(Duration::from_millis(100));
        gateway.until_metric(&returned("not_recorded"), 1).await;
        assert_eq!(gateway.counts().await.settled, 0, "not believed in life {life}");
        gateway.kill().await;
        world.pass(Duration::from_secs(2));
    }
    world.pass(FALLBACK);
    let gateway = world.gateway().start();
    gateway.until_settled_in_time(&world).await;
    assert_eq!(gateway.metric(SUBMITTED), 0, "too old for the colony");
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn an_event_that_a_bee_gives_up_is_tried_here_before_anybody_believes_it() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    let liar = world.lazy_bee("liar").await;
    gateway.receive_new(&world, 1).await;
    let process = take(&liar).await;
    liar.close_successful(&process.id(), result(&[("evt_0", "failed")]).to_output()).await.unwrap();
    gateway.until_metric_in_time(&world, &returned("unproven"), 1).await;
    gateway.until_settled_in_time(&world).await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn while_the_ledger_does_not_answer_entries_stay_with_their_process() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    let bees = world.bees(None);
    gateway.receive_new(&world, 2).await;
    // The bees are done before the gateway's time lets it ask about the first process.
    patiently("the jobs are done", async {
        while gateway.counts().await.submitted < 2 || world.statistics().await.successfulprocesses == 0 {
            breath().await;
        }
        while world.statistics().await.waitingprocesses + world.statistics().await.runningprocesses > 0 {
            breath().await;
        }
    })
    .await;
    world.ledger.is_silent.store(true, Ordering::Relaxed);
    let before = world.ledger.questions.load(Ordering::Relaxed);
    patiently("the ledger is asked again and again", async {
        while world.ledger.questions.load(Ordering::Relaxed) < before + 3 {
            world.pass(std::time::Duration::from_millis(50));
            breath().await;
        }
    })
    .await;
    let counts = gateway.counts().await;
    assert_eq!((counts.submitted, counts.settled), (2, 0));
    world.ledger.is_silent.store(false, Ordering::Relaxed);
    gateway.until_settled_in_time(&world).await;
    assert_eq!(gateway.in_force.get(), Route::ColonyOs, "nobody is blamed for it");
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn once_the_database_was_made_anew_one_job_goes_back_and_the_next_is_for_the_new_one() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    let bees = world.bees(None);
    gateway.receive_new(&world, 1).await;
    gateway.until_settled_in_time(&world).await;
    world.ledger.replace(LedgerId::draw().unwrap());
    gateway.receive_new(&world, 1).await;
    gateway.until_metric_in_time(&world, &returned("refused"), 1).await;
    gateway.until_settled_in_time(&world).await;
    gateway.until_route_in_time(&world, Route::ColonyOs).await;
    let before = gateway.metric(SUBMITTED);
    gateway.receive_new(&world, 1).await;
    gateway.until_settled_in_time(&world).await;
    assert_eq!(gateway.metric(SUBMITTED), before + 1);
    assert_eq!(gateway.metric(&returned("refused")), 1, "bees do it");
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test]
async fn a_bee_that_refuses_jobs_ends_no_entry_and_is_named() {
    for code in ["attestation_unknown_key", "other_function", "unknown_encoding", "arguments", "batch", "whatever"] {
        let world = World::new().await;
        world.receive_before(2).await;
        let gateway = world.gateway().start();
        let strict = world.lazy_bee("strict").await;
        let process = take(&strict).await;
        strict.close_failed(&process.id(), vec![format!("{code}: nobody told me")]).await.unwrap();
        gateway.until_metric_in_time(&world, &returned("refused"), 2).await;
        gateway.until_settled_in_time(&world).await;
        gateway.until_colony_is_left(&[strict.id().as_str(), code]).await;
        assert!(matches!(gateway.newest().await, EntryState::Settled { .. }));
        gateway.stop().await;
        world.assert_applied_once().await;
    }
}
