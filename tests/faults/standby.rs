//! An inbox in PostgreSQL whose standby follows without commits waiting for it, and takes the primary's place: the last moments are
//! lost, as `check` says beforehand, and the comparison with Stripe brings them back.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::pair::Pair;
use tokio::runtime::Runtime;

use crate::account::Figures;
use crate::gateway::{Gateway, Options};
use crate::proxy::Proxy;
use crate::rounds::Rounds;
use crate::stripe_api::{KEY, StripeStandIn};
use crate::world::World;

/// Most events before the standby is cut off, and afterwards.
const EVENTS_MAX: i64 = 30;

fn run(options: &Options, arguments: &[&str]) -> (i32, String) {
    let output = options.command().args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Posts events that Stripe lists too; their ids.
fn post(gateway: &Gateway, stripe: &StripeStandIn, numbers: std::ops::Range<i64>) -> BTreeSet<String> {
    let made = colony_gateway::domain::clock::Clock::system().now().seconds() - 600;
    let send = |number: i64| {
        let id = format!("evt_{number:05}");
        let customer = json!({"id": format!("cus_{number}"), "object": "customer", "livemode": false, "created": made});
        let event = json!({"id": id, "object": "event", "type": "customer.created", "livemode": false,
            "created": made + number, "data": {"object": customer}});
        stripe.put(&format!("/v1/events/{id}"), event.clone());
        assert_eq!(gateway.post(&event.to_string()).status, 200);
        id
    };
    numbers.map(send).collect()
}

#[test]
fn a_standby_that_nothing_waited_for_loses_the_last_moments_and_the_comparison_with_stripe_brings_them_back() {
    let runtime = Runtime::new().unwrap();
    let stripe = runtime.block_on(StripeStandIn::start());
    let mut pair = Pair::start_asynchronous();
    let mut world = World::postgres().with_inbox(&pair.url());
    let crate::book::Book::Postgres(database) = &world.book else { unreachable!("a ledger in PostgreSQL") };
    let port = database.port();
    let mut ledger = runtime.block_on(Proxy::start(([127, 0, 0, 1], port).into()));
    let behind = database.url().replace(&port.to_string(), &ledger.address().port().to_string());
    world.options = world
        .options
        .clone()
        .with("DATABASE_URL", behind)
        .with("STRIPE_SECRET_KEY", KEY)
        .with("GATEWAY_STRIPE_API_URL", &stripe.base_url)
        .with("GATEWAY_RECONCILE_EVENTS", "off")
        .with("GATEWAY_RECONCILE_SUBSCRIPTIONS", "off");
    let mut rounds = Rounds::of(1);
    let scenario = "an asynchronous standby is promoted".to_owned();
    let mut figures = Figures { scenario, seed: rounds.seed, ..Figures::default() };
    let gateway = world.options.serve();
    let (_, report) = run(&world.options, &["check"]);
    assert!(report.contains("no synchronous standby"), "it is told beforehand: {report}");
    let (mut sent, mut all) = (0, BTreeSet::new());
    for _ in 0..rounds.number {
        // What is applied is in the ledger; the inbox alone has what is not.
        runtime.block_on(ledger.refuse());
        let (first, second) = (rounds.random.i64(1..=EVENTS_MAX), rounds.random.i64(1..=EVENTS_MAX));
        all.extend(post(&gateway, &stripe, sent..sent + first));
        let kept = all.clone();
        pair.until_caught_up();
        pair.cut_off();
        all.extend(post(&gateway, &stripe, sent + first..sent + first + second));
        sent += first + second;
        pair.fail_over();
        let stored: BTreeSet<String> =
            pair.ask_primary("SELECT event_id FROM gateway_inbox.entries").into_iter().collect();
        assert_eq!(stored, kept, "what the standby had, and no more");
        gateway.until(|health| health["ready"] == true);
        runtime.block_on(ledger.listen_again());
        let (code, said) = run(&world.options, &["reconcile", "events", "--since", "1d", "--json"]);
        assert_eq!(code, 0, "{said}");
        let report: Value =
            serde_json::from_str(said.get(said.find('{').unwrap()..=said.rfind('}').unwrap()).unwrap()).unwrap();
        assert!(report.to_string().contains(&format!("\"missing\":{second}")), "it tells how many were lost: {report}");
        crate::world::until_idle(&gateway);
        assert_eq!(world.book.events(), all, "each is in the record");
        figures.rounds += 1;
        figures.faults += 1;
    }
    let (acknowledged, applied) = (all.len() as u64, world.book.events().len() as u64);
    Figures { acknowledged, applied, ..figures }.tell();
}
