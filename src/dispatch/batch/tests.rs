//! A batch whose events wait for Stripe, which does not answer.

use std::sync::Arc;

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EndpointName;
use crate::domain::secret::Secret;
use crate::inbox::{Door, EntryState, InboxOptions, LeaseRequest, NewEntry};
use crate::ledger::Ledger;
use crate::ledger::sqlite::SqliteLedger;
use crate::revenue::guardian::Guardian;
use crate::revenue::project::Settings;
use crate::revenue::validator::Validator;
use crate::stripe::api::{ApiSettings, StripeApi};
use crate::stripe::envelope::Envelope;
use crate::stripe::tests::delivery;

const OPTIONS: BatchOptions = BatchOptions {
    call_timeout: Duration::from_mins(1),
    work_max: Duration::from_mins(1),
    attempts_max: 3,
    backoff: Backoff { first: Duration::from_secs(1), max: Duration::from_secs(1) },
};

/// A thin event, which only names its object.
const THIN: &str = r#"{"id": "evt_thin", "object": "v2.core.event", "type": "v1.customer.subscription.updated",
    "created": "2023-11-14T22:13:20.000Z", "livemode": false,
    "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"}}"#;

/// A snapshot event, for which Stripe need not be asked.
const WHOLE: &str = r#"{"id": "evt_whole", "object": "event", "type": "product.created", "created": 1700000000,
    "livemode": false, "data": {"object": {"id": "prod_1", "object": "product"}}}"#;

/// An address at which no server listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_event_that_waits_for_stripe_pays_no_attempt_however_often_it_is_tried() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Timestamp::from_seconds(1_700_000_100));
    let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
    for body in [THIN, WHOLE] {
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body.as_bytes()));
        inbox.append(entry).await.unwrap();
    }
    let stripe = ApiSettings { base_url: nowhere(), ..ApiSettings::new(Secret::new("rk_test_nobody")) };
    let stripe = Arc::new(StripeApi::new(&stripe, clock.clone()).unwrap());
    let validator = Validator::new(Settings::default(), Arc::new(Guardian::default()), clock.clone());
    let ledger: Arc<dyn Ledger> =
        Arc::new(SqliteLedger::open(&directory.path().join("ledger.db"), clock.clone()).unwrap());
    let metrics = Metrics::new();
    let validator = Arc::new(validator.with_stripe(stripe));
    let pipeline = Pipeline::new(validator, ledger, Arc::clone(&metrics), clock.clone());
    let (pause, tracer) = (Pause::new(clock.clone()), Tracer::default());
    let batch = Batch {
        inbox: &inbox,
        pipeline: &pipeline,
        others: OtherKeys::None,
        options: &OPTIONS,
        clock: &clock,
        metrics: &metrics,
        pause: &pause,
        tracer: &tracer,
    };
    let mut random = fastrand::Rng::with_seed(1);
    for attempt in 0..2 * OPTIONS.attempts_max {
        let request = LeaseRequest { entries_max: 8, bytes_max: 1 << 20, duration: Duration::from_mins(1) };
        let leased = inbox.lease(request).await.unwrap().entries;
        assert_eq!(leased.len(), if attempt == 0 { 2 } else { 1 }, "its neighbour does not wait with it");
        let worked = batch.run(leased, &mut random).await;
        assert!(worked.down.is_none() && worked.unknown.is_none(), "the ledger is not at fault: {worked:?}");
        inbox.conclude(worked.conclusions).await.unwrap();
        // Longer than it ever waits.
        clock.advance(Duration::from_mins(1));
    }
    let newest = inbox.newest(2).await.unwrap();
    assert!(matches!(newest[0].state, EntryState::Settled { .. }), "{newest:?}");
    assert!(matches!(newest[1].state, EntryState::Waiting { .. }) && newest[1].attempts == 0, "{newest:?}");
    drop(inbox);
    threads.join();
}
