//! The time of day jumps while the gateway runs: nothing is lost, stuck or applied twice.
//!
//! The gateway judges signatures by its own clock. While that is wrong by more than the tolerance, correctly signed
//! deliveries are refused with 400, as if they were replays, and Stripe sends them again for days; a clock that is right
//! again takes them. What was acknowledged before is not concerned by a jump.

use crate::account::Figures;
use crate::disk::{Control, Disk};
use crate::gateway::Options;
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::{World, until_idle};

/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;

/// Deliveries between two jumps.
const DELIVERIES: u64 = 60;

fn clock_jumps(scenario: &str, mut world: World) {
    let mut rounds = Rounds::of(1);
    let disk = Disk::new(&world.path(""), &world.path("elsewhere"));
    world.options = disk.settings(world.options.clone());
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
    let mut gateway = world.options.serve();
    load.target(&[gateway.webhooks]);
    for _ in 0..rounds.number {
        let mut jumps = [HOUR, 0, -HOUR, 0, HOUR, -HOUR, 0];
        if rounds.random.bool() {
            jumps = jumps.map(|jump| -jump);
        }
        for jump in jumps {
            load.allow(DELIVERIES);
            load.until_acknowledged(load.acknowledged() + DELIVERIES / 4);
            // With work under way, and leases, polls and waits that were measured by the time before.
            disk.set(Control::ClockOffset, jump);
            if jump != 0 {
                // Stripe's clock is right, so this one refuses. It is told, and would be taken when repaired.
                let refused = load.answered(400);
                load.until_account_or_sent(|account| account.answers.get(&400).copied().unwrap_or(0) > refused);
            }
            load.skew(jump);
            load.until_sent();
            // Now and then the process ends too, so that what it noticed of the jump is forgotten.
            if rounds.random.bool() {
                gateway.kill();
                figures.kills += 1;
                gateway = world.options.serve();
                load.target(&[gateway.webhooks]);
            }
            until_idle(&gateway);
            figures.faults += 1;
            figures.rounds += 1;
        }
    }
    let account = load.finish();
    assert!(account.answers.keys().all(|status| [200, 400].contains(status)), "{:?}", account.answers);
    world.settle(&[&gateway], &account, figures);
}

#[test]
fn a_clock_that_jumps_on_the_direct_route() {
    clock_jumps("clock, direct", World::sqlite());
}

#[test]
fn a_clock_that_jumps_on_the_colony_route() {
    clock_jumps("clock, colony", World::sqlite().with_colony());
}

/// Signatures alone are judged by the gateway's clock then; what waits, waits by the database's.
#[test]
fn a_clock_that_jumps_before_an_inbox_in_postgres() {
    clock_jumps("clock, inbox in PostgreSQL", World::postgres().with_inbox_in_postgres());
}

/// Entries that wait for a ledger do not wait an hour longer because the clock was set back while nobody ran.
#[test]
fn entries_of_a_later_time_are_worked_on_by_a_process_that_starts_earlier() {
    let (rounds, mut world) = (Rounds::of(1), World::sqlite());
    let disk = Disk::new(&world.path(""), &world.path("elsewhere"));
    world.options = disk.settings(world.options.clone());
    let load = Load::start(rounds.seed);
    let figures = Figures {
        scenario: "clock, set back at rest".to_owned(),
        seed: rounds.seed,
        faults: 1,
        rounds: 1,
        kills: 1,
        ..Figures::default()
    };
    disk.set(Control::ClockOffset, HOUR);
    load.skew(HOUR);
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let without_ledger =
        Options::with(world.options.clone(), "DATABASE_URL", format!("postgres://nobody@{nowhere}/nothing"));
    let gateway = without_ledger.serve();
    load.target(&[gateway.webhooks]);
    load.allow(DELIVERIES);
    load.until_sent();
    gateway.kill();
    disk.set(Control::ClockOffset, 0);
    let gateway = world.options.serve();
    until_idle(&gateway);
    load.skew(0);
    load.target(&[gateway.webhooks]);
    let account = load.finish();
    world.settle(&[&gateway], &account, figures);
}
