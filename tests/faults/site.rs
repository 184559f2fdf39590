//! Three gateways that share an inbox in PostgreSQL, their surroundings, and the faults that a test can cause.

use std::net::{Ipv4Addr, SocketAddr};

use testkit::bouncer::Bouncer;
use testkit::namespace::Namespace;
use testkit::pair::Pair;
use tokio::runtime::Runtime;

use crate::account::Figures;
use crate::book::Book;
use crate::gateway::{Gateway, Options};
use crate::hand::{Hand, jumps};
use crate::load::Load;
use crate::proxy::{Mode, Proxy};
use crate::world::World;

/// Number of disturbances in a round of `Fault::Statements`.
const DISTURBANCES: u32 = 6;

/// Number of connections that break in a round of `Fault::LostAnswers`.
const BREAKS: i64 = 4;

/// Deliveries that are sent during a fault.
const DELIVERIES: u64 = 60;

/// The fault of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A gateway is killed and started again.
    Gateway,
    /// Statements are cancelled and connections ended.
    Statements,
    /// The standby is cut off and follows again: commits are slow, and some are cancelled.
    SlowCommits,
    /// The primary ends at once and starts again.
    Crash,
    /// The standby is cut off, commits that wait for it are cancelled, and the primary restarts at once.
    Restart,
    /// The same, but the primary is lost and the standby takes its place.
    FailOver,
    /// The pooler is killed and started again.
    Pooler,
    /// The network of a gateway is cut, or delays everything until it is mended.
    Network,
    /// Answers of the database are lost on the way, or break off, in the middle of a commit.
    LostAnswers,
    /// The clock of a gateway jumps, so that it refuses every signature.
    GatewayClock,
    /// The clock of the database jumps.
    DatabaseClock,
}

impl Fault {
    pub(crate) const ALL: [Self; 11] = [
        Self::Gateway,
        Self::Statements,
        Self::SlowCommits,
        Self::Crash,
        Self::Restart,
        Self::FailOver,
        Self::Pooler,
        Self::Network,
        Self::LostAnswers,
        Self::GatewayClock,
        Self::DatabaseClock,
    ];
}

/// The three gateways and everything that they share.
pub(crate) struct Site {
    pub(crate) pair: Pair,
    pub(crate) world: World,
    pub(crate) gateways: Vec<Gateway>,
    places: Vec<Options>,
    bouncer: Option<Bouncer>,
    namespace: Option<Namespace>,
    /// In front of both servers; only the third gateway connects through them.
    proxies: [Proxy; 2],
    gateway_clock: Hand,
    database_clock: Hand,
    /// Drives the proxies.
    _runtime: Runtime,
    _to_ledger: Proxy,
}

impl Site {
    pub(crate) fn new() -> Self {
        let mut database_clock = None;
        let pair = Pair::start_with(|dir| database_clock.insert(Hand::new(dir)).environment());
        let database_clock = database_clock.expect("made with the pair");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = World::postgres().with_inbox(&pair.url());
        let Book::Postgres(ledger) = &world.book else { unreachable!("a ledger in PostgreSQL") };
        let (bouncer, namespace) = (Bouncer::start(pair.primary_port()), Namespace::make());
        let through = |here: Ipv4Addr, port: u16| {
            runtime.block_on(Proxy::start_at((here, 0).into(), ([127, 0, 0, 1], port).into()))
        };
        let loopback = Ipv4Addr::LOCALHOST;
        let cut = namespace.as_ref().map_or(loopback, Namespace::here_behind_the_cut);
        let to_ledger = through(namespace.as_ref().map_or(loopback, Namespace::here), ledger.port());
        let proxies = pair.ports().map(|port| through(cut, port));
        let settings = |name: &str| world.another(name).with("GATEWAY_INBOX_BUSY_TIMEOUT", "2s");
        let gateway_clock = Hand::new(&world.path(""));
        let first = gateway_clock.environment().into_iter();
        let first = first.fold(settings("first"), |options, (name, value)| options.with(&name, value));
        let mut second = settings("second");
        if let Some(bouncer) = &bouncer {
            second = second.with(
                "GATEWAY_INBOX_URL",
                format!("postgres://postgres@127.0.0.1:{}/{}", bouncer.port(), pair.database()),
            );
        } else {
            eprintln!("left out: PgBouncer is not installed");
        }
        let [one, two] = proxies.each_ref().map(Proxy::address);
        let mut third =
            settings("third").with("GATEWAY_INBOX_URL", format!("postgres://postgres@{one},{two}/{}", pair.database()));
        if let Some(namespace) = &namespace {
            let ledger =
                ledger.url().replace(&format!("127.0.0.1:{}", ledger.port()), &to_ledger.address().to_string());
            third = Options { within: namespace.runner(), ..third }
                .with("DATABASE_URL", ledger)
                .with("GATEWAY_LISTEN", format!("{}:0", namespace.address()))
                .with("GATEWAY_ADMIN_LISTEN", format!("{}:0", namespace.address()));
        } else {
            eprintln!("without a cut: this machine makes no network namespaces for us");
        }
        let places = vec![first, second, third];
        let gateways = places.iter().map(Options::serve).collect();
        Self {
            pair,
            world,
            gateways,
            places,
            bouncer,
            namespace,
            proxies,
            gateway_clock,
            database_clock,
            _runtime: runtime,
            _to_ledger: to_ledger,
        }
    }

    /// Whether this machine can cause this fault.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        match fault {
            Fault::Pooler => self.bouncer.is_some(),
            _ => true,
        }
    }

    /// Sends deliveries to all gateways.
    pub(crate) fn aim(&self, load: &Load) {
        load.target(&self.addresses());
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.gateways.iter().map(|gateway| gateway.webhooks).collect()
    }

    /// Causes the fault under load, and mends it.
    pub(crate) fn strike(&mut self, fault: Fault, load: &Load, random: &mut fastrand::Rng, figures: &mut Figures) {
        match fault {
            Fault::Gateway => {
                let chosen = random.usize(..self.gateways.len());
                self.gateways.remove(chosen).kill();
                self.aim(load);
                self.gateways.insert(chosen, self.places[chosen].serve());
                self.aim(load);
                figures.kills += 1;
                return;
            }
            Fault::Statements => {
                for _ in 0..DISTURBANCES {
                    self.pair.disturb(random.bool());
                }
            }
            Fault::SlowCommits => {
                self.cut_off(load, random);
                self.pair.join_again();
            }
            Fault::Crash => self.pair.restart_primary(),
            Fault::Restart => {
                self.cut_off(load, random);
                self.pair.restart_primary();
                self.pair.join_again();
            }
            Fault::FailOver => {
                self.cut_off(load, random);
                self.pair.fail_over();
                let primary = self.pair.primary_port();
                if let Some(bouncer) = &mut self.bouncer {
                    // A person would point the pooler at the new primary.
                    bouncer.restart(primary);
                }
            }
            Fault::Pooler => {
                let primary = self.pair.primary_port();
                self.bouncer.as_mut().expect("asked for").restart(primary);
            }
            Fault::Network => self.cut_network(load, random),
            Fault::LostAnswers => self.lose_answers(load, random),
            Fault::GatewayClock => self.turn_gateway_clock(load, random),
            Fault::DatabaseClock => self.turn_database_clock(load, random),
        }
        figures.faults += 1;
    }

    /// Cuts the standby off, waits until a commit waits for it, and cancels some of the waiting statements.
    fn cut_off(&self, load: &Load, random: &mut fastrand::Rng) {
        load.allow(DELIVERIES);
        self.pair.cut_off();
        self.pair.until_waiting();
        self.pair.disturb(random.bool());
    }

    fn cut_network(&self, load: &Load, random: &mut fastrand::Rng) {
        // Either the request does not arrive, or its answer does not. A cut line does not show which.
        let namespace = self.namespace.as_ref().filter(|_| random.u8(..4) > 0);
        match namespace {
            Some(namespace) => namespace.cut(),
            None => self.proxies.iter().for_each(|proxy| proxy.set(Mode::Hold, i64::MAX)),
        }
        let refused = load.answered(503);
        load.allow(DELIVERIES);
        load.until_account_or_sent(|account| account.answers.get(&503).copied().unwrap_or(0) > refused);
        load.until_acknowledged_or_sent(load.acknowledged() + 1);
        match namespace {
            Some(namespace) => namespace.mend(),
            None => self.proxies.iter().for_each(|proxy| proxy.set(Mode::Pass, 0)),
        }
        self.gateways[2].until(|health| health["ready"] == true);
    }

    fn lose_answers(&self, load: &Load, random: &mut fastrand::Rng) {
        let mode = [Mode::LoseReplies, Mode::LoseRequests, Mode::Truncate][random.usize(..3)];
        let broken = || self.proxies.iter().map(Proxy::broken).sum::<i64>();
        let before = broken();
        self.proxies.iter().for_each(|proxy| proxy.set(mode, BREAKS));
        load.allow(DELIVERIES);
        // The third gateway looks for work even without deliveries.
        self.gateways[2].until(|_| broken() >= before + 2);
        self.proxies.iter().for_each(|proxy| proxy.set(Mode::Pass, 0));
    }

    fn turn_gateway_clock(&self, load: &Load, random: &mut fastrand::Rng) {
        for jump in jumps(random) {
            self.gateway_clock.turn(jump);
            let refused = load.answered(400);
            load.allow(DELIVERIES);
            load.until_account_or_sent(|account| account.answers.get(&400).copied().unwrap_or(0) > refused);
        }
        self.gateway_clock.turn(0);
    }

    /// After a jump forward, all leases end at once. After a jump back, entries that were due are not due any more.
    fn turn_database_clock(&self, load: &Load, random: &mut fastrand::Rng) {
        for jump in jumps(random) {
            self.database_clock.turn(jump);
            load.allow(DELIVERIES);
            load.until_acknowledged_or_sent(load.acknowledged() + DELIVERIES / 2);
        }
        self.database_clock.turn(0);
    }
}
