//! Money: what recurs, now and over time, and what came in and went out, day by day.
//!
//! Guarantees: modes, accounts and currencies are never added up, a page shows one of each; nothing here names a user.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::Console;
use super::csv::{Csv, table};
use super::days::{DayChart, Days, Series, Unit};
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Page, Prose, tag};
use crate::admin::asked;
use crate::domain::counted::counted;
use crate::door::Problem;
use crate::ledger::desk::{BUSINESS_DAYS_MAX, Business, IdleLine, UnmappedLine};
use crate::ledger::report::RecurringLine;

pub(super) const PATH: &str = "/console/revenue";

/// Longest wait for the ledger.
const LEDGER_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Numbers of days that a person can look back on.
const SPANS: [u32; 3] = [30, 90, 365];

/// Days of a file. The page and the file's name say so.
const FILE_DAYS: u32 = BUSINESS_DAYS_MAX;

/// Money that is never added up with other money.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Book {
    /// Live comes before test.
    is_test: bool,
    /// The operator's own account comes before others.
    account: Option<String>,
    currency: Option<String>,
}

impl Book {
    fn of(livemode: bool, account: Option<&str>, currency: Option<&str>) -> Self {
        Self { is_test: !livemode, account: account.map(str::to_owned), currency: currency.map(str::to_owned) }
    }

    /// The name in addresses.
    fn name(&self) -> String {
        let mode = if self.is_test { "test" } else { "live" };
        format!("{mode}.{}.{}", self.currency.as_deref().unwrap_or("-"), self.account.as_deref().unwrap_or("own"))
    }

    fn words(&self) -> String {
        let mode = if self.is_test { "Test" } else { "Live" };
        let currency = self.currency.as_deref().map_or_else(|| "no currency".to_owned(), str::to_uppercase);
        match &self.account {
            Some(account) => format!("{mode} {currency}, {account}"),
            None => format!("{mode} {currency}"),
        }
    }
}

#[derive(Debug)]
struct Tab {
    words: String,
    query: String,
    is_open: bool,
}

#[derive(Debug)]
struct Tile {
    name: String,
    value: String,
    path: Option<&'static str>,
    is_bad: bool,
}

#[derive(Debug)]
struct Tier {
    name: String,
    subscriptions: u64,
    monthly: String,
}

#[derive(Debug)]
struct Idle {
    line: IdleLine,
    monthly: String,
    advice: Prose<&'static str>,
}

#[derive(Debug)]
struct Unmapped {
    line: UnmappedLine,
    monthly: String,
}

#[derive(Template)]
#[template(path = "revenue.html")]
struct RevenuePage {
    frame: Frame,
    books: Vec<Tab>,
    spans: Vec<Tab>,
    words: String,
    day: String,
    /// Whether the account is a connected one.
    is_foreign: bool,
    tiles: Vec<Tile>,
    charts: Vec<DayChart>,
    tiers: Vec<Tier>,
    idle: Vec<Idle>,
    unmapped: Vec<Unmapped>,
    /// How many prices without a tier are not named.
    more_unmapped: u64,
    file_days: u32,
    has_history: bool,
}

async fn ask(console: &Console, days: u32) -> Result<Business, Failure> {
    Ok(asked(LEDGER_ANSWER_MAX, console.control.ledger.business(days)).await?)
}

/// `GET /console/revenue`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let form = Form::parse(&query.unwrap_or_default()).ok_or(Problem::InvalidRequest)?;
    let span = form.get("days").and_then(|days| days.parse().ok()).filter(|days| SPANS.contains(days));
    let span = span.unwrap_or(SPANS[0]);
    let business = ask(&console, span).await?;
    let books = books(&business);
    let chosen = form.get("book").and_then(|name| books.iter().find(|book| book.name() == name));
    let book = chosen.or(books.first()).cloned().unwrap_or_else(|| Book::of(true, None, None));
    let days = Days::up_to(&business.day, span);
    let view = View { business: &business, book: &book, days: &days };
    let tab = |is_open, words, book: &Book, days: u32| Tab {
        words,
        query: format!("book={}&days={days}", book.name()),
        is_open,
    };
    let page = RevenuePage {
        frame: Frame::new(&console, &visitor, "Revenue", "Revenue").await,
        books: books.iter().map(|one| tab(*one == book, one.words(), one, span)).collect(),
        spans: SPANS.map(|days| tab(days == span, counted(days, "day", "days"), &book, days)).into(),
        words: book.words(),
        is_foreign: book.account.is_some(),
        tiles: view.tiles(span),
        charts: vec![view.recurring_chart(), view.money_chart(), view.moved_chart()],
        tiers: view.tiers(),
        idle: view.idle(),
        more_unmapped: view.more_unmapped(),
        unmapped: view.unmapped(),
        file_days: FILE_DAYS,
        has_history: view.has_history(),
        day: business.day.clone(),
    };
    Ok(Page(page).into_response())
}

fn books(business: &Business) -> Vec<Book> {
    let noted = business.history.iter().filter(|line| !line.is_of_nothing());
    let recurring = business.recurring.iter().chain(noted.map(|line| &line.line));
    let recurring = recurring.map(|line| Book::of(line.livemode, line.account.as_deref(), line.currency.as_deref()));
    let daily = business.daily.iter();
    let daily = daily.map(|line| Book::of(line.livemode, line.account.as_deref(), Some(&line.currency)));
    let idle = business.idle.iter();
    let idle = idle.map(|line| Book::of(line.livemode, line.account.as_deref(), line.currency.as_deref()));
    let moved = business.moved.iter();
    let moved = moved.map(|line| Book::of(line.livemode, line.account.as_deref(), line.currency.as_deref()));
    let all: std::collections::BTreeSet<Book> = recurring.chain(daily).chain(idle).chain(moved).collect();
    all.into_iter().collect()
}

/// One book of a business.
struct View<'a> {
    business: &'a Business,
    book: &'a Book,
    days: &'a Days,
}

impl View<'_> {
    fn is_mine(&self, livemode: bool, account: Option<&str>, currency: Option<&str>) -> bool {
        Book::of(livemode, account, currency) == *self.book
    }

    fn recurring(&self) -> impl Iterator<Item = &RecurringLine> {
        let lines = self.business.recurring.iter();
        lines.filter(|line| self.is_mine(line.livemode, line.account.as_deref(), line.currency.as_deref()))
    }

    fn money(&self, minor: i64) -> String {
        tag(minor, self.book.currency.as_deref())
    }

    fn tiles(&self, span: u32) -> Vec<Tile> {
        let tile = |name: &str, value, path, is_bad| Tile { name: name.to_owned(), value, path, is_bad };
        let daily: Vec<_> = self.daily().collect();
        let sum = |of: fn(&crate::ledger::report::DayLine) -> i64| daily.iter().map(|line| of(line)).sum::<i64>();
        let moved = self.moved();
        let (began, ended) = moved.iter().fold((0, 0), |(began, ended), (_, more, less)| (began + more, ended + less));
        let subscriptions: u64 = self.recurring().map(|line| line.subscriptions).sum();
        let idle: u64 = self.idle_lines().map(|line| line.subscriptions).sum();
        let held: i64 = self.idle_lines().map(|line| line.mrr_minor).sum();
        let recurs = self.recurring().map(|line| line.mrr_minor).sum();
        let time = if span == 365 { "a year".to_owned() } else { counted(span, "day", "days") };
        let (money_in, money_out, net) = (format!("In, {time}"), format!("Out, {time}"), format!("Net, {time}"));
        vec![
            tile("Recurs a month", self.money(recurs), None, false),
            tile("Giving access", subscriptions.to_string(), Some("/console/subscriptions?list=active"), false),
            tile(&money_in, self.money(sum(|line| line.gross_minor)), None, false),
            tile(&money_out, self.money(sum(|line| line.returned_minor)), None, false),
            tile(&net, self.money(sum(|line| line.net_minor)), None, false),
            tile("Began and ended", format!("{began} and {ended}"), None, false),
            tile("Pay and get nothing", idle.to_string(), Some("/console/subscriptions?list=idle"), idle > 0),
            tile("They pay a month", self.money(held), None, held > 0),
        ]
    }

    /// Money of the days shown. Stripe's test clocks also bring money of later days.
    fn daily(&self) -> impl Iterator<Item = &crate::ledger::report::DayLine> {
        let lines = self.business.daily.iter().filter(|line| self.days.place(&line.day).is_some());
        lines.filter(|line| self.is_mine(line.livemode, line.account.as_deref(), Some(&line.currency)))
    }

    fn moved(&self) -> Vec<(usize, i64, i64)> {
        let lines = self.business.moved.iter();
        let mine = lines.filter(|line| self.is_mine(line.livemode, line.account.as_deref(), line.currency.as_deref()));
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        mine.filter_map(|line| Some((self.days.place(&line.day)?, count(line.began), count(line.ended)))).collect()
    }

    /// Recurring revenue by tier; for today, the present one. On a day that has a note, a tier without a line had nothing.
    fn recurring_chart(&self) -> DayChart {
        let mut tiers: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
        let mut empty = vec![None; self.days.len()];
        let noted = self.business.history.iter().map(|line| &line.day).chain([&self.business.day]);
        for at in noted.filter_map(|day| self.days.place(day)) {
            if let Some(slot) = empty.get_mut(at) {
                *slot = Some(0);
            }
        }
        let empty = || empty.clone();
        let name = |tier: Option<&str>| tier.unwrap_or("no tier").to_owned();
        // Of today there is more than the note.
        let lines = self.business.history.iter().filter(|line| line.day != self.business.day);
        let mine = lines.filter(|day| {
            let line = &day.line;
            !day.is_of_nothing() && self.is_mine(line.livemode, line.account.as_deref(), line.currency.as_deref())
        });
        for day in mine {
            let values = tiers.entry(name(day.line.tier.as_deref())).or_insert_with(empty);
            if let Some(slot) = self.days.place(&day.day).and_then(|at| values.get_mut(at)) {
                *slot = Some(day.line.mrr_minor);
            }
        }
        for line in self.recurring() {
            let values = tiers.entry(name(line.tier.as_deref())).or_insert_with(empty);
            if let Some(slot) = values.last_mut() {
                *slot = Some(line.mrr_minor);
            }
        }
        let series: Vec<Series> = tiers.into_iter().map(|(name, values)| Series { name, values }).collect();
        let now = self.money(self.recurring().map(|line| line.mrr_minor).sum());
        let unit = Unit::Money(self.book.currency.as_deref());
        DayChart::of(("recurring", "Recurs a month, by tier"), self.days, unit, format!("{now} now"), &series)
    }

    fn money_chart(&self) -> DayChart {
        let zero = || vec![Some(0); self.days.len()];
        let (mut gross, mut returned, mut net) = (zero(), zero(), zero());
        for line in self.daily() {
            let Some(at) = self.days.place(&line.day) else { continue };
            for (values, value) in
                [(&mut gross, line.gross_minor), (&mut returned, line.returned_minor), (&mut net, line.net_minor)]
            {
                if let Some(slot) = values.get_mut(at) {
                    *slot = Some(value);
                }
            }
        }
        let total: i64 = net.iter().flatten().sum();
        let series = [("in", gross), ("net", net), ("out", returned)];
        let series = series.map(|(name, values)| Series { name: name.to_owned(), values });
        let unit = Unit::Money(self.book.currency.as_deref());
        let sentence = format!("{} net in this time; what went out is negative", self.money(total));
        DayChart::of(("money", "In, out and net, by day"), self.days, unit, sentence, &series)
    }

    fn moved_chart(&self) -> DayChart {
        let zero = || vec![Some(0); self.days.len()];
        let (mut began, mut ended) = (zero(), zero());
        for (at, more, less) in self.moved() {
            for (values, value) in [(&mut began, more), (&mut ended, less)] {
                if let Some(slot) = values.get_mut(at) {
                    *slot = Some(value);
                }
            }
        }
        let sum = |values: &[Option<i64>]| values.iter().flatten().sum::<i64>();
        let sentence = format!("{} began and {} ended in this time", sum(&began), sum(&ended));
        let series = [("began", began), ("ended", ended)];
        let series = series.map(|(name, values)| Series { name: name.to_owned(), values });
        DayChart::of(("moved", "Subscriptions that began and ended"), self.days, Unit::Subscriptions, sentence, &series)
    }

    fn tiers(&self) -> Vec<Tier> {
        let tier = |line: &RecurringLine| Tier {
            name: line.tier.clone().unwrap_or_else(|| "no tier".to_owned()),
            subscriptions: line.subscriptions,
            monthly: self.money(line.mrr_minor),
        };
        self.recurring().map(tier).collect()
    }

    fn idle_lines(&self) -> impl Iterator<Item = &IdleLine> {
        let lines = self.business.idle.iter();
        lines.filter(|line| self.is_mine(line.livemode, line.account.as_deref(), line.currency.as_deref()))
    }

    fn idle(&self) -> Vec<Idle> {
        let idle = |line: &IdleLine| Idle {
            monthly: self.money(line.mrr_minor),
            advice: Prose(line.reason.advice()),
            line: line.clone(),
        };
        self.idle_lines().map(idle).collect()
    }

    fn unmapped_lines(&self) -> impl Iterator<Item = &UnmappedLine> {
        let lines = self.business.unmapped.iter();
        lines.filter(|line| self.is_mine(line.livemode, line.account.as_deref(), line.currency.as_deref()))
    }

    fn unmapped(&self) -> Vec<Unmapped> {
        let unmapped = |line: &UnmappedLine| Unmapped { monthly: self.money(line.mrr_minor), line: line.clone() };
        self.unmapped_lines().map(unmapped).collect()
    }

    fn more_unmapped(&self) -> u64 {
        let all = self.unmapped_lines().map(|line| line.prices).max().unwrap_or_default();
        all.saturating_sub(self.unmapped_lines().count() as u64)
    }

    fn has_history(&self) -> bool {
        self.business.history.iter().any(|line| line.day != self.business.day)
    }
}

/// `GET /console/revenue.csv`: money by day, or with `what=recurring` recurring revenue by day.
pub(super) async fn export(
    State(console): State<Console>,
    Extension(_): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let form = Form::parse(&query.unwrap_or_default()).ok_or(Problem::InvalidRequest)?;
    let business = ask(&console, FILE_DAYS).await?;
    let mode = |livemode: bool| if livemode { "live" } else { "test" }.to_owned();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if form.get("what") == Some("recurring") {
        let row = |day: &str, line: &RecurringLine| {
            let (subscriptions, minor) = (line.subscriptions.to_string(), line.mrr_minor.to_string());
            let (account, tier, currency) = (text(&line.account), text(&line.tier), text(&line.currency));
            vec![day.to_owned(), mode(line.livemode), account, tier, currency, subscriptions, minor]
        };
        let past = business.history.iter().filter(|line| line.day != business.day);
        let past = past.map(|line| row(&line.day, &line.line));
        let now = business.recurring.iter().map(|line| row(&business.day, line));
        // As in a note: a day without a line is one that is not known.
        let nothing =
            RecurringLine { livemode: true, account: None, tier: None, currency: None, subscriptions: 0, mrr_minor: 0 };
        let nothing = business.recurring.is_empty().then(|| row(&business.day, &nothing));
        let rows: Vec<Vec<String>> = past.chain(now).chain(nothing).collect();
        let head = ["day", "mode", "account", "tier", "currency", "subscriptions", "mrr_minor"];
        return Ok(
            Csv { name: format!("recurring-{FILE_DAYS}-days"), text: table(&head, &rows), rest: None }.into_response()
        );
    }
    let row = |line: &crate::ledger::report::DayLine| {
        let minor = [line.gross_minor, line.returned_minor, line.net_minor, line.outside_minor];
        let first = [line.day.clone(), mode(line.livemode), text(&line.account), line.currency.clone()];
        first.into_iter().chain(minor.map(|minor| minor.to_string())).collect()
    };
    let rows: Vec<Vec<String>> = business.daily.iter().map(row).collect();
    let head = ["day", "mode", "account", "currency", "in_minor", "out_minor", "net_minor", "not_stripes_minor"];
    Ok(Csv { name: format!("revenue-{FILE_DAYS}-days"), text: table(&head, &rows), rest: None }.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::desk::{HistoryLine, MovedLine};
    use crate::ledger::report::DayLine;

    fn recurs(tier: &str, mrr_minor: i64) -> RecurringLine {
        let text = |text: &str| Some(text.to_owned());
        RecurringLine {
            livemode: false,
            account: None,
            tier: text(tier),
            currency: text("cad"),
            subscriptions: 1,
            mrr_minor,
        }
    }

    fn noted(day: &str, tier: &str, mrr_minor: i64) -> HistoryLine {
        HistoryLine { day: day.to_owned(), line: recurs(tier, mrr_minor) }
    }

    /// The tiers of the chart with the values of its three days, the newest first.
    fn chart(business: &Business) -> Vec<(String, String, Vec<String>)> {
        let (book, days) = (Book::of(false, None, Some("cad")), Days::up_to(&business.day, 3));
        let chart = View { business, book: &book, days: &days }.recurring_chart();
        let values = |at: usize| chart.rows.iter().map(|row| row.values[at].clone()).collect();
        chart.lines.iter().enumerate().map(|(at, line)| (line.name.clone(), line.last.clone(), values(at))).collect()
    }

    #[test]
    fn a_tier_in_which_nothing_recurs_any_more_is_at_nothing_and_not_at_its_last_value() {
        let business = Business {
            day: "2026-03-03".to_owned(),
            recurring: vec![recurs("silver", 700)],
            history: vec![
                noted("2026-03-01", "bronze", 300),
                noted("2026-03-01", "gold", 2000),
                noted("2026-03-03", "bronze", 300),
                noted("2026-03-03", "silver", 500),
            ],
            ..Business::default()
        };
        let line = |name: &str, last: &str, values: [&str; 3]| {
            (name.to_owned(), last.to_owned(), values.map(str::to_owned).to_vec())
        };
        let expected = [
            line("bronze", "0.00 CAD", ["0.00 CAD", "–", "3.00 CAD"]),
            line("gold", "0.00 CAD", ["0.00 CAD", "–", "20.00 CAD"]),
            line("silver", "7.00 CAD", ["7.00 CAD", "–", "0.00 CAD"]),
        ];
        assert_eq!(chart(&business), expected, "the note of today is of earlier; a day without a note is a gap");
    }

    #[test]
    fn tiles_and_charts_of_a_page_count_the_same_days() {
        let day = |day: &str, gross_minor: i64| DayLine {
            account: None,
            livemode: false,
            day: day.to_owned(),
            currency: "cad".to_owned(),
            gross_minor,
            returned_minor: 0,
            net_minor: gross_minor,
            outside_minor: 0,
        };
        let moved = MovedLine {
            day: "2027-03-01".to_owned(),
            livemode: false,
            account: None,
            currency: Some("cad".to_owned()),
            began: 1,
            ended: 0,
        };
        let business = Business {
            day: "2026-03-03".to_owned(),
            daily: vec![day("2026-03-03", 500), day("2027-03-01", 9900)],
            moved: vec![moved],
            ..Business::default()
        };
        let (book, days) = (Book::of(false, None, Some("cad")), Days::up_to(&business.day, 30));
        let view = View { business: &business, book: &book, days: &days };
        let tiles: BTreeMap<_, _> = view.tiles(30).into_iter().map(|tile| (tile.name, tile.value)).collect();
        assert_eq!((tiles["In, 30 days"].as_str(), tiles["Net, 30 days"].as_str()), ("5.00 CAD", "5.00 CAD"));
        assert_eq!(tiles["Began and ended"], "0 and 0");
        assert!(view.money_chart().sentence.starts_with("5.00 CAD net in this time"), "{:?}", view.money_chart());
    }
}
