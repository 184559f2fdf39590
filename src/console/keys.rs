//! Each secret: where it comes from, its age, when it is due, its fingerprint, and whether it is still used. Never its value.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::Console;
use super::failure::Failure;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Count, Moment, Page, Prose};
use crate::admin::KeyLine;
use crate::config::Reread;
use crate::domain::counted::counted;

const DAY_SECONDS: u64 = 24 * 60 * 60;

#[derive(Debug)]
struct Row {
    line: KeyLine,
    about: Prose<String>,
    /// `3 days`
    age: Option<String>,
    due: Option<Moment>,
    uses: Option<Count>,
    last_use: Option<Moment>,
}

/// The result of reading settings again.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) at: Moment,
    pub(super) reread: Reread,
}

impl Reading {
    pub(super) fn of(reread: Reread) -> Self {
        Self { at: Moment(reread.at), reread }
    }
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    rows: Vec<Row>,
    reading: Option<Reading>,
    since: Moment,
}

/// `GET /console/keys`
pub(super) async fn show(State(console): State<Console>, Extension(visitor): Visit) -> Result<Response, Failure> {
    let control = &console.control;
    let now = control.context.inbox.clock().now();
    let row = |line: KeyLine| Row {
        about: Prose(line.about.clone()),
        age: line.written.map(|written| days(now.since(written).as_secs() / DAY_SECONDS)),
        due: line.due.map(Moment),
        uses: line.uses.map(Count),
        last_use: line.last_use.map(Moment),
        line,
    };
    let page = KeysPage {
        frame: Frame::new(&console, &visitor, "Keys", "Keys").await,
        rows: control.keys().await?.into_iter().map(row).collect(),
        reading: control.desk.settings.reread().map(Reading::of),
        since: Moment(control.desk.since),
    };
    Ok(Page(page).into_response())
}

fn days(days: u64) -> String {
    match days {
        0 => "today".to_owned(),
        days => counted(days, "day", "days"),
    }
}
