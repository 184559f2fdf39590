//! Everything about one entry, with a short account of its body, or the whole of it when somebody asks for that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::orders::PastOrder;
use super::report::EntryReport;
use super::steps::PastStep;
use super::subject::Subject;
use super::{Inbox, InboxError, Store};
use crate::domain::ids::EntryId;

/// What a user's id is replaced by.
const REDACTED: &str = "(redacted)";

/// A body, told in short or whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyReport {
    pub bytes: usize,
    /// What it is about; user ids only when the body was asked for.
    pub subject: Subject,
    /// The body as it was signed, when it was asked for. Bytes that are not UTF-8 are replaced.
    pub content: Option<String>,
}

/// An entry with its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryStory {
    /// All else.
    #[serde(flatten)]
    pub entry: EntryReport,
    /// How long it took from the receipt to the end, in milliseconds.
    pub took_ms: Option<u64>,
    /// The body; nothing when retention has removed it.
    pub body: Option<BodyReport>,
    /// All that people ordered about it, the oldest first.
    #[serde(default)]
    pub orders: Vec<PastOrder>,
    /// What became of it where it was not settled at once, the oldest first.
    #[serde(default)]
    pub steps: Vec<PastStep>,
}

impl BodyReport {
    /// Of a body; with `reveal`, the whole of it.
    pub(super) fn of(body: &[u8], reveal: bool) -> Self {
        let mut subject = Subject::of(body);
        if !reveal {
            subject.users.iter_mut().for_each(|user| REDACTED.clone_into(user));
        }
        Self { bytes: body.len(), subject, content: reveal.then(|| String::from_utf8_lossy(body).into_owned()) }
    }
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
        Self { entry, took_ms, body, orders, steps }
    }
}

impl Inbox {
    /// Everything about one entry; `None` when there is none of this number. With `reveal`, its body too.
    pub async fn story(&self, entry: EntryId, reveal: bool) -> Result<Option<EntryStory>, InboxError> {
        match &self.store {
            Store::Local(local) => local.story(entry, reveal).await,
            Store::Postgres(postgres) => postgres.core.story(entry, reveal).await,
        }
    }
}
