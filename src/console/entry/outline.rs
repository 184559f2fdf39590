//! What the page of an event has to know of a body each time that it renews itself. Read when the page is opened, and not again
//! every two seconds.
//!
//! Guarantees: at most [`KEPT_MAX`] are kept, each for [`KEPT_FOR`]; they hold ids alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stripe_events::envelope::{Envelope, PayloadKind};

use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::inbox::objects_of;
use crate::ledger::desk::EVENT_OBJECTS_MAX;

/// How many entries' pages can renew themselves without reading their bodies.
const KEPT_MAX: usize = 64;

/// After this time, an open page notices that the body was removed.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// The references in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) objects: Vec<String>,
    /// Whether it only names its object.
    pub(super) is_thin: bool,
    pub(super) is_removed: bool,
}

impl Outline {
    /// The references in a body; empty for a removed one.
    pub(super) fn of(body: Option<&[u8]>) -> Self {
        let is_thin = |body| Envelope::read(body).is_ok_and(|envelope| envelope.payload == PayloadKind::Thin);
        Self {
            objects: body.map(|body| objects_of(body, EVENT_OBJECTS_MAX)).unwrap_or_default(),
            is_thin: body.is_some_and(is_thin),
            is_removed: body.is_none(),
        }
    }
}

/// The outlines of recently opened pages. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::console) struct Outlines(Arc<Mutex<VecDeque<Kept>>>);

#[derive(Debug)]
struct Kept {
    entry: EntryId,
    since: Timestamp,
    outline: Arc<Outline>,
}

impl Outlines {
    /// Keeps the outline of an entry, in place of an earlier one.
    pub(super) fn keep(&self, entry: EntryId, outline: Arc<Outline>, now: Timestamp) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.entry != entry);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Kept { entry, since: now, outline });
    }

    /// The outline of an entry, if it is kept.
    pub(super) fn of(&self, entry: EntryId, now: Timestamp) -> Option<Arc<Outline>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.iter().find(|kept| kept.entry == entry && now.since(kept.since) < KEPT_FOR)?;
        Some(Arc::clone(&kept.outline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_is_kept_for_a_time() {
        let (outlines, now) = (Outlines::default(), Timestamp::from_seconds(1_800_000_000));
        let body = br#"{"object": "event", "data": {"object": {"id": "cus_1", "object": "customer"}}}"#;
        let outline = Arc::new(Outline::of(Some(body)));
        assert_eq!((outline.objects.as_slice(), outline.is_removed), (["cus_1".to_owned()].as_slice(), false));
        for entry in 0..=64 {
            outlines.keep(EntryId(entry), Arc::clone(&outline), now);
        }
        assert_eq!(outlines.of(EntryId(0), now), None, "the oldest made room");
        assert_eq!(outlines.of(EntryId(1), now), Some(outline));
        let removed = Arc::new(Outline::of(None));
        outlines.keep(EntryId(1), Arc::clone(&removed), now);
        assert_eq!(outlines.of(EntryId(1), now), Some(removed));
        assert_eq!(outlines.of(EntryId(2), now.plus(KEPT_FOR)), None);
    }
}
