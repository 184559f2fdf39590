//! A database whose entries went, or are on their way, into a file.
//!
//! Its tables are renamed: whatever gateway still works on it fails at once and answers 503, and what is carried changes no more. A
//! mark tells where the entries went.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::error::InboxError;
use super::super::moving::{MOVED_MARK, MovedTo, shown};
use super::fault::Fault;
use super::schema::durable;
use super::{Core, schema};

/// How often a change of tables is tried that other gateways use, or whose answer was lost.
const TRIES_MAX: u32 = 4;

/// Tables of entries. The marks stay.
const TABLES: [&str; 4] = ["entries", "work", "ended", "orders"];

const MOVED: &str = "SELECT name, value FROM gateway_inbox.marks WHERE starts_with(name, $1)";

impl Core {
    pub(in crate::inbox) async fn moved_to(&self) -> Result<Option<MovedTo>, InboxError> {
        match self.links.run(MOVED, &[(&MOVED_MARK, Type::TEXT)]).await {
            Ok(answer) => Ok(answer.rows.first().map(moved)),
            Err(fault) if fault.is_missing_table() => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    pub(in crate::inbox) async fn begin_leaving(&self, to: &str) -> Result<(), InboxError> {
        let renames = TABLES.map(|table| format!("ALTER TABLE gateway_inbox.{table} RENAME TO moved_{table};"));
        let name = quoted(&format!("{MOVED_MARK}{to}"));
        let statements =
            format!("{} INSERT INTO gateway_inbox.marks (name, value) VALUES ({name}, 1);", renames.concat());
        self.change_tables(&statements, |moved| moved.is_some_and(|moved| moved.place == to)).await
    }

    /// Gives up a move if it is as given. If not, nothing changes: a division by zero ends the transaction, which works on
    /// every engine.
    pub(in crate::inbox) async fn give_up_leaving(&self, to: &MovedTo) -> Result<(), InboxError> {
        let (name, value) = (quoted(&format!("{MOVED_MARK}{}", to.place)), value_of(to.is_done));
        let forget = format!(
            "WITH gone AS (DELETE FROM gateway_inbox.marks WHERE name = {name} AND value = {value} RETURNING 1)
             SELECT 1 / count(*) FROM gone;"
        );
        let renames = TABLES.map(|table| format!("ALTER TABLE gateway_inbox.moved_{table} RENAME TO {table};"));
        self.change_tables(&format!("{forget} {}", renames.concat()), |moved| moved.is_none()).await
    }

    pub(in crate::inbox) async fn empty(&self) -> Result<(), InboxError> {
        let drops = TABLES.map(|table| format!("DROP TABLE gateway_inbox.moved_{table};"));
        // The tables of steps and deeds and the index of references are made when they are needed.
        let more = "DROP TABLE IF EXISTS gateway_inbox.steps; DROP TABLE IF EXISTS gateway_inbox.deeds;
            DROP TABLE IF EXISTS gateway_inbox.refs; DELETE FROM gateway_inbox.marks WHERE name <> 'format';";
        let statements = [drops.concat().as_str(), more, schema::CREATE].concat();
        self.change_tables(&statements, |moved| moved.is_none()).await
    }

    /// Changes tables that gateways may be using, so that either side may have to try again. If an answer is lost,
    /// `is_done` tells.
    async fn change_tables(
        &self,
        statements: &str,
        is_done: impl Fn(Option<&MovedTo>) -> bool,
    ) -> Result<(), InboxError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(fault) = self.links.run_all(statements).await else { return Ok(()) };
            if is_done(self.moved_to().await?.as_ref()) {
                return Ok(());
            }
            if tries >= TRIES_MAX {
                return Err(fault.into());
            }
        }
    }

    /// False if no move to that place had begun.
    pub(in crate::inbox) async fn end_leaving(&self, to: &str) -> Result<bool, InboxError> {
        let statement = concat!(
            "WITH ended AS (UPDATE gateway_inbox.marks SET value = $2 WHERE name = $1 RETURNING 1) SELECT ",
            durable!(),
            " FROM ended"
        );
        let name = format!("{MOVED_MARK}{}", super::text(to));
        let answer = self.links.run_durably(statement, &[(&name, Type::TEXT), (&value_of(true), Type::INT8)]).await?;
        Ok(!answer.rows.is_empty())
    }
}

/// Value of the mark.
const fn value_of(is_done: bool) -> i64 {
    if is_done { 2 } else { 1 }
}

/// Where the entries went, from a row of [`MOVED`].
pub(super) fn moved(row: &Row) -> MovedTo {
    let place = row.get::<_, &str>(0).strip_prefix(MOVED_MARK).unwrap_or_default().to_owned();
    MovedTo { place, is_done: row.get::<_, i64>(1) == value_of(true) }
}

/// Why gateways may not work on the database any more.
pub(super) fn refusal(MovedTo { place, is_done }: MovedTo) -> Fault {
    let place = shown(&place);
    Fault::unfit(if is_done {
        format!(
            "its entries were moved to {place}: work with that file, or run `colony-gateway inbox move --to` there to have them \
             here again"
        )
    } else {
        format!(
            "its entries are being moved to {place}: run `colony-gateway inbox move --from` there again, or give the move up with \
             `colony-gateway inbox move --from --give-up`"
        )
    })
}

/// A text as a literal of a statement.
fn quoted(text: &str) -> String {
    format!("'{}'", super::text(text).replace('\'', "''"))
}
