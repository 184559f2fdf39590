//! What the database says of itself.

use super::super::database::DatabaseReport;
use super::super::error::InboxError;
use super::Core;

/// Settings that another engine does not know read as null.
const LOOK: &str = "
    SELECT current_setting('server_version'), coalesce(current_setting('transaction_read_only', true), 'off') <> 'on',
        to_regclass('gateway_inbox.marks') IS NOT NULL, nullif(current_setting('synchronous_standby_names', true), '')";

impl Core {
    pub(in crate::inbox) async fn database(&self) -> Result<DatabaseReport, InboxError> {
        let rows = self.links.run(LOOK, &[]).await?.rows;
        let row = rows.first().ok_or(InboxError::Closed)?;
        Ok(DatabaseReport {
            version: row.get(0),
            is_writable: row.get(1),
            is_prepared: row.get(2),
            standbys: row.get(3),
        })
    }
}
