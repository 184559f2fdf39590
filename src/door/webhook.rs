//! `POST` of a delivery: bounds, signature, one append, answer.
//!
//! Deliveries do not go through the router: what a router does for any request (layers, boxes, matching) costs several
//! microseconds, and here a path is one of a few that are known.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::body;
use super::log::{RequestLog, Stored};
use super::peer::Peer;
use super::problem::Problem;
use super::shares::Shares;
use super::trace;
use crate::config::{Share, WebhookBounds};
use crate::domain::network::Networks;
use crate::domain::route::{Route, RouteInForce};
use crate::domain::trace::TraceContext;
use crate::inbox::{Door, Inbox, NewEntry, Receipt};
use crate::stripe::endpoint::{Endpoint, Mismatch};
use crate::stripe::envelope::Envelope;
use crate::stripe::signature::{SignatureError, check_header};
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;

static STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// What the webhook paths need.
#[derive(Clone, Debug)]
pub struct Webhooks {
    pub inbox: Inbox,
    pub route: RouteInForce,
    pub instruments: Instruments,
    pub bounds: WebhookBounds,
    /// The share of the bounds that one sender may use.
    pub peer_share: Share,
    /// Who may send; `None` means everyone.
    pub peers: Option<Networks>,
}

/// The webhook paths of every endpoint.
pub(super) struct Intake {
    endpoints: HashMap<String, Arc<Endpoint>>,
    webhooks: Webhooks,
    shares: Shares,
    log: RequestLog,
}

/// An answer, and what the log line says of it.
struct Acknowledged {
    response: Response,
    stored: Stored,
}

/// The only place that makes a 200. The predecessor's callers know this body.
fn acknowledge(
    receipt: &Receipt,
    route: &RouteInForce,
    result: &'static str,
    event: Option<Arc<Envelope>>,
    trace: Option<TraceContext>,
) -> Acknowledged {
    let body = match route.get() {
        Route::Direct => r#"{"received":true,"method":"direct"}"#,
        Route::ColonyOs => r#"{"received":true,"method":"colony_os"}"#,
    };
    let mut response = Response::new(Body::from(Bytes::from_static(body.as_bytes())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Acknowledged { response, stored: Stored { result, entry: receipt.entry(), event, trace } }
}

impl Intake {
    pub(super) fn new(webhooks: Webhooks, endpoints: Vec<Endpoint>, log: RequestLog) -> Self {
        let mut paths = HashMap::new();
        for endpoint in endpoints {
            let endpoint = Arc::new(endpoint);
            for path in &endpoint.paths {
                paths.insert(path.clone(), Arc::clone(&endpoint));
            }
        }
        Self { endpoints: paths, shares: Shares::new(&webhooks.bounds, webhooks.peer_share), webhooks, log }
    }

    /// The configured path that a request asks for, and its endpoint. Proxies may add a slash at the end.
    pub(super) fn find(&self, path: &str) -> Option<(&str, &Endpoint)> {
        let found = self.endpoints.get_key_value(path);
        let found = found.or_else(|| self.endpoints.get_key_value(path.strip_suffix('/')?));
        found.map(|(path, endpoint)| (path.as_str(), &**endpoint))
    }

    /// Answers a request for a webhook path, with a line in the log.
    pub(super) async fn answer<B>(
        &self,
        (path, endpoint): (&str, &Endpoint),
        request: Request<B>,
        peer: Peer,
    ) -> Response
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let line = self.log.begin(request.method().clone(), path, Some(peer));
        match unpanicked(self.receive(path, endpoint, request, peer)).await {
            Ok(Acknowledged { response, stored }) => {
                line.stored(&stored);
                response
            }
            Err(problem) => {
                let response = problem.into_response();
                line.answered(&response);
                response
            }
        }
    }

    async fn receive<B>(
        &self,
        path: &str,
        endpoint: &Endpoint,
        request: Request<B>,
        peer: Peer,
    ) -> Result<Acknowledged, Problem>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        if request.method() != Method::POST {
            return Err(Problem::MethodNotAllowed { allow: "POST" });
        }
        let webhooks = &self.webhooks;
        if webhooks.peers.as_ref().is_some_and(|peers| !peers.contain(peer.address())) {
            return Err(Problem::PeerNotListed);
        }
        let (instruments, bounds) = (&webhooks.instruments, &webhooks.bounds);
        let arrived = instruments.tracer.moment();
        let mut place = self.shares.enter(peer)?;
        let _in_hand = InHand::new(&instruments.metrics);
        let (head, body) = request.into_parts();
        let refuse = |error| {
            instruments.metrics.signature_failures.of(SignatureError::reason(error)).increment(1);
            endpoint.tally.refuse(error);
            Problem::InvalidSignature(error)
        };
        let values = head.headers.get_all(&STRIPE_SIGNATURE).iter().map(HeaderValue::as_bytes);
        let header = check_header(values).map_err(refuse)?;
        let body = body::read(body, &mut place, bounds).await?;
        let now = instruments.clock.now();
        let delivery = header.verify(body, &endpoint.secrets.get(), now, endpoint.tolerance).map_err(refuse)?;
        endpoint.tally.accept();
        delivery.secrets().for_each(|secret| instruments.metrics.use_key("webhook", secret, now));
        let (entry, event, held) = match Envelope::read(delivery.body()) {
            Ok(event) => {
                let mismatch = endpoint.check(&event).err();
                let door = mismatch.map_or(Door::Open, |mismatch| Door::Hold {
                    code: mismatch.code(),
                    reason: mismatch.hint().to_owned(),
                });
                let event = Arc::new(event);
                let entry = NewEntry::event(endpoint.name.clone(), Arc::clone(&event), door, delivery);
                (entry, Some(event), mismatch.map(Mismatch::code))
            }
            Err(error) => {
                (NewEntry::malformed(endpoint.name.clone(), error.to_string(), delivery), None, Some("malformed"))
            }
        };
        let span = trace::Delivery::begin(&instruments.tracer, arrived, path, endpoint.name.as_str(), event.as_deref());
        let context = span.context();
        let receipt = match self.append(entry.traced(context), &span).await {
            Ok(receipt) => receipt,
            Err(problem) => return Err(span.failed(problem)),
        };
        instruments.metrics.last_webhook.set(instruments.clock.now().as_seconds());
        let result = count(&instruments.metrics, &receipt, held, event.as_deref());
        span.stored(&receipt, result);
        Ok(acknowledge(&receipt, &webhooks.route, result, event, context))
    }

    async fn append(&self, entry: NewEntry, span: &trace::Delivery) -> Result<Receipt, Problem> {
        let _commit = span.commit();
        let append = self.webhooks.inbox.append(entry);
        match tokio::time::timeout(self.webhooks.bounds.append_timeout, append).await {
            Ok(appended) => appended.map_err(Problem::InboxUnavailable),
            Err(_) => Err(Problem::InboxTimeout),
        }
    }
}

/// Turns a panic into a problem, as the router does for other paths.
async fn unpanicked<T>(answer: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let mut answer = pin!(answer);
    std::future::poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))).unwrap_or_else(|panic| {
            super::panicked(panic);
            Poll::Ready(Err(Problem::Internal))
        })
    })
    .await
}

/// Counts a request as in hand until dropped, however it ends.
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

/// Counts a stored delivery, and returns the name of its outcome.
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
                "delivery stored and held for a person"
            );
            "held"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_answer_and_anything_else_passes() {
        let panics = async { std::hint::black_box(None::<Result<(), Problem>>).expect("nothing") };
        assert!(matches!(unpanicked(panics).await, Err(Problem::Internal)));
        assert!(matches!(unpanicked(async { Ok(1) }).await, Ok(1)));
        let refused = async { Err::<(), _>(Problem::Overloaded) };
        assert!(matches!(unpanicked(refused).await, Err(Problem::Overloaded)));
    }
}
