//! A colony behind a breakable line, a gateway's inbox and dispatch, bees, and a ledger that counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use colonies::client::{Assignment, Client, Member, Owner, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::messages::{Process, ProcessState, Statistics};
use colonies::server::{EmbeddedServer, Memory, ServerOptions};
use colony_gateway::app::colony::server_clock;
use colony_gateway::bees::{KeySource, Pool, PoolOptions, Tools};
use colony_gateway::dispatch::switch::{RouteSwitch, Wish};
use colony_gateway::dispatch::{
    ColonyOptions, ColonyRoute, Context, FallbackOptions, Linger, Pump, PumpOptions, Submitter,
};
use colony_gateway::domain::backoff::Backoff;
use colony_gateway::domain::breaker::BreakerSettings;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::ids::EndpointName;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::route::{Route, RouteInForce};
use colony_gateway::domain::secret::Secret;
use colony_gateway::inbox::{Counts, Door, EntryState, Inbox, InboxOptions, InboxThreads, NewEntry};
use colony_gateway::job::Terms;
use colony_gateway::job::attestation::{Signer, Trust, Verifier};
use colony_gateway::job::completion::{self, Completions};
use colony_gateway::job::keys::opening::Openers;
use colony_gateway::job::sealing::{OpeningKey, Recipients};
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::ledger::witness::{Testimony, Witness};
use colony_gateway::ledger::{BoxFuture, Ledger, LedgerError, LedgerErrorKind, Outcome};
use colony_gateway::lifecycle::{Ending, Readiness, Shutdown, Stop, Supervisor};
use colony_gateway::pipeline::Pipeline;
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings as Projection;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use colony_gateway::stripe::api::{ApiSettings, StripeApi};
use colony_gateway::stripe::envelope::Envelope;
use colony_gateway::stripe::signature::{SigningSecret, check_header};
use colony_gateway::stripe::simulator::sign;
use colony_gateway::telemetry::health::{Board, Level};
use colony_gateway::telemetry::instruments::Instruments;
use colony_gateway::telemetry::metrics::Metrics;
use colony_gateway::telemetry::trace::Tracer;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::proxy::Proxy;
use crate::stripe_api::{self, StripeStandIn};

pub(crate) const COLONY: &str = "rec";
pub(crate) const KIND: &str = "finance-worker";

/// How long a lease lasts, by the world's clock.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// Age from which entries go the direct route, by the world's clock.
pub(crate) const FALLBACK: Duration = Duration::from_mins(5);

/// Longest wait for anything. Reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(40);

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().unwrap())
}

/// The output of a future that must not take for ever.
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Between two looks at something that others do.
pub(crate) async fn breath() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// A ledger that counts how often each event had an effect.
#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) inner: SqliteLedger,
    effects: Mutex<BTreeMap<String, u32>>,
    /// Whether it does not say what it knows.
    pub(crate) is_silent: AtomicBool,
    /// Times that it was asked what it knows.
    pub(crate) questions: AtomicU64,
    /// What it says that it is; `None` for the truth.
    replaced_by: Mutex<Option<LedgerId>>,
}

impl Counting {
    /// Is another ledger from now on, as after a database was made anew under the same name.
    pub(crate) fn replace(&self, by: LedgerId) {
        *self.replaced_by.lock().unwrap() = Some(by);
    }

    fn identity(&self) -> Option<LedgerId> {
        self.replaced_by.lock().unwrap().clone()
    }
}

impl Ledger for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn apply_for<'a>(
        &'a self,
        meant_for: Option<&'a LedgerId>,
        batch: &'a [Verdict],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>> {
        Box::pin(async move {
            let outcomes = match (meant_for, self.identity()) {
                (Some(meant_for), Some(is)) if *meant_for != is => {
                    return Err(LedgerError::new("counting", LedgerErrorKind::OtherLedger, "another one"));
                }
                (_, Some(_)) => self.inner.apply(batch).await?,
                (meant_for, None) => self.inner.apply_for(meant_for, batch).await?,
            };
            let mut effects = self.effects.lock().unwrap();
            for (verdict, outcome) in batch.iter().zip(&outcomes) {
                if let (Some(event), false) = (verdict.event(), *outcome == Outcome::Duplicate) {
                    *effects.entry(event.id.to_string()).or_default() += 1;
                }
            }
            Ok(outcomes)
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.inner.check()
    }
}

impl Witness for Counting {
    fn witness<'a>(&'a self, events: &'a [String]) -> BoxFuture<'a, Result<Testimony, LedgerError>> {
        Box::pin(async move {
            self.questions.fetch_add(1, Ordering::Relaxed);
            if self.is_silent.load(Ordering::Relaxed) {
                return Err(LedgerError::new("counting", LedgerErrorKind::Unavailable, "silent"));
            }
            let mut testimony = self.inner.witness(events).await?;
            testimony.ledger = self.identity().unwrap_or(testimony.ledger);
            Ok(testimony)
        })
    }
}

/// Keys and places that outlive servers and gateways.
pub(crate) struct World {
    pub(crate) clock: Clock,
    directory: TempDir,
    server_key: Arc<PrivateKey>,
    owner_key: Arc<PrivateKey>,
    user_key: Arc<PrivateKey>,
    executor_key: Arc<PrivateKey>,
    pub(crate) signer: Signer,
    /// The bees' key for sealed jobs.
    sealing: OpeningKey,
    pub(crate) ledger: Arc<Counting>,
    pub(crate) server: Option<EmbeddedServer>,
    address: SocketAddr,
    pub(crate) proxy: Proxy,
    /// Speaks to the server past the proxy.
    pub(crate) client: Client,
    events: Mutex<Vec<String>>,
}

fn client(url: &str) -> Client {
    Client::new(&Settings::new(ServerUrl::parse_list(url, None, None).unwrap())).unwrap()
}

fn validator(clock: &Clock) -> Validator {
    Validator::new(Projection::default(), Arc::new(Guardian::default()), clock.clone())
}

impl World {
    /// A server with a colony, its user, and time that moves only when told to.
    pub(crate) async fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_seconds(1_770_000_000));
        let directory = tempfile::tempdir().unwrap();
        let (server_key, owner_key, user_key) = (key(), key(), key());
        let options = ServerOptions { clock: server_clock(&clock), ..ServerOptions::new(server_key.id().clone()) };
        let server = EmbeddedServer::start(options, CancellationToken::new()).await.unwrap();
        let inner = SqliteLedger::open(&directory.path().join("ledger.db"), clock.clone()).unwrap();
        let address = server.local_addr();
        let world = Self {
            directory,
            server_key,
            owner_key,
            user_key,
            executor_key: key(),
            signer: Signer::generate().unwrap(),
            sealing: OpeningKey::generate().unwrap(),
            ledger: Arc::new(Counting {
                inner,
                effects: Mutex::default(),
                is_silent: AtomicBool::default(),
                questions: AtomicU64::default(),
                replaced_by: Mutex::default(),
            }),
            proxy: Proxy::start(address).await,
            client: client(&server.url()),
            server: Some(server),
            address,
            clock,
            events: Mutex::default(),
        };
        world.found().await;
        world
    }

    /// Sets the colony up on a blank server.
    async fn found(&self) {
        self.client.add_colony(&self.server_key, COLONY, self.owner_key.id()).await.unwrap();
        self.owner().add_user("gateway", self.user_key.id()).await.unwrap();
    }

    pub(crate) fn owner(&self) -> Owner {
        self.client.owner(COLONY, Arc::clone(&self.owner_key))
    }

    /// The gateway's user, past the proxy.
    pub(crate) fn user(&self) -> Member {
        self.client.member(COLONY, Arc::clone(&self.user_key))
    }

    pub(crate) async fn statistics(&self) -> Statistics {
        self.user().statistics().await.unwrap()
    }

    /// Ends the server as a crash would. What it knew is kept for [`World::revive`].
    pub(crate) async fn kill_server(&mut self) -> Memory {
        self.server.take().unwrap().kill().await
    }

    /// Starts the server again where it was.
    pub(crate) async fn revive(&mut self, memory: Memory) {
        self.start_server(Some(memory)).await;
    }

    /// Starts a server that knows nothing where the other was, and sets the colony up on it.
    pub(crate) async fn replace_server(&mut self) {
        self.start_server(None).await;
        self.found().await;
    }

    async fn start_server(&mut self, memory: Option<Memory>) {
        let options = ServerOptions {
            clock: server_clock(&self.clock),
            listen: self.address,
            memory,
            ..ServerOptions::new(self.server_key.id().clone())
        };
        self.server = Some(EmbeddedServer::start(options, CancellationToken::new()).await.unwrap());
    }

    /// Lets time pass, for everybody.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        if let Some(server) = &self.server {
            server.tick();
        }
    }

    /// An executor that does nothing by itself.
    pub(crate) async fn lazy_bee(&self, name: &str) -> Member {
        let key = key();
        self.owner().add_executor(name, KIND, key.id()).await.unwrap();
        self.owner().approve_executor(name).await.unwrap();
        self.client.member(COLONY, key)
    }

    /// An event that brings money, of which every field follows from its number.
    fn event(number: usize) -> String {
        let created = 1_769_000_000 + number;
        json!({
            "id": format!("evt_{number}"), "object": "event", "type": "invoice.paid", "created": created,
            "livemode": false, "api_version": "2025-03-31.basil",
            "data": {"object": {
                "id": format!("in_{number}"), "object": "invoice", "amount_paid": 100 + number,
                "amount_due": 100 + number, "total": 100 + number, "currency": "eur", "status": "paid",
                "customer": format!("cus_{}", number % 7), "created": created,
                "status_transitions": {"paid_at": created},
            }},
        })
        .to_string()
    }

    /// Stores so many new events while no gateway runs: the next one finds them as one batch.
    pub(crate) async fn receive_before(&self, count: usize) {
        let (inbox, threads) = self.open_inbox();
        for _ in 0..count {
            receive(&inbox, &self.next_event(), &self.clock).await;
        }
        drop(inbox);
        threads.join();
    }

    /// Opens the inbox that every gateway of this world has.
    fn open_inbox(&self) -> (Inbox, InboxThreads) {
        Inbox::open(&InboxOptions::new(self.directory.path().join("inbox")), self.clock.clone()).unwrap()
    }

    /// A new event.
    pub(crate) fn next_event(&self) -> String {
        let mut events = self.events.lock().unwrap();
        let event = Self::event(events.len());
        events.push(event.clone());
        event
    }

    /// Takes an event for one of this world's.
    pub(crate) fn made(&self, event: &str) {
        self.events.lock().unwrap().push(event.to_owned());
    }

    /// The colony route and the direct one, with an inbox of their own in a directory that the next one finds again.
    pub(crate) fn gateway(&self) -> Plan<'_> {
        let options = ColonyOptions {
            processes_max: 8,
            resubmissions_max: 2,
            status: Backoff { first: Duration::from_millis(20), max: Duration::from_millis(20) },
            fallback: FallbackOptions {
                after: FALLBACK,
                server: BreakerSettings { failures: 2, open: second(), probes: 1 },
                bees: BreakerSettings { failures: 1, open: second(), probes: 1 },
            },
        };
        Plan { world: self, options, retries: 3, told: None, sealed: false, wish: Wish::Auto }
    }

    /// Brings the event with this number to the ledger, as a bee does.
    pub(crate) async fn apply(&self, number: usize) {
        let event = bytes::Bytes::from(self.events.lock().unwrap()[number].clone());
        self.ledger.apply(&validator(&self.clock).validate(&[event]).await).await.unwrap();
    }

    /// Every event that was made had exactly one effect.
    pub(crate) fn assert_one_effect_each(&self) {
        let events = self.events.lock().unwrap().len();
        let effects = self.ledger.effects.lock().unwrap().clone();
        assert_eq!(effects.len(), events);
        assert!(effects.values().all(|times| *times == 1), "{effects:?}");
    }

    /// The same, and the rows are those that one application of each gives. For events of which none is overtaken by another.
    pub(crate) async fn assert_applied_once(&self) {
        self.assert_one_effect_each();
        let events = self.events.lock().unwrap().clone();
        let reference = self.directory.path().join("reference.db");
        {
            let ledger = SqliteLedger::open(&reference, self.clock.clone()).unwrap();
            let bodies: Vec<_> = events.into_iter().map(bytes::Bytes::from).collect();
            for bodies in bodies.chunks(100) {
                ledger.apply(&validator(&self.clock).validate(bodies).await).await.unwrap();
            }
        }
        assert_eq!(rows(&self.directory.path().join("ledger.db")), rows(&reference));
    }
}

/// Stores a delivery of an event.
async fn receive(inbox: &Inbox, event: &str, clock: &Clock) {
    let (secret, now) = (Secret::new("whsec_test"), clock.now());
    let value = sign(secret.expose(), now, event.as_bytes());
    let secrets = [SigningSecret::parse(secret.expose()).unwrap().0];
    let body = bytes::Bytes::from(event.to_owned());
    let header = check_header([value.as_bytes()]).unwrap();
    let delivery = header.verify(body, &secrets, now, Duration::from_mins(5)).unwrap();
    let envelope = Envelope::read(event.as_bytes()).unwrap();
    let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery);
    inbox.append(entry).await.unwrap();
}

fn second() -> Backoff {
    Backoff { first: Duration::from_secs(1), max: Duration::from_secs(1) }
}

/// Everything that a ledger's file holds, but for times of recording.
fn rows(path: &Path) -> BTreeMap<&'static str, Vec<String>> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let questions = [
        ("events", "SELECT id, type, created, payload, outcome, rule, reason FROM events ORDER BY id"),
        ("revenue", "SELECT * FROM revenue_entries ORDER BY kind, key"),
        ("links", "SELECT * FROM payment_links ORDER BY payment_id"),
        ("claims", "SELECT * FROM claims ORDER BY subject, rank, user_id"),
        ("bindings", "SELECT * FROM customer_bindings ORDER BY kind, from_id"),
        ("customers", "SELECT * FROM stripe_customers ORDER BY id"),
        ("subscriptions", "SELECT * FROM stripe_subscriptions ORDER BY id"),
        ("findings", "SELECT * FROM findings ORDER BY event_id, code, subject"),
        ("daily", "SELECT * FROM daily_revenue ORDER BY 1, 2, 3"),
    ];
    let read = |sql: &str| {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns)
                .map(|column| row.get_ref(column).map(|value| format!("{value:?}")))
                .collect::<Result<Vec<_>, _>>()
        };
        let rows = statement.query_map([], |found| row(found)).unwrap();
        rows.map(|row| row.unwrap().join("|")).collect::<Vec<String>>()
    };
    questions.into_iter().map(|(name, sql)| (name, read(sql))).collect()
}

/// A gateway that is not started yet.
pub(crate) struct Plan<'a> {
    world: &'a World,
    pub(crate) options: ColonyOptions,
    pub(crate) retries: u32,
    told: Option<tokio::sync::mpsc::Receiver<completion::Completed>>,
    /// Whether jobs are sealed to the bees.
    pub(crate) sealed: bool,
    /// What the operator wants at the start.
    pub(crate) wish: Wish,
}

/// A gateway from its inbox on.
pub(crate) struct Gateway {
    pub(crate) inbox: Option<Inbox>,
    threads: Option<InboxThreads>,
    pub(crate) switch: RouteSwitch,
    pub(crate) in_force: RouteInForce,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) board: Board,
    draining: CancellationToken,
    tasks: JoinSet<()>,
    clock: Clock,
}

impl Plan<'_> {
    /// Makes the bees in this program tell of what they close.
    pub(crate) fn told(mut self) -> (Self, Completions) {
        let (completions, told) = completion::channel();
        self.told = Some(told);
        (self, completions)
    }

    pub(crate) fn start(self) -> Gateway {
        let Plan { world, options, retries, told, sealed, wish } = self;
        let (inbox, threads) = world.open_inbox();
        let mut gateway = Gateway {
            inbox: Some(inbox.clone()),
            threads: Some(threads),
            switch: RouteSwitch::new(wish),
            in_force: RouteInForce::new(Route::Direct),
            metrics: Metrics::new(),
            board: Board::default(),
            draining: CancellationToken::new(),
            tasks: JoinSet::new(),
            clock: world.clock.clone(),
        };
        let submitter = Submitter {
            member: client(&world.proxy.url()).member(COLONY, Arc::clone(&world.user_key)).into(),
            signer: world.signer.clone().into(),
            recipients: sealed.then(|| Recipients::new(vec![world.sealing.public().clone()]).unwrap()).into(),
            terms: Terms { lease: LEASE, retries, ..Terms::new(COLONY, KIND) },
        };
        let context = Context {
            inbox: inbox.clone(),
            switch: gateway.switch.clone(),
            in_force: gateway.in_force.clone(),
            instruments: Instruments {
                metrics: Arc::clone(&gateway.metrics),
                board: gateway.board.clone(),
                clock: world.clock.clone(),
                tracer: Tracer::default(),
            },
        };
        let (route, confirm) =
            ColonyRoute::new(submitter, options, context, Arc::clone(&world.ledger) as Arc<dyn Witness>, told);
        let pump_options = PumpOptions {
            batch_entries_max: 256,
            batch_bytes_max: 4 << 20,
            linger: Linger::default(),
            lease: Duration::from_mins(1),
            call_timeout: Duration::from_secs(20),
            attempts_max: 3,
            backoff: Backoff { first: Duration::from_millis(1), max: Duration::from_millis(1) },
        };
        let (metrics, board) = (Arc::clone(&gateway.metrics), gateway.board.clone());
        let pipeline = world.pipeline(&metrics);
        let pump = Pump::new(inbox, pipeline, pump_options, metrics, board, world.clock.clone()).with_colony(route);
        let drain = gateway.draining.clone();
        gateway.tasks.spawn(async move {
            let _ = confirm.run(drain).await;
        });
        for _ in 0..2 {
            let (pump, drain) = (pump.clone(), gateway.draining.clone());
            gateway.tasks.spawn(async move {
                let _ = pump.run(drain).await;
            });
        }
        gateway
    }
}

impl Gateway {
    pub(crate) fn inbox(&self) -> &Inbox {
        self.inbox.as_ref().unwrap()
    }

    /// Stores a delivery of this event.
    pub(crate) async fn receive(&self, event: &str) {
        receive(self.inbox(), event, &self.clock).await;
    }

    /// Stores so many new events.
    pub(crate) async fn receive_new(&self, world: &World, count: usize) {
        for _ in 0..count {
            self.receive(&world.next_event()).await;
        }
    }

    pub(crate) async fn counts(&self) -> Counts {
        self.inbox().counts().await.unwrap()
    }

    /// Waits until the inbox holds what is asked for.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Counts) -> bool) -> Counts {
        patiently(what, async {
            loop {
                let counts = self.counts().await;
                if is_so(&counts) {
                    return counts;
                }
                breath().await;
            }
        })
        .await
    }

    /// Waits until nothing is on its way and everything was settled.
    pub(crate) async fn until_settled(&self) {
        let counts = self.until("every entry is at its end", |counts| counts.backlog() == 0).await;
        assert_eq!((counts.dead, counts.quarantined), (0, 0));
    }

    /// Waits until entries go this way.
    pub(crate) async fn until_route(&self, route: Route) {
        patiently(route.as_str(), async {
            while self.in_force.get() != route {
                breath().await;
            }
        })
        .await;
    }

    /// Waits until the board says of the colony that it is out of use because of all this.
    pub(crate) async fn until_colony_is_left(&self, because: &[&str]) {
        patiently("the colony is left", async {
            loop {
                let colony = self.board.read()["colony"].clone();
                let is_said = because.iter().all(|part| colony.detail.contains(part));
                if colony.status == Level::Degraded && is_said && self.in_force.get() == Route::Direct {
                    return;
                }
                breath().await;
            }
        })
        .await;
    }

    /// Waits for a route while time passes in small steps: when every place in the colony is taken, it is the questions
    /// about processes, due by the clock, that find out that the server is gone.
    pub(crate) async fn until_route_in_time(&self, world: &World, route: Route) {
        patiently(route.as_str(), async {
            while self.in_force.get() != route {
                world.pass(Duration::from_millis(50));
                breath().await;
            }
        })
        .await;
    }

    /// The value of a metric line.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {line} in\n{text}")).parse().unwrap()
    }

    /// Waits until a metric is exactly so much: an end is counted after the inbox, which tests look at, knows of it.
    pub(crate) async fn until_metric(&self, line: &str, value: u64) {
        patiently(line, async {
            while self.metric(line) != value {
                breath().await;
            }
        })
        .await;
    }

    /// Waits, while time passes in small steps, until a metric is at least so much.
    pub(crate) async fn until_metric_in_time(&self, world: &World, line: &str, value: u64) {
        patiently(line, async {
            while self.metric(line) < value {
                world.pass(Duration::from_millis(50));
                breath().await;
            }
        })
        .await;
    }

    /// Lets time pass in small steps until every entry is at its end and was settled: for what is due by the clock.
    pub(crate) async fn until_settled_in_time(&self, world: &World) {
        patiently("every entry is at its end", async {
            while self.counts().await.backlog() > 0 {
                world.pass(Duration::from_millis(50));
                breath().await;
            }
        })
        .await;
        let counts = self.counts().await;
        assert_eq!((counts.dead, counts.quarantined), (0, 0));
    }

    /// State of the newest entry.
    pub(crate) async fn newest(&self) -> EntryState {
        self.inbox().newest(1).await.unwrap().remove(0).state
    }

    /// Finishes what is in hand and ends.
    pub(crate) async fn stop(mut self) {
        self.draining.cancel();
        patiently("the gateway drains", async { while self.tasks.join_next().await.is_some() {} }).await;
        self.close();
    }

    /// Ends as a crash would.
    pub(crate) async fn kill(mut self) {
        self.tasks.shutdown().await;
        self.close();
    }

    fn close(&mut self) {
        drop(self.inbox.take());
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

/// Bees that run.
pub(crate) struct Bees {
    shutdown: Shutdown,
    task: JoinSet<Ending>,
}

#[derive(Debug)]
struct Never;

impl Stop for Never {
    async fn next(&mut self) -> &'static str {
        std::future::pending().await
    }
}

impl World {
    fn pipeline(&self, metrics: &Arc<Metrics>) -> Pipeline {
        let ledger = Arc::clone(&self.ledger) as Arc<dyn Ledger>;
        Pipeline::new(Arc::new(validator(&self.clock)), ledger, Arc::clone(metrics), self.clock.clone())
    }

    /// Starts two bees, which speak to the server past the proxy.
    pub(crate) fn bees(&self, completions: Option<Completions>) -> Bees {
        self.hive(validator(&self.clock), completions)
    }

    /// The same, with a key to ask this Stripe.
    pub(crate) fn bees_that_ask(&self, stripe: &StripeStandIn) -> Bees {
        let settings = ApiSettings {
            base_url: stripe.base_url.clone(),
            rate: Some(1000),
            ..ApiSettings::new(Secret::new(stripe_api::KEY))
        };
        let api = StripeApi::new(&settings, self.clock.clone()).unwrap();
        self.hive(validator(&self.clock).with_stripe(Arc::new(api)), None)
    }

    fn hive(&self, validator: Validator, completions: Option<Completions>) -> Bees {
        let shutdown = Shutdown::default();
        let options = PoolOptions { count: 2, poll: Duration::from_secs(1), ..PoolOptions::new(COLONY, KIND, "hive") };
        let metrics = Metrics::new();
        let ledger = Arc::clone(&self.ledger) as Arc<dyn Ledger>;
        let pipeline = Pipeline::new(Arc::new(validator), ledger, Arc::clone(&metrics), self.clock.clone());
        let tools = Tools {
            client: self.client.clone(),
            keys: KeySource::Given(Arc::clone(&self.executor_key)),
            openers: Arc::new(Openers::given(&self.sealing.to_hex()).unwrap()),
            owner: Some(Arc::clone(&self.owner_key)),
            verifier: Arc::new(Verifier::new(Trust::new(vec![self.signer.public().clone()])).unwrap()),
            pipeline,
            ledger: Arc::clone(&self.ledger) as Arc<dyn Witness>,
            reports: None,
            completions,
            instruments: Instruments {
                metrics,
                board: Board::default(),
                clock: self.clock.clone(),
                tracer: Tracer::default(),
            },
        };
        let mut supervisor = Supervisor::new(shutdown.clone(), Readiness::default());
        Pool::new(options, tools).unwrap().start(&mut supervisor, &shutdown);
        let mut task = JoinSet::new();
        task.spawn(supervisor.run(Never, Duration::from_secs(20)));
        Bees { shutdown, task }
    }
}

impl Bees {
    /// Drains and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.shutdown.drain();
        patiently("the bees end", self.task.join_next()).await.unwrap().unwrap();
    }
}

/// Takes a process as a bee would.
pub(crate) async fn take(bee: &Member) -> Process {
    match patiently("a process", bee.assign(Duration::from_secs(20))).await.unwrap() {
        Assignment::Process(process) => *process,
        other => panic!("no process but {other:?}"),
    }
}

/// Waits until a process is in a state.
pub(crate) async fn until_state(user: &Member, process: &Process, state: ProcessState) {
    patiently("the process's state", async {
        while user.process(&process.id()).await.unwrap().state != state {
            breath().await;
        }
    })
    .await;
}
