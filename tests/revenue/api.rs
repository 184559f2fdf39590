//! The client of Stripe's API against a stand-in.

use std::time::Duration;

use colony_gateway::domain::backoff::Backoff;
use colony_gateway::domain::breaker::BreakerState;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::secret::Secret;
use colony_gateway::stripe::api::{
    API_VERSION, ATTEMPTS_MAX, ApiDisposition, ApiError, ApiSettings, EventsQuery, RESPONSE_BYTES_MAX, RateLimit,
    Scope, StripeApi, SubscriptionsQuery,
};
use colony_gateway::stripe::event::Related;
use serde_json::json;

use crate::stripe_api::{Fault, KEY, StripeStandIn};

/// Long enough for any answer that comes at all.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Short enough to wait for an answer that never comes.
const SHORT: Duration = Duration::from_millis(200);

pub(crate) fn client(stand_in: &StripeStandIn, clock: &Clock) -> StripeApi {
    let backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) };
    let settings = ApiSettings { base_url: stand_in.base_url.clone(), backoff, ..ApiSettings::new(Secret::new(KEY)) };
    StripeApi::new(&settings, clock.clone()).unwrap()
}

fn subscription(id: &str) -> serde_json::Value {
    json!({"id": id, "object": "subscription", "status": "active", "created": 5})
}

async fn world() -> (StripeStandIn, StripeApi, Clock) {
    let stand_in = StripeStandIn::start().await;
    // A clock that has rested, so that the bucket is full.
    let clock = Clock::manual(Timestamp::from_seconds(1_000_000));
    let api = client(&stand_in, &clock);
    clock.advance(Duration::from_mins(1));
    stand_in.keep_time(&clock);
    stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1"));
    (stand_in, api, clock)
}

#[tokio::test]
async fn a_request_names_version_account_and_moment() {
    let (stand_in, api, clock) = world().await;
    let scope = Scope { account: Some("acct_1".into()), context: None };
    let fetched = api.subscription("sub_1", &scope, LONG).await.unwrap();
    // The date of the answer less the time that the call took.
    assert!(fetched.began <= clock.now() && clock.now().since(fetched.began) < LONG, "{:?}", fetched.began);
    assert_eq!(fetched.object["id"], "sub_1");
    let both = Scope { account: Some("acct_1".into()), context: Some("ctx_1".into()) };
    api.subscription("sub_1", &both, LONG).await.unwrap();
    let asked = stand_in.asked();
    assert_eq!(asked[0].header("stripe-version"), Some(API_VERSION));
    assert_eq!((asked[0].header("stripe-account"), asked[0].header("stripe-context")), (Some("acct_1"), None));
    assert_eq!((asked[1].header("stripe-account"), asked[1].header("stripe-context")), (None, Some("ctx_1")));
    assert!(asked[0].query.contains(&("expand[]".into(), "latest_invoice".into())));
}

#[tokio::test]
async fn a_fault_that_passes_is_asked_again_and_only_so_often() {
    let (stand_in, api, _) = world().await;
    stand_in.fail_next(Fault::Status(500, &[]));
    stand_in.fail_next(Fault::Status(409, &[]));
    assert!(api.subscription("sub_1", &Scope::default(), LONG).await.is_ok());
    assert_eq!(stand_in.asked().len(), 3);
    for _ in 0..ATTEMPTS_MAX {
        stand_in.fail_next(Fault::Status(503, &[]));
    }
    let error = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::Status { status: 503, .. }), "{error}");
    assert_eq!(stand_in.asked().len(), 3 + ATTEMPTS_MAX as usize);
}

#[tokio::test]
async fn stripes_word_about_trying_again_outweighs_the_status() {
    let (stand_in, api, _) = world().await;
    stand_in.fail_next(Fault::Status(500, &[("stripe-should-retry", "false")]));
    let error = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert_eq!((error.disposition(), stand_in.asked().len()), (ApiDisposition::GiveUp, 1));
    stand_in.fail_next(Fault::Status(400, &[("stripe-should-retry", "true")]));
    assert!(api.subscription("sub_1", &Scope::default(), LONG).await.is_ok());
    assert_eq!(stand_in.asked().len(), 3);
}

#[tokio::test]
async fn a_limit_is_named_and_its_wait_is_kept_by_all() {
    let (stand_in, api, clock) = world().await;
    let headers = &[("stripe-rate-limited-reason", "global-rate"), ("retry-after", "30")];
    stand_in.fail_next(Fault::Status(429, headers));
    let error = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    let ApiError::RateLimited { reason, retry_after } = error else { panic!("{error}") };
    assert_eq!((reason, retry_after), (RateLimit::GlobalRate, Some(Duration::from_secs(30))));
    // The next one would have to wait longer than it may.
    let error = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::Busy), "{error}");
    assert_eq!(stand_in.asked().len(), 1);
    clock.advance(Duration::from_secs(31));
    assert!(api.subscription("sub_1", &Scope::default(), LONG).await.is_ok());
}

#[tokio::test]
async fn a_lock_on_one_object_holds_up_no_other() {
    let (stand_in, api, _) = world().await;
    let headers = &[("stripe-rate-limited-reason", "resource-specific"), ("retry-after", "30")];
    stand_in.fail_next(Fault::Status(429, headers));
    assert!(api.subscription("sub_1", &Scope::default(), LONG).await.is_err());
    assert!(api.subscription("sub_1", &Scope::default(), LONG).await.is_ok());
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_opens_the_breaker() {
    let (stand_in, api, clock) = world().await;
    for _ in 0..5 {
        stand_in.fail_next(Fault::Silence);
        let error = api.subscription("sub_1", &Scope::default(), SHORT).await.unwrap_err();
        assert!(matches!(error, ApiError::TimedOut), "{error}");
    }
    // A request whose deadline passed before the stand-in heard of it has left its fault behind.
    stand_in.recover();
    assert_eq!(api.breaker_state(), BreakerState::Open);
    let error = api.subscription("sub_2", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::Refused(_)), "{error}");
    assert!(stand_in.asked().iter().all(|asked| asked.path == "/v1/subscriptions/sub_1"), "nothing is asked");
    clock.advance(Duration::from_secs(5));
    assert!(api.subscription("sub_1", &Scope::default(), LONG).await.is_ok());
    assert_eq!(api.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn nobody_listening_is_an_outage_too() {
    let (stand_in, api, _) = world().await;
    drop(stand_in);
    let error = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::Transport(_)), "{error}");
    assert!(matches!(error.disposition(), ApiDisposition::Retry { .. }));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (stand_in, api, _) = world().await;
    let missing = api.subscription("sub_none", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(missing, ApiError::NotFound), "{missing}");
    stand_in.fail_next(Fault::Status(403, &[]));
    let refused = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(refused, ApiError::Auth { status: 403, .. }), "{refused}");
    assert!(refused.to_string().contains("restricted key needs read access"));
    stand_in.fail_next(Fault::Garbage);
    let garbage = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(garbage, ApiError::Json(_)), "{garbage}");
    stand_in.put("/v1/subscriptions/sub_2", subscription("sub_other"));
    let other = api.subscription("sub_2", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(other, ApiError::Unexpected), "{other}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (stand_in, api, _) = world().await;
    stand_in.fail_next(Fault::Redirect("/v1/subscriptions/sub_1"));
    let error = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::Status { status: 302, .. }), "{error}");
    assert_eq!(stand_in.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_bound() {
    let (stand_in, api, _) = world().await;
    stand_in.fail_next(Fault::Huge(RESPONSE_BYTES_MAX));
    let blank = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(blank, ApiError::Json(_)), "{blank}");
    stand_in.fail_next(Fault::Huge(RESPONSE_BYTES_MAX + 1));
    let huge = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(huge, ApiError::TooLarge), "{huge}");
}

#[tokio::test]
async fn an_address_from_an_event_is_followed_to_stripe_only() {
    let (stand_in, api, _) = world().await;
    stand_in.put("/v1/customers/cus_1", json!({"id": "cus_1", "object": "customer"}));
    let related = |url: &str| Related { id: "cus_1".into(), kind: "customer".into(), url: url.into(), lost: None };
    let absolute = format!("{}/v1/customers/cus_1", stand_in.base_url);
    for url in ["/v1/customers/cus_1", absolute.as_str()] {
        assert!(api.related(&related(url), &Scope::default(), LONG).await.is_ok(), "{url}");
    }
    let asked = stand_in.asked().len();
    for url in [
        "https://evil.test/v1/customers/cus_1",
        "//evil.test/v1/customers/cus_1",
        "http://127.0.0.1:9/v1/customers/cus_1",
        "/v1/../login",
        "/dashboard",
        "file:///etc/hosts",
        "http://u:p@127.0.0.1/v1/x",
        "",
    ] {
        let error = api.related(&related(url), &Scope::default(), LONG).await.unwrap_err();
        assert!(matches!(error, ApiError::OffHost), "{url}: {error}");
    }
    assert_eq!(stand_in.asked().len(), asked);
}

#[tokio::test]
async fn all_pages_of_events_are_walked_from_either_end() {
    let (stand_in, api, _) = world().await;
    for number in 0..250 {
        let id = format!("evt_{number:03}");
        stand_in.put(&format!("/v1/events/{id}"), json!({"id": id, "object": "event", "created": number, "type": "x"}));
    }
    let mut query = EventsQuery { created_from: Some(Timestamp::from_seconds(10)), ..EventsQuery::default() };
    let mut ids = Vec::new();
    loop {
        let page = api.events(&query, &Scope::default(), LONG).await.unwrap();
        ids.extend(page.events.iter().map(|event| event.envelope().id.as_str().to_owned()));
        query.starting_after = page.last_id().map(str::to_owned);
        if !page.has_more {
            break;
        }
    }
    assert_eq!((ids.len(), ids[0].as_str(), ids[239].as_str()), (240, "evt_249", "evt_010"));
    let newer =
        EventsQuery { ending_before: Some("evt_240".into()), types: vec!["x".into()], ..EventsQuery::default() };
    let page = api.events(&newer, &Scope::default(), LONG).await.unwrap();
    assert_eq!((page.events.len(), page.has_more), (9, false));
    let many = EventsQuery { types: vec!["y".into(); 21], ..EventsQuery::default() };
    assert_eq!(api.events(&many, &Scope::default(), LONG).await.unwrap().events.len(), 100);
}

#[tokio::test]
async fn canceled_subscriptions_are_listed_too() {
    let (stand_in, api, _) = world().await;
    stand_in.put(
        "/v1/subscriptions/sub_2",
        json!({"id": "sub_2", "object": "subscription", "status": "canceled", "created": 7}),
    );
    let page = api.subscriptions(&SubscriptionsQuery::default(), &Scope::default(), LONG).await.unwrap();
    assert_eq!(page.objects.len(), 2);
    assert_eq!((page.last_id(), page.has_more), (Some("sub_1"), false));
}

#[tokio::test]
async fn a_nul_in_an_answer_is_replaced() {
    let (stand_in, api, _) = world().await;
    stand_in.put("/v1/subscriptions/sub_1", json!({"id": "sub_1", "object": "subscription", "status": "a\u{0}b"}));
    let fetched = api.subscription("sub_1", &Scope::default(), LONG).await.unwrap();
    assert_eq!(fetched.object["status"], "a\u{fffd}b");
}

#[tokio::test]
async fn a_listed_object_that_is_no_event_fails_the_page_rather_than_being_left_out() {
    let (stand_in, api, _) = world().await;
    stand_in.put("/v1/events/evt_1", json!({"id": "evt_1", "object": "event", "created": 7, "type": "x"}));
    assert_eq!(api.events(&EventsQuery::default(), &Scope::default(), LONG).await.unwrap().events.len(), 1);
    stand_in.put("/v1/events/evt_2", json!({"id": "in_1", "object": "invoice", "created": 8, "type": "x"}));
    let error = api.events(&EventsQuery::default(), &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::Unexpected), "{error}");
}
