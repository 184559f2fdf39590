//! Alerts that gateways have said, kept as marks.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;

use super::super::alerts::AlertGroup;
use super::super::error::InboxError;
use super::{Core, TEXTS};

/// `$1` opened, `$2` resolved; gives those that nobody said before.
const SAY: &str = "
    WITH opened AS (
        INSERT INTO gateway_inbox.marks (name, value) SELECT name, 1 FROM unnest($1::text[]) AS g (name) ORDER BY name
        ON CONFLICT (name) DO NOTHING RETURNING name
    ), resolved AS (DELETE FROM gateway_inbox.marks WHERE name = ANY ($2) RETURNING name)
    SELECT name FROM opened UNION SELECT name FROM resolved";

/// `$1` open ones, `$2` what the names of the group begin with.
const FORGET: &str = "DELETE FROM gateway_inbox.marks WHERE starts_with(name, $2) AND NOT name = ANY ($1)";

impl Core {
    pub(in crate::inbox) async fn alerts_to_say(
        &self,
        group: AlertGroup,
        opened: &BTreeSet<String>,
        resolved: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, InboxError> {
        let (opened, resolved) = (named(group, opened), named(group, resolved));
        let rows = self.links.run(SAY, &[(&opened, TEXTS), (&resolved, TEXTS)]).await?.rows;
        let name = |row: &tokio_postgres::Row| row.get::<_, &str>(0).strip_prefix(group.prefix()).map(str::to_owned);
        Ok(rows.iter().filter_map(name).collect())
    }

    pub(in crate::inbox) async fn forget_alerts(
        &self,
        group: AlertGroup,
        open: &BTreeSet<String>,
    ) -> Result<(), InboxError> {
        self.links.run(FORGET, &[(&named(group, open), TEXTS), (&group.prefix(), Type::TEXT)]).await?;
        Ok(())
    }
}

fn named(group: AlertGroup, names: &BTreeSet<String>) -> Vec<String> {
    names.iter().map(|name| format!("{}{}", group.prefix(), super::text(name))).collect()
}
