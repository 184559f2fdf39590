//! Subscriptions, list by list, without their users; and the same as a file for spreadsheets.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::Console;
use super::csv::{Csv, table};
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Moment, Page, tag};
use crate::domain::clock::Timestamp;
use crate::door::Problem;
use crate::ledger::desk::{Chosen, SUBSCRIPTIONS_MAX, SubscriptionPage, SubscriptionRow, SubscriptionsWanted};

pub(super) const PATH: &str = "/console/subscriptions";

/// Longest wait for the ledger.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Rows of a page.
const ROWS: u32 = 50;

/// Most pages of a file: what is beyond is not in it, and the file says so.
const PAGES_MAX: usize = 200;

/// A list to choose.
#[derive(Debug)]
struct Choice {
    name: &'static str,
    words: &'static str,
    is_open: bool,
}

#[derive(Debug)]
struct Row {
    line: SubscriptionRow,
    monthly: String,
    until: Option<Moment>,
}

#[derive(Template)]
#[template(path = "subscriptions.html")]
struct SubscriptionsPage {
    frame: Frame,
    choices: Vec<Choice>,
    chosen: &'static str,
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
}

const fn words(chosen: Chosen) -> &'static str {
    match chosen {
        Chosen::All => "All",
        Chosen::Active => "Giving access",
        Chosen::Ending => "Ending",
        Chosen::Late => "Late",
        Chosen::Idle => "Paid without access",
        Chosen::Unmapped => "Without a tier",
        Chosen::Ended => "Ended",
    }
}

fn wanted(query: Option<String>) -> Result<SubscriptionsWanted, Failure> {
    let form = Form::parse(&query.unwrap_or_default()).ok_or(Problem::InvalidRequest)?;
    let chosen = match form.get("list") {
        None => Chosen::All,
        Some(name) => Chosen::ALL.into_iter().find(|chosen| chosen.as_str() == name).ok_or(Problem::NotFound)?,
    };
    let before = form.get("before").map(str::to_owned);
    Ok(SubscriptionsWanted { chosen, before, most: ROWS })
}

async fn ask(console: &Console, wanted: &SubscriptionsWanted) -> Result<SubscriptionPage, Failure> {
    let asked = tokio::time::timeout(LEDGER_ANSWER_MAX, console.control.ledger.subscription_page(wanted)).await;
    asked.ok().and_then(Result::ok).ok_or_else(|| Problem::LedgerSilent.into())
}

/// `GET /console/subscriptions`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let wanted = wanted(query)?;
    let found = ask(&console, &wanted).await?;
    let choice =
        |chosen: Chosen| Choice { name: chosen.as_str(), words: words(chosen), is_open: chosen == wanted.chosen };
    let page = SubscriptionsPage {
        frame: Frame::new(&console, &visitor, "Subscriptions", "Subscriptions").await,
        choices: Chosen::ALL.into_iter().map(choice).collect(),
        chosen: wanted.chosen.as_str(),
        rows: found.subscriptions.into_iter().map(row).collect(),
        next: found.next,
        is_first: wanted.before.is_none(),
    };
    Ok(Page(page).into_response())
}

fn row(line: SubscriptionRow) -> Row {
    let until = line.ended_at_ms.or(line.grace_ends_at_ms).or(line.current_period_end_ms);
    Row {
        monthly: tag(line.mrr_minor, line.currency.as_deref()),
        until: until.map(|at| Moment(Timestamp::from_millis(at))),
        line,
    }
}

/// `GET /console/subscriptions.csv`
pub(super) async fn export(
    State(console): State<Console>,
    Extension(_): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let mut wanted = wanted(query)?;
    wanted.most = SUBSCRIPTIONS_MAX;
    let mut rows = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = ask(&console, &wanted).await?;
        rows.extend(page.subscriptions.into_iter().map(cells));
        wanted.before = page.next;
        if wanted.before.is_none() {
            break;
        }
    }
    if let Some(before) = &wanted.before {
        rows.push(vec![format!("more follow below {before}")]);
    }
    let head = [
        "subscription",
        "livemode",
        "account",
        "customer",
        "status",
        "gives_access",
        "tier",
        "currency",
        "mrr_minor",
        "will_cancel",
        "price",
        "has_user",
        "until",
        "gives_nothing_because",
    ];
    Ok(Csv { name: format!("subscriptions-{}", wanted.chosen.as_str()), text: table(&head, &rows) }.into_response())
}

fn cells(line: SubscriptionRow) -> Vec<String> {
    let until = line.ended_at_ms.or(line.grace_ends_at_ms).or(line.current_period_end_ms);
    vec![
        line.id,
        line.livemode.to_string(),
        line.account.unwrap_or_default(),
        line.customer_id.unwrap_or_default(),
        line.status,
        line.entitles.to_string(),
        line.tier.unwrap_or_default(),
        line.currency.unwrap_or_default(),
        line.mrr_minor.to_string(),
        line.will_cancel.to_string(),
        line.price_id.unwrap_or_default(),
        line.has_user.to_string(),
        until.map(|at| Timestamp::from_millis(at).to_string()).unwrap_or_default(),
        line.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
    ]
}
