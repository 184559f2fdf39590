//! Carrying the orders of people into the database.
//!
//! A command that was killed may have left a statement on its way, beside which its repetition sees nothing of what that one adds. So
//! the number of an order follows from what it is: the second of the two waits for the first, and adds nothing.

use std::borrow::Cow;

use tokio_postgres::types::Type;

use super::super::carry::CarriedOrder;
use super::super::error::InboxError;
use super::fault::Fault;
use super::numbers::{PROBES_MAX, hash, lasting};
use super::schema::durable;
use super::{BIGINTS, Core, TEXTS, text};
use crate::postgres::Parameter;

/// Adds orders except those already there: an entry has one order of a kind at a time.
const ORDERS: &str = concat!(
    "WITH given AS (
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS g (id, entry, action, at, by, note, was, untold)
    ), added AS (
        INSERT INTO gateway_inbox.orders (id, entry, action, at, by, note, was, untold)
        SELECT id, entry, action, at, by, note, was, untold FROM given g
        WHERE NOT EXISTS (SELECT 1 FROM gateway_inbox.orders o WHERE o.entry = g.entry AND o.action = g.action AND o.at = g.at)
        ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id
    )
    SELECT id, ",
    durable!(),
    " FROM added"
);

/// Which orders are missing.
const MISSING: &str = "
    SELECT g.n FROM unnest($1, $2, $3) WITH ORDINALITY AS g (entry, action, at, n)
    WHERE NOT EXISTS (SELECT 1 FROM gateway_inbox.orders o WHERE o.entry = g.entry AND o.action = g.action AND o.at = g.at)";

impl Core {
    /// Adds orders of entries. Existing ones stay as they are.
    pub(super) async fn take_in_orders(&self, mut orders: Vec<(i64, &CarriedOrder)>) -> Result<(), InboxError> {
        for probe in 0..PROBES_MAX {
            if orders.is_empty() || self.add_orders(&orders, probe).await? == orders.len() {
                return Ok(());
            }
            let missing = self.missing(&orders).await?;
            orders = missing.into_iter().filter_map(|n| orders.get(n).copied()).collect();
        }
        Err(Fault::unfit("the numbers of orders of one moment are all taken").into())
    }

    /// How many were added.
    async fn add_orders(&self, orders: &[(i64, &CarriedOrder)], probe: i64) -> Result<usize, Fault> {
        // Orders are shown in the order of their numbers.
        let told: Vec<(i64, u64)> = orders
            .iter()
            .map(|(entry, order)| (order.at, hash([entry.to_string().as_str(), order.action.as_str()])))
            .collect();
        let ids = lasting(&told, probe);
        let maybe = |of: fn(&CarriedOrder) -> Option<&str>| {
            orders.iter().map(|(_, order)| of(order).map(text)).collect::<Vec<Option<Cow<'_, str>>>>()
        };
        let (of, actions, times) = columns(orders);
        let was: Vec<Cow<'_, str>> = orders.iter().map(|(_, order)| text(&order.was)).collect();
        let untold: Vec<bool> = orders.iter().map(|(_, order)| order.untold).collect();
        let parameters: [Parameter<'_>; 8] = [
            (&ids, BIGINTS),
            (&of, BIGINTS),
            (&actions, TEXTS),
            (&times, BIGINTS),
            (&maybe(|order| order.by.as_deref()), TEXTS),
            (&maybe(|order| order.note.as_deref()), TEXTS),
            (&was, TEXTS),
            (&untold, Type::BOOL_ARRAY),
        ];
        Ok(self.links.run_durably(ORDERS, &parameters).await?.rows.len())
    }

    /// Places of the missing ones.
    async fn missing(&self, orders: &[(i64, &CarriedOrder)]) -> Result<Vec<usize>, Fault> {
        let (of, actions, times) = columns(orders);
        let answer = self.links.run(MISSING, &[(&of, BIGINTS), (&actions, TEXTS), (&times, BIGINTS)]).await?;
        let place = |row: &tokio_postgres::Row| usize::try_from(row.get::<_, i64>(0) - 1).ok();
        Ok(answer.rows.iter().filter_map(place).collect())
    }
}

/// What identifies an order, in columns: entry, action, time.
fn columns<'a>(orders: &[(i64, &'a CarriedOrder)]) -> (Vec<i64>, Vec<&'a str>, Vec<i64>) {
    let of = orders.iter().map(|(entry, _)| *entry).collect();
    let actions = orders.iter().map(|(_, order)| order.action.as_str()).collect();
    (of, actions, orders.iter().map(|(_, order)| order.at).collect())
}
