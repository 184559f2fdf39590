//! Everything about one entry, with a short account of its body, or with the whole body on request.

use rusqlite::OptionalExtension;

use super::report::{COLUMNS, report};
use super::{LocalInbox, body, orders, steps};
use crate::domain::ids::EntryId;
use crate::inbox::body::Unpacker;
use crate::inbox::error::InboxError;
use crate::inbox::story::{BodyRead, BodyReport, EntryStory};

impl LocalInbox {
    /// Everything about one entry; `None` if no entry has this number.
    pub(in crate::inbox) async fn story(
        &self,
        entry: EntryId,
        read: BodyRead,
    ) -> Result<Option<EntryStory>, InboxError> {
        self.read(move |connection| {
            let transaction = connection.transaction()?;
            let found = transaction
                .prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
                .query_row([entry.0], report)
                .optional()?;
            let Some(found) = found else { return Ok(None) };
            let body = match read {
                BodyRead::Nothing => None,
                BodyRead::InShort | BodyRead::Whole => body::of_entry(&transaction, &mut Unpacker::default(), entry.0)?,
            };
            let body = body.map(|body| BodyReport::of(&body, read));
            let orders = orders::of_entry(&transaction, entry.0)?;
            let steps = steps::of_entry(&transaction, entry.0)?;
            Ok(Some(EntryStory::new(found, body, orders, steps)))
        })
        .await
    }
}
