//! Searching entries, page by page.
//!
//! Guarantees: paging by key, so that each entry comes once, even if others arrive or change; a page looks at a bounded number
//! of rows and bodies and gives the reader's connection back between bounded windows, so that webhooks and pumps do not wait
//! for a search. A page may therefore be short, or empty, and still have a next one.

use serde::{Deserialize, Serialize};

use super::report::EntryReport;
use super::selection::Selection;
use super::{Inbox, InboxError, Store};
use crate::domain::ids::EntryId;

/// Most entries on one page.
pub const PAGE_ENTRIES_MAX: usize = 1000;

/// Rows looked at in one go.
pub(super) const WINDOW_ROWS: usize = 2000;

/// Bodies looked at in one go.
pub(super) const WINDOW_BODIES: usize = 200;

/// Windows looked at for one page.
const WINDOWS_MAX: usize = 50;

/// Some entries, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<EntryReport>,
    /// The next page begins after this entry; absent on the last page.
    pub next: Option<EntryId>,
}

/// At which end to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Newest,
    Oldest,
}

/// The result of one look.
pub(super) struct Window {
    pub(super) found: Vec<EntryReport>,
    /// The last row looked at; `None` if there are no more.
    pub(super) last: Option<i64>,
}

/// The next part of a search by reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Entries that the index leads to.
    Indexed,
    /// Entries that the index does not cover yet.
    Rest,
}

impl Part {
    /// The part after `after`, if the index covers everything up to `covered`.
    pub(super) fn next(direction: Direction, after: Option<i64>, covered: i64) -> Self {
        let is_rest = match direction {
            Direction::Newest => after.is_none_or(|after| after > covered.saturating_add(1)),
            Direction::Oldest => after.is_some_and(|after| after >= covered),
        };
        if is_rest { Self::Rest } else { Self::Indexed }
    }
}

impl Inbox {
    /// A page of entries after `after`, newest first.
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
            let (next, left) = (page.next, limit - page.entries.len());
            let window = match &self.store {
                Store::Local(local) => local.window(selection.clone(), direction, next, left).await?,
                Store::Postgres(postgres) => postgres.core.window(selection, direction, next, left).await?,
            };
            page.entries.extend(window.found);
            page.next = window.last.map(EntryId);
            if page.next.is_none() || page.entries.len() >= limit {
                break;
            }
        }
        Ok(page)
    }

    /// Whole bodies of entries, as long as they fit into `bytes_max` together; the first is included whatever its size.
    /// Returns those that fit, in order, with `None` for a body that retention or an erasure removed.
    pub async fn bodies(&self, entries: Vec<EntryId>, bytes_max: usize) -> Result<Vec<Option<Vec<u8>>>, InboxError> {
        match &self.store {
            Store::Local(local) => local.bodies(entries, bytes_max).await,
            Store::Postgres(postgres) => postgres.core.bodies(&entries, bytes_max).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_goes_from_the_rest_to_the_index_or_the_other_way_and_meets_no_entry_twice() {
        use Direction::{Newest, Oldest};
        let cases = [
            (Newest, None, Part::Rest),
            (Newest, Some(12), Part::Rest),
            (Newest, Some(11), Part::Indexed),
            (Newest, Some(3), Part::Indexed),
            (Oldest, None, Part::Indexed),
            (Oldest, Some(9), Part::Indexed),
            (Oldest, Some(10), Part::Rest),
        ];
        for (direction, after, part) in cases {
            assert_eq!(Part::next(direction, after, 10), part, "{direction:?} after {after:?}");
        }
    }
}
