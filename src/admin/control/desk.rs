//! `/admin/audit`, `/admin/keys`, `/admin/settings` and `/admin/guardian`: what people did, and how the gateway is set up.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Serialize;

use super::Control;
use crate::admin::audit::Act;
use crate::admin::body::read_body;
use crate::admin::desk::{Checked, KeyLine};
use crate::admin::who::{Via, Who};
use crate::admin::wire::{CommandDeed, DeedNoted};
use crate::config::{Reread, SettingLine};
use crate::door::Problem;
use crate::inbox::{DEEDS_PAGE_MAX, PastDeed};
use crate::revenue::guardian::{PastDecision, RuleLine};

/// Longest body of a reported deed, in bytes.
const DEED_BYTES_MAX: usize = 16 * 1024;

/// Deeds on a page, unless a query says otherwise.
const DEEDS: usize = 100;

#[derive(Serialize)]
struct AuditPage {
    deeds: Vec<PastDeed>,
    /// Where the next page begins; `None` on the last.
    next: Option<i64>,
}

#[derive(Serialize)]
struct Keys {
    keys: Vec<KeyLine>,
    /// The result of reading settings again; `None` if that has not happened since the start.
    reread: Option<Reread>,
}

#[derive(Serialize)]
struct SettingsView {
    version: &'static str,
    settings: Vec<SettingLine>,
    reread: Option<Reread>,
    /// The last report of `check` that an operator asked for.
    checked: Option<Checked>,
}

/// A rule in force.
#[derive(Debug, Serialize)]
pub struct RuleInForce {
    #[serde(flatten)]
    pub rule: RuleLine,
    /// How many events it decided about since the start, in this process.
    pub hits: u64,
    pub last_hit: Option<crate::domain::clock::Timestamp>,
}

#[derive(Serialize)]
struct GuardianView {
    rules: Vec<RuleInForce>,
    /// The latest decisions of this process, the newest first.
    decisions: Vec<PastDecision>,
}

/// The routes beside `/admin/entries`.
pub(super) fn routes(control: Arc<Control>) -> Router {
    let only_get = || async { Problem::MethodNotAllowed { allow: "GET" } };
    let only_post = || async { Problem::MethodNotAllowed { allow: "POST" } };
    let both = || async { Problem::MethodNotAllowed { allow: "GET, POST" } };
    Router::new()
        .route("/admin/audit", get(audit).post(tell).fallback(both))
        .route("/admin/keys", get(keys).fallback(only_get))
        .route("/admin/settings", get(settings).fallback(only_get))
        .route("/admin/check", post(check).fallback(only_post))
        .route("/admin/guardian", get(guardian).fallback(only_get))
        .with_state(control)
}

async fn audit(State(control): State<Arc<Control>>, RawQuery(query): RawQuery) -> Result<Json<AuditPage>, Problem> {
    let (mut before, mut limit) = (None, DEEDS);
    for pair in query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let invalid = || Problem::Invalid {
            detail: format!(
                "{pair:?}: an audit is asked for by `before`, a number, and `limit`, 1 to {DEEDS_PAGE_MAX}"
            ),
        };
        match pair.split_once('=') {
            Some(("before", number)) => before = Some(number.parse().map_err(|_| invalid())?),
            Some(("limit", number)) => {
                let wanted = number.parse().ok().filter(|limit| (1..=DEEDS_PAGE_MAX).contains(limit));
                limit = wanted.ok_or_else(invalid)?;
            }
            _ => return Err(invalid()),
        }
    }
    let (deeds, next) = control.deeds(before, limit).await?;
    Ok(Json(AuditPage { deeds, next }))
}

/// Notes what a command did to the ledger. It is kept under the token's name, whatever the command says.
async fn tell(
    State(control): State<Arc<Control>>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Result<Json<DeedNoted>, Problem> {
    let body = read_body(body, DEED_BYTES_MAX).await?;
    let deed: CommandDeed = serde_json::from_slice(&body).map_err(|_| Problem::InvalidRequest)?;
    let CommandDeed { action, what, result, note } = deed;
    let who = Who { via: Via::Command, ..who };
    let (by, peer, action) = (&*who.name, who.peer(), action.as_str());
    tracing::info!(target: "audit", action, who = by, peer, what, result, note, "command");
    let act = Act { result, note: note.as_deref(), ..Act::new(action, what) };
    control.audit.note(&who, act);
    Ok(Json(DeedNoted { who: who.name.to_string() }))
}

async fn keys(State(control): State<Arc<Control>>) -> Result<Json<Keys>, Problem> {
    let reread = control.desk.settings.reread();
    Ok(Json(Keys { keys: control.keys().await?, reread }))
}

async fn settings(State(control): State<Arc<Control>>) -> Json<SettingsView> {
    let (desk, version) = (&control.desk, env!("CARGO_PKG_VERSION"));
    let (settings, reread, checked) = (desk.settings.lines(), desk.settings.reread(), desk.checks.last());
    Json(SettingsView { version, settings, reread, checked })
}

async fn check(State(control): State<Arc<Control>>, Extension(who): Extension<Who>) -> Result<Json<Checked>, Problem> {
    control.check(&who).await.map(Json)
}

async fn guardian(State(control): State<Arc<Control>>) -> Json<GuardianView> {
    Json(GuardianView { rules: control.rules(), decisions: control.desk.validator.guardian().latest() })
}

impl Control {
    /// A page of what people did, the newest first, and where the next page begins.
    ///
    /// # Errors
    /// If the inbox does not answer.
    pub async fn deeds(&self, before: Option<i64>, most: usize) -> Result<(Vec<PastDeed>, Option<i64>), Problem> {
        let most = most.clamp(1, DEEDS_PAGE_MAX);
        let deeds = self.context.inbox.deeds(before, most).await.map_err(Problem::InboxUnavailable)?;
        let next = if deeds.len() == most { deeds.last().map(|last| last.id) } else { None };
        Ok((deeds, next))
    }

    /// Every secret, without its value.
    ///
    /// # Errors
    /// If the files cannot be checked.
    pub async fn keys(&self) -> Result<Vec<KeyLine>, Problem> {
        let (desk, now) = (self.desk.clone(), self.context.inbox.clock().now());
        let metrics = self.context.instruments.metrics.render();
        tokio::task::spawn_blocking(move || desk.keys(&metrics, now)).await.map_err(|_| Problem::Internal)
    }

    /// Makes the report of `check`.
    ///
    /// # Errors
    /// [`Problem::Busy`] while another report is made.
    pub async fn check(&self, who: &Who) -> Result<Checked, Problem> {
        let checked = self.desk.checks.make().await?;
        let (by, peer, status) = (&*who.name, who.peer(), checked.report.status.as_str());
        tracing::info!(target: "audit", action = "check", who = by, peer, status, "admin");
        self.audit.note(who, Act::new("check", "every component").with_result(status));
        Ok(checked)
    }

    /// The Guardian's rules, with how many events each decided about.
    pub fn rules(&self) -> Vec<RuleInForce> {
        let guardian = self.desk.validator.guardian();
        let hits = guardian.hits();
        let in_force = |rule: RuleLine| {
            let hit = hits.get(&rule.id);
            RuleInForce { hits: hit.map_or(0, |hit| hit.count), last_hit: hit.map(|hit| hit.last), rule }
        };
        guardian.rules().lines().into_iter().map(in_force).collect()
    }
}
