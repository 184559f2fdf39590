//! An entry as operators see it, on the command line and over the admin listener: everything but the body, which is
//! shown as a short account of it, or whole when somebody asks for that.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::body::{self, Unpacker};
use super::entry::StateName;
use super::event_ids::ENTRIES_OF_EVENT;
use super::select::Selection;
use super::subject::Subject;
use super::{Inbox, InboxError};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;

/// Columns in the order in which [`EntryReport::of`] reads them.
pub(super) const COLUMNS: &str =
    "id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, state,
    due_at, attempts, crashes, process_id, ended_at, code, reason, released_at, replayed_at, action, action_at,
    action_by, action_note";

/// Most bytes of bodies on one page of a list, but for one body that is larger alone.
pub const PAGE_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a user's id is replaced by.
const REDACTED: &str = "(redacted)";

/// What a person did to an entry last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// `replay`, `release` or `drop`.
    pub action: String,
    /// When.
    pub at: Timestamp,
    /// Who, as far as known.
    pub by: Option<String>,
    /// Why.
    pub note: Option<String>,
}

/// An entry without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryReport {
    /// Row number.
    pub entry: EntryId,
    /// The endpoint it came in by.
    pub endpoint: String,
    /// The event's id; `sha256:…` for bytes that were no event.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// Connected account.
    pub account: Option<String>,
    /// False in test mode.
    pub livemode: Option<bool>,
    /// How it came in.
    pub source: String,
    /// Which of the endpoint's secrets signed it.
    pub secret: String,
    /// When it became durable.
    pub received: Timestamp,
    /// Where it stands.
    pub state: StateName,
    /// When it wants attention: its next attempt, the end of its lease, or the next question about its process.
    pub due: Option<Timestamp>,
    /// Failed attempts.
    pub attempts: u32,
    /// Times that the gateway died while it was worked on.
    pub crashes: u32,
    /// The process of a Colonies server that has or had it.
    pub process: Option<String>,
    /// When it was settled, given up or held back.
    pub ended: Option<Timestamp>,
    /// What became of it, when settled: `applied`, `stale`, `duplicate`, `ignored` or `dropped`.
    pub outcome: Option<String>,
    /// Why it is dead or quarantined: a stable code.
    pub code: Option<String>,
    /// The same for people, without customer data.
    pub reason: Option<String>,
    /// When a person released it from quarantine.
    pub released: Option<Timestamp>,
    /// When a person last replayed it.
    pub replayed: Option<Timestamp>,
    /// What a person did to it last.
    pub intervention: Option<Intervention>,
}

/// A body, told in short or whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyReport {
    /// Its length.
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
}

/// An entry of a list or an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// All but the body.
    #[serde(flatten)]
    pub entry: EntryReport,
    /// The body as it was signed, when it was asked for and is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The same where the body is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// Some entries, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPage {
    /// Newest first.
    pub entries: Vec<Listed>,
    /// The next page begins after this entry; absent on the last page.
    pub next: Option<EntryId>,
}

impl Listed {
    fn of(entry: EntryReport, body: Option<Vec<u8>>) -> Self {
        use base64::Engine as _;
        let (body, body_base64) = match body.map(String::from_utf8) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(error)) => (None, Some(base64::engine::general_purpose::STANDARD.encode(error.as_bytes()))),
        };
        Self { entry, body, body_base64 }
    }
}

impl EntryReport {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let time = |column: usize| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp::from_millis));
        let state = StateName::of_number(row.get(9)?);
        let (told, is_settled): (Option<String>, _) = (row.get(15)?, state == StateName::Settled);
        let is_held = matches!(state, StateName::Dead | StateName::Quarantined);
        let action: Option<String> = row.get(19)?;
        let (at, by, note) = (time(20)?, row.get(21)?, row.get(22)?);
        Ok(Self {
            entry: EntryId(row.get(0)?),
            endpoint: row.get(1)?,
            event_id: row.get(2)?,
            event_type: row.get(3)?,
            account: row.get(4)?,
            livemode: row.get(5)?,
            source: row.get(6)?,
            secret: row.get(7)?,
            received: Timestamp::from_millis(row.get(8)?),
            state,
            due: time(10)?,
            attempts: row.get(11)?,
            crashes: row.get(12)?,
            process: row.get(13)?,
            ended: time(14)?,
            outcome: told.clone().filter(|_| is_settled),
            code: told.filter(|_| is_held),
            reason: row.get(16)?,
            released: time(17)?,
            replayed: time(18)?,
            intervention: action.map(|action| Intervention { action, at: at.unwrap_or_default(), by, note }),
        })
    }
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

impl Inbox {
    /// Everything about one entry; `None` when there is none of this number. With `reveal`, its body too.
    pub async fn story(&self, entry: EntryId, reveal: bool) -> Result<Option<EntryStory>, InboxError> {
        self.read(move |connection| {
            let transaction = connection.transaction()?;
            let found = transaction
                .prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
                .query_row([entry.0], EntryReport::of)
                .optional()?;
            let Some(report) = found else { return Ok(None) };
            let body = body::of_entry(&transaction, &mut Unpacker::default(), entry.0)?
                .map(|body| BodyReport::of(&body, reveal));
            let took = report.ended.map(|ended| ended.since(report.received));
            let took_ms = took.as_ref().map(Duration::as_millis).and_then(|millis| u64::try_from(millis).ok());
            Ok(Some(EntryStory { entry: report, took_ms, body }))
        })
        .await
    }

    /// A page of entries, newest first, from after `after`; with `reveal` with their bodies, as many as fit into
    /// [`PAGE_BODY_BYTES_MAX`].
    pub async fn list(
        &self,
        selection: &Selection,
        after: Option<EntryId>,
        limit: usize,
        reveal: bool,
    ) -> Result<ListedPage, InboxError> {
        let page = self.select(selection, after, limit).await?;
        let mut bodies = Vec::new();
        if reveal {
            bodies = self.bodies(page.entries.iter().map(|entry| entry.entry).collect(), PAGE_BODY_BYTES_MAX).await?;
        }
        // A page that does not fit ends early, and the next one begins there.
        let fit = if reveal { bodies.len() } else { page.entries.len() };
        let cut = (fit < page.entries.len()).then(|| page.entries.get(fit.saturating_sub(1)).map(|last| last.entry));
        let next = cut.unwrap_or(page.next);
        let bodies = bodies.into_iter().chain(std::iter::repeat_with(|| None));
        let entries = page.entries.into_iter().take(fit).zip(bodies).map(|(entry, body)| Listed::of(entry, body));
        Ok(ListedPage { entries: entries.collect(), next })
    }

    /// The entries that hold an event, one an endpoint.
    pub async fn entries_of_event(&self, event_id: String) -> Result<Vec<EntryId>, InboxError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(ENTRIES_OF_EVENT)?;
            let entries = statement.query_map([event_id], |row| row.get(0).map(EntryId))?;
            let mut entries: Vec<EntryId> = entries.collect::<rusqlite::Result<_>>()?;
            entries.sort_unstable();
            Ok(entries)
        })
        .await
    }
}
