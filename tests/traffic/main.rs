//! The traffic driver against real listeners that answer well, badly, late or not at all.

mod endpoint;

use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use clap::Parser;
use colony_gateway::cli::simulate::{self, SimulateArgs};
use colony_gateway::cli::traffic::{ATTEMPTS_MAX, Driver, Snapshot, TrafficOptions, UNEXPECTED_KEPT};
use colony_gateway::config::Sources;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::secret::Secret;
use colony_gateway::stripe::simulator::{
    Deliveries, DeliveryOptions, Expected, Options, SPAN, SimulatedEvent, Simulator,
};
use tokio_util::sync::CancellationToken;

use endpoint::{Endpoint, Manner, SECRET};

fn events(count: usize) -> Vec<SimulatedEvent> {
    let users = NonZeroU32::new(10).expect("ten");
    let start = Timestamp::from_seconds(1_760_000_000).minus(SPAN);
    let options = Options { seed: 1, users, api_version: None, start, livemode: false, account: None };
    Simulator::new(options).take(count).collect()
}

fn options(endpoint: &Endpoint) -> TrafficOptions {
    TrafficOptions {
        url: endpoint.url("/webhooks/stripe"),
        secrets: vec![Secret::new(SECRET)],
        rate: None,
        concurrency: NonZeroUsize::new(4).expect("four"),
        timeout: Duration::from_secs(20),
        expected: None,
    }
}

async fn delivered(options: TrafficOptions, count: usize, plan: DeliveryOptions) -> Snapshot {
    let driver = Driver::new(options, Clock::system(), CancellationToken::new()).expect("the options are good");
    driver.run(Deliveries::new(events(count), plan)).await.expect("no worker breaks");
    driver.stats().snapshot()
}

#[tokio::test]
async fn everything_is_delivered_and_answered_as_expected() {
    let endpoint = Endpoint::start(Manner::Verify).await;
    let expected = Arc::new(Mutex::new(Expected::default()));
    let options = TrafficOptions { expected: Some(Arc::clone(&expected)), ..options(&endpoint) };
    let plan = DeliveryOptions { duplicates: 0.3, bad_signatures: 0.3, out_of_order: 20, ..DeliveryOptions::default() };
    let result = delivered(options, 200, plan).await;
    assert_eq!((result.unexpected, result.genuine, result.retried), (0, 200, 0), "{result:?}");
    assert!(result.duplicates > 0 && result.forged > 0, "{result:?}");
    assert_eq!(result.accepted, result.genuine + result.duplicates);
    assert_eq!(result.refused, result.forged);
    assert_eq!(result.latencies.count(), result.sent);
    assert_eq!(expected.lock().expect("nobody panicked").events(), 200, "each event is learnt once");
}

#[tokio::test]
async fn signatures_that_are_too_old_must_be_refused() {
    let endpoint = Endpoint::start(Manner::Verify).await;
    let plan = DeliveryOptions { age: Duration::from_secs(400), ..DeliveryOptions::default() };
    let result = delivered(options(&endpoint), 10, plan).await;
    assert_eq!((result.refused, result.unexpected), (10, 0), "{result:?}");
}

#[tokio::test]
async fn an_endpoint_that_lets_forgeries_in_is_found_out() {
    let endpoint = Endpoint::start(Manner::Always(StatusCode::OK)).await;
    let plan = DeliveryOptions { bad_signatures: 1.0, ..DeliveryOptions::default() };
    let result = delivered(options(&endpoint), 40, plan).await;
    assert_eq!((result.genuine, result.unexpected), (40, 40), "{result:?}");
    assert_eq!(result.samples.len(), UNEXPECTED_KEPT);
    assert!(result.samples[0].contains("answered 200"), "{:?}", result.samples);
}

#[tokio::test]
async fn other_answers_than_expected_are_counted_and_not_tried_again() {
    for status in [StatusCode::FOUND, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY] {
        let endpoint = Endpoint::start(Manner::Always(status)).await;
        let result = delivered(options(&endpoint), 3, DeliveryOptions::default()).await;
        assert_eq!((result.sent, result.unexpected), (3, 3), "{status}: {result:?}");
    }
}

#[tokio::test]
async fn a_503_is_tried_again_after_its_retry_after() {
    let endpoint = Endpoint::start(Manner::BusyFirst(2)).await;
    let options = TrafficOptions { concurrency: NonZeroUsize::MIN, ..options(&endpoint) };
    let result = delivered(options, 5, DeliveryOptions::default()).await;
    assert_eq!((result.genuine, result.unexpected), (5, 0), "{result:?}");
    assert_eq!((result.failed, result.retried, result.sent), (2, 2, 7), "{result:?}");
}

#[tokio::test]
async fn a_503_without_end_is_given_up_after_the_last_attempt() {
    let endpoint = Endpoint::start(Manner::BusyFirst(usize::MAX)).await;
    let result = delivered(options(&endpoint), 1, DeliveryOptions::default()).await;
    assert_eq!((result.sent, result.unexpected), (u64::from(ATTEMPTS_MAX), 1), "{result:?}");
    assert!(result.samples[0].contains("6 times"), "{:?}", result.samples);
}

#[tokio::test]
async fn a_lost_answer_is_tried_again() {
    for manner in [Manner::HangUpFirst, Manner::NeverAnswerFirst] {
        let endpoint = Endpoint::start(manner).await;
        let timeout = Duration::from_secs(1);
        let result = delivered(
            TrafficOptions { timeout, concurrency: NonZeroUsize::MIN, ..options(&endpoint) },
            2,
            DeliveryOptions::default(),
        )
        .await;
        assert_eq!((result.genuine, result.unexpected, result.unanswered), (2, 0, 1), "{manner:?}: {result:?}");
    }
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_allowed() {
    let endpoint = Endpoint::start(Manner::AnswerInPackets(4)).await;
    let result = delivered(options(&endpoint), 40, DeliveryOptions::default()).await;
    assert_eq!(result.unexpected, 0, "{result:?}");
    assert_eq!(endpoint.most_at_once.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_answer_without_end_is_read_up_to_a_bound() {
    let endpoint = Endpoint::start(Manner::EndlessBody).await;
    let result = delivered(options(&endpoint), 2, DeliveryOptions::default()).await;
    assert_eq!((result.accepted, result.unexpected), (2, 0), "{result:?}");
}

#[tokio::test]
async fn a_stop_ends_endless_traffic() {
    let endpoint = Endpoint::start(Manner::Verify).await;
    let stop = CancellationToken::new();
    let driver = Driver::new(options(&endpoint), Clock::system(), stop.clone()).expect("the options are good");
    let deliveries = Deliveries::new(events(20).into_iter().cycle(), DeliveryOptions::default());
    let stopping = async {
        endpoint.answered(30).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(driver.run(deliveries), stopping);
    ended.expect("no worker breaks");
    let result = driver.stats().snapshot();
    assert_eq!(result.finished(), result.sent, "what was begun was finished: {result:?}");
    assert_eq!(result.unexpected, 0, "{result:?}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_next_attempt_or_the_next_turn() {
    let endpoint = Endpoint::start(Manner::BusyForAnHour).await;
    let stop = CancellationToken::new();
    let options = TrafficOptions { rate: Some(0.001), ..options(&endpoint) };
    let driver = Driver::new(options, Clock::system(), stop.clone()).expect("the options are good");
    let stopping = async {
        endpoint.answered(1).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(driver.run(Deliveries::new(events(5), DeliveryOptions::default())), stopping);
    ended.expect("no worker breaks");
    let result = driver.stats().snapshot();
    assert_eq!((result.sent, result.abandoned), (1, 1), "{result:?}");
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: SimulateArgs,
}

async fn simulated(endpoint: &Endpoint, args: &[&str]) -> ExitCode {
    let url = endpoint.url("/webhooks/stripe").to_string();
    let fixed = ["simulate", "--secret", SECRET, "--url", &url];
    let program = Program::try_parse_from([&fixed, args].concat()).expect("the arguments are good");
    simulate::run(program.args, &Sources::default(), Clock::system()).await.expect("it runs to its end")
}

#[tokio::test]
async fn the_exit_code_tells_whether_all_answers_were_as_expected() {
    let strict = Endpoint::start(Manner::Verify).await;
    let lax = Endpoint::start(Manner::Always(StatusCode::OK)).await;
    let args = ["--events", "50", "--bad-signature", "20%", "--duplicate", "0.1", "--seed", "3", "--json"];
    assert_eq!(format!("{:?}", simulated(&strict, &args).await), format!("{:?}", ExitCode::SUCCESS));
    assert_eq!(format!("{:?}", simulated(&lax, &args).await), format!("{:?}", ExitCode::FAILURE));
    let late = ["--events", "5", "--age", "400", "--api-version", "basil", "--rate", "500"];
    assert_eq!(format!("{:?}", simulated(&strict, &late).await), format!("{:?}", ExitCode::SUCCESS));
}
