//! Three gateways on one inbox in PostgreSQL whose commits wait for a standby: gateways are killed, statements cancelled, connections
//! ended, the primary restarted or lost while its standby was cut off. What was acknowledged is there and was applied once.

use std::collections::BTreeSet;

use testkit::pair::Pair;

use crate::account::Figures;
use crate::gateway::{Gateway, Options};
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::World;

/// Deliveries that a round may take.
const DELIVERIES: u64 = 150;

/// Times that statements are disturbed in a round of that kind.
const DISTURBANCES: u32 = 6;

/// What is done in a round.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A gateway is killed and started again.
    Gateway,
    /// Statements are cancelled and connections ended.
    Statements,
    /// The standby is cut off, what waits for it is cancelled, and the primary restarts at once.
    Restart,
    /// The same, and the primary is lost: the standby takes its place.
    FailOver,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Gateway, Self::Statements, Self::Restart, Self::FailOver];
}

#[test]
fn three_gateways_on_a_database_that_loses_its_primary_lose_nothing_and_apply_nothing_twice() {
    let mut rounds = Rounds::of(4);
    let mut pair = Pair::start();
    let world = World::postgres().with_inbox(&pair.url());
    let places = ["first", "second", "third"].map(|name| world.another(name));
    let mut gateways: Vec<Gateway> = places.iter().map(Options::serve).collect();
    let load = Load::start(rounds.seed);
    let mut figures = Figures {
        scenario: "three gateways, one inbox in PostgreSQL".to_owned(),
        seed: rounds.seed,
        ..Figures::default()
    };
    let aim = |gateways: &[Gateway]| {
        load.target(&gateways.iter().map(|gateway| gateway.webhooks).collect::<Vec<_>>());
    };
    aim(&gateways);
    for round in 0..rounds.number {
        load.allow(DELIVERIES);
        load.until_acknowledged(load.acknowledged() + rounds.random.u64(1..DELIVERIES / 2));
        // Each kind once before any is repeated by chance.
        let chosen = usize::try_from(round).ok().filter(|round| *round < Fault::ALL.len());
        match Fault::ALL[chosen.unwrap_or_else(|| rounds.random.usize(..Fault::ALL.len()))] {
            Fault::Gateway => {
                let chosen = rounds.random.usize(..gateways.len());
                gateways.remove(chosen).kill();
                aim(&gateways);
                gateways.insert(chosen, places[chosen].serve());
                aim(&gateways);
                figures.kills += 1;
            }
            Fault::Statements => {
                for _ in 0..DISTURBANCES {
                    pair.disturb(rounds.random.bool());
                    figures.faults += 1;
                }
            }
            Fault::Restart => {
                load.allow(DELIVERIES);
                pair.cut_off();
                pair.until_waiting();
                pair.disturb(rounds.random.bool());
                pair.restart_primary();
                pair.join_again();
                figures.faults += 1;
            }
            Fault::FailOver => {
                load.allow(DELIVERIES);
                pair.cut_off();
                pair.until_waiting();
                pair.disturb(rounds.random.bool());
                pair.fail_over();
                figures.faults += 1;
            }
        }
        figures.rounds += 1;
    }
    let account = load.finish();
    let stored: BTreeSet<String> = pair.ask_primary("SELECT event_id FROM gateway_inbox.entries").into_iter().collect();
    let lost: Vec<&String> = account.acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and not in the inbox: {lost:?}");
    world.settle(&gateways.iter().collect::<Vec<_>>(), &account, figures);
}
