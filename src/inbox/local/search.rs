//! Searching entries, page by page.
//!
//! Guarantees: paging by key, so that each entry comes once whatever arrives or changes meanwhile; a page looks at a
//! bounded number of rows and bodies and gives the reader's connection back between bounded windows, so that webhooks
//! and pumps do not wait for a search. A page may therefore be short, or empty, and still have a next one.

use std::collections::HashSet;

use rusqlite::{Connection, params_from_iter};

use super::LocalInbox;
use super::body;
use super::event_ids::ENTRIES_OF_EVENT;
use super::report::{COLUMNS, report};
use crate::domain::ids::EntryId;
use crate::inbox::body::Unpacker;
use crate::inbox::error::InboxError;
use crate::inbox::search::{Direction, WINDOW_BODIES, WINDOW_ROWS, Window};
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
        self.read(move |connection| window(connection, &selection, direction, after, limit)).await
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

/// What restricts the rows by an index.
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

/// The ids of entries that are named one by one.
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

/// Looks at the next rows, oldest or newest first. Stops early once `limit` entries are found.
fn window(
    connection: &Connection,
    selection: &Selection,
    direction: Direction,
    after: Option<EntryId>,
    limit: usize,
) -> rusqlite::Result<Window> {
    let (compare, order) = match direction {
        Direction::Newest => ("<", "DESC"),
        Direction::Oldest => (">", "ASC"),
    };
    let start = after.map_or(if direction == Direction::Newest { i64::MAX } else { i64::MIN }, |after| after.0);
    let (condition, ids) = if selection.is_by_id() {
        let ids = named(connection, selection)?;
        // Numbers, so nothing can be put into the statement.
        let list: Vec<String> = ids.iter().map(ToString::to_string).collect();
        (format!("AND id IN ({})", list.join(", ")), ids.len())
    } else {
        (index(selection).to_owned(), WINDOW_ROWS)
    };
    let rows_max = ids.max(WINDOW_ROWS);
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE id {compare} ? {condition} ORDER BY id {order} LIMIT ?");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter([start, i64::try_from(rows_max).unwrap_or(i64::MAX)]))?;
    let (mut found, mut last, mut seen, mut bodies) = (Vec::new(), None, 0, 0);
    let mut unpacker = Unpacker::default();
    while let Some(row) = rows.next()? {
        let entry = report(row)?;
        seen += 1;
        last = Some(entry.entry.0);
        let mut fits = selection.fits(&entry);
        if fits && selection.wants_bodies() {
            bodies += 1;
            fits = body::of_entry(connection, &mut unpacker, entry.entry.0)?
                .is_some_and(|body| selection.fits_body(&body));
        }
        if fits {
            found.push(entry);
        }
        if found.len() >= limit || bodies >= WINDOW_BODIES {
            return Ok(Window { found, last });
        }
    }
    Ok(Window { found, last: last.filter(|_| seen == rows_max) })
}
