//! The vouched state of subscriptions of which some event was held by a rule.
//!
//! The truth table has the newest content of all events. Beside it the vouched state is the newest content of the events
//! that no rule holds or that were released; access is what both give. As long as no event of a subscription was ever held,
//! both are the same and nothing is stored twice: the subscription is not *doubted*. The first held event marks it and
//! copies what is there, which until then was made of vouched events alone. From then on what vouched events tell is kept, and
//! [`super::settle`] says which of it is the newest, by the same rule as for the truth: the order of events does not matter.

use rusqlite::{Transaction, params};

use super::truth::{self, Merged};
use crate::revenue::rows::SubscriptionRow;

/// Merges a row into the truth and into the vouched state.
pub(super) fn merge_subscription(
    transaction: &Transaction<'_>,
    row: &SubscriptionRow,
    is_suspect: bool,
) -> rusqlite::Result<Merged> {
    let doubted: bool = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM doubted_subscriptions WHERE id = ?1)")?
        .query_row([&row.id], |row| row.get(0))?;
    if is_suspect && !doubted {
        transaction.prepare_cached("INSERT INTO doubted_subscriptions (id) VALUES (?1)")?.execute(params![row.id])?;
        // The contents that were kept come first: the row of a part has what the whole of before said in it.
        for table in ["kept_subscriptions", "stripe_subscriptions"] {
            transaction
                .prepare_cached(&format!("INSERT OR IGNORE INTO kept_vouched SELECT * FROM {table} WHERE id = ?1"))?
                .execute(params![row.id])?;
        }
    }
    let merged = truth::merge_subscription(transaction, row, doubted && !is_suspect)?;
    Ok(Merged { doubted: doubted || is_suspect, ..merged })
}
