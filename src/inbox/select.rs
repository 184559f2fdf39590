//! Choosing entries: by id, event, type, state, code, endpoint, user, customer and time, page by page.
//!
//! Guarantees: paging by key, so that each entry comes once whatever arrives or changes meanwhile; a page looks at a
//! bounded number of rows and bodies and gives the reader's connection back between bounded windows, so that webhooks
//! and pumps do not wait for a search. A page may therefore be short, or empty, and still have a next one.

use std::collections::HashSet;

use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};

use super::body::{self, Unpacker};
use super::entry::StateName;
use super::event_ids::ENTRIES_OF_EVENT;
use super::report::{COLUMNS, EntryReport};
use super::subject::Subject;
use super::{Inbox, InboxError};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use stripe_events::ID_BYTES_MAX;

/// Most values of one kind in a selection.
pub const VALUES_MAX: usize = 1000;

/// Most entries on one page.
pub const PAGE_ENTRIES_MAX: usize = 1000;

/// Rows looked at in one go.
const WINDOW_ROWS: usize = 2000;

/// Bodies looked at in one go.
const WINDOW_BODIES: usize = 200;

/// Windows looked at for one page.
const WINDOWS_MAX: usize = 50;

/// Which entries. Conditions of different kinds all hold, values of one kind are alternatives; none selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Row numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryId>,
    /// Ids of events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Types of events; `invoice.*` is every type that begins with `invoice.`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// States.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<StateName>,
    /// Codes of dead and quarantined entries, outcomes of settled ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// Names of endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// The seller's users, as events name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Stripe's customers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub customers: Vec<String>,
    /// Received no earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Received earlier than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Why a selection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Too many values.
    #[error("at most {VALUES_MAX} {0} can be named at once")]
    TooMany(&'static str),
    /// A value that cannot be one.
    #[error("{0} must have 1 to {ID_BYTES_MAX} bytes")]
    Length(&'static str),
    /// A `*` elsewhere than at the end of a type.
    #[error("a type may end with .* and has no other *: {0}")]
    Pattern(String),
    /// The window of time is empty.
    #[error("nothing lies between since and until")]
    Window,
}

/// Some entries, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<EntryReport>,
    /// The next page begins after this entry; absent on the last page.
    pub next: Option<EntryId>,
}

/// From which end entries are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Newest,
    Oldest,
}

/// What one window found.
struct Window {
    found: Vec<EntryReport>,
    /// The last row looked at; nothing when there are no more.
    last: Option<i64>,
}

impl Selection {
    /// Whether it names anything at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it names entries one by one.
    pub fn is_by_id(&self) -> bool {
        !self.entries.is_empty() || !self.events.is_empty()
    }

    /// Checks what came from outside.
    pub fn check(&self) -> Result<(), SelectionError> {
        let texts = [
            ("events", &self.events),
            ("types", &self.types),
            ("codes", &self.codes),
            ("endpoints", &self.endpoints),
            ("users", &self.users),
            ("customers", &self.customers),
        ];
        if self.entries.len() > VALUES_MAX {
            return Err(SelectionError::TooMany("entries"));
        }
        for (name, values) in texts {
            if values.len() > VALUES_MAX {
                return Err(SelectionError::TooMany(name));
            }
            if values.iter().any(|value| value.is_empty() || value.len() > ID_BYTES_MAX) {
                return Err(SelectionError::Length(name));
            }
        }
        let star = self.types.iter().find(|kind| kind.strip_suffix(".*").unwrap_or(kind).contains('*'));
        if let Some(kind) = star {
            return Err(SelectionError::Pattern(kind.clone()));
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return Err(SelectionError::Window);
        }
        Ok(())
    }

    fn wants_bodies(&self) -> bool {
        !self.users.is_empty() || !self.customers.is_empty()
    }

    fn fits(&self, entry: &EntryReport) -> bool {
        let among = |values: &[String], value: &str| values.is_empty() || values.iter().any(|known| known == value);
        let is_type = |kind: &String| match kind.strip_suffix('*') {
            Some(prefix) => entry.event_type.starts_with(prefix),
            None => entry.event_type == *kind,
        };
        let code = entry.code.as_deref().or(entry.outcome.as_deref()).unwrap_or_default();
        (self.entries.is_empty() || self.entries.contains(&entry.entry))
            && among(&self.events, &entry.event_id)
            && (self.types.is_empty() || self.types.iter().any(is_type))
            && (self.states.is_empty() || self.states.contains(&entry.state))
            && among(&self.codes, code)
            && among(&self.endpoints, &entry.endpoint)
            && self.since.is_none_or(|since| entry.received >= since)
            && self.until.is_none_or(|until| entry.received < until)
    }

    fn fits_body(&self, body: &[u8]) -> bool {
        let subject = Subject::of(body);
        let user = |user: &String| subject.users.iter().any(|named| named.eq_ignore_ascii_case(user));
        (self.users.is_empty() || self.users.iter().any(user))
            && (self.customers.is_empty() || subject.customer.is_some_and(|known| self.customers.contains(&known)))
    }

    /// What restricts the rows by an index.
    fn index(&self) -> &'static str {
        let within = |states: &[StateName]| !self.states.is_empty() && self.states.iter().all(|s| states.contains(s));
        if within(&[StateName::Dead, StateName::Quarantined]) {
            "AND state > 3"
        } else if within(&[StateName::Waiting, StateName::Leased, StateName::Submitted]) {
            "AND state < 3"
        } else {
            ""
        }
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
        (selection.index().to_owned(), WINDOW_ROWS)
    };
    let rows_max = ids.max(WINDOW_ROWS);
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE id {compare} ? {condition} ORDER BY id {order} LIMIT ?");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter([start, i64::try_from(rows_max).unwrap_or(i64::MAX)]))?;
    let (mut found, mut last, mut seen, mut bodies) = (Vec::new(), None, 0, 0);
    let mut unpacker = Unpacker::default();
    while let Some(row) = rows.next()? {
        let entry = EntryReport::of(row)?;
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

impl Inbox {
    /// A page of entries, newest first, from after `after`.
    pub async fn select(
        &self,
        selection: &Selection,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, InboxError> {
        self.page(selection, Direction::Newest, after, limit).await
    }

    pub(super) async fn page(
        &self,
        selection: &Selection,
        direction: Direction,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, InboxError> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
        let mut page = Page { entries: Vec::new(), next: after };
        for _ in 0..WINDOWS_MAX {
            let (selection, next, left) = (selection.clone(), page.next, limit - page.entries.len());
            let window = self.read(move |connection| window(connection, &selection, direction, next, left)).await?;
            page.entries.extend(window.found);
            page.next = window.last.map(EntryId);
            if page.next.is_none() || page.entries.len() >= limit {
                break;
            }
        }
        Ok(page)
    }

    /// Bodies of entries, whole, as long as they fit into `bytes_max` together; the first comes whatever its size.
    /// Gives those that fit, in order; nothing stands for a body that retention has removed.
    pub async fn bodies(&self, entries: Vec<EntryId>, bytes_max: usize) -> Result<Vec<Option<Vec<u8>>>, InboxError> {
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
