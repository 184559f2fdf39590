//! Everything about one entry, with a short account of its body, or with the whole body on request.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::erase::ERASED;
use super::order::Action;
use super::orders::PastOrder;
use super::report::EntryReport;
use super::steps::PastStep;
use super::subject::Subject;
use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;

/// The text in place of a user's id.
const REDACTED: &str = "(redacted)";

/// A body, summarised or whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyReport {
    pub bytes: usize,
    /// What it is about; with user ids only if the body was asked for.
    pub subject: Subject,
    /// The body as it was signed, if it was asked for. Bytes that are not UTF-8 are replaced.
    pub content: Option<String>,
}

/// An entry with its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryStory {
    /// Everything else.
    #[serde(flatten)]
    pub entry: EntryReport,
    /// How long it took from the receipt to the end, in milliseconds.
    pub took_ms: Option<u64>,
    /// The body; `None` if retention or an erasure removed it, or if it was not asked for.
    pub body: Option<BodyReport>,
    /// When its person was erased, if that is why there is no body.
    #[serde(default)]
    pub erased: Option<Timestamp>,
    /// Everything that people ordered for it, the oldest first.
    #[serde(default)]
    pub orders: Vec<PastOrder>,
    /// Its steps if it was not settled at once, the oldest first.
    #[serde(default)]
    pub steps: Vec<PastStep>,
}

impl BodyReport {
    /// The report of a body, with the whole body if that was asked for.
    pub(super) fn of(body: &[u8], read: BodyRead) -> Self {
        let reveal = read == BodyRead::Whole;
        let mut subject = Subject::of(body);
        if !reveal {
            subject.users.iter_mut().for_each(|user| REDACTED.clone_into(user));
        }
        Self { bytes: body.len(), subject, content: reveal.then(|| String::from_utf8_lossy(body).into_owned()) }
    }
}

/// How much of a body to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyRead {
    Nothing,
    InShort,
    Whole,
}

impl EntryStory {
    pub(super) fn new(
        entry: EntryReport,
        body: Option<BodyReport>,
        orders: Vec<PastOrder>,
        steps: Vec<PastStep>,
    ) -> Self {
        let took = entry.ended.map(|ended| ended.since(entry.received));
        let took_ms = took.as_ref().map(Duration::as_millis).and_then(|millis| u64::try_from(millis).ok());
        let erased = if body.is_none() { erased(&orders) } else { None };
        Self { entry, took_ms, body, erased, orders, steps }
    }
}

/// When the last body was erased. Stripe may have been asked for it since.
fn erased(orders: &[PastOrder]) -> Option<Timestamp> {
    let is_of_body = |order: &&PastOrder| order.action == ERASED || order.action == Action::Refetch.as_str();
    orders.iter().rfind(is_of_body).filter(|order| order.action == ERASED).map(|order| order.at)
}

impl Inbox {
    /// Everything about one entry; `None` if no entry has this number. With `reveal`, its body too.
    pub async fn story(&self, entry: EntryId, reveal: bool) -> Result<Option<EntryStory>, InboxError> {
        self.read_story(entry, if reveal { BodyRead::Whole } else { BodyRead::InShort }).await
    }

    /// As [`Self::story`], without reading the body.
    pub async fn story_without_body(&self, entry: EntryId) -> Result<Option<EntryStory>, InboxError> {
        self.read_story(entry, BodyRead::Nothing).await
    }

    async fn read_story(&self, entry: EntryId, read: BodyRead) -> Result<Option<EntryStory>, InboxError> {
        match &self.store {
            Store::Local(local) => local.story(entry, read).await,
            Store::Postgres(postgres) => postgres.core.story(entry, read).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(action: &str, second: i64) -> PastOrder {
        let at = Timestamp::from_seconds(second);
        PastOrder { action: action.to_owned(), at, by: None, note: None, was: "was settled".to_owned() }
    }

    #[test]
    fn what_was_fetched_again_was_not_erased_since() {
        let (erase, refetch) = (order(ERASED, 1), order("refetch", 2));
        assert_eq!(erased(&[erase.clone(), order("replay", 3)]), Some(Timestamp::from_seconds(1)));
        assert_eq!(erased(&[erase.clone(), refetch.clone()]), None);
        assert_eq!(erased(&[erase, refetch, order(ERASED, 4)]), Some(Timestamp::from_seconds(4)));
        assert_eq!(erased(&[]), None);
    }
}
