//! Stripe does not answer the bees: events that need it wait, without attempts and without a job a second, and nobody takes the
//! colony for slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use colonies::client::{Assignment, Member};
use colony_gateway::dispatch::switch::Wish;
use colony_gateway::domain::route::Route;
use colony_gateway::inbox::{Counts, EntryState, EntryView};
use colony_gateway::job::completion::JobResult;
use serde_json::json;
use tokio::task::JoinSet;

use crate::stripe_api::StripeStandIn;
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

/// A thin event about a customer.
fn thin() -> String {
    json!({"id": "evt_thin", "object": "v2.core.event", "type": "v1.customer.updated", "livemode": false,
        "created": "2026-02-02T02:40:00.123Z",
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}})
    .to_string()
}

/// A gateway without a key that waits with a thin event until long after the time for the colony: no colony is there.
async fn wait_without_a_colony(world: &mut World) -> (Gateway, colonies::server::Memory) {
    let memory = world.kill_server().await;
    let gateway = world.gateway().start();
    gateway.until_colony_is_left(&["because"]).await;
    gateway.receive(&thin()).await;
    let begun = world.clock.now();
    while world.clock.now().since(begun) <= FALLBACK * 3 {
        let waits = |counts: &Counts| counts.waiting == 1;
        gateway.until("the event waits", waits).await;
        pass_to_the_next(world, &gateway).await;
    }
    gateway.until("the event waits", |counts| counts.waiting == 1).await;
    let view = gateway.inbox().newest(1).await.unwrap().remove(0);
    assert_eq!(view.attempts, 0);
    assert!(gateway.counts().await.oldest.is_some_and(|oldest| oldest <= begun), "its age is told");
    (gateway, memory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_a_thin_event_waits_for_the_bees_that_have_one_however_long_they_are_away() {
    let mut world = World::new().await;
    let stripe = StripeStandIn::start().await;
    stripe.keep_time(&world.clock);
    stripe.put("/v1/customers/cus_1", json!({"id": "cus_1", "object": "customer", "metadata": {"userId": "ann"}}));
    let (gateway, memory) = wait_without_a_colony(&mut world).await;
    world.revive(memory).await;
    let bees = world.bees_that_ask(&stripe);
    gateway.until_settled_in_time(&world).await;
    assert_eq!(gateway.metric("colony_gateway_entries_returned_total{reason=\"too_old\"}"), 0);
    let counts = colony_gateway::ledger::report::Reports::summary(&world.ledger.inner, 1).await.unwrap().counts;
    assert_eq!((counts.events, counts.customers, counts.claims), (1, 1, 1));
    bees.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_process_has_a_key_a_bee_says_so_and_a_gateway_without_a_colony_too() {
    let mut world = World::new().await;
    let (gateway, memory) = wait_without_a_colony(&mut world).await;
    world.revive(memory).await;
    let bees = world.bees(None);
    let is_held = |counts: &Counts| counts.quarantined == 1;
    patiently("a bee without a key says so", async {
        while !is_held(&gateway.counts().await) {
            world.pass(Duration::from_millis(50));
            breath().await;
        }
    })
    .await;
    bees.stop().await;
    gateway.stop().await;
    let mut plan = world.gateway();
    plan.wish = Wish::Direct;
    let gateway = plan.start();
    gateway.receive(&thin().replace("evt_thin", "evt_second")).await;
    gateway.until("it is held", |counts| counts.quarantined == 2).await;
    let EntryState::Quarantined { code, reason, .. } = gateway.newest().await else { panic!("it is held") };
    assert_eq!(code, "object_unknown");
    assert!(reason.contains("no key may be asked"), "{reason}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_bee_in_a_process_does_not_stay_there_when_the_colony_is_switched_off() {
    let mut world = World::new().await;
    let (gateway, memory) = wait_without_a_colony(&mut world).await;
    world.revive(memory).await;
    patiently("a process has it", async {
        while gateway.counts().await.submitted == 0 {
            world.pass(Duration::from_millis(50));
            breath().await;
        }
    })
    .await;
    world.pass(FALLBACK * 2);
    breath().await;
    assert_eq!(gateway.counts().await.submitted, 1, "it has nowhere else to go while the colony is meant to be used");
    gateway.switch.set(Wish::Direct);
    let begun = world.clock.now();
    patiently("it is held, for a person", async {
        while gateway.counts().await.quarantined == 0 {
            world.pass(Duration::from_millis(500));
            breath().await;
        }
    })
    .await;
    assert!(world.clock.now().since(begun) > FALLBACK, "a bee at work is given the usual time");
    gateway.stop().await;
}
