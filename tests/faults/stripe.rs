//! Thin events while Stripe answers slowly, or about some objects and not about others: they wait, pay nothing for it, and are
//! applied once when Stripe is back.

use std::num::NonZeroU32;
use std::time::Duration;

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::stripe::simulator::{Options, SPAN, SimulatedEvent, Simulator};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::account::Figures;
use crate::gateway::{Gateway, SECRET};
use crate::load::Load;
use crate::rounds::Rounds;
use crate::stripe_api::{KEY_LIVE, StripeStandIn};
use crate::world::World;

/// Events of a scenario in which some questions have no answer.
const EVENTS: usize = 200;

/// Events of a burst.
const BURST: usize = 600;

/// What Stripe takes for an answer in it. A question has 2.5 s.
const SLOW: Duration = Duration::from_millis(150);

/// Batches of which some questions were answered and others were not, before Stripe is back.
const PARTIAL: usize = 2;

/// A world whose gateways receive thin events and ask `stripe` about them, and so many such events.
fn thin(world: &mut World, stripe: &StripeStandIn, seed: u64, events: usize) -> Vec<SimulatedEvent> {
    let file = world.path("thin.toml");
    let endpoint = format!(
        "[[endpoint]]\nname = \"thin\"\npath = \"/webhooks/stripe\"\nmode = \"live\"\npayload = \"thin\"\nsecrets = [\"{SECRET}\"]\n"
    );
    std::fs::write(&file, endpoint).unwrap();
    world.options = world
        .options
        .clone()
        .with("STRIPE_WEBHOOK_SECRET", "")
        .with("GATEWAY_CONFIG", file.display())
        .with("STRIPE_SECRET_KEY", KEY_LIVE)
        .with("GATEWAY_STRIPE_API_URL", &stripe.base_url)
        .with("GATEWAY_RECONCILE_EVENTS", "off")
        .with("GATEWAY_RECONCILE_SUBSCRIPTIONS", "off");
    let options = Options {
        seed,
        users: NonZeroU32::new(20).unwrap(),
        api_version: None,
        start: Timestamp::from_seconds(1_760_000_000).minus(SPAN),
        livemode: true,
        account: None,
    };
    let events: Vec<SimulatedEvent> = Simulator::thin(options).take(events).collect();
    // Stripe holds what is there after the last of them.
    for held in events.iter().filter_map(|event| event.held.as_ref()) {
        stripe.put(&held.path, held.content.clone());
    }
    events
}

/// No entry of the gateway paid for what was not its fault.
fn assert_nothing_was_paid(world: &World) {
    let inbox = rusqlite::Connection::open(world.options.data.join("inbox.db")).unwrap();
    let question = "SELECT MAX(attempts), MAX(crashes) FROM entries";
    let paid: (i64, i64) = inbox.query_row(question, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(paid, (0, 0), "attempts and crashes");
}

/// Batches so far of which Stripe left some questions open, and not all.
fn partial(gateway: &Gateway) -> usize {
    let is_partial = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        let (answered, asked) = (line["answered"].as_u64(), line["asked"].as_u64());
        line["message"].as_str().is_some_and(|message| message.starts_with("Stripe did not answer all questions"))
            && answered > Some(0)
            && answered < asked
    };
    gateway.log().iter().filter(|line| is_partial(line)).count()
}

/// About half of all objects, and always the same.
fn is_answered(path: &str) -> bool {
    path.bytes().map(u32::from).sum::<u32>().is_multiple_of(2)
}

fn some_questions_stay_open(scenario: &str, mut world: World) {
    let (runtime, rounds) = (Runtime::new().unwrap(), Rounds::of(1));
    let stripe = runtime.block_on(StripeStandIn::start());
    let events = thin(&mut world, &stripe, rounds.seed, EVENTS);
    let load = Load::of(rounds.seed, events.into_iter());
    let mut figures = Figures { scenario: scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
    stripe.answer_only(is_answered);
    let gateway = world.options.serve();
    load.target(&[gateway.webhooks]);
    load.allow(2 * EVENTS as u64);
    let account = load.finish();
    account.assert_all_taken();
    gateway.until(|health| {
        let inbox = &health["inbox"];
        let (settled, waiting) = (inbox["settled"].as_u64(), inbox["waiting"].as_u64());
        settled > Some(0) && waiting > Some(0) && partial(&gateway) >= PARTIAL
    });
    figures.faults += 1;
    figures.rounds += 1;
    stripe.answer_all();
    world.settle(&[&gateway], &account, figures);
    assert_nothing_was_paid(&world);
}

#[test]
fn of_a_batch_some_questions_to_stripe_time_out() {
    some_questions_stay_open("Stripe answers in part, direct", World::sqlite());
}

#[test]
fn of_a_job_some_questions_to_stripe_time_out() {
    some_questions_stay_open("Stripe answers in part, colony", World::sqlite().with_colony());
}

#[test]
fn a_burst_of_thin_events_meets_a_slow_stripe() {
    let (runtime, rounds, mut world) = (Runtime::new().unwrap(), Rounds::of(1), World::sqlite());
    let stripe = runtime.block_on(StripeStandIn::start());
    let events = thin(&mut world, &stripe, rounds.seed, BURST);
    stripe.slow_down(SLOW);
    let load = Load::of(rounds.seed, events.into_iter());
    let figures = Figures { scenario: "Stripe is slow, burst".to_owned(), seed: rounds.seed, ..Figures::default() };
    let gateway = world.options.serve();
    load.target(&[gateway.webhooks]);
    load.allow(2 * BURST as u64);
    let account = load.finish();
    account.assert_all_taken();
    assert_eq!(account.acknowledged.len(), BURST);
    world.settle(&[&gateway], &account, figures);
    assert_nothing_was_paid(&world);
}
