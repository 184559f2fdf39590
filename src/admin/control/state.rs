//! `/admin/problems`, `/admin/resume`, `/admin/breakers` and `/admin/bees`: what waits for a person, and what holds work up.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

use super::{BODY_BYTES_MAX, Control};
use crate::admin::asked;
use crate::admin::audit::Act;
use crate::admin::body::read_body;
use crate::admin::who::Who;
use crate::admin::wire::{Resumed, Waiting};
use crate::bees::roster::BeeReport;
use crate::domain::breaker::Breaker;
use crate::domain::named::named;
use crate::door::Problem;

/// Most subscriptions named among the problems; the others are counted.
const SUBSCRIPTIONS_NAMED_MAX: u32 = 100;

/// Longest wait for the ledger. After that, only the inbox's entries are shown.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct BreakerView {
    name: &'static str,
    state: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BreakerChange {
    state: BreakerWish,
}

named! {
    /// What an operator wants a breaker to do.
    pub enum BreakerWish {
        /// Let all calls through.
        Closed = "closed",
        /// Let no call through for its longest wait.
        Open = "open",
        /// Let one call through now, to find out.
        Probe = "probe",
    }
}

#[derive(Serialize)]
struct Breakers {
    breakers: Vec<BreakerView>,
}

#[derive(Serialize)]
struct Bees {
    bees: Vec<BeeReport>,
}

/// The routes beside `/admin/entries`.
pub(super) fn routes(control: Arc<Control>) -> Router {
    let only_get = || async { Problem::MethodNotAllowed { allow: "GET" } };
    let only_post = || async { Problem::MethodNotAllowed { allow: "POST" } };
    Router::new()
        .route("/admin/problems", get(problems).fallback(only_get))
        .route("/admin/resume", post(resume).fallback(only_post))
        .route("/admin/breakers", get(breakers).fallback(only_get))
        .route("/admin/breakers/{name}", post(change_breaker).fallback(only_post))
        .route("/admin/bees", get(bees).fallback(only_get))
        .with_state(control)
}

async fn problems(State(control): State<Arc<Control>>) -> Result<Json<Waiting>, Problem> {
    let problems = control.context.inbox.problems().await.map_err(Problem::InboxUnavailable)?;
    let access = asked(LEDGER_ANSWER_MAX, control.ledger.attention(SUBSCRIPTIONS_NAMED_MAX)).await.ok();
    Ok(Json(Waiting { problems, access }))
}

async fn resume(State(control): State<Arc<Control>>, Extension(who): Extension<Who>) -> Result<Json<Resumed>, Problem> {
    Ok(Json(Resumed { was_paused: control.resume(&who).await? }))
}

async fn breakers(State(control): State<Arc<Control>>) -> Json<Breakers> {
    let breakers = control.breakers.iter().map(|(name, breaker)| view(name, breaker)).collect();
    Json(Breakers { breakers })
}

async fn change_breaker(
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Result<Json<BreakerView>, Problem> {
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let change: BreakerChange = serde_json::from_slice(&body).map_err(|_| Problem::InvalidRequest)?;
    let (name, breaker) = control.turn_breaker(&who, &name, change.state)?;
    Ok(Json(view(name, breaker)))
}

impl Control {
    /// Ends a pause of dispatch. Returns whether there was one. Suspected entries are tried again now too, because
    /// otherwise none might be due for the probe.
    ///
    /// # Errors
    /// If the inbox does not answer.
    pub async fn resume(&self, who: &Who) -> Result<bool, Problem> {
        let suspects = self.pause.suspects();
        let hastened = self.context.inbox.hasten(suspects).await.map_err(Problem::InboxUnavailable)?;
        let was_paused = self.pause.resume();
        self.context.inbox.urge();
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "resume", who = by, peer, was_paused, hastened, "admin");
        let result = if was_paused { "was paused" } else { "was not paused" };
        self.audit.note(who, Act::new("resume", "dispatch").with_result(result));
        Ok(was_paused)
    }

    /// Closes a breaker, opens it, or makes it probe.
    ///
    /// # Errors
    /// If no breaker has this name.
    pub fn turn_breaker(&self, who: &Who, name: &str, wish: BreakerWish) -> Result<(&'static str, &Breaker), Problem> {
        let (name, breaker) = self.breakers.iter().find(|(known, _)| *known == name).ok_or(Problem::NotFound)?;
        let changed = match wish {
            BreakerWish::Closed => breaker.close(),
            BreakerWish::Open => breaker.trip(),
            BreakerWish::Probe => breaker.probe_now(),
        };
        let (by, peer, wish) = (&*who.name, who.peer(), wish.as_str());
        tracing::info!(target: "audit", action = "breaker", who = by, peer, breaker = name, wish, changed, "admin");
        let result = if changed { "changed" } else { "as before" };
        self.audit.note(who, Act::new("breaker", format!("{name}: {wish}")).with_result(result));
        Ok((name, breaker))
    }
}

async fn bees(State(control): State<Arc<Control>>) -> Json<Bees> {
    Json(Bees { bees: control.bees.read() })
}

fn view(name: &'static str, breaker: &Breaker) -> BreakerView {
    BreakerView { name, state: breaker.state().as_str() }
}
