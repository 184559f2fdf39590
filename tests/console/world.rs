//! A console over an inbox and a ledger on real files, asked as a browser asks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use colony_gateway::admin::{
    Audit, AuditKeeper, Checks, Control, Desk, Health, OperationRunner, Operations, Operators, Receiving, Turn,
};
use colony_gateway::bees::roster::Roster;
use colony_gateway::config::{Config, InForce, Sources};
use colony_gateway::console;
use colony_gateway::dispatch::Context;
use colony_gateway::dispatch::pause::Pause;
use colony_gateway::dispatch::switch::{RouteSwitch, Wish};
use colony_gateway::domain::backoff::Backoff;
use colony_gateway::domain::breaker::{Breaker, BreakerSettings};
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::ids::{EndpointName, EntryId};
use colony_gateway::domain::route::{Route, RouteInForce};
use colony_gateway::inbox::{Deed, Door, Inbox, InboxOptions, InboxThreads, NewEntry};
use colony_gateway::ledger::Outcome;
use colony_gateway::ledger::report::StateOfRecord;
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::lifecycle::{Readiness, Shutdown};
use colony_gateway::reconcile::{self, ReconcileOrder};
use colony_gateway::revenue::guardian::{Guardian, Rules};
use colony_gateway::revenue::project;
use colony_gateway::revenue::rows::RevenueKind;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::stripe::envelope::Envelope;
use colony_gateway::stripe::signature::{SigningSecret, check_header};
use colony_gateway::stripe::simulator::sign;
use colony_gateway::telemetry::diagnosis::{CheckReport, CheckStatus, Diagnosis};
use colony_gateway::telemetry::health::Board;
use colony_gateway::telemetry::instruments::Instruments;
use colony_gateway::telemetry::metrics::Metrics;
use colony_gateway::telemetry::trace::Tracer;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::plans::Planned;
use tokio::sync::mpsc;

pub(crate) const ANA: &str = "token-of-ana-0123456789";
pub(crate) const BEN: &str = "token-of-ben-0123456789";
pub(crate) const HOST: &str = "127.0.0.1:9090";

const SECRET: &str = "whsec_tests";
const START: Timestamp = Timestamp::from_seconds(1_795_280_627);

/// What stands in bodies and must reach no viewer.
pub(crate) const PERSONAL: [&str; 4] = ["Ada Lovelace", "ada@example.com", "user_of_ada", "12 Analytical Row"];

/// Everything that the console shows.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) inbox: Inbox,
    pub(crate) clock: Clock,
    pub(crate) control: Arc<Control>,
    pub(crate) shutdown: Shutdown,
    runner: Option<OperationRunner>,
    keeper: Option<AuditKeeper>,
    /// Orders of comparisons with Stripe, which are not carried out here.
    pub(crate) comparisons: mpsc::Receiver<ReconcileOrder>,
    _threads: InboxThreads,
    pub(crate) readiness: Readiness,
    /// Where its files are.
    pub(crate) directory: TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The cookie that it sets, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        self.header(header::SET_COOKIE).split(';').next().unwrap_or_default().to_owned()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(variables: &[(&str, &str)]) -> Self {
        Self::over(variables, |directory, clock| {
            Arc::new(SqliteLedger::open(&directory.join("ledger.db"), clock.clone()).unwrap())
        })
    }

    /// Over a ledger of another kind.
    pub(crate) fn on(ledger: Arc<dyn StateOfRecord>) -> Self {
        Self::over(&[], |_, _| ledger)
    }

    fn over(variables: &[(&str, &str)], ledger: impl FnOnce(&Path, &Clock) -> Arc<dyn StateOfRecord>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(START);
        let config = Self::settings(variables);
        let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
        let (metrics, board) = (Metrics::new(), Board::default());
        let instruments = Instruments { metrics, board, clock: clock.clone(), tracer: Tracer::default() };
        let in_force = RouteInForce::new(Route::Direct);
        let switch = RouteSwitch::new(Wish::Auto);
        let (operations, runner) = Operations::new(clock.clone());
        let (audit, keeper) = Audit::new(inbox.clone());
        let (handle, comparisons) = reconcile::handle();
        let open = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(5) };
        let breaker = Breaker::new(BreakerSettings { failures: 1, open, probes: 1 }, clock.clone());
        let receiving = Some(Receiving { inbox: inbox.clone(), route: in_force.clone() });
        let readiness = Readiness::default();
        let health = Health { readiness: readiness.clone(), instruments: instruments.clone(), receiving };
        let control = Arc::new(Control {
            operators: Operators::of(&config.http, clock.clone()).unwrap(),
            context: Context { inbox: inbox.clone(), switch, in_force, instruments },
            ledger: ledger(directory.path(), &clock),
            pause: Pause::new(clock.clone()),
            breakers: vec![("colony", breaker)],
            bees: Roster::new(["hive-1".to_owned()], START),
            reconcile: Some(handle),
            refetch: None,
            operations,
            audit,
            desk: desk(&config, &clock),
        });
        let plaintext = config.plaintext.allows(colony_gateway::config::Channel::Console);
        let settings = console::Settings { hosts: config.http.admin_hosts.clone(), plaintext };
        let series = console::Series::open(directory.path().join("series"), clock.clone());
        let router = console::router(Arc::clone(&control), health, series, settings);
        let (shutdown, runner, keeper) = (Shutdown::default(), Some(runner), Some(keeper));
        Self {
            router,
            inbox,
            clock,
            control,
            shutdown,
            runner,
            keeper,
            comparisons,
            _threads: threads,
            readiness,
            directory,
        }
    }

    /// Writes down what people do while `work` goes on.
    pub(crate) async fn keeping<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let keeper = self.keeper.take().unwrap();
        tokio::select! {
            done = work(self) => done,
            _ = keeper.run() => panic!("those who note something are still here"),
        }
    }

    /// What people did, once there are so many, the latest first.
    pub(crate) async fn deeds(&self, count: usize) -> Vec<Deed> {
        loop {
            let deeds = self.inbox.deeds(None, 500).await.unwrap();
            if deeds.len() >= count {
                return deeds.into_iter().map(|past| past.deed).collect();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Carries out operations while `work` goes on.
    pub(crate) async fn operating<T>(&mut self, work: impl AsyncFnOnce(&Self) -> T) -> T {
        let runner = self.runner.take().unwrap();
        let run = runner.run((*self.control).clone(), self.shutdown.clone());
        let work = async {
            let done = work(self).await;
            self.shutdown.drain();
            done
        };
        tokio::join!(run, work).1
    }

    /// Stores an event; with a code, held at the door.
    pub(crate) async fn store(&self, event: &Value, held: Option<&'static str>) -> EntryId {
        let body = Bytes::from(event.to_string());
        let (now, secret) = (self.clock.now(), SigningSecret::parse(SECRET).unwrap().0);
        let signature = sign(SECRET, now, &body);
        let header = check_header([signature.as_bytes()]).unwrap();
        let delivery = header.verify(body.clone(), &[secret], now, Duration::from_mins(5)).unwrap();
        let door = held.map_or(Door::Open, |code| Door::Hold { code, reason: "for the test".to_owned() });
        let endpoint = EndpointName::new("stripe");
        let entry = match Envelope::read(&body) {
            Ok(envelope) => NewEntry::event(endpoint, envelope, door, delivery),
            Err(_) => NewEntry::malformed(endpoint, "no event".to_owned(), delivery),
        };
        self.inbox.append(entry).await.unwrap().entry()
    }

    /// An event of a customer with personal data everywhere, held as `code`.
    pub(crate) async fn store_personal(&self, id: &str, code: Option<&'static str>) -> EntryId {
        let [name, email, user, street] = PERSONAL;
        let event = json!({"id": id, "object": "event", "type": "customer.updated", "livemode": true,
            "created": 1_700_000_000, "api_version": "2025-03-31.basil", "data": {"object": {
            "id": "cus_1", "object": "customer", "name": name, "email": email, "description": format!("for {name}"),
            "metadata": {"userId": user, email: name}, "address": {"line1": street}},
            "previous_attributes": {"email": email, "metadata": {"userId": user}}}});
        self.store(&event, code).await
    }

    /// Has the customer `cus_1` be a user with a subscription and a payment.
    pub(crate) async fn subscribe(&self) {
        let planned = Planned::new("evt_subscribed", "customer.subscription.created", 1)
            .subscription("sub_1", "cus_1", "active", |_| {})
            .subscription_user("sub_1", PERSONAL[2])
            .money(RevenueKind::Invoice, "in_1", 999, |row| row.customer_id = Some("cus_1".to_owned()));
        let outcomes = self.control.ledger.apply(&[planned.verdict()]).await.unwrap();
        assert_eq!(outcomes, [Outcome::Applied]);
    }

    /// Has this many users a subscription each, `sub_000` and on.
    pub(crate) async fn subscribe_many(&self, count: usize) {
        let planned = |number: usize| {
            let id = format!("sub_{number:03}");
            Planned::new(&format!("evt_{id}"), "customer.subscription.created", 1)
                .subscription(&id, &format!("cus_{number:03}"), "active", |_| {})
                .subscription_user(&id, &format!("user_{number:03}"))
                .verdict()
        };
        let verdicts: Vec<_> = (0..count).map(planned).collect();
        for verdicts in verdicts.chunks(100) {
            let outcomes = self.control.ledger.apply(verdicts).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{outcomes:?}");
        }
    }

    /// Settings with these variables.
    pub(crate) fn settings(variables: &[(&str, &str)]) -> Config {
        let operators = format!("ana operator {ANA}, ben viewer {BEN}");
        let mut environment: std::collections::BTreeMap<String, String> =
            [("STRIPE_WEBHOOK_SECRET".to_owned(), SECRET.to_owned()), ("GATEWAY_OPERATORS".to_owned(), operators)]
                .into();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Config::for_serve(&Sources { environment, file: None }).unwrap()
    }

    /// Asks for a path with these headers besides the host.
    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", HOST);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Opens a page with a session.
    pub(crate) async fn page(&self, cookie: &str, path: &str) -> Answer {
        self.ask(Method::GET, path, &[("cookie", cookie)], "").await
    }

    /// Sends a form from a page of the console.
    pub(crate) async fn send(&self, cookie: &str, path: &str, form: &str) -> Answer {
        self.ask(Method::POST, path, &[("cookie", cookie), ("sec-fetch-site", "same-origin")], form).await
    }

    /// Logs in with a token and tells the cookie.
    pub(crate) async fn login(&self, token: &str) -> String {
        let answer = self.send("", "/console/login", &format!("token={token}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.cookie()
    }
}

/// Rules of an operator: one that holds, one that flags.
pub(crate) const RULES: &str = r#"
[[rule]]
id = "not_expected"
action = "quarantine"
reason = "the user is none of those expected"
all = [{ path = "data.object.metadata.userId", present = true }]
"#;

/// How the gateway is set up.
fn desk(config: &Config, clock: &Clock) -> Desk {
    let settings = project::Settings::default();
    let guardian = Arc::new(Guardian::new(Rules::parse(RULES).unwrap()));
    let report = || CheckReport {
        status: CheckStatus::Degraded,
        version: "test",
        checked_at: START.to_string(),
        components: vec![
            Diagnosis::ok("inbox", "3 entries"),
            Diagnosis::degraded("keys", "an old one", "rotate `STRIPE_SECRET_KEY`"),
        ],
    };
    let run = move || Box::pin(std::future::ready(report())) as _;
    Desk {
        since: START,
        settings: InForce::new(config),
        validator: Arc::new(Validator::new(settings, guardian, clock.clone())),
        checks: Checks::new(Arc::new(run), None, Vec::new()),
        trials: Turn::default(),
        exports: Turn::default(),
        executors: None,
    }
}
