//! `kill -9` at random moments under load: nothing acknowledged is lost, nothing has its effect twice.

use crate::account::Figures;
use crate::bee::Bees;
use crate::gateway::Gateway;
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::{World, restart};

/// Deliveries that a round may take; a kill comes before they are through.
const DELIVERIES: u64 = 150;

/// Kills the gateway round after round, each time after some of the round's deliveries were acknowledged.
fn kill_gateway(scenario: &str, world: &World, rounds: u64, mut bees: Option<(Bees, crate::gateway::Options)>) {
    let mut rounds = Rounds::of(rounds);
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
    for _ in 0..rounds.number {
        let gateway = world.options.serve();
        load.allow(DELIVERIES);
        load.target(&[gateway.webhooks]);
        load.until_acknowledged(load.acknowledged() + rounds.random.u64(1..DELIVERIES / 2));
        if let Some((running, options)) = bees.take() {
            let kills = rounds.random.bool();
            figures.kills += u64::from(kills);
            bees = Some((if kills { restart(running, &options) } else { running }, options));
        }
        linger(&mut rounds.random);
        gateway.kill();
        figures.kills += 1;
        figures.rounds += 1;
        load.target(&[]);
    }
    let gateway = world.options.serve();
    load.target(&[gateway.webhooks]);
    let account = load.finish();
    world.settle(&[&gateway], &account, figures);
    ends_in_order(gateway);
}

/// Spreads the moment of a kill over what a process does in some milliseconds. Nothing waits for it.
fn linger(random: &mut fastrand::Rng) {
    std::thread::sleep(std::time::Duration::from_micros(random.u64(0..20_000)));
}

fn ends_in_order(mut gateway: Gateway) {
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn killed_on_the_direct_route_with_a_ledger_in_a_file() {
    kill_gateway("kill, direct, SQLite", &World::sqlite(), 12, None);
}

#[test]
fn killed_on_the_direct_route_with_a_ledger_in_postgres() {
    kill_gateway("kill, direct, PostgreSQL", &World::postgres(), 12, None);
}

#[test]
fn killed_on_the_direct_route_with_the_inbox_in_postgres() {
    kill_gateway("kill, direct, inbox in PostgreSQL", &World::postgres().with_inbox_in_postgres(), 5, None);
}

#[test]
fn killed_on_the_colony_route_with_the_inbox_in_postgres() {
    let world = World::postgres().with_colony().with_inbox_in_postgres();
    kill_gateway("kill, colony, inbox in PostgreSQL", &world, 3, None);
}

#[test]
fn killed_on_the_colony_route_together_with_its_bees() {
    kill_gateway("kill, colony, bees inside", &World::sqlite().with_colony(), 6, None);
}

#[test]
fn killed_on_the_colony_route_while_bees_elsewhere_are_killed_too() {
    let mut world = World::postgres().with_colony();
    world.options = world.options.clone().with("BEE_COUNT", 0);
    let options = world.bees("bee-elsewhere").with("BEE_COUNT", 2);
    let bees = Bees::start(&options);
    kill_gateway("kill, colony, bees elsewhere", &world, 6, Some((bees, options)));
}

#[test]
fn two_gateways_and_four_bees_on_one_ledger_apply_every_event_once() {
    let mut rounds = Rounds::of(8);
    let mut world = World::postgres().with_colony();
    world.options = world.options.clone().with("BEE_COUNT", 0);
    let houses: Vec<_> = ["bee-1", "bee-2", "bee-3", "bee-4"].iter().map(|name| world.bees(name)).collect();
    let mut bees: Vec<Bees> = houses.iter().map(Bees::start).collect();
    let places = [world.another("first"), world.another("second")];
    let mut gateways: Vec<Gateway> = places.iter().map(crate::gateway::Options::serve).collect();
    let load = Load::start(rounds.seed);
    let mut figures =
        Figures { scenario: "kill, two gateways, four bees".to_owned(), seed: rounds.seed, ..Figures::default() };
    let aim = |gateways: &[Gateway]| {
        load.target(&gateways.iter().map(|gateway| gateway.webhooks).collect::<Vec<_>>());
    };
    aim(&gateways);
    for _ in 0..rounds.number {
        load.allow(DELIVERIES);
        load.until_acknowledged(load.acknowledged() + rounds.random.u64(1..DELIVERIES / 2));
        linger(&mut rounds.random);
        if rounds.random.bool() {
            let chosen = rounds.random.usize(..gateways.len());
            // Stripe goes on with the other one meanwhile.
            gateways.remove(chosen).kill();
            aim(&gateways);
            gateways.insert(chosen, places[chosen].serve());
            aim(&gateways);
        } else {
            let chosen = rounds.random.usize(..bees.len());
            bees.remove(chosen).kill();
            bees.insert(chosen, Bees::start(&houses[chosen]));
        }
        figures.kills += 1;
        figures.rounds += 1;
    }
    let account = load.finish();
    world.settle(&gateways.iter().collect::<Vec<_>>(), &account, figures);
}
