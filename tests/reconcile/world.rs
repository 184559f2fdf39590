//! A stand-in of Stripe, a store, an inbox, and what compares them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colony_gateway::domain::backoff::Backoff;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::ids::EndpointName;
use colony_gateway::domain::outcome::Settled;
use colony_gateway::domain::secret::Secret;
use colony_gateway::inbox::{Conclusion, Door, Inbox, InboxOptions, InboxThreads, LeaseRequest, NewEntry};
use colony_gateway::inbox::{PostgresInboxOptions, Receipt, Time};
use colony_gateway::ledger::Outcome;
use colony_gateway::ledger::migrations::migrate;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::StateOfRecord;
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::ledger::supabase::{SupabaseConfig, SupabaseLedger};
use colony_gateway::reconcile::{EventsReport, ReconcileOrder, ReconcileReport, ReconcileScope, SubscriptionsReport};
use colony_gateway::reconcile::{Reconciler, RunTerms};
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::stripe::api::{ApiSettings, StripeApi};
use colony_gateway::stripe::endpoint::{Endpoint, Mode};
use colony_gateway::stripe::envelope::{Envelope, PayloadKind};
use colony_gateway::stripe::signature::{SigningSecret, check_header};
use colony_gateway::stripe::simulator::sign;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::{Database, Flavour};
use crate::rest::{Rest, SERVICE_KEY};
use crate::stripe_api::{KEY, StripeStandIn};

/// What the manual clocks show at first, in seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

const SECRET: &str = "whsec_tests";

/// Where the state of record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Rest,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::Rest];

/// A store and what keeps it alive.
pub(crate) struct Store {
    pub(crate) ledger: Arc<dyn StateOfRecord>,
    pub(crate) database: Option<Database>,
    _rest: Option<Rest>,
}

impl Store {
    pub(crate) async fn new(kind: Kind, clock: &Clock) -> Self {
        if kind == Kind::Sqlite {
            let ledger = Arc::new(SqliteLedger::in_memory(clock.clone()).unwrap());
            return Self { ledger, database: None, _rest: None };
        }
        let database = Database::create(Flavour::Supabase).await;
        // Not UTC, so that a moment without a zone is noticed.
        database.set_time_zone("America/Toronto").await;
        let pool = database.sessions();
        migrate(&mut *pool.session().await).await.unwrap();
        if kind == Kind::Postgres {
            let ledger = Arc::new(PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap());
            return Self { ledger, database: Some(database), _rest: None };
        }
        let rest = Rest::start(&database).await;
        let ledger = Arc::new(SupabaseLedger::new(&SupabaseConfig::new(rest.url(), Secret::new(SERVICE_KEY))).unwrap());
        Self { ledger, database: Some(database), _rest: Some(rest) }
    }
}

/// An inbox and what compares it.
pub(crate) struct Site {
    pub(crate) reconciler: Arc<Reconciler>,
    pub(crate) inbox: Inbox,
    pub(crate) validator: Arc<Validator>,
    pub(crate) clock: Clock,
    _threads: InboxThreads,
    pub(crate) directory: TempDir,
}

pub(crate) fn endpoint(name: &str, mode: Mode, connect: Option<bool>) -> Endpoint {
    let tolerance = Duration::from_mins(5);
    let secrets = vec![SigningSecret::parse(SECRET).unwrap().0];
    let name = EndpointName::new(name);
    let (secrets, paths, payload) = (secrets.into(), Vec::new(), PayloadKind::Snapshot);
    Endpoint { name, paths, secrets, mode, payload, connect, tolerance, tally: Arc::default() }
}

impl Site {
    pub(crate) fn new(stripe: &StripeStandIn, ledger: &Arc<dyn StateOfRecord>, clock: &Clock) -> Self {
        Self::with(stripe, ledger, clock, vec![endpoint("stripe", Mode::Any, None)], Vec::new())
    }

    pub(crate) fn with(
        stripe: &StripeStandIn,
        ledger: &Arc<dyn StateOfRecord>,
        clock: &Clock,
        endpoints: Vec<Endpoint>,
        accounts: Vec<String>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let opened = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
        Self::over(opened, directory, (stripe, ledger, clock), (endpoints, accounts))
    }

    /// One of several gateways on the inbox in this database.
    pub(crate) fn sharing(
        database: &Database,
        stripe: &StripeStandIn,
        ledger: &Arc<dyn StateOfRecord>,
        clock: &Clock,
    ) -> Self {
        let options = PostgresInboxOptions::new(Secret::new(database.url()));
        let options = PostgresInboxOptions { time: Time::Clock, allows_unsafe: true, ..options };
        let opened = Inbox::shared(&options, clock.clone()).unwrap();
        let endpoints = vec![endpoint("stripe", Mode::Any, None)];
        Self::over(opened, tempfile::tempdir().unwrap(), (stripe, ledger, clock), (endpoints, Vec::new()))
    }

    fn over(
        (inbox, threads): (Inbox, InboxThreads),
        directory: TempDir,
        (stripe, ledger, clock): (&StripeStandIn, &Arc<dyn StateOfRecord>, &Clock),
        (endpoints, accounts): (Vec<Endpoint>, Vec<String>),
    ) -> Self {
        stripe.keep_time(clock);
        let backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) };
        let settings = ApiSettings {
            base_url: stripe.base_url.clone(),
            rate: Some(1000),
            backoff,
            ..ApiSettings::new(Secret::new(KEY))
        };
        let api = Arc::new(StripeApi::new(&settings, clock.clone()).unwrap());
        let validator = Arc::new(Validator::new(Settings::default(), Arc::new(Guardian::default()), clock.clone()));
        let reconciler = Reconciler {
            api,
            inbox: inbox.clone(),
            ledger: Arc::clone(ledger),
            validator: Arc::clone(&validator),
            endpoints,
            accounts,
            scratch: directory.path().to_owned(),
            backoff,
            clock: clock.clone(),
        };
        let reconciler = Arc::new(reconciler);
        Self { reconciler, inbox, validator, clock: clock.clone(), _threads: threads, directory }
    }

    pub(crate) async fn run(&self, order: ReconcileOrder) -> ReconcileReport {
        self.reconciler.run(RunTerms::ordered(order), |_| {}).await
    }

    pub(crate) async fn events(&self) -> EventsReport {
        self.run(ReconcileOrder { what: ReconcileScope::Events, since_ms: None, dry_run: false }).await.events.unwrap()
    }

    pub(crate) async fn subscriptions(&self) -> SubscriptionsReport {
        self.run(ReconcileOrder { what: ReconcileScope::Subscriptions, since_ms: None, dry_run: false })
            .await
            .subscriptions
            .unwrap()
    }

    /// Where the cursor of our own account stands, in seconds.
    pub(crate) async fn cursor(&self) -> Option<i64> {
        self.inbox.mark("reconcile.events").await.unwrap().map(|millis| millis / 1000)
    }

    /// Receives an event as a webhook.
    pub(crate) async fn receive(&self, event: &Value) -> Receipt {
        let (body, now) = (Bytes::from(event.to_string()), self.clock.now());
        let signature = sign(SECRET, now, &body);
        let secrets = [SigningSecret::parse(SECRET).unwrap().0];
        let header = check_header([signature.as_bytes()]).unwrap();
        let delivery = header.verify(body.clone(), &secrets, now, Duration::from_mins(5)).unwrap();
        let envelope = Envelope::read(&body).unwrap();
        let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery);
        self.inbox.append(entry).await.unwrap()
    }

    /// Brings all that waits to its end the direct route; tells the outcomes in the order of the entries.
    pub(crate) async fn work(&self) -> Vec<(String, Outcome)> {
        let mut ended = Vec::new();
        loop {
            let request = LeaseRequest { entries_max: 256, bytes_max: 4 << 20, duration: Duration::from_mins(1) };
            let leased = self.inbox.lease(request).await.unwrap().entries;
            if leased.is_empty() {
                return ended;
            }
            let bodies: Vec<Bytes> = leased.iter().map(|leased| leased.body.clone()).collect();
            let outcomes = self.reconciler.ledger.apply(&self.validator.validate(&bodies).await).await.unwrap();
            let mut conclusions = Vec::new();
            for (leased, outcome) in leased.into_iter().zip(outcomes) {
                ended.push((leased.event_id.as_str().to_owned(), outcome));
                conclusions.push((leased.lease, Conclusion::Settle { outcome: Settled::Applied }));
            }
            self.inbox.conclude(conclusions).await.unwrap();
        }
    }

    pub(crate) async fn recorded(&self) -> u64 {
        self.reconciler.ledger.summary(1).await.unwrap().counts.events
    }
}

pub(crate) fn clock() -> Clock {
    Clock::manual(Timestamp::from_seconds(NOW))
}

pub(crate) fn subscription(id: &str, status: &str) -> Value {
    json!({"id": id, "object": "subscription", "status": status, "customer": format!("cus_of_{id}"), "livemode": false,
        "created": NOW - 86_400, "metadata": {"userId": format!("user_of_{id}")}, "latest_invoice": "in_1",
        "items": {"object": "list", "data": [{"quantity": 1, "price": {"id": "price_1", "unit_amount": 500,
            "currency": "cad", "recurring": {"interval": "month", "interval_count": 1}},
            "current_period_start": NOW - 86_400, "current_period_end": NOW + 86_400 * 29}]}})
}

/// An event about a subscription of its own, made so many seconds ago.
pub(crate) fn event(number: i64, ago: i64) -> Value {
    let object = subscription(&format!("sub_{number:05}"), "active");
    json!({"id": format!("evt_{number:05}"), "object": "event", "type": "customer.subscription.updated",
        "livemode": false, "created": NOW - ago, "api_version": "2025-09-30.clover", "data": {"object": object}})
}

/// Makes Stripe list an event.
pub(crate) fn list(stripe: &StripeStandIn, event: &Value) {
    stripe.put(&format!("/v1/events/{}", event["id"].as_str().unwrap()), event.clone());
}
