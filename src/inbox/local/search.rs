//! Searching entries, page by page.
//!
//! Guarantees: paging by key, so that each entry comes once, even if others arrive or change; a page looks at a bounded number
//! of rows and bodies and gives the reader's connection back between bounded windows, so that webhooks and pumps do not wait
//! for a search. A page may therefore be short, or empty, and still have a next one.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::LocalInbox;
use super::body;
use super::event_ids::ENTRIES_OF_EVENT;
use super::report::{COLUMNS, report};
use crate::domain::ids::EntryId;
use crate::inbox::body::Unpacker;
use crate::inbox::error::InboxError;
use crate::inbox::reference::WINDOW_CANDIDATES;
use crate::inbox::report::EntryReport;
use crate::inbox::search::{Direction, Part, WINDOW_BODIES, WINDOW_ROWS, Window};
use crate::inbox::selection::Selection;
use crate::inbox::state::StateName;

impl LocalInbox {
    pub(in crate::inbox) async fn window(
        &self,
        selection: Selection,
        direction: Direction,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Window, InboxError> {
        let Some((leads, covered)) = selection.leads().zip(self.covered().await?) else {
            return self.read(move |connection| window(connection, &selection, direction, (after, None), limit)).await;
        };
        match Part::next(direction, after.map(|after| after.0), covered) {
            Part::Rest => {
                let floor = (direction == Direction::Newest).then_some(covered);
                let look =
                    move |connection: &mut Connection| window(connection, &selection, direction, (after, floor), limit);
                let Window { found, last } = self.read(look).await?;
                // The part that the index covers comes next.
                Ok(Window { found, last: last.or(floor.map(|covered| covered + 1)) })
            }
            Part::Indexed => {
                let ids = self.led_to(leads, direction, after, covered).await?;
                let is_last = ids.len() < WINDOW_CANDIDATES;
                let Window { found, last } =
                    self.read(move |connection| among(connection, &selection, &ids, limit)).await?;
                let rest = (direction == Direction::Oldest).then_some(covered);
                Ok(Window { found, last: if last.is_none() && is_last { rest } else { last } })
            }
        }
    }

    pub(in crate::inbox) async fn bodies(
        &self,
        entries: Vec<EntryId>,
        bytes_max: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, InboxError> {
        self.read(move |connection| {
            let (mut bodies, mut bytes, mut unpacker) = (Vec::new(), 0_usize, Unpacker::default());
            for entry in entries {
                let body = body::of_entry(connection, &mut unpacker, entry.0)?;
                bytes = bytes.saturating_add(body.as_ref().map_or(0, Vec::len));
                if bytes > bytes_max && !bodies.is_empty() {
                    break;
                }
                bodies.push(body);
            }
            Ok(bodies)
        })
        .await
    }
}

/// The index that the statement must use.
fn index(selection: &Selection) -> &'static str {
    let within =
        |states: &[StateName]| !selection.states.is_empty() && selection.states.iter().all(|s| states.contains(s));
    if within(&[StateName::Dead, StateName::Quarantined]) {
        "AND state > 3"
    } else if within(&[StateName::Waiting, StateName::Leased, StateName::Submitted]) {
        "AND state < 3"
    } else {
        ""
    }
}

/// The numbers of entries that a selection names one by one.
fn named(connection: &Connection, selection: &Selection) -> rusqlite::Result<HashSet<i64>> {
    let mut ids: HashSet<i64> = selection.entries.iter().map(|entry| entry.0).collect();
    let mut statement = connection.prepare_cached(ENTRIES_OF_EVENT)?;
    for event in &selection.events {
        for id in statement.query_map([event], |row| row.get(0))? {
            ids.insert(id?);
        }
    }
    Ok(ids)
}

/// Looks at the next rows after `after` and above `floor`, oldest or newest first. Stops early once it has found `limit`
/// entries.
fn window(
    connection: &Connection,
    selection: &Selection,
    direction: Direction,
    (after, floor): (Option<EntryId>, Option<i64>),
    limit: usize,
) -> rusqlite::Result<Window> {
    let (compare, order) = match direction {
        Direction::Newest => ("<", "DESC"),
        Direction::Oldest => (">", "ASC"),
    };
    let start = after.map_or(if direction == Direction::Newest { i64::MAX } else { i64::MIN }, |after| after.0);
    let (condition, ids) = if selection.is_by_id() {
        let ids = named(connection, selection)?;
        // Numbers only, so no text can get into the statement.
        let list: Vec<String> = ids.iter().map(ToString::to_string).collect();
        (format!("AND id IN ({})", list.join(", ")), ids.len())
    } else {
        (index(selection).to_owned(), WINDOW_ROWS)
    };
    let rows_max = ids.max(WINDOW_ROWS);
    let sql = format!(
        "SELECT {COLUMNS} FROM entries WHERE id {compare} ? AND id > ? {condition} ORDER BY id {order} LIMIT ?"
    );
    let mut statement = connection.prepare(&sql)?;
    let bounds = [start, floor.unwrap_or(i64::MIN), i64::try_from(rows_max).unwrap_or(i64::MAX)];
    let mut rows = statement.query(params_from_iter(bounds))?;
    let mut look = Look::new(connection, selection);
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        seen += 1;
        if look.at(report(row)?, limit)? {
            return Ok(look.window);
        }
    }
    let last = look.window.last.filter(|_| seen == rows_max);
    Ok(Window { last, ..look.window })
}

/// Looks at the entries that the index leads to, in this order.
fn among(connection: &Connection, selection: &Selection, ids: &[i64], limit: usize) -> rusqlite::Result<Window> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?;
    let mut look = Look { wants_bodies: selection.wants_bodies_of_indexed(), ..Look::new(connection, selection) };
    for id in ids {
        // An entry that is gone is skipped.
        if let Some(entry) = statement.query_row([id], report).optional()?
            && look.at(entry, limit)?
        {
            return Ok(look.window);
        }
    }
    let last = ids.last().copied().filter(|_| ids.len() == WINDOW_CANDIDATES);
    Ok(Window { last, ..look.window })
}

/// Looks at one entry after the other.
struct Look<'a> {
    connection: &'a Connection,
    selection: &'a Selection,
    wants_bodies: bool,
    unpacker: Unpacker,
    bodies: usize,
    window: Window,
}

impl<'a> Look<'a> {
    fn new(connection: &'a Connection, selection: &'a Selection) -> Self {
        let window = Window { found: Vec::new(), last: None };
        let wants_bodies = selection.wants_bodies();
        Self { connection, selection, wants_bodies, unpacker: Unpacker::default(), bodies: 0, window }
    }

    /// Takes an entry if the selection means it. Returns whether the window is full.
    fn at(&mut self, entry: EntryReport, limit: usize) -> rusqlite::Result<bool> {
        self.window.last = Some(entry.entry.0);
        let mut fits = self.selection.fits(&entry);
        if fits && self.wants_bodies {
            self.bodies += 1;
            fits = body::of_entry(self.connection, &mut self.unpacker, entry.entry.0)?
                .is_some_and(|body| self.selection.fits_body(&entry, &body));
        }
        if fits {
            self.window.found.push(entry);
        }
        Ok(self.window.found.len() >= limit || self.bodies >= WINDOW_BODIES)
    }
}
