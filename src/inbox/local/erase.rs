//! Erasing a person's data from the inbox: bodies of settled entries that lead to the person.
//!
//! An entry that is not settled stays, even if it names the person: nothing that was acknowledged may be lost before it is
//! applied. Such entries are listed, and an erasure that is run again when they are settled finds their bodies.
//!
//! The entry itself stays, without its body: event id, type, times and outcome name no person. Among its orders it says when its person
//! was erased.

use rusqlite::{Connection, params};

use super::LocalInbox;
use super::file::InboxFile;
use super::queue::Request;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::inbox::body::Unpacker;
use crate::inbox::erase::{ERASE_BODIES_MAX, ERASE_BYTES_MAX, ERASED, EraseStep, Unsettled};
use crate::inbox::error::InboxError;
use crate::inbox::state::StateName;

impl LocalInbox {
    /// Removes the bodies of settled entries that lead to the person. It looks at the next [`ERASE_BODIES_MAX`] after
    /// `after` (0: from the beginning), and `leads` judges each body. With `dry_run` it only looks. The writer goes on
    /// between the steps.
    pub(in crate::inbox) async fn erase_step(
        &self,
        leads: impl Fn(&[u8]) -> bool + Send + 'static,
        after: i64,
        dry_run: bool,
    ) -> Result<EraseStep, InboxError> {
        let (mut step, settled) = self.read(move |connection| look(connection, leads, after)).await?;
        step.erased = settled.len() as u64;
        if !dry_run && !settled.is_empty() {
            step.erased = self.ask(EraseBodies { entries: settled }).await?;
        }
        Ok(step)
    }
}

fn look(
    connection: &Connection,
    leads: impl Fn(&[u8]) -> bool,
    after: i64,
) -> rusqlite::Result<(EraseStep, Vec<EntryId>)> {
    let mut step = EraseStep::default();
    let mut settled = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT id, state, event_id, event_type, body, bytes FROM bodies JOIN entries ON id = entry
         WHERE entry > ?1 ORDER BY entry LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, ERASE_BODIES_MAX])?;
    let (mut bytes, mut unpacker) = (0, Unpacker::default());
    while bytes < ERASE_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let (entry, state): (i64, StateName) = (row.get(0)?, row.get(1)?);
        let body = unpacker.unpack(entry, row.get_ref(4)?.as_blob()?, row.get(5)?);
        bytes += body.len();
        step.last = Some(entry);
        if !leads(&body) {
            continue;
        }
        if state == StateName::Settled {
            settled.push(EntryId(entry));
        } else {
            step.unsettled.push(Unsettled { entry, event_id: row.get(2)?, event_type: row.get(3)?, state });
        }
    }
    Ok((step, settled))
}

/// Asks to remove bodies of settled entries, and to zero the space that they leave.
struct EraseBodies {
    entries: Vec<EntryId>,
}

impl Request for EraseBodies {
    type Done = u64;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<u64> {
        overwriting(file, |file| remove(&file.connection, &self.entries, now))
    }
}

/// Makes SQLite overwrite in the file what `work` removes.
pub(super) fn overwriting<T>(
    file: &mut InboxFile,
    change: impl FnOnce(&mut InboxFile) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    file.connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
    let changed = change(file);
    file.connection.pragma_update_and_check(None, "secure_delete", "OFF", |_| Ok(()))?;
    changed
}

fn remove(connection: &Connection, entries: &[EntryId], now: Timestamp) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM bodies WHERE entry = ?1 AND EXISTS (SELECT 1 FROM entries WHERE id = ?1 AND state = ?2)",
    )?;
    let mut note = connection.prepare_cached(
        "INSERT INTO orders (entry, action, at, was)
         SELECT id, ?2, ?3, 'was settled' || coalesce(', ' || code, '') FROM entries WHERE id = ?1",
    )?;
    let mut removed = 0;
    for entry in entries {
        if statement.execute(params![entry.0, StateName::Settled])? > 0 {
            note.execute(params![entry.0, ERASED, now.millis()])?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::ids::EndpointName;
    use crate::domain::outcome::Settled;
    use crate::inbox::{Conclusion, Door, Inbox, InboxOptions, LeaseRequest, Leased, NewEntry};
    use crate::stripe::envelope::Envelope;
    use crate::stripe::tests::delivery;

    fn body(number: usize, customer: &str, filler: usize) -> String {
        // Text that repeats would be compressed to almost nothing.
        let filler: String = (0..filler).map(|_| fastrand::alphanumeric()).collect();
        format!(
            r#"{{"id":"evt_{number}","object":"event","type":"x","livemode":true,"data":{{"object":{{"customer":"{customer}",
               "email":"{customer}@mail.example","description":"{filler}"}}}}}}"#
        )
    }

    fn entry(number: usize, customer: &str, filler: usize) -> NewEntry {
        let body = body(number, customer, filler);
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body.as_bytes()))
    }

    async fn settle(inbox: &Inbox, entries_max: usize) {
        let request = LeaseRequest { entries_max, bytes_max: usize::MAX, duration: Duration::from_mins(1) };
        let leased = inbox.lease(request).await.unwrap().entries;
        let settle = |leased: Leased| (leased.lease, Conclusion::Settle { outcome: Settled::Applied });
        inbox.conclude(leased.into_iter().map(settle).collect()).await.unwrap();
    }

    /// Takes all steps. Returns the sum, the unsettled entries and the number of steps.
    async fn erase_all(inbox: &Inbox, customer: &str, dry_run: bool) -> (u64, Vec<Unsettled>, usize) {
        let names = |customer: String| move |body: &[u8]| String::from_utf8_lossy(body).contains(&customer);
        let (mut erased, mut unsettled, mut steps, mut after) = (0, Vec::new(), 0, 0);
        loop {
            let step = inbox.erase_step(names(format!("{customer:?}")), after, dry_run).await.unwrap();
            (erased, steps) = (erased + step.erased, steps + 1);
            unsettled.extend(step.unsettled);
            match step.last {
                Some(last) => after = last,
                None => return (erased, unsettled, steps),
            }
        }
    }

    #[tokio::test]
    async fn bodies_of_settled_entries_go_for_good_and_what_is_not_settled_stays() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock).unwrap();
        for (number, customer) in ["cus_ann", "cus_bob", "cus_ann", "cus_ann"].into_iter().enumerate() {
            inbox.append(entry(number, customer, 0)).await.unwrap();
        }
        settle(&inbox, 3).await;
        let (would, unsettled, _) = erase_all(&inbox, "cus_ann", true).await;
        let found =
            Unsettled { entry: 4, event_id: "evt_3".to_owned(), event_type: "x".to_owned(), state: StateName::Waiting };
        assert_eq!((would, unsettled.as_slice()), (2, [found.clone()].as_slice()));
        assert_eq!(erase_all(&inbox, "cus_ann", false).await.0, 2);
        assert_eq!(erase_all(&inbox, "cus_ann", false).await.0, 0, "a second time there is nothing left");
        settle(&inbox, 3).await;
        let (erased, unsettled, _) = erase_all(&inbox, "cus_ann", false).await;
        assert_eq!((erased, unsettled), (1, Vec::new()), "what waited is erased when it is settled");
        let counts = inbox.counts().await.unwrap();
        assert_eq!(counts.settled, 4, "the entries themselves stay");
        drop(inbox);
        threads.join();
        let file = std::fs::read(directory.path().join("inbox.db")).unwrap();
        let holds = |number: usize, customer: &str| {
            let entry = entry(number, customer, 0);
            let (stored, _) = entry.stored_body();
            file.windows(stored.len()).any(|window| window == stored)
        };
        let kept = ["cus_ann", "cus_bob", "cus_ann", "cus_ann"].into_iter().enumerate().map(|(n, who)| holds(n, who));
        assert_eq!(kept.collect::<Vec<_>>(), [false, true, false, false], "free pages still tell");
    }

    #[tokio::test]
    async fn a_step_is_bounded_in_bodies_and_in_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock).unwrap();
        let total = ERASE_BODIES_MAX + 1;
        for number in 0..total {
            inbox.append(entry(number, "cus_ann", 0)).await.unwrap();
        }
        assert_eq!(erase_all(&inbox, "cus_ann", true).await.2, 3, "two steps and the one that finds no more");
        for number in 0..10 {
            inbox.append(entry(total + number, "cus_ann", 900_000)).await.unwrap();
        }
        let (_, unsettled, steps) = erase_all(&inbox, "cus_ann", true).await;
        assert_eq!((unsettled.len(), steps), (total + 10, 4), "ten large bodies end a step early");
        drop(inbox);
        threads.join();
    }
}
