//! Stripe does not answer the bees: events that need it wait, without attempts and without a job a second, and nobody takes the
//! colony for slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use colonies::client::{Assignment, Member};
use colony_gateway::domain::route::Route;
use colony_gateway::inbox::{Counts, EntryState, EntryView};
use colony_gateway::job::completion::JobResult;
use tokio::task::JoinSet;

use crate::world::{FALLBACK, Gateway, World, breath, patiently};

const SUBMITTED: &str = "colony_gateway_submissions_total{result=\"ok\"}";
const UNANSWERED: &str = "colony_gateway_entries_returned_total{reason=\"unanswered\"}";

/// A bee that leaves the first so many events of the world alone, until Stripe answers.
async fn leave_alone(bee: Member, events: usize, is_answering: Arc<AtomicBool>) {
    let ids: Vec<String> = (0..events).map(|number| format!("evt_{number}")).collect();
    while !is_answering.load(Ordering::Relaxed) {
        if let Ok(Assignment::Process(process)) = bee.assign(Duration::from_secs(1)).await {
            let result = JobResult::default().with_unanswered(ids.clone());
            bee.close_successful(&process.id(), result.to_output()).await.unwrap();
        }
    }
}

/// Lets time pass up to the moment at which the next entry is due, when none is under way any more.
async fn pass_to_the_next(world: &World, gateway: &Gateway) {
    let is_resting = |counts: &Counts| counts.submitted == 0 && counts.leased == 0;
    patiently("nothing is under way", async {
        while !is_resting(&gateway.counts().await) {
            // Processes are asked about by the clock.
            world.pass(Duration::from_millis(1));
            breath().await;
        }
    })
    .await;
    let due = |view: EntryView| match view.state {
        EntryState::Waiting { due } => Some(due),
        _ => None,
    };
    if let Some(due) = gateway.inbox().newest(100).await.unwrap().into_iter().filter_map(due).min() {
        world.pass(due.since(world.clock.now()));
        gateway.inbox().wake();
        breath().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_stripe_of_an_hour_makes_few_jobs_and_leaves_the_colony_in_use() {
    let world = World::new().await;
    let mut plan = world.gateway();
    plan.options.fallback.after = Duration::from_hours(24);
    let gateway = plan.start();
    gateway.until_route(Route::ColonyOs).await;
    let is_answering = Arc::new(AtomicBool::default());
    let mut bee = JoinSet::new();
    bee.spawn(leave_alone(world.lazy_bee("patient").await, 20, Arc::clone(&is_answering)));
    gateway.receive_new(&world, 20).await;
    let begun = world.clock.now();
    while world.clock.now().since(begun) < Duration::from_hours(1) {
        pass_to_the_next(&world, &gateway).await;
    }
    let jobs = gateway.metric(SUBMITTED);
    assert!((20..200).contains(&jobs), "{jobs} jobs");
    assert!(gateway.metric(UNANSWERED) > 20, "they came back again and again");
    assert_eq!(gateway.board.read()["colony"].detail, "takes jobs");
    let newest = gateway.inbox().newest(20).await.unwrap();
    assert!(newest.iter().all(|view| view.attempts == 0), "{newest:?}");
    is_answering.store(true, Ordering::Relaxed);
    bee.join_next().await.unwrap().unwrap();
    let bees = world.bees(None);
    gateway.until_settled_in_time(&world).await;
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_colony_says_to_wait_for_stripe_for_too_long_is_asked_about_here_and_nothing_else_leaves_the_colony() {
    let world = World::new().await;
    let gateway = world.gateway().start();
    gateway.until_route(Route::ColonyOs).await;
    let is_answering = Arc::new(AtomicBool::default());
    let mut bee = JoinSet::new();
    bee.spawn(leave_alone(world.lazy_bee("liar").await, 1, Arc::clone(&is_answering)));
    gateway.receive_new(&world, 1).await;
    let begun = world.clock.now();
    while world.clock.now().since(begun) <= FALLBACK {
        assert_eq!(gateway.counts().await.settled, 0);
        pass_to_the_next(&world, &gateway).await;
    }
    // Stripe is asked from here now; this event needs no answer of it.
    gateway.until_settled_in_time(&world).await;
    assert_eq!(gateway.in_force.get(), Route::ColonyOs);
    is_answering.store(true, Ordering::Relaxed);
    bee.join_next().await.unwrap().unwrap();
    let before = gateway.metric(SUBMITTED);
    let bees = world.bees(None);
    gateway.receive_new(&world, 1).await;
    gateway.until_settled_in_time(&world).await;
    assert_eq!(gateway.metric(SUBMITTED), before + 1);
    bees.stop().await;
    gateway.stop().await;
    world.assert_applied_once().await;
}
