//! Every setting as it is in force, where it came from, what it is for; the report of `check`; versions; endpoints here and at
//! Stripe.

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Moment, Page, Prose};
use super::keys::Reading;
use crate::admin::{Checked, StripeEndpoint};
use crate::config::{LedgerConfig, SettingLine};
use crate::domain::clock::Timestamp;
use crate::door::Problem;
use crate::telemetry::diagnosis::{CheckStatus, Diagnosis};

const PATH: &str = "/console/settings";

#[derive(Debug)]
struct Row {
    line: SettingLine,
    about: Prose<&'static str>,
    is_default: bool,
}

/// Settings of one table of the file.
#[derive(Debug)]
struct Group {
    name: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Finding {
    component: &'static str,
    status: &'static str,
    /// The class for its colour, beside the sign.
    look: &'static str,
    mark: &'static str,
    detail: Prose<String>,
    action: Option<Prose<String>>,
}

/// The last report of `check`.
#[derive(Debug)]
struct Report {
    at: Option<Moment>,
    status: &'static str,
    findings: Vec<Finding>,
    endpoints: Vec<StripeEndpoint>,
    /// Why Stripe's endpoints are unknown.
    silence: Option<String>,
}

/// An endpoint of this gateway.
#[derive(Debug)]
struct Served {
    name: String,
    paths: String,
    mode: String,
    secrets: String,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    reading: Option<Reading>,
    wanted: String,
    only_set: bool,
    groups: Vec<Group>,
    shown: usize,
    total: usize,
    report: Option<Report>,
    served: Vec<Served>,
    facts: Vec<(&'static str, String)>,
    may_change: bool,
}

/// `GET /console/settings`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let form = Form::parse(&query.unwrap_or_default()).ok_or(Problem::InvalidRequest)?;
    let (wanted, only_set) = (form.get("q").unwrap_or_default().to_owned(), form.get("set").is_some());
    let desk = &console.control.desk;
    let lines = desk.settings.lines();
    let total = lines.len();
    let lines: Vec<SettingLine> = lines.into_iter().filter(|line| is_wanted(line, &wanted, only_set)).collect();
    let page = SettingsPage {
        frame: Frame::new(&console, &visitor, "Settings", "Settings").await,
        reading: desk.settings.reread().map(Reading::of),
        shown: lines.len(),
        total,
        groups: groups(lines),
        wanted,
        only_set,
        report: desk.checks.last().map(report),
        served: served(&console),
        facts: facts(&console),
        may_change: visitor.may_change(),
    };
    Ok(Page(page).into_response())
}

/// `POST /console/settings/check`: makes the report, which takes some seconds at most, and redirects to it.
pub(super) async fn check(State(console): State<Console>, Extension(visitor): Visit) -> Result<Redirect, Failure> {
    console.control.check(&visitor.who).await?;
    Ok(Redirect::to(&format!("{PATH}#check")))
}

fn is_wanted(line: &SettingLine, wanted: &str, only_set: bool) -> bool {
    let wanted = wanted.to_lowercase();
    let texts = [line.key, line.variable, line.about, line.value.as_deref().unwrap_or_default()];
    let has = texts.iter().any(|text| text.to_lowercase().contains(&wanted));
    has && (!only_set || !is_default(line))
}

fn is_default(line: &SettingLine) -> bool {
    matches!(line.origin.as_str(), "default" | "unset") && line.after_restart.is_none()
}

/// Settings by table, in the order of the manual.
fn groups(lines: Vec<SettingLine>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for line in lines {
        let name = line.key.split_once('.').map_or("general", |(table, _)| table);
        let row = Row { about: Prose(line.about), is_default: is_default(&line), line };
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { name, rows: vec![row] }),
        }
    }
    groups
}

fn report(checked: Checked) -> Report {
    let Checked { report, endpoints, silence } = checked;
    Report {
        at: Timestamp::parse_rfc3339(&report.checked_at).map(Moment),
        status: report.status.as_str(),
        findings: report.components.into_iter().map(finding).collect(),
        endpoints,
        silence,
    }
}

fn finding(diagnosis: Diagnosis) -> Finding {
    let (look, mark) = match diagnosis.status {
        CheckStatus::NotConfigured => ("settled", "○"),
        CheckStatus::Ok => ("ok", "●"),
        CheckStatus::Degraded => ("degraded", "▲"),
        CheckStatus::Down => ("down", "✕"),
    };
    Finding {
        component: diagnosis.component,
        status: diagnosis.status.as_str(),
        look,
        mark,
        detail: Prose(diagnosis.detail),
        action: diagnosis.action.map(Prose),
    }
}

fn served(console: &Console) -> Vec<Served> {
    let config = console.control.desk.settings.started();
    let served = config.endpoints.iter().map(|endpoint| {
        let prints = endpoint.secrets.get().iter().map(|secret| secret.fingerprint().to_string()).collect::<Vec<_>>();
        Served {
            name: endpoint.name.to_string(),
            paths: endpoint.paths.join(" "),
            mode: format!("{:?}, {:?}", endpoint.mode, endpoint.payload).to_lowercase(),
            secrets: prints.join(" "),
        }
    });
    served.collect()
}

/// Facts about this process, in pairs.
fn facts(console: &Console) -> Vec<(&'static str, String)> {
    let config = console.control.desk.settings.started();
    let ledger = match &config.ledger {
        LedgerConfig::Sqlite { .. } => "SQLite, in a file of this machine",
        LedgerConfig::Postgres { .. } => "PostgreSQL",
        LedgerConfig::Supabase { .. } => "PostgreSQL, through Supabase's REST",
    };
    let inbox = if config.inbox.url.is_some() { "PostgreSQL, shared by gateways" } else { "a file of this gateway" };
    vec![
        ("Gateway", format!("version {}", env!("CARGO_PKG_VERSION"))),
        ("Inbox", inbox.to_owned()),
        ("Ledger", ledger.to_owned()),
        ("API version asked of Stripe", crate::admin::STRIPE_API_VERSION.to_owned()),
    ]
}
