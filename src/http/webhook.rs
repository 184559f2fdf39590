//! `POST` of a delivery: bounds, signature, one append, answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::body::{self, PERMIT_BYTES};
use super::log::Stored;
use super::problem::Problem;
use super::trace;
use crate::domain::clock::Clock;
use crate::domain::route::RouteInForce;
use crate::domain::trace::TraceContext;
use crate::inbox::{Door, Inbox, NewEntry, Receipt};
use crate::stripe::endpoint::{Endpoint, Mismatch};
use crate::stripe::envelope::Envelope;
use crate::stripe::signature::check_header;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

static STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// Bounds on what the webhook routes have in hand at once.
#[derive(Clone, Copy, Debug)]
pub struct WebhookOptions {
    /// Most requests in hand; one more is answered 503.
    pub requests_max: usize,
    /// Most bytes of bodies in hand, all requests together; more are answered 503.
    pub body_bytes_in_hand_max: usize,
    /// From the head of a request to the end of its body.
    pub body_timeout: Duration,
    /// From the end of the body to the commit.
    pub append_timeout: Duration,
}

/// What the webhook routes need.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Where deliveries become durable.
    pub inbox: Inbox,
    /// Named in the answer.
    pub route: RouteInForce,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
    /// Traces.
    pub tracer: Tracer,
    /// Bounds.
    pub options: WebhookOptions,
}

struct Shared {
    webhooks: Webhooks,
    requests: Semaphore,
    body_budget: Semaphore,
}

struct EndpointState {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

/// Routes for every path of every endpoint.
pub(super) fn router(webhooks: Webhooks, endpoints: Vec<Endpoint>) -> Router {
    let shared = Arc::new(Shared {
        requests: Semaphore::new(webhooks.options.requests_max),
        body_budget: Semaphore::new(webhooks.options.body_bytes_in_hand_max.div_ceil(PERMIT_BYTES)),
        webhooks,
    });
    let mut router = Router::new();
    for endpoint in endpoints {
        let paths = endpoint.paths.clone();
        let state = Arc::new(EndpointState { endpoint, shared: Arc::clone(&shared) });
        for path in paths {
            let route = post(receive).fallback(|| async { Problem::MethodNotAllowed { allow: "POST" } });
            router = router.route(&path, route.with_state(Arc::clone(&state)));
        }
    }
    router
}

/// The 200 body that the predecessor's callers know.
#[derive(Serialize)]
struct Received {
    received: bool,
    method: &'static str,
}

/// The only way to a 200.
fn acknowledge(
    receipt: &Receipt,
    route: &RouteInForce,
    result: &'static str,
    event: Option<Arc<Envelope>>,
    trace: Option<TraceContext>,
) -> Response {
    let mut response = axum::Json(Received { received: true, method: route.get().as_str() }).into_response();
    response.extensions_mut().insert(Stored { result, entry: receipt.entry(), event, trace });
    response
}

async fn receive(State(state): State<Arc<EndpointState>>, request: Request) -> Result<Response, Problem> {
    let shared = &*state.shared;
    let arrived = shared.webhooks.tracer.moment();
    let webhooks = &shared.webhooks;
    let options = &webhooks.options;
    let _place = shared.requests.try_acquire().map_err(|_| Problem::Overloaded)?;
    let _in_hand = InHand::new(&webhooks.metrics);
    let (head, body) = request.into_parts();
    let refuse = |error| {
        webhooks.metrics.signature_failures.of(crate::stripe::signature::SignatureError::reason(error)).increment(1);
        Problem::InvalidSignature(error)
    };
    let values = head.headers.get_all(&STRIPE_SIGNATURE).iter().map(header::HeaderValue::as_bytes);
    let header = check_header(values).map_err(refuse)?;
    let body = body::read(body, &shared.body_budget, options.body_timeout).await?;
    let endpoint = &state.endpoint;
    let delivery = header
        .verify(body.bytes.clone(), &endpoint.secrets.get(), webhooks.clock.now(), endpoint.tolerance)
        .map_err(refuse)?;
    webhooks.metrics.key_uses.of(&format!("webhook:{}", delivery.secret())).increment(1);
    let (entry, event, held) = match Envelope::read(delivery.body()) {
        Ok(event) => {
            let mismatch = endpoint.check(&event).err();
            let door = mismatch.map_or(Door::Open, |mismatch| Door::Hold {
                code: mismatch.code(),
                reason: mismatch.hint().to_owned(),
            });
            let known = Arc::new(event.clone());
            (NewEntry::event(endpoint.name.clone(), event, door, delivery), Some(known), mismatch.map(Mismatch::code))
        }
        Err(error) => {
            (NewEntry::malformed(endpoint.name.clone(), error.to_string(), delivery), None, Some("malformed"))
        }
    };
    let span = trace::Delivery::begin(&webhooks.tracer, arrived, &head, endpoint.name.as_str(), event.as_deref());
    let context = span.context();
    let commit = span.commit();
    let append = tokio::time::timeout(options.append_timeout, webhooks.inbox.append(entry.traced(context)));
    let appended = match append.await {
        Ok(appended) => appended.map_err(Problem::InboxUnavailable),
        Err(_) => Err(Problem::InboxTimeout),
    };
    drop(commit);
    let receipt = match appended {
        Ok(receipt) => receipt,
        Err(problem) => return Err(span.failed(problem)),
    };
    webhooks.metrics.last_webhook.set(webhooks.clock.now().as_seconds());
    let result = count(&webhooks.metrics, &receipt, held, event.as_deref());
    span.stored(&receipt, result);
    Ok(acknowledge(&receipt, &webhooks.route, result, event, context))
}

/// Counts a request as in hand until it is dropped, on whichever way.
struct InHand<'a>(&'a Metrics);

impl<'a> InHand<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.requests_in_hand.increment(1.0);
        Self(metrics)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.requests_in_hand.decrement(1.0);
    }
}

/// Counts a stored delivery and names what became of it.
fn count(metrics: &Metrics, receipt: &Receipt, held: Option<&'static str>, event: Option<&Envelope>) -> &'static str {
    if receipt.is_duplicate() {
        return "duplicate";
    }
    metrics.events.of(event.map_or("malformed", |event| &event.kind)).increment(1);
    match held {
        None => "ok",
        Some(reason) => {
            metrics.held.of(reason).increment(1);
            tracing::warn!(
                event_id = event.map(|event| event.id.as_str()),
                entry = receipt.entry().0,
                reason,
                "delivery stored and held: it needs a person"
            );
            "held"
        }
    }
}
