//! The pump against a scripted ledger: poison, outages, panics, time-outs, shutdown.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EndpointName;
use crate::domain::ledger_id::LedgerId;
use crate::inbox::{Counts, Door, EntryState, InboxOptions, InboxThreads, NewEntry};
use crate::ledger::{BoxFuture, Ledger, LedgerError, LedgerErrorKind, Outcome};
use crate::revenue::guardian::Guardian;
use crate::revenue::project::Settings;
use crate::revenue::validator::Validator;
use crate::revenue::verdict::Verdict;
use crate::stripe::envelope::Envelope;
use crate::stripe::tests::delivery;
use crate::telemetry::trace::{Cause, SpanKind, tests as spans};

/// What the scripted ledger does with a call that holds one of these events.
#[derive(Clone, Debug)]
enum Fault {
    Reject,
    Unknown,
    Panic,
    Hang,
    Outcome(Outcome),
}

#[derive(Debug, Default)]
struct Script {
    faults: HashMap<String, Fault>,
    down: Option<LedgerErrorKind>,
    applied: Vec<String>,
    calls: usize,
}

/// A ledger that follows a script.
#[derive(Clone, Debug)]
struct Scripted {
    script: Arc<Mutex<Script>>,
    calls: watch::Sender<usize>,
}

impl Scripted {
    fn with(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn answer(&self, ids: &[String]) -> Result<Result<Vec<Outcome>, LedgerError>, Fault> {
        let mut script = self.script.lock().unwrap();
        script.calls += 1;
        self.calls.send_replace(script.calls);
        let error = |kind| LedgerError { ledger: "scripted", kind, message: "as told".into(), source: None };
        if let Some(kind) = script.down {
            return Ok(Err(error(kind)));
        }
        let mut outcomes = Vec::new();
        for id in ids {
            outcomes.push(match script.faults.get(id) {
                Some(Fault::Reject) => return Ok(Err(error(LedgerErrorKind::Rejected))),
                Some(Fault::Unknown) => return Ok(Err(error(LedgerErrorKind::Unknown))),
                Some(Fault::Outcome(outcome)) => outcome.clone(),
                Some(fault) => return Err(fault.clone()),
                None => Outcome::Applied,
            });
        }
        script.applied.extend(ids.iter().cloned());
        Ok(Ok(outcomes))
    }
}

impl Ledger for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn apply_for<'a>(
        &'a self,
        _meant_for: Option<&'a LedgerId>,
        batch: &'a [Verdict],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>> {
        Box::pin(async move {
            let ids: Vec<String> =
                batch.iter().map(|verdict| verdict.event().unwrap().id.as_str().to_owned()).collect();
            match self.answer(&ids) {
                Ok(answer) => answer,
                Err(Fault::Panic) => panic!("scripted"),
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Fixture {
    inbox: Option<Inbox>,
    threads: Option<InboxThreads>,
    directory: TempDir,
    call_timeout: Duration,
    ledger: Scripted,
    board: Board,
    pause: Pause,
    linger: Linger,
    metrics: Arc<Metrics>,
    clock: Clock,
    draining: CancellationToken,
    tracer: Tracer,
    pumps: JoinSet<()>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
        let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
        let ledger = Scripted { script: Arc::default(), calls: watch::Sender::new(0) };
        Self {
            inbox: Some(inbox),
            threads: Some(threads),
            directory,
            call_timeout: Duration::from_millis(50),
            ledger,
            board: Board::default(),
            pause: Pause::new(clock.clone()),
            linger: Linger::default(),
            metrics: Metrics::new(),
            clock,
            draining: CancellationToken::new(),
            tracer: Tracer::default(),
            pumps: JoinSet::new(),
        }
    }

    fn inbox(&self) -> &Inbox {
        self.inbox.as_ref().unwrap()
    }

    async fn append(&self, ids: &[&str]) {
        for id in ids {
            let body = format!(
                r#"{{"id":"{id}","object":"event","type":"product.created","created":1700000000,"livemode":false,
                "data":{{"object":{{"id":"prod_1","object":"product"}}}}}}"#
            )
            .into_bytes();
            let envelope = Envelope::read(&body).unwrap();
            let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(&body));
            let root = Cause { parent: None, links: &[] };
            let trace = self.tracer.begin(id, SpanKind::Server, root).context();
            self.inbox().append(entry.traced(trace)).await.unwrap();
        }
    }

    fn start(&mut self, pumps: usize) {
        let options = PumpOptions {
            batch_entries_max: 8,
            batch_bytes_max: 1 << 20,
            linger: self.linger,
            lease: Duration::from_mins(1),
            call_timeout: self.call_timeout,
            attempts_max: 3,
            backoff: Backoff { first: Duration::from_millis(1), max: Duration::from_millis(1) },
        };
        for _ in 0..pumps {
            let validator = Validator::new(Settings::default(), Arc::new(Guardian::default()), self.clock.clone());
            let (ledger, metrics) = (Arc::new(self.ledger.clone()), Arc::clone(&self.metrics));
            let pump = Pump::new(
                self.inbox().clone(),
                Pipeline::new(Arc::new(validator), ledger, metrics, self.clock.clone()),
                options,
                Arc::clone(&self.metrics),
                self.board.clone(),
                self.clock.clone(),
            )
            .with_pause(self.pause.clone())
            .with_tracer(self.tracer.clone());
            let draining = self.draining.clone();
            self.pumps.spawn(async move {
                let _ = pump.run(draining).await;
            });
        }
    }

    /// Waits until the counts are as asked for. The manual clock moves meanwhile, so that retries fall due.
    async fn until(&self, done: impl Fn(&Counts) -> bool) -> Counts {
        loop {
            let counts = self.inbox().counts().await.unwrap();
            if done(&counts) {
                return counts;
            }
            self.clock.advance(Duration::from_millis(2));
            self.inbox().wake();
            tokio::task::yield_now().await;
        }
    }

    async fn calls(&self, at_least: usize) {
        self.ledger.calls.subscribe().wait_for(|calls| *calls >= at_least).await.unwrap();
    }

    /// Ends as a crash would, and opens the inbox again.
    async fn crash(&mut self) {
        self.pumps.shutdown().await;
        let threads = self.threads.take().unwrap();
        self.inbox = None;
        // Calls under way end on this thread, and hold the inbox until then.
        tokio::task::spawn_blocking(move || threads.join()).await.unwrap();
        let (inbox, threads) = Inbox::open(&InboxOptions::new(self.directory.path()), self.clock.clone()).unwrap();
        (self.inbox, self.threads) = (Some(inbox), Some(threads));
    }

    async fn drain(&mut self) {
        self.draining.cancel();
        while self.pumps.join_next().await.is_some() {}
    }

    fn applied(&self) -> Vec<String> {
        self.ledger.script.lock().unwrap().applied.clone()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.pumps.abort_all();
        self.inbox = None;
        drop(self.threads.take());
    }
}

#[tokio::test]
async fn entries_are_applied_in_batches_and_settled() {
    let mut fixture = Fixture::new();
    let ids: Vec<String> = (0..20).map(|number| format!("evt_{number}")).collect();
    fixture.append(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.start(1);
    let counts = fixture.until(|counts| counts.settled == 20).await;
    assert_eq!(counts.backlog(), 0);
    assert_eq!(fixture.applied(), ids);
    assert_eq!(fixture.ledger.script.lock().unwrap().calls, 3);
}

/// Longer than any test.
fn for_hours() -> Linger {
    let hours = Duration::from_hours(9);
    Linger { direct: hours, colony: hours }
}

#[tokio::test]
async fn a_lone_event_waits_for_nothing_and_those_after_it_come_together() {
    let mut fixture = Fixture::new();
    fixture.linger = for_hours();
    fixture.start(1);
    fixture.append(&["evt_0"]).await;
    fixture.until(|counts| counts.settled == 1).await;
    let ids: Vec<String> = (1..=7).map(|number| format!("evt_{number}")).collect();
    for id in &ids {
        fixture.append(&[id]).await;
        tokio::task::yield_now().await;
    }
    fixture.inbox().urge();
    fixture.until(|counts| counts.settled == 8).await;
    assert_eq!(fixture.ledger.script.lock().unwrap().calls, 2);
}

#[tokio::test]
async fn a_backlog_is_worked_off_without_a_wait() {
    let mut fixture = Fixture::new();
    fixture.linger = for_hours();
    let ids: Vec<String> = (0..20).map(|number| format!("evt_{number}")).collect();
    fixture.append(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.start(1);
    fixture.until(|counts| counts.settled == 20).await;
    assert_eq!(fixture.ledger.script.lock().unwrap().calls, 3);
}

#[tokio::test]
async fn draining_ends_a_wait_for_more_events() {
    let mut fixture = Fixture::new();
    fixture.linger = for_hours();
    fixture.append(&["evt_0"]).await;
    fixture.start(2);
    fixture.until(|counts| counts.settled == 1).await;
    fixture.append(&["evt_1"]).await;
    fixture.drain().await;
}

#[tokio::test]
async fn several_pumps_share_the_entries_without_repeating_any() {
    let mut fixture = Fixture::new();
    let ids: Vec<String> = (0..100).map(|number| format!("evt_{number}")).collect();
    fixture.start(4);
    fixture.append(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.until(|counts| counts.settled == 100).await;
    let applied = fixture.applied();
    assert_eq!(applied.len(), 100);
    assert_eq!(applied.into_iter().collect::<HashSet<_>>().len(), 100);
}

#[tokio::test]
async fn each_outcome_leads_to_its_state() {
    let mut fixture = Fixture::new();
    let quarantined = Outcome::Quarantined { rule: "livemode".into(), reason: "test event".into() };
    let failed = Outcome::Failed { code: "malformed".into(), reason: "no object".into() };
    fixture.ledger.with(|script| {
        script.faults.insert("evt_1".into(), Fault::Outcome(quarantined));
        script.faults.insert("evt_2".into(), Fault::Outcome(failed));
        script.faults.insert("evt_3".into(), Fault::Outcome(Outcome::Stale));
    });
    fixture.append(&["evt_0", "evt_1", "evt_2", "evt_3"]).await;
    fixture.start(1);
    let counts = fixture.until(|counts| counts.backlog() == 0).await;
    assert_eq!((counts.settled, counts.quarantined, counts.dead), (2, 1, 1));
}

#[tokio::test]
async fn a_rejected_event_is_found_and_never_takes_a_neighbour_with_it() {
    let mut fixture = Fixture::new();
    fixture.ledger.with(|script| drop(script.faults.insert("evt_3".into(), Fault::Reject)));
    fixture.append(&["evt_0", "evt_1", "evt_2", "evt_3", "evt_4", "evt_5", "evt_6"]).await;
    fixture.start(1);
    let counts = fixture.until(|counts| counts.backlog() == 0).await;
    assert_eq!((counts.settled, counts.dead), (6, 1));
    let newest = fixture.inbox().newest(4).await.unwrap();
    let dead = newest.iter().find(|view| view.event_id.as_str() == "evt_3").unwrap();
    assert!(matches!(&dead.state, EntryState::Dead { code, .. } if code == "ledger_rejected"), "{dead:?}");
}

#[tokio::test]
async fn an_event_that_makes_the_pipeline_panic_is_isolated_and_given_up_after_its_attempts() {
    let mut fixture = Fixture::new();
    fixture.ledger.with(|script| drop(script.faults.insert("evt_1".into(), Fault::Panic)));
    fixture.append(&["evt_0", "evt_1", "evt_2"]).await;
    fixture.start(1);
    let counts = fixture.until(|counts| counts.backlog() == 0).await;
    assert_eq!((counts.settled, counts.dead), (2, 1));
    let newest = fixture.inbox().newest(2).await.unwrap();
    assert!(matches!(&newest[1].state, EntryState::Dead { code, .. } if code == "attempts_exhausted"), "{newest:?}");
    assert_eq!(newest[1].attempts, 2);
}

#[tokio::test]
async fn a_gateway_that_is_killed_while_the_ledger_hangs_blames_no_entry() {
    let mut fixture = Fixture::new();
    // Longer than the test, and shorter than the lease.
    fixture.call_timeout = Duration::from_secs(45);
    let ids: Vec<String> = (0..8).map(|number| format!("evt_{number}")).collect();
    fixture.append(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.ledger.with(|script| script.faults = ids.iter().map(|id| (id.clone(), Fault::Hang)).collect());
    let file = rusqlite::Connection::open(fixture.directory.path().join("inbox.db")).unwrap();
    let count = |condition: &str| -> i64 {
        let question = format!("SELECT COUNT(*) FROM entries WHERE {condition}");
        file.query_row(&question, [], |row| row.get(0)).unwrap()
    };
    for _ in 0..crate::inbox::CRASHES_MAX + 4 {
        fixture.start(2);
        // Killed once there is nothing to do but to wait for the ledger.
        let is_worked_on = "state = 1 AND crashes > 0 AND code IS NOT 'awaits_answer'";
        while count("state = 1") == 0 || count(is_worked_on) > 0 {
            tokio::task::yield_now().await;
        }
        fixture.crash().await;
    }
    fixture.ledger.with(|script| script.faults.clear());
    fixture.start(2);
    let counts = fixture.until(|counts| counts.backlog() == 0).await;
    assert_eq!((counts.settled, counts.dead), (8, 0));
}

#[tokio::test]
async fn an_event_on_which_the_ledger_hangs_does_not_hold_up_the_others() {
    let mut fixture = Fixture::new();
    fixture.ledger.with(|script| drop(script.faults.insert("evt_0".into(), Fault::Hang)));
    fixture.append(&["evt_0", "evt_1", "evt_2", "evt_3"]).await;
    fixture.start(2);
    fixture.until(|counts| counts.settled == 3).await;
    let counts = fixture.until(|counts| counts.backlog() == 0).await;
    assert_eq!(counts.dead, 1);
}

#[tokio::test]
async fn a_ledger_that_is_down_costs_no_attempts_and_nothing_is_lost() {
    let mut fixture = Fixture::new();
    fixture.ledger.with(|script| script.down = Some(LedgerErrorKind::Unavailable));
    fixture.append(&["evt_0", "evt_1"]).await;
    fixture.start(1);
    // More calls than an entry has attempts.
    fixture.calls(5).await;
    assert_eq!(fixture.board.read()["ledger"].status, Level::Degraded);
    fixture.ledger.with(|script| script.down = None);
    fixture.until(|counts| counts.settled == 2).await;
    assert!(fixture.inbox().newest(2).await.unwrap().iter().all(|view| view.attempts == 0));
    fixture.drain().await;
    assert_eq!(fixture.board.read()["ledger"].status, Level::Ok);
}

#[tokio::test]
async fn draining_finishes_the_batch_in_hand_and_takes_no_more() {
    let mut fixture = Fixture::new();
    let ids: Vec<String> = (0..20).map(|number| format!("evt_{number}")).collect();
    fixture.append(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.start(1);
    fixture.calls(1).await;
    fixture.drain().await;
    let counts = fixture.inbox().counts().await.unwrap();
    assert_eq!(counts.leased, 0);
    assert_eq!(counts.settled, fixture.applied().len() as u64);
    assert!(counts.settled >= 8);
}

#[tokio::test]
async fn an_unknown_error_of_everything_pauses_dispatch_and_costs_no_attempts() {
    let mut fixture = Fixture::new();
    fixture.ledger.with(|script| script.down = Some(LedgerErrorKind::Unknown));
    let ids: Vec<String> = (0..16).map(|number| format!("evt_{number}")).collect();
    fixture.append(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.start(3);
    while !fixture.pause.is_paused() {
        tokio::task::yield_now().await;
    }
    let gauge = || fixture.metrics.render().contains("colony_gateway_dispatch_paused 1");
    while fixture.board.read()["dispatch"].status != Level::Degraded || !gauge() {
        tokio::task::yield_now().await;
    }
    // Time passes: the ledger is asked about one entry now and then, and ever more rarely.
    let before = fixture.ledger.script.lock().unwrap().calls;
    for _ in 0..600 {
        fixture.clock.advance(Duration::from_secs(1));
        fixture.inbox().wake();
        fixture.pause.notify();
        tokio::task::yield_now().await;
    }
    assert!(fixture.ledger.script.lock().unwrap().calls - before < 40);
    let counts = fixture.inbox().counts().await.unwrap();
    assert_eq!((counts.backlog(), counts.dead), (16, 0));
    // The cause is mended, and a person says so: everything flows again.
    fixture.ledger.with(|script| script.down = None);
    assert!(fixture.pause.resume());
    fixture.until(|counts| counts.settled == 16).await;
    assert!(fixture.inbox().newest(16).await.unwrap().iter().all(|view| view.attempts == 0));
    fixture.drain().await;
    assert_eq!((fixture.board.read()["dispatch"].status, fixture.pause.is_paused()), (Level::Ok, false));
    assert!(fixture.metrics.render().contains("colony_gateway_dispatch_paused 0"));
}

#[tokio::test]
async fn an_entry_that_alone_meets_an_unknown_error_is_given_up_and_nothing_else_pauses() {
    let mut fixture = Fixture::new();
    fixture.ledger.with(|script| drop(script.faults.insert("evt_3".into(), Fault::Unknown)));
    let ids: Vec<String> = (0..16).map(|number| format!("evt_{number}")).collect();
    fixture.append(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.start(1);
    let counts = fixture.until(|counts| counts.settled == 15).await;
    assert_eq!((counts.dead, counts.waiting + counts.leased), (0, 1), "it waits for its second chance");
    let counts = fixture.until(|counts| counts.dead == 1).await;
    assert_eq!((counts.settled, counts.backlog()), (15, 0));
    let newest = fixture.inbox().newest(16).await.unwrap();
    let dead = newest.iter().find(|view| view.event_id.as_str() == "evt_3").unwrap();
    assert!(matches!(&dead.state, EntryState::Dead { code, .. } if code == "ledger_unknown"), "{dead:?}");
    assert!(!fixture.pause.is_paused());
    assert_eq!(fixture.board.read()["dispatch"].status, Level::Ok);
}

#[tokio::test]
async fn each_attempt_on_a_batch_is_a_trace_with_links_and_shows_in_the_trace_of_each_event() {
    let mut fixture = Fixture::new();
    let (tracer, ended) = spans::tracer("parentbased_always_on", 1.0);
    fixture.tracer = tracer;
    fixture.append(&["evt_0", "evt_1", "evt_2"]).await;
    fixture.ledger.with(|script| drop(script.faults.insert("evt_0".to_owned(), Fault::Reject)));
    let roots = ended.take();
    fixture.start(1);
    fixture.until(|counts| counts.settled == 2 && counts.dead == 1).await;
    fixture.drain().await;
    let spans = ended.take();
    let attribute = |span: &opentelemetry_sdk::trace::SpanData, key: &str| {
        span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
    };
    // Three together are refused, then the first alone, and the two others pass.
    let batches: Vec<_> = spans.iter().filter(|span| span.name == "apply batch").collect();
    assert_eq!(batches.iter().map(|batch| batch.links.len()).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(
        batches.iter().map(|batch| attribute(batch, "error.type")).collect::<Vec<_>>(),
        [Some("rejected".to_owned()), None]
    );
    for (root, expected) in
        roots.iter().zip([["rejected", "rejected"], ["rejected", "applied"], ["rejected", "applied"]])
    {
        let parts: Vec<_> = spans.iter().filter(|span| span.parent_span_id == root.span_context.span_id()).collect();
        assert!(parts.iter().all(|span| span.name == "apply"));
        assert!(parts.iter().all(|span| span.span_context.trace_id() == root.span_context.trace_id()));
        let became = |span| attribute(span, "gateway.outcome").or_else(|| attribute(span, "error.type"));
        assert_eq!(parts.iter().filter_map(|span| became(span)).collect::<Vec<_>>(), expected, "{}", root.name);
        assert_eq!(parts[0].links[0].span_context.span_id(), batches[0].span_context.span_id());
    }
    assert!(
        batches[0]
            .links
            .iter()
            .zip(&roots)
            .all(|(link, root)| { link.span_context.span_id() == root.span_context.span_id() })
    );
}
