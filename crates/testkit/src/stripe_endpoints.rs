//! A stand-in of Stripe's list of webhook endpoints, which can be written to: it makes, changes and removes endpoints, and tells a
//! secret in the answer that made one and never again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The key it accepts.
pub const WRITE_KEY: &str = "rk_test_write";

#[derive(Debug, Default)]
struct Account {
    endpoints: BTreeMap<String, Value>,
    made: usize,
    asked: Vec<(String, String)>,
    /// Answers by idempotency key. A repeated request gets the same answer.
    done: BTreeMap<String, Value>,
    /// Number of changes to answer with 500 after they were made.
    failures: usize,
}

/// The stand-in. It stops when dropped.
#[derive(Debug)]
pub struct StripeEndpoints {
    pub base_url: String,
    account: Arc<Mutex<Account>>,
    server: JoinHandle<()>,
}

impl Drop for StripeEndpoints {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl StripeEndpoints {
    /// Starts it on a port of its own.
    #[expect(clippy::disallowed_methods, reason = "the task is aborted when the stand-in is dropped")]
    pub async fn start() -> Self {
        let account = Arc::new(Mutex::new(Account::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&account));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base_url, account, server }
    }

    /// Adds an endpoint that a person made in the dashboard.
    pub fn put(&self, id: &str, url: &str, events: &[&str]) {
        let endpoint = json!({
            "id": id, "object": "webhook_endpoint", "url": url, "status": "enabled", "enabled_events": events,
            "api_version": null, "livemode": false, "metadata": {}
        });
        self.account.lock().unwrap().endpoints.insert(id.to_owned(), endpoint);
    }

    /// The endpoint with this id.
    pub fn get(&self, id: &str) -> Option<Value> {
        self.account.lock().unwrap().endpoints.get(id).cloned()
    }

    /// Ids of the enabled endpoints.
    pub fn enabled(&self) -> Vec<String> {
        let account = self.account.lock().unwrap();
        account.endpoints.iter().filter(|(_, one)| one["status"] == "enabled").map(|(id, _)| id.clone()).collect()
    }

    /// Methods and paths of the requests so far.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.account.lock().unwrap().asked.clone()
    }

    /// Makes the next change, but answers it with 500.
    pub fn fail_after_doing(&self) {
        self.account.lock().unwrap().failures += 1;
    }
}

async fn answer(
    State(account): State<Arc<Mutex<Account>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut account = account.lock().unwrap();
    account.asked.push((method.to_string(), uri.path().to_owned()));
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if header("authorization") != Some(format!("Bearer {WRITE_KEY}")) {
        let message = "The API key provided does not have the required permissions for this endpoint.";
        return (StatusCode::FORBIDDEN, json!({"error": {"message": message}}).to_string());
    }
    assert!(header("stripe-version").is_some());
    let fields: Vec<(String, String)> = reqwest::Url::parse(&format!("http://x/?{}", String::from_utf8_lossy(&body)))
        .unwrap()
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let once = header("idempotency-key");
    let repeated = once.as_ref().and_then(|once| account.done.get(once).cloned());
    let done = repeated.unwrap_or_else(|| account.perform(&method, uri.path(), &fields));
    if let Some(once) = once {
        account.done.insert(once, done.clone());
    }
    if method == Method::POST && account.failures > 0 {
        account.failures -= 1;
        return (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": {"message": "try again"}}).to_string());
    }
    if done.is_null() {
        return (StatusCode::NOT_FOUND, json!({"error": {"message": "No such webhook endpoint"}}).to_string());
    }
    (StatusCode::OK, done.to_string())
}

impl Account {
    fn perform(&mut self, method: &Method, path: &str, fields: &[(String, String)]) -> Value {
        let id = path.strip_prefix("/v1/webhook_endpoints/").map(str::to_owned);
        match (method, id) {
            (&Method::GET, None) => {
                json!({"object": "list", "data": self.endpoints.values().collect::<Vec<_>>(), "has_more": false})
            }
            (&Method::POST, None) => {
                self.made += 1;
                let id = format!("we_made{}", self.made);
                let mut endpoint = json!({
                    "id": id, "object": "webhook_endpoint", "status": "enabled", "livemode": false, "metadata": {}
                });
                change(&mut endpoint, fields);
                self.endpoints.insert(id, endpoint.clone());
                endpoint["secret"] = json!(format!("whsec_made{}", self.made));
                endpoint
            }
            (&Method::POST, Some(id)) => match self.endpoints.get_mut(&id) {
                Some(endpoint) => {
                    change(endpoint, fields);
                    endpoint.clone()
                }
                None => Value::Null,
            },
            (&Method::DELETE, Some(id)) => match self.endpoints.remove(&id) {
                Some(_) => json!({"id": id, "deleted": true}),
                None => Value::Null,
            },
            other => panic!("unexpected question: {other:?}"),
        }
    }
}

fn change(endpoint: &mut Value, fields: &[(String, String)]) {
    let events: Vec<&str> =
        fields.iter().filter(|(name, _)| name == "enabled_events[]").map(|(_, value)| value.as_str()).collect();
    if !events.is_empty() {
        endpoint["enabled_events"] = json!(events);
    }
    for (name, value) in fields {
        match name.as_str() {
            "enabled_events[]" | "description" => {}
            "url" | "api_version" => endpoint[name] = json!(value),
            "connect" => endpoint["connect"] = json!(value == "true"),
            "disabled" => endpoint["status"] = json!(if value == "true" { "disabled" } else { "enabled" }),
            "metadata[colony_gateway_secret]" => endpoint["metadata"]["colony_gateway_secret"] = json!(value),
            other => panic!("Stripe knows no {other}"),
        }
    }
}
