//! What people did, in the database: one table that all gateways write.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::deeds::{DEEDS_KEPT, Deed, PastDeed, light};
use super::super::error::InboxError;
use super::fault::Fault;
use super::numbers::{PROBES_MAX, lasting};
use super::schema::{durable, now};
use super::{BIGINTS, Core, TEXTS, millis, number_of, text};
use crate::domain::clock::Timestamp;
use crate::postgres::Parameter;

/// The table. Databases of earlier releases lack it until it is first needed.
pub(super) const CREATE: &str = "
CREATE TABLE IF NOT EXISTS gateway_inbox.deeds (
    id      bigint PRIMARY KEY,
    at      bigint NOT NULL,
    who     text NOT NULL,
    role    text NOT NULL,
    peer    text,
    via     text NOT NULL,
    action  text NOT NULL,
    what    text NOT NULL,
    dry_run boolean NOT NULL,
    result  text,
    note    text
);
CREATE INDEX IF NOT EXISTS deeds_at ON gateway_inbox.deeds (at);";

/// Most of the oldest deeds that one new deed removes, so that the bound holds again after it was lowered.
const REMOVED_MAX: i64 = 100;

/// `$1` the time of a test, `$2` the number, `$3` to `$11` the deed, `$12` how long deeds are kept, `$13` how many of the
/// same weight as this one (`$15`) are kept, `$14` how many are removed at most.
const NOTE: &str = concat!(
    "WITH moment AS (SELECT ",
    now!(),
    " AS at), noted AS (
        INSERT INTO gateway_inbox.deeds (id, at, who, role, peer, via, action, what, dry_run, result, note)
        SELECT $2, at, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM moment ON CONFLICT (id) DO NOTHING RETURNING 1
    ), old AS (
        (SELECT id FROM gateway_inbox.deeds WHERE at < (SELECT at FROM moment) - $12 ORDER BY at LIMIT $14)
        UNION (SELECT id FROM gateway_inbox.deeds WHERE ",
    light!(),
    " = $15 ORDER BY id DESC OFFSET $13 - 1 LIMIT $14)
    ), removed AS (DELETE FROM gateway_inbox.deeds WHERE id IN (SELECT id FROM old) RETURNING 1)
    SELECT ",
    durable!(),
    ", (SELECT count(*) FROM noted), (SELECT count(*) FROM removed)"
);

/// Deeds of another inbox, except those already there.
const TAKE_IN: &str = concat!(
    "WITH given AS (
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            AS g (id, at, who, role, peer, via, action, what, dry_run, result, note)
    ), added AS (
        INSERT INTO gateway_inbox.deeds (id, at, who, role, peer, via, action, what, dry_run, result, note)
        SELECT * FROM given g WHERE NOT EXISTS (
            SELECT 1 FROM gateway_inbox.deeds d
            WHERE d.at = g.at AND d.who = g.who AND d.action = g.action AND d.what = g.what)
        ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id
    )
    SELECT id, ",
    durable!(),
    " FROM added"
);

/// Which deeds are missing.
const MISSING: &str = "
    SELECT g.n FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS g (at, who, action, what, n)
    WHERE NOT EXISTS (
        SELECT 1 FROM gateway_inbox.deeds d
        WHERE d.at = g.at AND d.who = g.who AND d.action = g.action AND d.what = g.what)";

const DEEDS: &str = "
    SELECT id, at, who, role, peer, via, action, what, dry_run, result, note FROM gateway_inbox.deeds
    WHERE id < $1 ORDER BY id DESC LIMIT $2";

impl Core {
    pub(in crate::inbox) async fn note_deed(&self, deed: &Deed) -> Result<(), InboxError> {
        let number = self.numbers.next(1, self.clock.now()).pop().unwrap_or_default();
        match self.try_to_note(number, deed).await {
            Err(fault) if fault.is_missing_table() => {
                self.links.run_all(CREATE).await?;
                Ok(self.try_to_note(number, deed).await?)
            }
            noted => Ok(noted?),
        }
    }

    async fn try_to_note(&self, number: i64, deed: &Deed) -> Result<(), Fault> {
        let Deed { who, role, peer, via, action, what, dry_run, result, note } = deed;
        let clean = |given: &Option<String>| given.as_deref().map(|given| text(given).into_owned());
        let (who, what, peer, result, note) = (text(who), text(what), clean(peer), clean(result), clean(note));
        let (time, kept, most) = (self.time(), millis(DEEDS_KEPT), number_of(deed.most()));
        let parameters: [Parameter<'_>; 15] = [
            (&time, Type::INT8),
            (&number, Type::INT8),
            (&&*who, Type::TEXT),
            (role, Type::TEXT),
            (&peer, Type::TEXT),
            (via, Type::TEXT),
            (action, Type::TEXT),
            (&&*what, Type::TEXT),
            (dry_run, Type::BOOL),
            (&result, Type::TEXT),
            (&note, Type::TEXT),
            (&kept, Type::INT8),
            (&most, Type::INT8),
            (&REMOVED_MAX, Type::INT8),
            (&deed.is_light(), Type::BOOL),
        ];
        self.links.run_durably(NOTE, &parameters).await.map(drop)
    }

    pub(in crate::inbox) async fn take_in_deeds(&self, deeds: &[PastDeed]) -> Result<(), InboxError> {
        let mut deeds: Vec<(u64, &PastDeed)> = in_order(deeds);
        for probe in 0..PROBES_MAX {
            let added = match self.try_to_take_in(&deeds, probe).await {
                Err(fault) if fault.is_missing_table() && probe == 0 => {
                    self.links.run_all(CREATE).await?;
                    self.try_to_take_in(&deeds, probe).await?
                }
                added => added?,
            };
            if added == deeds.len() {
                return Ok(());
            }
            let missing = self.missing_deeds(&deeds).await?;
            deeds = missing.into_iter().filter_map(|n| deeds.get(n).copied()).collect();
            if deeds.is_empty() {
                return Ok(());
            }
        }
        Err(Fault::unfit("the numbers of deeds of one moment are all taken").into())
    }

    /// Places of the missing ones.
    async fn missing_deeds(&self, deeds: &[(u64, &PastDeed)]) -> Result<Vec<usize>, Fault> {
        let times: Vec<i64> = deeds.iter().map(|(_, deed)| deed.at.millis()).collect();
        let column = |of: fn(&Deed) -> &str| deeds.iter().map(|(_, past)| text(of(&past.deed))).collect::<Vec<_>>();
        let parameters: [Parameter<'_>; 4] = [
            (&times, BIGINTS),
            (&column(|deed| &deed.who), TEXTS),
            (&column(|deed| &deed.action), TEXTS),
            (&column(|deed| &deed.what), TEXTS),
        ];
        let answer = self.links.run(MISSING, &parameters).await?;
        Ok(answer.rows.iter().filter_map(|row| usize::try_from(row.get::<_, i64>(0) - 1).ok()).collect())
    }

    /// How many were added. As with orders, the number of a deed follows from its content.
    async fn try_to_take_in(&self, deeds: &[(u64, &PastDeed)], probe: i64) -> Result<usize, Fault> {
        // Deeds are shown in the order of their numbers.
        let told: Vec<(i64, u64)> = deeds.iter().map(|(place, past)| (past.at.millis(), *place)).collect();
        let ids = lasting(&told, probe);
        let times: Vec<i64> = deeds.iter().map(|(_, deed)| deed.at.millis()).collect();
        let column = |of: fn(&Deed) -> &str| deeds.iter().map(|(_, past)| text(of(&past.deed))).collect::<Vec<_>>();
        let maybe = |of: fn(&Deed) -> Option<&str>| {
            deeds.iter().map(|(_, past)| of(&past.deed).map(text)).collect::<Vec<Option<Cow<'_, str>>>>()
        };
        let dry_runs: Vec<bool> = deeds.iter().map(|(_, past)| past.deed.dry_run).collect();
        let parameters: [Parameter<'_>; 11] = [
            (&ids, BIGINTS),
            (&times, BIGINTS),
            (&column(|deed| &deed.who), TEXTS),
            (&column(|deed| &deed.role), TEXTS),
            (&maybe(|deed| deed.peer.as_deref()), TEXTS),
            (&column(|deed| &deed.via), TEXTS),
            (&column(|deed| &deed.action), TEXTS),
            (&column(|deed| &deed.what), TEXTS),
            (&dry_runs, Type::BOOL_ARRAY),
            (&maybe(|deed| deed.result.as_deref()), TEXTS),
            (&maybe(|deed| deed.note.as_deref()), TEXTS),
        ];
        Ok(self.links.run_durably(TAKE_IN, &parameters).await?.rows.len())
    }

    pub(in crate::inbox) async fn deeds(&self, before: i64, most: usize) -> Result<Vec<PastDeed>, InboxError> {
        let most = number_of(most);
        match self.links.run(DEEDS, &[(&before, Type::INT8), (&most, Type::INT8)]).await {
            Ok(answer) => Ok(answer.rows.iter().map(deed).collect()),
            Err(fault) if fault.is_missing_table() => Ok(Vec::new()),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// Deeds, the oldest first, each with its place among those of its millisecond.
fn in_order(deeds: &[PastDeed]) -> Vec<(u64, &PastDeed)> {
    let mut last = (Timestamp::from_millis(i64::MIN), 0);
    let placed = |past: &'_ PastDeed| {
        last = if last.0 == past.at { (past.at, last.1 + 1) } else { (past.at, 0) };
        last.1
    };
    deeds.iter().map(placed).zip(deeds).collect()
}

fn deed(row: &Row) -> PastDeed {
    PastDeed {
        id: row.get(0),
        at: Timestamp::from_millis(row.get(1)),
        deed: Deed {
            who: row.get(2),
            role: row.get(3),
            peer: row.get(4),
            via: row.get(5),
            action: row.get(6),
            what: row.get(7),
            dry_run: row.get(8),
            result: row.get(9),
            note: row.get(10),
        },
    }
}
