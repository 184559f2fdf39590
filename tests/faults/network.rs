//! Connections that break, stall, drip and lie, between the gateway and each of its dependencies: webhooks are answered
//! 2xx throughout, and when the network heals everything has been applied once.
//!
//! A further dependency is one more test here: a proxy before it, and a way to see that it was asked in vain.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use colony_gateway::stripe::simulator::ApiVersion;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::account::Figures;
use crate::book::Book;
use crate::gateway::{Gateway, Options};
use crate::load::{Load, events};
use crate::proxy::{Mode, Proxy};
use crate::redis::Redis;
use crate::rest::{Rest, SERVICE_KEY};
use crate::rounds::Rounds;
use crate::stripe_api::{KEY, StripeStandIn};
use crate::world::{World, until_idle};

/// Deliveries during each fault.
const DELIVERIES: u64 = 60;

/// Times that a dependency runs into a fault before the network heals.
const HITS: i64 = 2;

/// Events of a round that the stand-in of Stripe's API knows the outcome of.
const EVENTS_KNOWN: u64 = 600;

/// What the network does.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nobody listens.
    Refused,
    /// The proxy's faults.
    Proxy(Mode),
}

const FAULTS: [Fault; 7] = [
    Fault::Refused,
    Fault::Proxy(Mode::LoseRequests),
    Fault::Proxy(Mode::LoseReplies),
    Fault::Proxy(Mode::Hold),
    Fault::Proxy(Mode::Drip),
    Fault::Proxy(Mode::Truncate),
    Fault::Proxy(Mode::Garble),
];

fn proxy_before(runtime: &Runtime, target: SocketAddr) -> Proxy {
    runtime.block_on(Proxy::start(target))
}

/// A dependency behind a network.
struct Line<H> {
    scenario: &'static str,
    runtime: Runtime,
    proxy: Proxy,
    /// How often the dependency was asked in vain, as the gateway sees it.
    hits: H,
    /// Deliveries after the last fault.
    rest: u64,
}

impl<H: Fn(&Gateway) -> u64> Line<H> {
    /// Lets the network do everything it can, each with a gateway that has known better times.
    fn break_in_every_way(mut self, world: &World, load: Load, mut rounds: Rounds) {
        let mut figures = Figures { scenario: self.scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
        for _ in 0..rounds.number {
            let mut faults = FAULTS;
            rounds.random.shuffle(&mut faults);
            for fault in faults {
                let mut gateway = world.options.serve();
                load.target(&[gateway.webhooks]);
                load.allow(DELIVERIES / 4);
                load.until_sent();
                until_idle(&gateway);
                self.meet(fault, &gateway, &load);
                load.target(&[]);
                gateway.signal("TERM");
                assert_eq!(gateway.wait().code(), Some(0), "{fault:?}");
                figures.faults += 1;
                figures.rounds += 1;
            }
        }
        let gateway = world.options.serve();
        load.target(&[gateway.webhooks]);
        load.allow(self.rest);
        let account = load.finish();
        account.assert_all_taken();
        world.settle(&[&gateway], &account, figures);
    }

    /// One fault, which lasts until the dependency has run into it, and what the gateway does when it is over.
    fn meet(&mut self, fault: Fault, gateway: &Gateway, load: &Load) {
        let (broken, asked) = (self.proxy.broken(), (self.hits)(gateway));
        match fault {
            Fault::Refused => self.runtime.block_on(self.proxy.refuse()),
            Fault::Proxy(mode) => self.proxy.set(mode, i64::MAX),
        }
        load.allow(DELIVERIES);
        load.until_sent();
        gateway.until(|_| match fault {
            Fault::Refused => (self.hits)(gateway) > asked,
            Fault::Proxy(_) => self.proxy.broken() >= broken + HITS,
        });
        match fault {
            Fault::Refused => self.runtime.block_on(self.proxy.listen_again()),
            Fault::Proxy(_) => self.proxy.set(Mode::Pass, 0),
        }
        until_idle(gateway);
    }
}

/// The sum of a metric's lines, whatever their labels.
fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.admin_get("/metrics").body;
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<u64>().ok()).sum()
}

fn ledger_errors(gateway: &Gateway) -> u64 {
    metric(gateway, "colony_gateway_ledger_errors_total{")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_broken_network_before_postgres() {
    let (runtime, rounds, mut world) = (runtime(), Rounds::of(1), World::postgres());
    let Book::Postgres(database) = &world.book else { unreachable!("asked for") };
    let port = database.port();
    let proxy = proxy_before(&runtime, SocketAddr::from(([127, 0, 0, 1], port)));
    let url = database.url().replace(&format!(":{port}/"), &format!(":{}/", proxy.address().port()));
    world.options = world.options.clone().with("DATABASE_URL", url);
    let load = Load::start(rounds.seed);
    let line = Line { scenario: "network, PostgreSQL", runtime, proxy, hits: ledger_errors, rest: 0 };
    line.break_in_every_way(&world, load, rounds);
}

#[test]
fn a_broken_network_before_supabase() {
    let (runtime, rounds, mut world) = (runtime(), Rounds::of(1), World::postgres());
    let Book::Postgres(database) = &world.book else { unreachable!("asked for") };
    let rest = runtime.block_on(Rest::start(database));
    let proxy = proxy_before(&runtime, rest.url()["http://".len()..].parse().unwrap());
    world.options.environment.remove("DATABASE_URL");
    world.options =
        world.options.clone().with("SUPABASE_URL", proxy.url()).with("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let load = Load::start(rounds.seed);
    let line = Line { scenario: "network, Supabase", runtime, proxy, hits: ledger_errors, rest: 0 };
    line.break_in_every_way(&world, load, rounds);
}

#[test]
fn a_broken_network_before_the_colony() {
    let (runtime, rounds, mut world) = (runtime(), Rounds::of(1), World::sqlite().with_colony());
    let colony = world.colony.as_ref().expect("asked for");
    let proxy = proxy_before(&runtime, colony.address());
    world.options = colony.settings(world.options.clone(), proxy.address());
    let load = Load::start(rounds.seed);
    // Nobody listens: the route in force says so.
    let direct = |gateway: &Gateway| u64::from(gateway.health()["route"] == "direct");
    let line = Line { scenario: "network, Colonies", runtime, proxy, hits: direct, rest: 0 };
    line.break_in_every_way(&world, load, rounds);
}

/// Heartbeats are sent once a minute and asked about by nobody here: each fault is there from a gateway's start to its end.
#[test]
fn a_broken_network_before_redis() {
    let (runtime, mut rounds, mut world) = (runtime(), Rounds::of(1), World::sqlite().with_colony());
    let redis = Redis::start();
    let mut proxy = proxy_before(&runtime, SocketAddr::from(([127, 0, 0, 1], redis.port())));
    let colony = world.colony.as_ref().expect("asked for");
    let url = format!("redis://{}", proxy.address());
    world.options = colony.settings(world.options.clone(), colony.address()).with("REDIS_URL", url);
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: "network, Redis".to_owned(), seed: rounds.seed, ..Figures::default() };
    for _ in 0..rounds.number {
        let mut faults = FAULTS;
        rounds.random.shuffle(&mut faults);
        for fault in faults {
            match fault {
                Fault::Refused => runtime.block_on(proxy.refuse()),
                Fault::Proxy(mode) => proxy.set(mode, i64::MAX),
            }
            let mut gateway = world.options.serve();
            load.target(&[gateway.webhooks]);
            load.allow(DELIVERIES);
            load.until_sent();
            until_idle(&gateway);
            gateway.until(|_| metric(&gateway, "colony_gateway_heartbeats_total{") > 0);
            load.target(&[]);
            gateway.signal("TERM");
            assert_eq!(gateway.wait().code(), Some(0), "{fault:?}");
            match fault {
                Fault::Refused => runtime.block_on(proxy.listen_again()),
                Fault::Proxy(_) => proxy.set(Mode::Pass, 0),
            }
            figures.faults += 1;
            figures.rounds += 1;
        }
    }
    let gateway = world.options.serve();
    load.target(&[gateway.webhooks]);
    load.allow(DELIVERIES);
    let account = load.finish();
    account.assert_all_taken();
    gateway.until(|_| metric(&gateway, "colony_gateway_heartbeats_total{result=\"ok\"}") > 0);
    world.settle(&[&gateway], &account, figures);
}

#[test]
fn a_broken_network_before_stripe() {
    let (runtime, rounds, mut world) = (runtime(), Rounds::of(1), World::sqlite());
    let stripe = runtime.block_on(StripeStandIn::start());
    let known_events = EVENTS_KNOWN * rounds.number;
    // In this version a charge names its invoice, so that subscriptions are all that is asked for.
    let known: Vec<_> =
        events(rounds.seed, Some(ApiVersion::ALL[0])).take(usize::try_from(known_events).unwrap()).collect();
    let mut objects: BTreeMap<String, Value> = BTreeMap::new();
    for event in known.iter().filter(|event| event.kind.starts_with("customer.subscription.")) {
        let event: Value = serde_json::from_slice(&event.body).unwrap();
        let object = event["data"]["object"].clone();
        objects.insert(format!("/v1/subscriptions/{}", object["id"].as_str().unwrap()), object);
    }
    for (path, object) in objects {
        stripe.put(&path, object);
    }
    let proxy = proxy_before(&runtime, stripe.base_url["http://".len()..].parse().unwrap());
    world.options = Options::with(world.options.clone(), "STRIPE_SECRET_KEY", KEY)
        .with("GATEWAY_STRIPE_API_URL", proxy.url())
        // What Stripe is asked for here is what events leave open.
        .with("GATEWAY_RECONCILE_EVENTS", "off")
        .with("GATEWAY_RECONCILE_SUBSCRIPTIONS", "off");
    let load = Load::of(rounds.seed, known.into_iter());
    let unanswered = |gateway: &Gateway| {
        gateway.log().iter().filter(|line| line.contains("Stripe did not answer all questions")).count() as u64
    };
    let line = Line { scenario: "network, Stripe", runtime, proxy, hits: unanswered, rest: 2 * known_events };
    line.break_in_every_way(&world, load, rounds);
    assert!(!stripe.asked().is_empty());
}
