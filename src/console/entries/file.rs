//! The entries that a filter matches as a file for spreadsheets, without their bodies.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::super::Console;
use super::super::csv::{Csv, Part, Rest, Table};
use super::super::failure::Failure;
use super::super::gate::Visit;
use super::super::making::Making;
use super::wanted;
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::{EntryReport, Listed, PAGE_ENTRIES_MAX, Selection};

/// Most rows of a file. It lacks those beyond, and says so.
const ROWS_MAX: usize = 100_000;

/// `GET /console/entries.csv`, made while it is downloaded.
pub(in crate::console) async fn export(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let selection = wanted(&visitor, &query.unwrap_or_default())?.selection;
    let making = Making::begin(console, "entries");
    let Part { text, rest } = Export { making, selection, after: None, rows: 0 }.part().await?;
    Ok(Csv { name: "entries".to_owned(), text, rest }.into_response())
}

/// A file that is being made.
struct Export {
    making: Making,
    selection: Selection,
    /// Where it continues; `None` at its beginning.
    after: Option<EntryId>,
    /// Rows already in it.
    rows: usize,
}

impl Export {
    /// The next page as rows, the first one with the head.
    async fn part(mut self) -> Result<Part, Problem> {
        let mut table = if self.after.is_none() { Table::new(&HEAD) } else { Table::more(HEAD.len()) };
        let turn = self.making.turn().await?;
        let inbox = &self.making.console.control.context.inbox;
        let page = inbox.list(&self.selection, self.after, PAGE_ENTRIES_MAX, false).await;
        let page = page.map_err(Problem::InboxUnavailable)?;
        drop(turn);
        self.rows += page.entries.len();
        for Listed { entry, .. } in page.entries {
            table.row(&cells(entry));
        }
        self.after = page.next;
        let rest = match self.after {
            Some(after) if self.rows >= ROWS_MAX => {
                table.row(&[format!("more follow below entry {after}")]);
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
const HEAD: [&str; 16] = [
    "entry", "event", "type", "state", "received", "ended", "outcome", "code", "reason", "endpoint", "livemode",
    "account", "source", "attempts", "crashes", "process",
];

fn cells(entry: EntryReport) -> [String; HEAD.len()] {
    [
        entry.entry.to_string(),
        entry.event_id,
        entry.event_type,
        entry.state.as_str().to_owned(),
        entry.received.to_string(),
        entry.ended.map(|at| at.to_string()).unwrap_or_default(),
        entry.outcome.unwrap_or_default(),
        entry.code.unwrap_or_default(),
        entry.reason.unwrap_or_default(),
        entry.endpoint,
        entry.livemode.map(|livemode| livemode.to_string()).unwrap_or_default(),
        entry.account.unwrap_or_default(),
        entry.source,
        entry.attempts.to_string(),
        entry.crashes.to_string(),
        entry.process.unwrap_or_default(),
    ]
}
