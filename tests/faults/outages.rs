//! Dependencies that are gone for longer than every wait of the gateway, while webhooks come as fast as they are answered.

use std::net::SocketAddr;
use std::time::Duration;

use colony_gateway::domain::clock::Clock;
use tokio::runtime::Runtime;

use crate::account::Figures;
use crate::book::Book;
use crate::gateway::Gateway;
use crate::load::Load;
use crate::proxy::{Mode, Proxy};
use crate::rounds::Rounds;
use crate::world::World;

/// Longer than the lease, the time-outs of every call, and the age from which entries leave the colony's route.
const OUTAGE: Duration = Duration::from_secs(8);

/// Deliveries let through at a time.
const DELIVERIES: u64 = 200;

/// Most resident memory of a gateway during an outage, in KiB. A debug build has about 45 MiB with nothing to do, much
/// of it its own code; a backlog is on the disk, so that it must not grow with it.
const MEMORY_KIB_MAX: u64 = 128 * 1024;

/// The most memory that a process had, in KiB.
fn memory_kib(gateway: &Gateway) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn outage(scenario: &str, world: &World, runtime: &Runtime, proxy: &mut Proxy, faults: &[Option<Mode>]) {
    let rounds = Rounds::of(1);
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
    let clock = Clock::system();
    let gateway = world.options.serve();
    load.target(&[gateway.webhooks]);
    for fault in faults.iter().cycle().take(faults.len() * usize::try_from(rounds.number).unwrap()) {
        match fault {
            None => runtime.block_on(proxy.refuse()),
            Some(mode) => proxy.set(*mode, i64::MAX),
        }
        let begun = clock.instant();
        while clock.instant().duration_since(begun) < OUTAGE {
            load.allow(DELIVERIES);
            load.until_sent();
        }
        match fault {
            None => runtime.block_on(proxy.listen_again()),
            Some(_) => proxy.set(Mode::Pass, 0),
        }
        crate::world::until_idle(&gateway);
        figures.faults += 1;
        figures.rounds += 1;
    }
    let account = load.finish();
    account.assert_all_taken();
    if let Some(memory) = memory_kib(&gateway) {
        println!("most memory: {} MiB after {} events", memory / 1024, account.acknowledged.len());
        assert!(memory <= MEMORY_KIB_MAX, "{memory} KiB");
    }
    world.settle(&[&gateway], &account, figures);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_ledger_that_is_gone_for_long_gets_everything_when_it_is_back() {
    let (runtime, mut world) = (runtime(), World::postgres());
    let Book::Postgres(database) = &world.book else { unreachable!("asked for") };
    let port = database.port();
    let mut proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], port))));
    let url = database.url().replace(&format!(":{port}/"), &format!(":{}/", proxy.address().port()));
    world.options = world.options.clone().with("DATABASE_URL", url);
    world.options = world.options.clone().with("GATEWAY_LEDGER_TIMEOUT", "2s").with("GATEWAY_LEASE", "4s");
    outage("outage, ledger", &world, &runtime, &mut proxy, &[None, Some(Mode::Hold)]);
}

#[test]
fn a_colony_that_is_gone_for_long_is_done_without() {
    let (runtime, mut world) = (runtime(), World::sqlite().with_colony());
    let colony = world.colony.as_ref().expect("asked for");
    let mut proxy = runtime.block_on(Proxy::start(colony.address()));
    world.options = colony.settings(world.options.clone(), proxy.address()).with("GATEWAY_COLONY_FALLBACK_AFTER", "6s");
    outage("outage, Colonies", &world, &runtime, &mut proxy, &[None, Some(Mode::Hold)]);
}
