//! `/admin/erase`: one step of erasing a person's data from the inbox, behind the token.
//!
//! The ledger's part is not here: `colony-gateway erase` opens the ledger itself, and asks only for the inbox, which a gateway
//! that runs holds open.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Json, Router};

use super::Control;
use super::audit::Act;
use super::body::read_body;
use super::who::Who;
use super::wire::EraseStepOrder;
use crate::domain::counted::counted;
use crate::door::Problem;
use crate::inbox::EraseStep;
use crate::ledger::person::PERSON_IDS_MAX;

/// Longest body, in bytes: as many ids as a person may have, at their usual length.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// `/admin/erase`
pub(super) fn routes(control: Arc<Control>) -> Router {
    let methods = post(erase).fallback(|| async { Problem::MethodNotAllowed { allow: "POST" } });
    Router::new().route("/admin/erase", methods.with_state(control))
}

async fn erase(
    State(control): State<Arc<Control>>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Result<Json<EraseStep>, Problem> {
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let step: EraseStepOrder = serde_json::from_slice(&body).map_err(|_| Problem::InvalidRequest)?;
    if step.person.is_empty() || step.person.len() > PERSON_IDS_MAX {
        return Err(Problem::InvalidRequest);
    }
    let fingerprints: Vec<String> = step.person.subjects().map(|subject| subject.fingerprint()).collect();
    let person = step.person;
    let ids = person.ids();
    let erased = control.context.inbox.erase_step(move |body| person.is_in(body), step.after, step.dry_run).await;
    let erased = erased.map_err(Problem::InboxUnavailable)?;
    if !step.dry_run && (step.after == 0 || erased.last.is_none()) {
        control.context.inbox.forget_references(ids).await.map_err(Problem::InboxUnavailable)?;
    }
    if !step.dry_run && erased.erased > 0 {
        let persons = fingerprints.join(" ");
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "erase", who = by, peer, persons, bodies = erased.erased, "admin");
        control.audit.note(&who, Act::new("erase", persons).with_result(counted(erased.erased, "body", "bodies")));
    }
    Ok(Json(erased))
}
