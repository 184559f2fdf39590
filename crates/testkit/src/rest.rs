//! A stand-in for Supabase's REST layer, over a real PostgreSQL: what PostgREST does with a call of a function.
//!
//! Takes `POST /rest/v1/rpc/<function>`, maps the key to a role, runs the call in one transaction under that role, and
//! answers with the statuses and error bodies that PostgREST documents. Faults can be put before or after the call.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_postgres::Error;
use tokio_postgres::types::Type;

use crate::postgres::Database;
use crate::sql::{Session, Sessions};
use colony_gateway::postgres::{Json, JsonText};

/// The key of the role `service_role`.
pub const SERVICE_KEY: &str = "service-role-key-of-the-test-project";

/// The key of the role `anon`.
pub const ANON_KEY: &str = "anon-key-of-the-test-project";

/// A fault in one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call is not made, and this is the answer.
    Before(u16, &'static str),
    /// The call is made and commits, but this is the answer.
    After(u16, &'static str),
    /// The call is made and commits, but no answer comes.
    Silence,
    /// The call is not made, and the answer has this many bytes.
    Flood(usize),
}

/// A running stand-in. It ends when dropped.
#[derive(Debug)]
pub struct Rest {
    port: u16,
    layer: Layer,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Debug)]
struct Layer {
    sessions: Sessions,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    calls: Arc<AtomicUsize>,
}

impl Rest {
    /// Starts in front of a database of the flavour [`crate::postgres::Flavour::Supabase`].
    pub async fn start(database: &Database) -> Self {
        let sessions = Sessions::new(database.url().replacen("postgres@", "authenticator@", 1));
        let layer = Layer { sessions, faults: Arc::default(), calls: Arc::default() };
        let router = Router::new()
            .route("/rest/v1/rpc/{function}", post(call))
            .layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024))
            .with_state(layer.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, router).await.expect("the stand-in serves");
        });
        Self { port, layer, _tasks: tasks }
    }

    /// The project's address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes the next call fail. Several faults queue up.
    pub fn fail_next(&self, fault: Fault) {
        self.layer.faults.lock().expect("no test panics here").push_back(fault);
    }

    /// How many calls arrived.
    pub fn calls(&self) -> usize {
        self.layer.calls.load(Ordering::SeqCst)
    }
}

async fn call(State(layer): State<Layer>, Path(function): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    layer.calls.fetch_add(1, Ordering::SeqCst);
    let fault = layer.faults.lock().expect("no test panics here").pop_front();
    match &fault {
        Some(Fault::Before(status, body)) => return reply(*status, (*body).to_owned()),
        Some(Fault::Flood(bytes)) => return reply(200, " ".repeat(*bytes)),
        Some(Fault::After(..) | Fault::Silence) | None => {}
    }
    let answer = match role(&headers) {
        Ok(role) => run(&layer.sessions, role, &function, &body).await,
        Err(refusal) => return *refusal,
    };
    match fault {
        Some(Fault::After(status, body)) => reply(status, body.to_owned()),
        Some(Fault::Silence) => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            answer
        }
        Some(Fault::Before(..) | Fault::Flood(_)) | None => answer,
    }
}

fn reply(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// The role that belongs to the key, as the API gateway and PostgREST determine it.
fn role(headers: &HeaderMap) -> Result<&'static str, Box<Response>> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refuse =
        |message: &str| Err(Box::new(reply(401, json!({ "message": message, "hint": "check it" }).to_string())));
    let role = match header("apikey") {
        SERVICE_KEY => "service_role",
        ANON_KEY => "anon",
        "" => return refuse("No API key found in request"),
        _ => return refuse("Invalid API key"),
    };
    if header("authorization") != format!("Bearer {}", header("apikey")) {
        let body = json!({"code": "PGRST301", "message": "JWSError", "details": null, "hint": null});
        return Err(Box::new(reply(401, body.to_string())));
    }
    if header("content-type") != "application/json" {
        let body = json!({"code": "PGRST107", "message": "Content-Type not acceptable", "details": null, "hint": null});
        return Err(Box::new(reply(415, body.to_string())));
    }
    Ok(role)
}

async fn run(sessions: &Sessions, role: &str, function: &str, body: &[u8]) -> Response {
    let Ok(Value::Object(arguments)) = serde_json::from_slice(body) else {
        let body = json!({"code": "PGRST102", "message": "Empty or invalid json", "details": null, "hint": null});
        return reply(400, body.to_string());
    };
    match transaction(sessions, role, function, &Value::Object(arguments)).await {
        Ok(Some(answer)) => reply(200, answer.to_string()),
        Ok(None) => {
            let message = format!("Could not find the function public.{function} in the schema cache");
            reply(404, json!({"code": "PGRST202", "message": message, "details": null, "hint": null}).to_string())
        }
        Err(error) => {
            let (status, code, message) = match error.as_db_error() {
                Some(fault) => (status_of(fault.code().code(), role), fault.code().code(), fault.message().to_owned()),
                None => (503, "PGRST001", error.to_string()),
            };
            reply(status, json!({"code": code, "message": message, "details": null, "hint": null}).to_string())
        }
    }
}

/// Runs the call as PostgREST does; `None` if no function has these arguments.
async fn transaction(
    sessions: &Sessions,
    role: &str,
    function: &str,
    arguments: &Value,
) -> Result<Option<Value>, Error> {
    let mut transaction = sessions.begin().await?;
    let answer = answer(&mut transaction, role, function, arguments).await;
    // A call that failed or was refused must change nothing.
    let ended = if answer.is_ok() { transaction.commit().await } else { transaction.rollback().await };
    let answer = answer?;
    ended.map(|()| answer)
}

async fn answer(session: &mut Session, role: &str, function: &str, arguments: &Value) -> Result<Option<Value>, Error> {
    let found = session
        .ask(
            "SELECT coalesce(p.proargnames, '{}') AS names,
                    array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t) AS types
             FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname = $1",
            &[(&function, Type::TEXT)],
        )
        .await?;
    let Some(found) = found.first() else { return Ok(None) };
    let (names, types): (Vec<String>, Vec<String>) = (found.try_get("names")?, found.try_get("types")?);
    let given: Vec<&String> = arguments.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
    if given.len() != names.len() || !names.iter().all(|name| given.contains(&name)) {
        return Ok(None);
    }
    session.execute(format!("SET LOCAL ROLE {role}")).await?;
    let passed: Vec<String> = names.iter().map(|name| format!("\"{name}\" => _.\"{name}\"")).collect();
    let columns: Vec<String> = names.iter().zip(&types).map(|(name, kind)| format!("\"{name}\" {kind}")).collect();
    let from = if names.is_empty() {
        "FROM (SELECT $1::jsonb) _".to_owned()
    } else {
        format!("FROM jsonb_to_record($1::jsonb) AS _({})", columns.join(", "))
    };
    let statement = format!("SELECT to_jsonb(public.\"{function}\"({})) {from}", passed.join(", "));
    let arguments = arguments.to_string();
    let rows = session.ask(statement, &[(&JsonText(&arguments), Type::JSONB)]).await?;
    rows.first().expect("a row").try_get::<_, Json<Value>>(0).map(|Json(answer)| Some(answer))
}

/// The status for a PostgreSQL error code, from PostgREST's table.
fn status_of(code: &str, role: &str) -> u16 {
    match (code, code.get(..2).unwrap_or_default()) {
        ("23503" | "23505", _) => 409,
        ("25006", _) => 405,
        ("53400" | "42P17", _) => 500,
        ("P0001", _) => 400,
        ("42883" | "42P01", _) => 404,
        ("42501", _) if role == "anon" => 401,
        ("42501", _) | (_, "0L" | "0P" | "28") => 403,
        (_, "08" | "53") => 503,
        (_, "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "54" | "55" | "57" | "58" | "F0" | "HV" | "P0" | "XX") => {
            500
        }
        _ => 400,
    }
}
