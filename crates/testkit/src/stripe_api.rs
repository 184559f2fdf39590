//! A stand-in of Stripe's API on this machine: objects and lists with the statuses, headers and error bodies of the
//! real one, faults on demand, and a memory of what was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use colony_gateway::domain::clock::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The key it accepts.
pub const KEY: &str = "rk_test_stand_in";

/// The key of live mode, which allows more requests per second.
pub const KEY_LIVE: &str = "rk_live_stand_in";

/// An unusual answer, given once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with these headers, without an object.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// A body that is not JSON.
    Garbage,
    /// A body with this many bytes.
    Huge(usize),
    /// No answer for as long as the stand-in lives.
    Silence,
    /// A redirect elsewhere.
    Redirect(&'static str),
    /// The connection breaks in the middle of the answer.
    Cut,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Debug, Default)]
struct World {
    objects: BTreeMap<String, Value>,
    faults: VecDeque<Fault>,
    faults_at: BTreeMap<usize, Fault>,
    /// Whether to answer about a path; `None` to answer about every path.
    answers: Option<fn(&str) -> bool>,
    /// Time until an answer.
    delay: Duration,
    asked: Vec<Asked>,
    /// The clock that dates its answers; `None` for the machine's.
    clock: Option<Clock>,
    most_at_once: usize,
    at_once: usize,
}

/// The stand-in. It stops when dropped.
#[derive(Debug)]
pub struct StripeStandIn {
    pub base_url: String,
    world: Arc<Mutex<World>>,
    server: JoinHandle<()>,
}

impl Drop for StripeStandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl StripeStandIn {
    /// Starts it on a port of its own.
    #[expect(clippy::disallowed_methods, reason = "the task is aborted when the stand-in is dropped")]
    pub async fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&world));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base_url, world, server }
    }

    /// Puts an object at the path where it will be read.
    pub fn put(&self, path: &str, object: Value) {
        self.world.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// Dates its answers with this clock.
    pub fn keep_time(&self, clock: &Clock) {
        self.world.lock().unwrap().clock = Some(clock.clone());
    }

    /// Answers only the next request with a fault.
    pub fn fail_next(&self, fault: Fault) {
        self.world.lock().unwrap().faults.push_back(fault);
    }

    /// Forgets the faults that no request has met.
    pub fn recover(&self) {
        self.world.lock().unwrap().faults.clear();
    }

    /// Answers only about these paths until [`Self::answer_all`].
    pub fn answer_only(&self, answers: fn(&str) -> bool) {
        self.world.lock().unwrap().answers = Some(answers);
    }

    /// Answers about every path again. Requests that wait go on waiting.
    pub fn answer_all(&self) {
        self.world.lock().unwrap().answers = None;
    }

    /// Delays its answers by this much from now on.
    pub fn slow_down(&self, delay: Duration) {
        self.world.lock().unwrap().delay = delay;
    }

    /// Removes an object.
    pub fn remove(&self, path: &str) {
        self.world.lock().unwrap().objects.remove(path);
    }

    /// Answers the request with this number, counted from 1 over all requests, with a fault.
    pub fn fail_at(&self, number: usize, fault: Fault) {
        self.world.lock().unwrap().faults_at.insert(number, fault);
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.world.lock().unwrap().asked.clone()
    }

    /// The largest number of requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.world.lock().unwrap().most_at_once
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let query: Vec<(String, String)> = reqwest::Url::parse(&format!("http://x{}", request.uri()))
        .unwrap()
        .query_pairs()
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let asked = Asked { path: request.uri().path().to_owned(), query, headers: request.headers().clone() };
    let (fault, delay) = {
        let mut world = world.lock().unwrap();
        world.asked.push(asked.clone());
        world.at_once += 1;
        world.most_at_once = world.most_at_once.max(world.at_once);
        let number = world.asked.len();
        let is_silent = world.answers.is_some_and(|answers| !answers(&asked.path));
        let fault = world.faults_at.remove(&number).or_else(|| world.faults.pop_front());
        (fault.or(is_silent.then_some(Fault::Silence)), world.delay)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    // Yields, so that requests that came together are seen together.
    tokio::task::yield_now().await;
    let mut response = match fault {
        Some(fault) => fail(fault).await,
        None => serve(&world, &asked),
    };
    let mut world = world.lock().unwrap();
    if let Some(clock) = &world.clock {
        let date = time::OffsetDateTime::from_unix_timestamp(clock.now().seconds()).unwrap();
        let date = date.format(&time::format_description::well_known::Rfc2822).unwrap();
        response.headers_mut().insert("date", date.parse().unwrap());
    }
    world.at_once -= 1;
    response
}

async fn fail(fault: Fault) -> Response<Body> {
    match fault {
        Fault::Status(status, headers) => {
            let mut response = error(status, "api_error", "fault");
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        }
        Fault::Cut => {
            let (mut sender, body) = http_body_util::channel::Channel::<bytes::Bytes, std::io::Error>::new(1);
            let _ = sender.send_data(bytes::Bytes::from_static(b"{\"object\": \"list\", ")).await;
            sender.abort(std::io::Error::other("cut"));
            Response::new(Body::new(body))
        }
        Fault::Garbage => Response::new(Body::from("<html>")),
        Fault::Huge(bytes) => Response::new(Body::from(vec![b' '; bytes])),
        Fault::Silence => std::future::pending().await,
        Fault::Redirect(location) => {
            Response::builder().status(302).header("location", location).body(Body::empty()).unwrap()
        }
    }
}

fn error(status: u16, kind: &str, code: &str) -> Response<Body> {
    let body = json!({"error": {"type": kind, "code": code, "message": "…"}});
    let response = Response::builder().status(StatusCode::from_u16(status).unwrap()).header("request-id", "req_1");
    response.body(Body::from(body.to_string())).unwrap()
}

fn serve(world: &Mutex<World>, asked: &Asked) -> Response<Body> {
    let key = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if !key.is_some_and(|key| [KEY, KEY_LIVE].contains(&key)) {
        return error(401, "invalid_request_error", "invalid_api_key");
    }
    if asked.header("stripe-version").is_none() {
        return error(400, "invalid_request_error", "version");
    }
    let world = world.lock().unwrap();
    let found = match asked.path.as_str() {
        "/v1/events" | "/v1/subscriptions" => Some(list(&world, asked)),
        "/v1/subscription_items" | "/v1/checkout/sessions" => Some(rest(&world, asked, "subscription")),
        "/v1/refunds" => Some(rest(&world, asked, "charge")),
        "/v1/invoice_payments" if parameter(asked, "invoice").is_some() => Some(rest(&world, asked, "invoice")),
        "/v2/core/events" => Some(core_events(&world, asked)),
        "/v1/invoice_payments" => {
            let intent = parameter(asked, "payment[payment_intent]").unwrap_or_default();
            let found = world.objects.get(&format!("/v1/invoice_payments/{intent}"));
            let data: Vec<&Value> = match found {
                Some(Value::Array(several)) => several.iter().collect(),
                one => one.into_iter().collect(),
            };
            Some(json!({"object": "list", "data": data, "has_more": false, "url": asked.path}))
        }
        path => world.objects.get(path).cloned(),
    };
    match found {
        Some(object) => Response::new(Body::from(object.to_string())),
        None => error(404, "invalid_request_error", "resource_missing"),
    }
}

fn parameter<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    asked.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A page of the items that belong to one object. Their array is stored at the list's path followed by the object's id.
fn rest(world: &World, asked: &Asked, owner: &str) -> Value {
    let limit: usize = parameter(asked, "limit").map_or(10, |limit| limit.parse().unwrap());
    let path = format!("{}/{}", asked.path, parameter(asked, owner).unwrap_or_default());
    let all = world.objects.get(&path).and_then(Value::as_array).cloned().unwrap_or_default();
    let start = parameter(asked, "starting_after")
        .map_or(0, |id| all.iter().position(|object| object["id"] == id).unwrap() + 1);
    let page = &all[start..all.len().min(start + limit)];
    json!({"object": "list", "data": page, "has_more": start + page.len() < all.len(), "url": asked.path})
}

/// A page of thin events, newest first. Moments are text, and a page contains the address of the next one.
fn core_events(world: &World, asked: &Asked) -> Value {
    assert_eq!(asked.header("stripe-version"), Some("2026-09-30.endive"));
    let limit: usize = parameter(asked, "limit").map_or(10, |limit| limit.parse().unwrap());
    let owner = asked.header("stripe-account").map(|account| format!("/{account}")).unwrap_or_default();
    let prefix = format!("{owner}{}/", asked.path);
    let mut all: Vec<&Value> = world
        .objects
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(_, object)| object)
        .collect();
    let created = |object: &Value| object["created"].as_str().unwrap().to_owned();
    // Texts of the same form and zone sort like their moments, up to the second.
    let second = |text: &str| text[..19].to_owned();
    all.sort_by_key(|object| std::cmp::Reverse(created(object)));
    all.retain(|object| {
        let at = second(&created(object));
        parameter(asked, "created[gte]").is_none_or(|from| at >= second(from))
            && parameter(asked, "created[lt]").is_none_or(|to| at < second(to))
    });
    let start: usize = parameter(asked, "page").map_or(0, |page| page.strip_prefix("page_").unwrap().parse().unwrap());
    let page = &all[start.min(all.len())..(start + limit).min(all.len())];
    let next = (start + limit < all.len()).then(|| format!("{}?limit={limit}&page=page_{}", asked.path, start + limit));
    json!({"data": page, "next_page_url": next, "previous_page_url": null})
}

/// A page of a list, newest first, cut as Stripe does.
fn list(world: &World, asked: &Asked) -> Value {
    let limit: usize = parameter(asked, "limit").map_or(10, |limit| limit.parse().unwrap());
    assert!((1..=100).contains(&limit), "limit {limit}");
    let bound = |name: &str| parameter(asked, name).map(|text| text.parse::<i64>().unwrap());
    let types: Vec<&str> =
        asked.query.iter().filter(|(key, _)| key == "types[]").map(|(_, value)| value.as_str()).collect();
    assert!(types.len() <= 20, "more than 20 types");
    // Objects of a connected account have paths of their own.
    let owner = asked.header("stripe-account").map(|account| format!("/{account}")).unwrap_or_default();
    let prefix = format!("{owner}{}/", asked.path);
    let mut all: Vec<&Value> = world
        .objects
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(_, object)| object)
        .collect();
    all.sort_by_key(|object| std::cmp::Reverse(object["created"].as_i64()));
    let every_status = parameter(asked, "status") == Some("all");
    all.retain(|object| {
        let created = object["created"].as_i64().unwrap();
        bound("created[gte]").is_none_or(|from| created >= from)
            && bound("created[lte]").is_none_or(|to| created <= to)
            && (types.is_empty() || types.contains(&object["type"].as_str().unwrap_or_default()))
            && (asked.path != "/v1/subscriptions" || every_status || object["status"] != "canceled")
    });
    let place = |name: &str| parameter(asked, name).map(|id| all.iter().position(|object| object["id"] == id).unwrap());
    let (start, end) =
        (place("starting_after").map_or(0, |place| place + 1), place("ending_before").unwrap_or(all.len()));
    let window = &all[start..end];
    let (page, has_more) = if parameter(asked, "ending_before").is_some() {
        (&window[window.len().saturating_sub(limit)..], window.len() > limit)
    } else {
        (&window[..window.len().min(limit)], window.len() > limit)
    };
    json!({"object": "list", "data": page, "has_more": has_more, "url": asked.path})
}
