//! `/admin/people`: what a person has and why, or why not, behind the token. Users are masked unless an operator asks for them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;

use super::Control;
use super::asked;
use super::audit::Act;
use super::who::Who;
use crate::door::Problem;
use crate::ledger::desk::{PersonReport, Whom};
use crate::ledger::explain::{Line, explain};

/// Longest id in a question, in characters; Stripe's and the app's have at most 255 bytes.
const ID_MAX: usize = 255;

/// Longest wait for the ledger.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Answer to `GET /admin/people/{id}`.
#[derive(Serialize)]
struct PersonView {
    has_access: bool,
    words: String,
    why: Vec<Line>,
    #[serde(flatten)]
    report: PersonReport,
}

/// `/admin/people/{id}`
pub(super) fn routes(control: Arc<Control>) -> Router {
    let methods = get(show).fallback(|| async { Problem::MethodNotAllowed { allow: "GET" } });
    Router::new().route("/admin/people/{id}", methods.with_state(control))
}

async fn show(
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    Extension(who): Extension<Who>,
) -> Result<Json<PersonView>, Problem> {
    let reveal = match query.as_deref().unwrap_or_default() {
        "" | "reveal=false" => false,
        "reveal=true" => true,
        _ => return Err(Problem::Invalid { detail: "`reveal` alone may be asked for: true or false".to_owned() }),
    };
    if id.chars().count() > ID_MAX {
        return Err(Problem::Invalid { detail: format!("an id has at most {ID_MAX} characters") });
    }
    let whom = Whom::named(&id);
    let names_a_user = matches!(whom, Whom::User(_));
    if reveal || names_a_user {
        who.may_reveal()?;
        let (by, peer) = (&*who.name, who.peer());
        let person = if names_a_user { "(redacted)" } else { id.as_str() };
        tracing::info!(target: "audit", action = "reveal", who = by, peer, person, "admin");
        control.audit.note(&who, Act::new("reveal", format!("person {person}")));
    }
    let report = asked(LEDGER_ANSWER_MAX, control.ledger.person(&whom)).await?;
    let report = if reveal { report } else { report.masked() };
    let told = explain(&report, control.context.inbox.clock().now());
    Ok(Json(PersonView { has_access: told.has_access, words: told.words, why: told.lines, report }))
}
