//! A stand-in of Stripe's API for simulated thin events, on loopback: it holds what Stripe would hold after the events that were
//! made so far, and knows nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use stripe_events::simulator::Held;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Most objects that it holds; the oldest are forgotten.
pub const OBJECTS_MAX: usize = 100_000;

/// Lists that the gateway asks for. Simulated objects have their lists complete, so these are empty.
const LISTS: [&str; 4] = ["/v1/invoice_payments", "/v1/subscription_items", "/v1/refunds", "/v1/events"];

/// What Stripe holds. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Holdings(Arc<Mutex<Objects>>);

#[derive(Debug, Default)]
struct Objects {
    by_path: BTreeMap<String, Value>,
    /// Paths in the order in which they were first held.
    order: VecDeque<String>,
}

impl Holdings {
    /// Holds an object in its state after an event.
    pub fn hold(&self, held: &Held) {
        let mut objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if objects.by_path.insert(held.path.clone(), held.content.clone()).is_none() {
            objects.order.push_back(held.path.clone());
        }
        if objects.order.len() > OBJECTS_MAX
            && let Some(first) = objects.order.pop_front()
        {
            objects.by_path.remove(&first);
        }
    }

    fn at(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_path.get(path).cloned()
    }
}

/// A server that ends with this value.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    /// What it answers with.
    pub holdings: Holdings,
    _server: JoinSet<()>,
}

impl StandIn {
    /// Listens on `address`.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("no local address")?;
        let holdings = Holdings::default();
        let router = Router::new().fallback(answer).with_state(holdings.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the stand-in of Stripe's API ended");
            }
        });
        Ok(Self { address, holdings, _server: server })
    }

    /// Its address, for `GATEWAY_STRIPE_API_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn answer(State(holdings): State<Holdings>, uri: Uri) -> Response {
    let path = uri.path();
    if LISTS.contains(&path) || path.ends_with("/lines") {
        return axum::Json(json!({"object": "list", "data": [], "has_more": false, "url": path})).into_response();
    }
    if let Some(object) = holdings.at(path) {
        return axum::Json(object).into_response();
    }
    let error = json!({"error": {"type": "invalid_request_error", "code": "resource_missing"}});
    (StatusCode::NOT_FOUND, axum::Json(error)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(number: usize, content: Value) -> Held {
        Held { path: format!("/v1/customers/cus_{number}"), content }
    }

    async fn asked(holdings: &Holdings, path: &str) -> (StatusCode, Value) {
        let answer = answer(State(holdings.clone()), path.parse().expect("a path")).await;
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 4096).await.expect("a body");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    #[tokio::test]
    async fn it_answers_with_what_was_held_last_and_knows_nothing_else() {
        let stand_in = StandIn::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("loopback");
        assert!(stand_in.url().starts_with("http://127.0.0.1:"));
        let holdings = &stand_in.holdings;
        holdings.hold(&held(1, json!({"id": "cus_1", "name": "A"})));
        holdings.hold(&held(1, json!({"id": "cus_1", "name": "B"})));
        let (status, found) = asked(holdings, "/v1/customers/cus_1").await;
        assert_eq!((status, &found["name"]), (StatusCode::OK, &json!("B")));
        assert_eq!(asked(holdings, "/v1/customers/cus_2").await.0, StatusCode::NOT_FOUND);
        let (status, list) = asked(holdings, "/v1/invoice_payments?invoice=in_1").await;
        assert_eq!((status, &list["data"]), (StatusCode::OK, &json!([])));
    }

    #[test]
    fn it_holds_no_more_than_its_bound() {
        let holdings = Holdings::default();
        (0..=OBJECTS_MAX).for_each(|number| holdings.hold(&held(number, Value::Null)));
        assert_eq!((holdings.at("/v1/customers/cus_0"), holdings.at("/v1/customers/cus_1")), (None, Some(Value::Null)));
    }
}
