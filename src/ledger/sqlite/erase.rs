//! Erasing a person's data from the file.
//!
//! Overwritten content is zeroed (`secure_delete`), and the log is emptied at the end, so that nothing can be read from
//! free pages.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde_json::Value;

use super::fault::fault;
use super::{NAME, SqliteLedger};
use crate::domain::clock::Timestamp;
use crate::ledger::erase::{ERASE_EVENTS_MAX, Erasure, EventsStep, Found, RowsErased};
use crate::ledger::person::{PERSON_IDS_MAX, Person, Subject, reduced_event};
use crate::ledger::{BoxFuture, LedgerError, LedgerErrorKind};

/// What is left of a row's raw object of the kind `?2`.
const REDUCED: &str = "json_object('id', id, 'object', ?2, 'erased', json('true'))";

impl Erasure for SqliteLedger {
    fn find_person<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, Result<Found, LedgerError>> {
        let subject = subject.clone();
        Box::pin(self.call(move |connection| {
            let found = find(connection, &subject).map_err(fault)?;
            if found.person.len() > PERSON_IDS_MAX {
                let message = format!("more than {PERSON_IDS_MAX} ids belong to this subject: too many for one person");
                return Err(LedgerError::new(NAME, LedgerErrorKind::Rejected, message));
            }
            Ok(found)
        }))
    }

    fn mark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<(), LedgerError>> {
        let (person, now) = (person.clone(), self.clock.now());
        Box::pin(self.call(move |connection| mark(connection, &person, now).map_err(fault)))
    }

    fn unmark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<u64, LedgerError>> {
        let person = person.clone();
        Box::pin(self.call(move |connection| unmark(connection, &person).map_err(fault)))
    }

    fn erase_events<'a>(
        &'a self,
        person: &'a Person,
        after: &'a str,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<EventsStep, LedgerError>> {
        let (person, after) = (person.clone(), after.to_owned());
        Box::pin(self.call(move |connection| {
            zeroing(connection, |connection| events(connection, &person, &after, dry_run)).map_err(fault)
        }))
    }

    fn erase_rows<'a>(&'a self, person: &'a Person, dry_run: bool) -> BoxFuture<'a, Result<RowsErased, LedgerError>> {
        let person = person.clone();
        Box::pin(self.call(move |connection| {
            let erased = zeroing(connection, |connection| rows(connection, &person, dry_run)).map_err(fault)?;
            if !dry_run {
                // A reader in another process can be in the way. Then the log is emptied another time.
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(fault)?;
            }
            Ok(erased)
        }))
    }
}

/// Makes SQLite overwrite with zeros what `work` removes.
pub(super) fn zeroing<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
    let result = work(connection);
    connection.pragma_update_and_check(None, "secure_delete", "OFF", |_| Ok(()))?;
    result
}

/// Identifiers as a JSON array, which a statement reads with `json_each`.
fn list(ids: &BTreeSet<String>) -> String {
    ids.iter().map(String::as_str).collect::<Value>().to_string()
}

fn find(connection: &Connection, subject: &Subject) -> rusqlite::Result<Found> {
    let ids = |sql: &str, parameter: &str| -> rusqlite::Result<BTreeSet<String>> {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([parameter], |row| row.get(0))?;
        rows.collect()
    };
    let mut person = Person::of(subject);
    if let Subject::User(user) = subject {
        // If others claim the customer too, it is not this person's alone. The customer stays, and so does what pays for
        // the others.
        person.customers = ids(
            "SELECT c.subject FROM claims c
             WHERE c.user_id = ?1 AND c.rank IN (10, 30, 40, 50, 60)
               AND NOT EXISTS (SELECT 1 FROM claims o WHERE o.subject = c.subject AND o.user_id <> ?1)
             UNION
             SELECT s.customer_id FROM claims c JOIN stripe_subscriptions s ON s.id = c.subject
             WHERE c.user_id = ?1 AND s.customer_id IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM claims o WHERE o.subject = s.customer_id AND o.user_id <> ?1)
               AND NOT EXISTS (SELECT 1 FROM stripe_subscriptions x JOIN claims o ON o.subject = x.id
                               WHERE x.customer_id = s.customer_id AND o.user_id <> ?1)",
            user,
        )?;
        person.subscriptions = ids(
            "SELECT c.subject FROM claims c LEFT JOIN subscription_owners o ON o.id = c.subject
             WHERE c.user_id = ?1 AND c.rank NOT IN (10, 30, 40, 50, 60) AND coalesce(o.user_id, ?1) = ?1",
            user,
        )?;
    }
    // Subscriptions of a customer, except those that belong to another user.
    let mine = |sql: &str| {
        format!(
            "SELECT x.id FROM ({sql}) x LEFT JOIN subscription_owners o ON o.id = x.id
             WHERE ?1 = '[]' OR o.user_id IS NULL OR o.user_id IN (SELECT value FROM json_each(?1))"
        )
    };
    let of_customers = mine(
        "SELECT id FROM stripe_subscriptions WHERE customer_id IN (SELECT value FROM json_each(?2))
         UNION SELECT from_id FROM customer_bindings
         WHERE kind = 'subscription_customer' AND to_id IN (SELECT value FROM json_each(?2))",
    );
    let mut statement = connection.prepare_cached(&of_customers)?;
    let found = statement.query_map([list(&person.users), list(&person.customers)], |row| row.get(0))?;
    person.subscriptions.extend(found.collect::<rusqlite::Result<Vec<String>>>()?);
    person.objects = objects(connection, &person)?;
    let entitling = connection
        .prepare_cached(
            "SELECT count(*) FROM stripe_subscriptions WHERE entitles AND id IN (SELECT value FROM json_each(?1))",
        )?
        .query_row([list(&person.subscriptions)], |row| row.get(0))?;
    let erased_before = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM erasures WHERE fingerprint = ?1)")?
        .query_row([subject.fingerprint()], |row| row.get(0))?;
    Ok(Found { person, entitling, erased_before })
}

/// The person's invoices and payments, and then the refunds and disputes of these payments.
fn objects(connection: &Connection, person: &Person) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare_cached(
        "WITH own AS (
            SELECT key, payment_id, charge_id, invoice_id FROM revenue_entries
            WHERE customer_id IN (SELECT value FROM json_each(?1))
               OR subscription_id IN (SELECT value FROM json_each(?2))
               OR user_id IN (SELECT value FROM json_each(?3))
         ), first AS (
            SELECT key AS id FROM own UNION SELECT payment_id FROM own UNION SELECT charge_id FROM own
            UNION SELECT invoice_id FROM own
         )
         SELECT id FROM first WHERE id IS NOT NULL
         UNION SELECT r.key FROM first f JOIN revenue_entries r ON r.payment_id = f.id
         UNION SELECT l.invoice_id FROM first f JOIN payment_links l ON l.payment_id = f.id
         WHERE l.invoice_id IS NOT NULL",
    )?;
    let lists = [list(&person.customers), list(&person.subscriptions), list(&person.users)];
    let rows = statement.query_map(lists, |row| row.get(0))?;
    rows.collect()
}

fn mark(connection: &mut Connection, person: &Person, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for subject in person.subjects() {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO erasures (kind, fingerprint, erased_at) VALUES (?1, ?2, ?3)")?
            .execute(params![subject.kind(), subject.fingerprint(), now.millis()])?;
    }
    transaction.commit()
}

fn unmark(connection: &mut Connection, person: &Person) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut removed = 0;
    for subject in person.subjects() {
        removed += transaction
            .prepare_cached("DELETE FROM erasures WHERE kind = ?1 AND fingerprint = ?2")?
            .execute(params![subject.kind(), subject.fingerprint()])?;
    }
    transaction.commit()?;
    Ok(removed as u64)
}

fn events(connection: &mut Connection, person: &Person, after: &str, dry_run: bool) -> rusqlite::Result<EventsStep> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut step = EventsStep { last: None, erased: 0 };
    let mut reduced: Vec<(String, String)> = Vec::new();
    {
        let mut statement = transaction
            .prepare_cached("SELECT id, object_id, payload FROM events WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        let mut rows = statement.query(params![after, ERASE_EVENTS_MAX])?;
        while let Some(row) = rows.next()? {
            let (id, object): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let payload: Value = serde_json::from_str(row.get_ref(2)?.as_str()?).unwrap_or_default();
            step.last = Some(id.clone());
            let of_person =
                person.is_in_value(&payload) || object.is_some_and(|object| person.is_in_value(&Value::String(object)));
            if of_person && payload.get("erased") != Some(&Value::Bool(true)) {
                reduced.push((id, reduced_event(&payload).to_string()));
            }
        }
    }
    step.erased = reduced.len() as u64;
    if !dry_run {
        for (id, payload) in reduced {
            transaction
                .prepare_cached("UPDATE events SET payload = ?2, reduced = 1 WHERE id = ?1")?
                .execute([id, payload])?;
        }
    }
    transaction.commit()?;
    Ok(step)
}

fn rows(connection: &mut Connection, person: &Person, dry_run: bool) -> rusqlite::Result<RowsErased> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (customers, subscriptions) = (list(&person.customers), list(&person.subscriptions));
    let users = list(&person.users);
    let reduce = |table: &str, ids: &str, object: &str| {
        change(
            &transaction,
            &format!(
                "UPDATE {table} SET raw = {REDUCED}, metadata_user_id = NULL
                 WHERE id IN (SELECT value FROM json_each(?1)) AND coalesce(json_extract(raw, '$.erased'), 0) <> 1"
            ),
            &[ids, object],
        )
    };
    let erased = RowsErased {
        customers: reduce("stripe_customers", &customers, "customer")?,
        subscriptions: reduce("stripe_subscriptions", &subscriptions, "subscription")?,
        revenue: change(
            &transaction,
            "UPDATE revenue_entries SET user_id = NULL WHERE user_id IS NOT NULL
             AND (user_id IN (SELECT value FROM json_each(?1)) OR customer_id IN (SELECT value FROM json_each(?2))
                  OR subscription_id IN (SELECT value FROM json_each(?3)))",
            &[&users, &customers, &subscriptions],
        )?,
        bindings: change(
            &transaction,
            "DELETE FROM claims WHERE user_id IN (SELECT value FROM json_each(?1))
                OR subject IN (SELECT value FROM json_each(?2)) OR subject IN (SELECT value FROM json_each(?3))",
            &[&users, &customers, &subscriptions],
        )?,
        not_shown: 0,
    };
    reduce("vouched_subscriptions", &subscriptions, "subscription")?;
    reduce("kept_customers", &customers, "customer")?;
    reduce("kept_subscriptions", &subscriptions, "subscription")?;
    reduce("kept_vouched", &subscriptions, "subscription")?;
    let tables = [
        "stripe_customers",
        "stripe_subscriptions",
        "vouched_subscriptions",
        "kept_customers",
        "kept_subscriptions",
        "kept_vouched",
    ];
    for table in tables {
        let sql = format!(
            "UPDATE {table} SET metadata_user_id = NULL WHERE metadata_user_id IN (SELECT value FROM json_each(?1))"
        );
        change(&transaction, &sql, &[&users])?;
    }
    if dry_run {
        transaction.rollback()?;
    } else {
        transaction.commit()?;
    }
    Ok(erased)
}

fn change(transaction: &Transaction<'_>, sql: &str, parameters: &[&str]) -> rusqlite::Result<u64> {
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.execute(rusqlite::params_from_iter(parameters))? as u64)
}
