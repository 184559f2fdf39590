//! A network that is cut between a gateway and the database of its inbox: what is sent is lost without a word, at any moment of a
//! statement. Its neighbour goes on with what it held, and it goes on itself when the line is there again.

use testkit::namespace::Namespace;
use tokio::runtime::Runtime;

use crate::account::Figures;
use crate::book::Book;
use crate::gateway::Options;
use crate::load::Load;
use crate::postgres::{Database, Flavour};
use crate::proxy::Proxy;
use crate::rounds::Rounds;
use crate::world::World;

/// Deliveries that a round may take.
const DELIVERIES: u64 = 120;

#[test]
fn a_gateway_that_is_cut_off_from_the_database_loses_nothing_and_applies_nothing_twice() {
    let Some(namespace) = Namespace::make() else {
        eprintln!("skipped: this machine makes no network namespaces for us");
        return;
    };
    let (runtime, mut rounds) = (Runtime::new().unwrap(), Rounds::of(2));
    let inbox = runtime.block_on(Database::create(Flavour::Durable));
    let world = World::postgres().with_inbox(&inbox.url());
    let Book::Postgres(ledger) = &world.book else { unreachable!("a ledger in PostgreSQL") };
    // The namespace reaches the ledger by the line that stays, the inbox by the one that is cut.
    let through = |here: std::net::Ipv4Addr, port: u16| {
        runtime.block_on(Proxy::start_at((here, 0).into(), ([127, 0, 0, 1], port).into()))
    };
    let to_ledger = through(namespace.here(), ledger.port());
    let to_inbox = through(namespace.here_behind_the_cut(), inbox.port());
    let by = |database: &Database, proxy: &Proxy| {
        database.url().replace(&format!("127.0.0.1:{}", database.port()), &proxy.address().to_string())
    };
    let settings = world.another("outside").with("GATEWAY_INBOX_BUSY_TIMEOUT", "1s");
    let inside = Options { within: namespace.runner(), ..world.another("inside") }
        .with("GATEWAY_INBOX_BUSY_TIMEOUT", "1s")
        .with("DATABASE_URL", by(ledger, &to_ledger))
        .with("GATEWAY_INBOX_URL", by(&inbox, &to_inbox))
        .with("GATEWAY_LISTEN", format!("{}:0", namespace.address()))
        .with("GATEWAY_ADMIN_LISTEN", format!("{}:0", namespace.address()));
    let (outside, inside) = (settings.serve(), inside.serve());
    let load = Load::start(rounds.seed);
    load.target(&[outside.webhooks, inside.webhooks]);
    let scenario = "two gateways, one inbox in PostgreSQL, a line that is cut".to_owned();
    let mut figures = Figures { scenario, seed: rounds.seed, ..Figures::default() };
    for _ in 0..rounds.number {
        load.allow(DELIVERIES);
        load.until_acknowledged(load.acknowledged() + rounds.random.u64(1..DELIVERIES / 3));
        namespace.cut();
        // What it gets meanwhile is refused, and sent to either again.
        let refused = load.answered(503);
        load.until_account(|account| account.answers.get(&503).copied().unwrap_or(0) > refused);
        load.until_acknowledged(load.acknowledged() + 1);
        namespace.mend();
        inside.until(|health| health["ready"] == true);
        figures.rounds += 1;
        figures.faults += 1;
    }
    let account = load.finish();
    world.settle(&[&outside, &inside], &account, figures);
}
