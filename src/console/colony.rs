//! The colony: which route entries take, what holds work up, who works, and what is with whom.

use std::collections::BTreeMap;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Count, Moment, Page, Prose};
use super::live::{Live, shown};
use crate::admin::{BreakerWish, ExecutorLine};
use crate::dispatch::switch::Wish;
use crate::domain::breaker::BreakerState;
use crate::door::Problem;
use crate::inbox::SubmittedProcess;
use crate::telemetry::labelled::labelled;

const PATH: &str = "/console/colony";

/// Most processes that are listed.
const PROCESSES_MAX: u32 = 100;

const REJECTED: &str = "colony_gateway_jobs_rejected_total";
const RETURNED: &str = "colony_gateway_entries_returned_total";
const SUSPECTS: &str = "colony_gateway_suspect_bees";

#[derive(Debug)]
struct BreakerRow {
    name: &'static str,
    state: &'static str,
    mark: &'static str,
    means: &'static str,
}

#[derive(Debug)]
struct BeeRow {
    name: String,
    state: &'static str,
    since: Moment,
    detail: String,
}

#[derive(Debug)]
struct ExecutorRow {
    name: String,
    kind: String,
    state: &'static str,
    heard: Option<Moment>,
    /// Whether it claimed something that the ledger does not know, or refused a job.
    is_suspect: bool,
}

#[derive(Debug)]
struct ProcessRow {
    id: String,
    entries: Count,
    oldest: Option<Moment>,
    asked: Moment,
}

/// A count with its reason.
#[derive(Debug)]
struct Reason {
    name: String,
    count: Count,
    means: &'static str,
}

/// The part of the page that renews itself.
#[expect(clippy::struct_excessive_bools, reason = "what a page asks about: each is a question of its own")]
#[derive(Template)]
#[template(path = "colony_now.html")]
struct Now {
    route: &'static str,
    wish: Wish,
    has_colony: bool,
    is_paused: bool,
    breakers: Vec<BreakerRow>,
    bees: Vec<BeeRow>,
    executors: Option<Vec<ExecutorRow>>,
    /// Why the server does not list them.
    silence: Option<String>,
    processes: Vec<ProcessRow>,
    more: bool,
    rejected: Vec<Reason>,
    returned: Vec<Reason>,
    may_change: bool,
}

#[derive(Template)]
#[template(path = "colony.html")]
struct ColonyPage {
    frame: Frame,
    live: Live,
}

/// `GET /console/colony`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let now = now(&console, visitor.may_change()).await?;
    let live = Live::of(&now, PATH, "")?;
    if let Some(shown) = shown(&query.unwrap_or_default()) {
        return Ok(live.answer(shown));
    }
    let frame = Frame::new(&console, &visitor, "Colony", "Colony").await;
    Ok(Page(ColonyPage { frame, live }).into_response())
}

async fn now(console: &Console, may_change: bool) -> Result<Now, Failure> {
    let control = &console.control;
    let context = &control.context;
    let held = context.inbox.submitted(PROCESSES_MAX).await.map_err(Problem::InboxUnavailable)?;
    let metrics = context.instruments.metrics.render();
    let (executors, silence) = match &control.desk.executors {
        Some(executors) => match executors.ask().await {
            Ok(executors) => (Some(executor_rows(executors, &labelled(&metrics, SUSPECTS))), None),
            Err(why) => (None, Some(why)),
        },
        None => (None, None),
    };
    let bee = |bee: crate::bees::roster::BeeReport| BeeRow {
        name: bee.name,
        state: bee.state,
        since: Moment(bee.since),
        detail: bee.detail.unwrap_or_default(),
    };
    Ok(Now {
        route: context.in_force.get().as_str(),
        wish: context.switch.get(),
        has_colony: !control.breakers.is_empty(),
        is_paused: control.pause.is_paused(),
        breakers: control.breakers.iter().map(|(name, breaker)| breaker_row(name, breaker.state())).collect(),
        bees: control.bees.read().into_iter().map(bee).collect(),
        executors,
        silence,
        more: held.len() >= PROCESSES_MAX as usize,
        processes: held.into_iter().map(process).collect(),
        rejected: reasons(labelled(&metrics, REJECTED), explain_rejection),
        returned: reasons(labelled(&metrics, RETURNED), explain_return),
        may_change,
    })
}

fn breaker_row(name: &'static str, state: BreakerState) -> BreakerRow {
    let (mark, means) = match state {
        BreakerState::Closed => ("●", "lets jobs through"),
        BreakerState::Open => ("✕", "lets none through for a while; entries take the direct route"),
        BreakerState::HalfOpen => ("▲", "lets one through to find out"),
    };
    BreakerRow { name, state: state.as_str(), mark, means }
}

fn executor_rows(executors: Vec<ExecutorLine>, suspects: &BTreeMap<String, f64>) -> Vec<ExecutorRow> {
    let row = |ExecutorLine { name, kind, state, heard, .. }| ExecutorRow {
        is_suspect: suspects.get(&name).is_some_and(|is| *is > 0.0),
        name,
        kind,
        state,
        heard: heard.map(Moment),
    };
    executors.into_iter().map(row).collect()
}

fn process(process: SubmittedProcess) -> ProcessRow {
    let SubmittedProcess { process, entries, oldest, poll } = process;
    ProcessRow { id: process.to_string(), entries: Count(entries), oldest: oldest.map(Moment), asked: Moment(poll) }
}

/// The non-zero counts, the greatest first.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts far below 2^53")]
fn reasons(counted: BTreeMap<String, f64>, explain: fn(&str) -> &'static str) -> Vec<Reason> {
    let mut counted: Vec<(String, f64)> = counted.into_iter().filter(|(_, count)| *count > 0.0).collect();
    counted.sort_by(|one, other| other.1.total_cmp(&one.1));
    let reason = |(name, count): (String, f64)| Reason { means: explain(&name), count: Count(count as u64), name };
    counted.into_iter().map(reason).collect()
}

/// The meaning of a rejected job.
fn explain_rejection(reason: &str) -> &'static str {
    match reason {
        "other_function" => "another function than `validate_revenue`: another program uses this type of executor",
        "not_attested" => "no gateway vouches for it: a member of the colony submitted it by itself",
        "attestation_unknown_key" => "a key that is not trusted here: add the gateway's to `ATTESTATION_PUBKEYS`",
        "attestation_signature" => "the signature is not that of the job: it was changed on the way, or forged",
        "attestation_too_old" | "attestation_from_the_future" => "its time is off: look at the clocks of both machines",
        "attestation_other_submitter" => "another member submitted it than the gateway that vouches",
        "attestation_replayed" => "it was done before: a copy",
        "other_ledger" => "it is for another ledger: bees and gateway must have the same database",
        "sealed_to_others" => "it is sealed to other keys: `SEALING_PUBKEYS` of the gateway lacks this bee's",
        _ => "it is not made as a gateway makes jobs",
    }
}

/// The meaning of returned entries.
fn explain_return(reason: &str) -> &'static str {
    match reason {
        "leases_lost" => "each bee that took the process let its lease end",
        "refused" => "a bee refused the job: its reasons stand above, or with the bee",
        "not_recorded" => {
            "a bee said that the event took effect, and the ledger does not know it: do both use one database?"
        }
        "unproven" => "a bee said that the event cannot be applied, and nothing proves it",
        "unknown_process" => "the server does not know the process any more",
        "cancelled" => "the process was cancelled",
        "no_result" | "missing" => "the process ended without a word about them",
        "unanswered" => "the bee could not ask Stripe about them",
        "too_old" => "no bee came round to the process in time",
        "clocks_differ" => "the clocks of bee and gateway are too far apart",
        "no_colony" => "the gateway started without the colony that had them",
        _ => "they wait again",
    }
}

/// `POST /console/colony/route`
pub(super) async fn turn_route(
    State(console): State<Console>,
    Extension(visitor): Visit,
    body: Body,
) -> Result<Redirect, Failure> {
    let form = Form::read(body).await?;
    let wish = match form.get("wish") {
        Some("auto") => Wish::Auto,
        Some("direct") => Wish::Direct,
        _ => return Err(Problem::Invalid { detail: "wish: must be auto or direct".to_owned() }.into()),
    };
    console.control.turn_route(&visitor.who, wish);
    Ok(Redirect::to(PATH))
}

/// `POST /console/colony/resume`
pub(super) async fn resume(State(console): State<Console>, Extension(visitor): Visit) -> Result<Redirect, Failure> {
    console.control.resume(&visitor.who).await?;
    Ok(Redirect::to(PATH))
}

/// `POST /console/colony/breakers/{name}`
pub(super) async fn turn_breaker(
    State(console): State<Console>,
    Extension(visitor): Visit,
    Path(name): Path<String>,
    body: Body,
) -> Result<Redirect, Failure> {
    let form = Form::read(body).await?;
    let detail = |error: crate::domain::named::UnknownName| Problem::Invalid { detail: format!("wish: {error}") };
    let wish: BreakerWish = form.get("wish").unwrap_or_default().parse().map_err(detail)?;
    console.control.turn_breaker(&visitor.who, &name, wish)?;
    Ok(Redirect::to(PATH))
}

/// The text of a reason, with its code separate.
impl Reason {
    fn prose(&self) -> Prose<&'static str> {
        Prose(self.means)
    }
}
