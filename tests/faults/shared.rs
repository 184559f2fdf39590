//! Three gateways on one inbox in PostgreSQL whose commits wait for a standby, while everything between and below them breaks. What was
//! acknowledged is there after each round and was applied once at the end.
//!
//! The first gateway has a clock of its own, the second one a pooler before the database, the third one a network. Where a machine has
//! no pooler or makes no network, the rounds that need it are left out, and said so.

use std::collections::{BTreeMap, BTreeSet};

use colony_gateway::domain::clock::Clock;

use crate::account::Figures;
use crate::load::Load;
use crate::rounds::Rounds;
use crate::site::{Fault, Site};

/// Deliveries that a round may take.
const DELIVERIES: u64 = 120;

#[test]
fn three_gateways_on_a_database_that_loses_its_primary_lose_nothing_and_apply_nothing_twice() {
    let mut rounds = Rounds::of(Fault::ALL.len() as u64);
    let mut site = Site::new();
    let load = Load::start_overlapping(rounds.seed);
    let mut figures = Figures {
        scenario: "three gateways, one inbox in PostgreSQL".to_owned(),
        seed: rounds.seed,
        ..Figures::default()
    };
    let possible: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| site.has(*fault)).collect();
    let mut done: BTreeMap<Fault, u64> = BTreeMap::new();
    let clock = Clock::system();
    site.aim(&load);
    for round in 0..rounds.number {
        // Each kind once before any is repeated by chance.
        let first = usize::try_from(round).ok().and_then(|round| possible.get(round));
        let fault = first.copied().unwrap_or_else(|| possible[rounds.random.usize(..possible.len())]);
        let (begun, before) = (clock.instant(), load.acknowledged());
        load.allow(DELIVERIES);
        load.until_acknowledged(before + rounds.random.u64(1..DELIVERIES / 3));
        site.strike(fault, &load, &mut rounds.random, &mut figures);
        load.allow(DELIVERIES / 4);
        load.until_acknowledged(load.acknowledged() + 1);
        let acknowledged = load.acknowledged_ids();
        let stored: BTreeSet<String> =
            site.pair.ask_primary("SELECT event_id FROM gateway_inbox.entries").into_iter().collect();
        let lost: Vec<&String> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "acknowledged and not in the inbox after {fault:?} in round {round}: {lost:?}");
        figures.rounds += 1;
        *done.entry(fault).or_default() += 1;
        let took = clock.instant().duration_since(begun).as_millis();
        println!("round {round}: {fault:?}, {took} ms, {} acknowledged", acknowledged.len());
    }
    println!("{done:?}");
    let account = load.finish();
    crate::world::until_idle(&site.gateways[0]);
    let again = site.pair.ask_primary("SELECT count(*) FROM gateway_inbox.ended WHERE code = 'duplicate'").concat();
    figures.recognised = again.parse().unwrap();
    site.world.settle(&site.gateways.iter().collect::<Vec<_>>(), &account, figures);
}
