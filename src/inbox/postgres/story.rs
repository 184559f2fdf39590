//! Everything about one entry, in the database.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::error::InboxError;
use super::super::orders::PastOrder;
use super::super::story::{BodyRead, BodyReport, EntryStory};
use super::Core;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;

const ORDERS: &str = "SELECT action, at, by, note, was FROM gateway_inbox.orders WHERE entry = $1 ORDER BY id";

impl Core {
    pub(in crate::inbox) async fn story(
        &self,
        entry: EntryId,
        read: BodyRead,
    ) -> Result<Option<EntryStory>, InboxError> {
        let Some((report, _)) = self.reports(&[entry]).await?.pop() else { return Ok(None) };
        let body = match read {
            BodyRead::Nothing => None,
            BodyRead::InShort | BodyRead::Whole => self.bodies_of(&[entry]).await?.remove(&entry.0),
        };
        let body = body.map(|body| BodyReport::of(&body, read));
        let rows = self.links.run(ORDERS, &[(&entry.0, Type::INT8)]).await?.rows;
        let order = |row: &Row| PastOrder {
            action: row.get(0),
            at: Timestamp::from_millis(row.get(1)),
            by: row.get(2),
            note: row.get(3),
            was: row.get(4),
        };
        let steps = self.steps(entry.0).await?;
        Ok(Some(EntryStory::new(report, body, rows.iter().map(order).collect(), steps)))
    }
}
