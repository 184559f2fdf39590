//! Subscriptions, list by list, without their users; and the same as a file for spreadsheets.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::Console;
use super::csv::{Csv, Part, Rest, Table};
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Moment, Page, tag};
use super::making::Making;
use crate::admin::asked;
use crate::domain::clock::Timestamp;
use crate::door::Problem;
use crate::ledger::desk::{Chosen, SUBSCRIPTIONS_MAX, SubscriptionPage, SubscriptionRow, SubscriptionsWanted};

pub(super) const PATH: &str = "/console/subscriptions";

/// Longest wait for the ledger's answer to one question.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Rows of a page.
const ROWS: u32 = 50;

/// Most pages of a file. It lacks those beyond, and says so.
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

async fn ask(console: &Console, wanted: &SubscriptionsWanted) -> Result<SubscriptionPage, Problem> {
    asked(LEDGER_ANSWER_MAX, console.control.ledger.subscription_page(wanted)).await
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

/// `GET /console/subscriptions.csv`, made while it is downloaded.
pub(super) async fn export(
    State(console): State<Console>,
    Extension(_): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let wanted = SubscriptionsWanted { most: SUBSCRIPTIONS_MAX, ..wanted(query)? };
    let name = format!("subscriptions-{}", wanted.chosen.as_str());
    let making = Making::begin(console, "subscriptions");
    let Part { text, rest } = Export { making, wanted, pages: 0 }.part().await?;
    Ok(Csv { name, text, rest }.into_response())
}

/// A file in the making.
struct Export {
    making: Making,
    /// Where it continues.
    wanted: SubscriptionsWanted,
    /// Pages already in it.
    pages: usize,
}

impl Export {
    /// The next page as rows, the first one with the head.
    async fn part(mut self) -> Result<Part, Problem> {
        let mut table = if self.pages == 0 { Table::new(&HEAD) } else { Table::more(HEAD.len()) };
        let turn = self.making.turn().await?;
        let page = ask(&self.making.console, &self.wanted).await?;
        drop(turn);
        for line in page.subscriptions {
            table.row(&cells(line));
        }
        (self.wanted.before, self.pages) = (page.next, self.pages + 1);
        let rest = match &self.wanted.before {
            Some(before) if self.pages == PAGES_MAX => {
                table.row(&[format!("more follow below {before}")]);
                None
            }
            Some(_) => Some(self.rest()),
            None => None,
        };
        Ok(Part { text: table.text, rest })
    }

    fn rest(self) -> Rest {
        Box::pin(self.part())
    }
}

/// The columns of [`cells`].
const HEAD: [&str; 14] = [
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

fn cells(line: SubscriptionRow) -> [String; HEAD.len()] {
    let until = line.ended_at_ms.or(line.grace_ends_at_ms).or(line.current_period_end_ms);
    [
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
