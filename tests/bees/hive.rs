//! A colony with a gateway that submits, a ledger that counts, and pools of bees.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use colonies::client::{Client, Member, Owner, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::messages::{FunctionSpec, Process, ProcessState};
use colonies::server::{EmbeddedServer, ServerOptions};
use colony_gateway::app::colony::server_clock;
use colony_gateway::bees::approval::Approver;
use colony_gateway::bees::{KeySource, Pool, PoolOptions, Tools};
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::secret::Secret;
use colony_gateway::job::attestation::{Signer, Trust, Verifier};
use colony_gateway::job::completion::{self, Completed, JobResult};
use colony_gateway::job::keys::opening::Openers;
use colony_gateway::job::{self, Sender, Terms};
use colony_gateway::ledger::report::{Attention, FindingLine, FindingsWanted, Reports, Summary};
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::ledger::witness::{Testimony, Witness};
use colony_gateway::ledger::{BoxFuture, Ledger, LedgerError, LedgerErrorKind, Outcome};
use colony_gateway::lifecycle::{Ending, Readiness, Shutdown, Stop, Supervisor};
use colony_gateway::pipeline::Pipeline;
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings as Projection;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use colony_gateway::telemetry::health::Board;
use colony_gateway::telemetry::instruments::Instruments;
use colony_gateway::telemetry::metrics::Metrics;
use colony_gateway::telemetry::trace::Tracer;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const COLONY: &str = "rec";
pub(crate) const KIND: &str = "finance-worker";

/// What each event of the tests brings, in cents.
pub(crate) const AMOUNT: i64 = 700;

/// Longest wait for anything. Reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Longest drain. Reached only when a test fails.
const DRAIN: Duration = Duration::from_mins(1);

pub(crate) fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().unwrap())
}

pub(crate) fn key_of(hex: &str) -> Arc<PrivateKey> {
    Arc::new(PrivateKey::from_hex(hex).unwrap())
}

/// An event that brings money.
pub(crate) fn event(id: &str) -> String {
    let created = Clock::system().now().seconds();
    json!({
        "id": format!("evt_{id}"), "object": "event", "type": "invoice.paid", "created": created, "livemode": false,
        "api_version": "2025-03-31.basil",
        "data": {"object": {
            "id": format!("in_{id}"), "object": "invoice", "amount_paid": AMOUNT, "amount_due": AMOUNT,
            "total": AMOUNT, "currency": "eur", "status": "paid", "customer": "cus_1", "created": created,
            "status_transitions": {"paid_at": created},
        }},
    })
    .to_string()
}

/// A ledger that counts how often each event changed something, and can hold calls up.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: SqliteLedger,
    /// What it says that it is; `None` for the truth.
    replaced_by: Mutex<Option<LedgerId>>,
    applied: Mutex<HashMap<String, u32>>,
    holds_next: AtomicBool,
    /// Calls that arrived to be held, and permits to go on.
    held: Semaphore,
    go: Semaphore,
}

impl Counting {
    /// Is another ledger from now on, as after a database was made anew under the same name.
    pub(crate) fn replace(&self, by: LedgerId) {
        *self.replaced_by.lock().unwrap() = Some(by);
    }

    /// Holds the next call up until it is let go.
    pub(crate) fn hold_next(&self) {
        self.holds_next.store(true, Ordering::SeqCst);
    }

    /// Waits until a call is held up.
    pub(crate) async fn until_held(&self) {
        patiently("a call is held", self.held.acquire()).await.unwrap().forget();
    }

    /// Lets the call that is held up go on.
    pub(crate) fn let_go(&self) {
        self.go.add_permits(1);
    }
}

impl Witness for Counting {
    fn witness<'a>(&'a self, events: &'a [String]) -> BoxFuture<'a, Result<Testimony, LedgerError>> {
        Box::pin(async move {
            let mut testimony = self.inner.witness(events).await?;
            if let Some(replaced) = self.replaced_by.lock().unwrap().clone() {
                testimony.ledger = replaced;
            }
            Ok(testimony)
        })
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
            if self.holds_next.swap(false, Ordering::SeqCst) {
                self.held.add_permits(1);
                self.go.acquire().await.unwrap().forget();
            }
            let is = self.witness(&[]).await?.ledger;
            if meant_for.is_some_and(|meant_for| *meant_for != is) {
                return Err(LedgerError::new("counting", LedgerErrorKind::OtherLedger, "another one"));
            }
            let outcomes = self.inner.apply(batch).await?;
            let mut applied = self.applied.lock().unwrap();
            for (verdict, outcome) in batch.iter().zip(&outcomes) {
                if let (Some(event), Outcome::Applied) = (verdict.event(), outcome) {
                    *applied.entry(event.id.to_string()).or_default() += 1;
                }
            }
            Ok(outcomes)
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.inner.check()
    }
}

/// A server with a colony, its owner and a gateway.
pub(crate) struct Hive {
    pub(crate) server: EmbeddedServer,
    /// The server's time.
    pub(crate) clock: Clock,
    pub(crate) client: Client,
    pub(crate) owner_key: Arc<PrivateKey>,
    pub(crate) owner: Owner,
    pub(crate) gateway_key: Arc<PrivateKey>,
    pub(crate) gateway: Member,
    pub(crate) signer: Signer,
    pub(crate) executor_key: Arc<PrivateKey>,
    pub(crate) ledger: Arc<Counting>,
    /// The ledger that jobs are for.
    pub(crate) ledger_id: LedgerId,
    pub(crate) lease: Duration,
}

impl Hive {
    /// A server with the system's time and a ledger in memory.
    pub(crate) async fn new() -> Self {
        Self::with(Clock::system(), SqliteLedger::in_memory(Clock::system()).unwrap()).await
    }

    /// A server whose time moves only when told to.
    pub(crate) async fn with_time_stopped() -> Self {
        let clock = Clock::manual(Timestamp::from_seconds(1_770_000_000));
        Self::with(clock, SqliteLedger::in_memory(Clock::system()).unwrap()).await
    }

    async fn with(clock: Clock, ledger: SqliteLedger) -> Self {
        let (server_key, owner_key, gateway_key) = (key(), key(), key());
        let options = ServerOptions { clock: server_clock(&clock), ..ServerOptions::new(server_key.id().clone()) };
        let server = EmbeddedServer::start(options, CancellationToken::new()).await.unwrap();
        let client = client_of(&server);
        client.add_colony(&server_key, COLONY, owner_key.id()).await.unwrap();
        let owner = client.owner(COLONY, Arc::clone(&owner_key));
        owner.add_user("gateway", gateway_key.id()).await.unwrap();
        let gateway = client.member(COLONY, Arc::clone(&gateway_key));
        let ledger_id = ledger.witness(&[]).await.unwrap().ledger;
        let ledger = Counting {
            inner: ledger,
            replaced_by: Mutex::default(),
            applied: Mutex::default(),
            holds_next: AtomicBool::new(false),
            held: Semaphore::new(0),
            go: Semaphore::new(0),
        };
        Self {
            server,
            clock,
            client,
            owner_key,
            owner,
            gateway_key,
            gateway,
            signer: Signer::generate().unwrap(),
            executor_key: key(),
            ledger: Arc::new(ledger),
            ledger_id,
            lease: Duration::from_secs(30),
        }
    }

    /// An attested job with these events.
    pub(crate) fn spec(&self, ids: &[&str]) -> FunctionSpec {
        self.spec_by(&self.signer, ids)
    }

    /// A job with these events that `signer` attested.
    pub(crate) fn spec_by(&self, signer: &Signer, ids: &[&str]) -> FunctionSpec {
        let events: Vec<String> = ids.iter().map(|id| event(id)).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        // On a machine that is busy with other things many leases may be lost; that is not what the tests are about.
        let terms = Terms { lease: self.lease, retries: 100, ..Terms::new(COLONY, KIND) };
        self.sealed(signer, &terms, &events)
    }

    /// A job for the ledger of this hive that `signer` attested.
    pub(crate) fn sealed(&self, signer: &Signer, terms: &Terms, events: &[&str]) -> FunctionSpec {
        let sender =
            Sender { terms, signer, ledger: &self.ledger_id, submitter: self.gateway.id().as_str(), recipients: None };
        job::seal(&sender, events, Clock::system().now()).unwrap()
    }

    /// Submits an attested job with these events.
    pub(crate) async fn submit(&self, ids: &[&str]) -> Process {
        self.gateway.submit(self.spec(ids)).await.unwrap()
    }

    pub(crate) async fn now(&self, process: &Process) -> Process {
        self.gateway.process(&process.id()).await.unwrap()
    }

    /// The process, as soon as it has ended, which must be in this state.
    pub(crate) async fn ended(&self, process: &Process, state: ProcessState) -> Process {
        let ended = patiently("the process ends", async {
            loop {
                let now = self.now(process).await;
                if now.state.is_final() {
                    return now;
                }
                breath().await;
            }
        });
        let ended = ended.await;
        assert_eq!(ended.state, state, "{:?} {:?}", ended.errors, ended.out);
        ended
    }

    /// The result of a process that must succeed.
    pub(crate) async fn result(&self, process: &Process) -> JobResult {
        JobResult::from_output(&self.ended(process, ProcessState::Success).await.out).unwrap()
    }

    /// Approves bees with the owner's key.
    pub(crate) fn approver(&self) -> Approver {
        let owner = self.client.owner(COLONY, Arc::clone(&self.owner_key));
        Approver { user: self.gateway.clone(), owner, executor_type: KIND.to_owned() }
    }

    /// Lets the server's time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.server.tick();
    }

    /// A pool of bees, of which the first has the executor's key and all have the owner's.
    pub(crate) fn plan(&self, name: &str, count: usize) -> Plan {
        let mut options = PoolOptions { count, ..PoolOptions::new(COLONY, KIND, name) };
        options.poll = Duration::from_secs(1);
        Plan {
            options,
            keys: KeySource::Given(Arc::clone(&self.executor_key)),
            owner: Some(Arc::clone(&self.owner_key)),
            trusted: vec![self.signer.public().clone()],
            // Connections end with the threads that made them, and those of bees end before the test does.
            client: client_of(&self.server),
            ledger: Arc::clone(&self.ledger),
            offers_summary: false,
            tracer: Tracer::default(),
        }
    }

    /// Starts bees and waits until all are registered.
    pub(crate) async fn bees(&self, count: usize) -> Bees {
        let bees = self.plan("hive", count).start();
        bees.until_registered(count).await;
        bees
    }

    /// The revenue of these many events and no more.
    pub(crate) async fn assert_applied_once(&self, events: usize) {
        let applied = self.ledger.applied.lock().unwrap().clone();
        assert_eq!(applied.len(), events);
        assert!(applied.values().all(|times| *times == 1), "{applied:?}");
        assert_revenue(&self.summary().await, events);
    }

    pub(crate) async fn summary(&self) -> Summary {
        self.ledger.inner.summary(10).await.unwrap()
    }
}

/// The revenue of these many events and no more.
pub(crate) fn assert_revenue(summary: &Summary, events: usize) {
    let gross: i64 = summary.daily.iter().map(|line| line.gross_minor).sum();
    assert_eq!((summary.counts.events, gross), (events as u64, AMOUNT * i64::try_from(events).unwrap()));
}

/// A client with connections of its own.
fn client_of(server: &EmbeddedServer) -> Client {
    Client::new(&Settings::new(ServerUrl::parse_list(&server.url(), None, None).unwrap())).unwrap()
}

/// Bees that are not started yet.
pub(crate) struct Plan {
    pub(crate) options: PoolOptions,
    pub(crate) keys: KeySource,
    pub(crate) owner: Option<Arc<PrivateKey>>,
    pub(crate) trusted: Vec<colony_gateway::job::attestation::PublicKey>,
    pub(crate) client: Client,
    pub(crate) ledger: Arc<Counting>,
    pub(crate) offers_summary: bool,
    pub(crate) tracer: Tracer,
}

/// Bees that run.
pub(crate) struct Bees {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) board: Board,
    pub(crate) told: mpsc::Receiver<Completed>,
    pub(crate) shutdown: Shutdown,
    task: JoinSet<Ending>,
}

#[derive(Debug)]
struct Never;

impl Stop for Never {
    async fn next(&mut self) -> &'static str {
        std::future::pending().await
    }
}

impl Plan {
    /// Bees that are ready to start.
    pub(crate) fn pool(self) -> Pool {
        self.made().0
    }

    fn made(self) -> (Pool, Arc<Metrics>, Board, mpsc::Receiver<Completed>) {
        let (clock, metrics, board) = (Clock::system(), Metrics::new(), Board::default());
        let (completions, told) = completion::channel();
        let reports = self.offers_summary.then(|| Arc::new(Shown(Arc::clone(&self.ledger))) as Arc<dyn Reports>);
        let validator = Validator::new(Projection::default(), Arc::new(Guardian::default()), clock.clone());
        let tools = Tools {
            client: self.client,
            keys: self.keys,
            openers: Arc::new(Openers::given(&Secret::new("")).unwrap()),
            owner: self.owner,
            verifier: Arc::new(Verifier::new(Trust::new(self.trusted)).unwrap()),
            ledger: Arc::clone(&self.ledger) as Arc<dyn Witness>,
            pipeline: Pipeline::new(Arc::new(validator), self.ledger, Arc::clone(&metrics), clock.clone()),
            reports,
            completions: Some(completions),
            instruments: Instruments {
                metrics: Arc::clone(&metrics),
                board: board.clone(),
                clock,
                tracer: self.tracer,
            },
        };
        (Pool::new(self.options, tools).unwrap(), metrics, board, told)
    }

    pub(crate) fn start(self) -> Bees {
        let (pool, metrics, board, told) = self.made();
        let shutdown = Shutdown::default();
        let mut supervisor = Supervisor::new(shutdown.clone(), Readiness::default());
        pool.start(&mut supervisor, &shutdown);
        let mut task = JoinSet::new();
        task.spawn(supervisor.run(Never, DRAIN));
        Bees { metrics, board, told, shutdown, task }
    }
}

#[derive(Debug)]
struct Shown(Arc<Counting>);

impl Reports for Shown {
    fn summary(&self, days: u32) -> BoxFuture<'_, Result<Summary, LedgerError>> {
        self.0.inner.summary(days)
    }

    fn subscriptions(
        &self,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<colony_gateway::ledger::report::SubscriptionLine>, LedgerError>> {
        self.0.inner.subscriptions(limit)
    }

    fn attention(&self, most: u32) -> BoxFuture<'_, Result<Attention, LedgerError>> {
        self.0.inner.attention(most)
    }

    fn findings<'a>(
        &'a self,
        wanted: &'a FindingsWanted,
        most: u32,
    ) -> BoxFuture<'a, Result<Vec<FindingLine>, LedgerError>> {
        self.0.inner.findings(wanted, most)
    }
}

impl Bees {
    /// The value of a metric line.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {line} in\n{text}")).parse().unwrap()
    }

    /// Waits until a metric is at least so much.
    pub(crate) async fn until(&self, line: &str, value: u64) {
        patiently(line, async {
            while self.metric(line) < value {
                breath().await;
            }
        })
        .await;
    }

    /// Waits until bees became members so many times.
    pub(crate) async fn until_registered(&self, times: usize) {
        self.until("colony_gateway_bee_registrations_total", times as u64).await;
    }

    /// Waits until health says something about the bees.
    pub(crate) async fn until_health_says(&self, words: &str) {
        patiently(words, async {
            while !self.board.read()["bees"].detail.contains(words) {
                breath().await;
            }
        })
        .await;
    }

    /// Drains and waits for the end.
    pub(crate) async fn stop(mut self) -> Ending {
        self.shutdown.drain();
        self.task.join_next().await.unwrap().unwrap()
    }
}

/// The output of a future that must not take for ever.
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Between two looks at something that others do.
pub(crate) async fn breath() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
