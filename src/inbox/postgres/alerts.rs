//! Alerts that gateways have said, kept as marks.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;

use super::super::alerts::{AlertGroup, CLAIM, MessageTurns};
use super::super::error::InboxError;
use super::schema::now;
use super::{Core, TEXTS, millis};
use crate::postgres::Parameter;

/// `$1` opened, `$2` resolved; returns those that no gateway has reported yet.
const SAY: &str = "
    WITH opened AS (
        INSERT INTO gateway_inbox.marks (name, value) SELECT name, 1 FROM unnest($1::text[]) AS g (name) ORDER BY name
        ON CONFLICT (name) DO NOTHING RETURNING name
    ), resolved AS (DELETE FROM gateway_inbox.marks WHERE name = ANY ($2) RETURNING name)
    SELECT name FROM opened UNION SELECT name FROM resolved";

/// `$1` open ones, `$2` the beginning of the group's names.
const FORGET: &str = "DELETE FROM gateway_inbox.marks WHERE starts_with(name, $2) AND NOT name = ANY ($1)";

/// Value of a message's mark once it was sent. Before that, it is the time of the claim.
const SENT: i64 = 1;

/// `$2` names, `$3` how long a claim holds. Returns those claimed now, and those that another gateway has claimed.
const CLAIM_OPENED: &str = concat!(
    "WITH t AS (SELECT ",
    now!(),
    " AS now), claimed AS (
        INSERT INTO gateway_inbox.marks AS m (name, value) SELECT g.name, t.now FROM unnest($2) AS g (name), t ORDER BY g.name
        ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE m.value > 1 AND m.value <= excluded.value - $3
        RETURNING name
    )
    SELECT name, true FROM claimed
    UNION ALL SELECT m.name, false FROM gateway_inbox.marks m, t WHERE m.name = ANY ($2) AND m.value > 1 AND m.value > t.now - $3"
);

const CLAIM_RESOLVED: &str = "DELETE FROM gateway_inbox.marks WHERE name = ANY ($1) RETURNING name";

const NOTE_SENT: &str = "UPDATE gateway_inbox.marks SET value = $2 WHERE name = ANY ($1) AND value > $2";

impl Core {
    pub(in crate::inbox) async fn claim_messages(
        &self,
        opened: &BTreeSet<String>,
        resolved: &BTreeSet<String>,
    ) -> Result<MessageTurns, InboxError> {
        const GROUP: AlertGroup = AlertGroup::Messages;
        let (opened, resolved) = (named(GROUP, opened), named(GROUP, resolved));
        let name = |row: &tokio_postgres::Row| row.get::<_, &str>(0).strip_prefix(GROUP.prefix()).map(str::to_owned);
        let mut turns = MessageTurns::default();
        if !opened.is_empty() {
            let parameters: [Parameter<'_>; 3] =
                [(&self.time(), Type::INT8), (&opened, TEXTS), (&millis(CLAIM), Type::INT8)];
            for row in &self.links.run(CLAIM_OPENED, &parameters).await?.rows {
                let turns = if row.get(1) { &mut turns.mine } else { &mut turns.pending };
                turns.extend(name(row));
            }
        }
        if !resolved.is_empty() {
            turns
                .mine
                .extend(self.links.run(CLAIM_RESOLVED, &[(&resolved, TEXTS)]).await?.rows.iter().filter_map(name));
        }
        Ok(turns)
    }

    pub(in crate::inbox) async fn messages_sent(&self, opened: &BTreeSet<String>) -> Result<(), InboxError> {
        let opened = named(AlertGroup::Messages, opened);
        self.links.run(NOTE_SENT, &[(&opened, TEXTS), (&SENT, Type::INT8)]).await?;
        Ok(())
    }

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
