//! Tells the ledger what people dropped, so that no process of the colony, no other gateway and no comparison with Stripe
//! applies it any more.
//!
//! Guarantees: a drop is told until the ledger has taken it; one that comes too late, because the event was applied before, is
//! logged. The inbox needs no ledger to drop an entry.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::StartError;
use crate::config::Config;
use crate::domain::backoff::Backoff;
use crate::domain::causes::chain;
use crate::inbox::{Inbox, InboxError, UntoldDrop};
use crate::ledger::report::StateOfRecord;
use crate::ledger::{Ledger, LedgerError, Outcome};
use crate::lifecycle::{Shutdown, Supervisor};
use crate::revenue::rows::{EventFacts, RawJson};
use crate::revenue::verdict::Verdict;

/// Waits while the ledger does not answer.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(30) };

/// How often an inbox that gateways share is looked at for drops that another gateway or a command could not tell.
const LOOK: Duration = Duration::from_mins(1);

/// Why the ledger was not told of drops.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Inbox(#[from] InboxError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Starts telling the ledger of drops.
pub(super) fn start(ledger: &Arc<dyn StateOfRecord>, inbox: &Inbox, supervisor: &mut Supervisor, shutdown: &Shutdown) {
    let ledger = Arc::clone(ledger) as Arc<dyn Ledger>;
    supervisor.start("dropped events", run(inbox.clone(), ledger, LOOK, shutdown.clone()));
}

/// Tells the ledger of drops as they come, until draining begins. Looks every `look` at an inbox in which others drop events too.
async fn run(inbox: Inbox, ledger: Arc<dyn Ledger>, look: Duration, shutdown: Shutdown) -> Result<(), Infallible> {
    let mut random = fastrand::Rng::new();
    let mut failures = 0_u32;
    loop {
        let wait = match tell(&inbox, &*ledger).await {
            Ok(()) => {
                failures = 0;
                None
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(error = chain(&error), "the ledger cannot be told yet which events were dropped");
                }
                Some(BACKOFF.wait(failures, &mut random))
            }
        };
        let again = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None if inbox.is_shared() => drop(tokio::time::timeout(look, inbox.dropped()).await),
                None => inbox.dropped().await,
            }
        };
        tokio::select! {
            () = again => {}
            () = shutdown.draining() => return Ok(()),
        }
    }
}

/// Tells the ledger of entries dropped while no gateway ran.
///
/// # Errors
/// Why the ledger does not know yet. The next start of the gateway tells it.
pub async fn tell_drops(config: &Config, inbox: &Inbox) -> Result<(), String> {
    let ledger = super::open_ledger(config, inbox.clock()).await.map_err(|error: StartError| chain(&error))?;
    tell(inbox, &*ledger).await.map_err(|error| chain(&error))
}

async fn tell(inbox: &Inbox, ledger: &dyn Ledger) -> Result<(), TellError> {
    loop {
        let drops = inbox.untold_drops().await?;
        if drops.is_empty() {
            return Ok(());
        }
        let batch: Vec<Verdict> = drops.iter().map(verdict).collect();
        let outcomes = ledger.apply(&batch).await?;
        for (dropped, outcome) in drops.iter().zip(&outcomes) {
            if *outcome == Outcome::Duplicate {
                let event_id = &dropped.event_id;
                tracing::warn!(%event_id, "an event was dropped that the ledger had applied before: it stays applied");
            }
        }
        inbox.drops_told(drops.into_iter().map(|dropped| dropped.order).collect()).await?;
    }
}

fn verdict(dropped: &UntoldDrop) -> Verdict {
    let UntoldDrop { event_id, event_type, account, livemode, received, at, by, note, .. } = dropped;
    let event = EventFacts {
        id: event_id.clone(),
        kind: event_type.clone(),
        account: account.clone(),
        livemode: livemode.unwrap_or(false),
        created: *received,
        api_version: None,
        object_id: None,
        payload: RawJson::from_value(&json!({ "id": event_id.as_str(), "type": event_type })),
    };
    let by = by.as_deref().unwrap_or("an operator");
    let note = note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    // Which PostgreSQL refuses in text: one such note would keep the ledger from being told of any drop.
    let reason = format!("dropped by {by} at {at}{note}").replace('\0', "");
    Verdict::Drop { event, reason }
}

#[cfg(test)]
mod tests {
    use testkit::postgres::{Database, Flavour};

    use super::*;
    use crate::domain::clock::{Clock, Timestamp};
    use crate::domain::ids::{EndpointName, EventId};
    use crate::domain::secret::Secret;
    use crate::inbox::{Action, Door, NewEntry, Order, PostgresInboxOptions, Selection};
    use crate::ledger::audit::Audit as _;
    use crate::ledger::sqlite::SqliteLedger;
    use crate::stripe::envelope::Envelope;
    use crate::stripe::tests::delivery;

    #[test]
    fn a_note_that_no_database_takes_keeps_no_drop_from_being_told() {
        let dropped = UntoldDrop {
            order: 1,
            event_id: EventId::new("evt_1"),
            event_type: "invoice.paid".to_owned(),
            account: None,
            livemode: Some(true),
            received: Timestamp::from_seconds(1),
            at: Timestamp::from_seconds(2),
            by: Some("a\0na".to_owned()),
            note: Some("not\0 ours".to_owned()),
        };
        let Verdict::Drop { reason, .. } = verdict(&dropped) else { panic!("not dropped") };
        assert!(reason.starts_with("dropped by ana at") && reason.ends_with(": not ours"), "{reason}");
    }

    #[tokio::test]
    async fn what_another_gateway_dropped_and_did_not_tell_is_told() {
        let (database, clock) = (Database::create(Flavour::Plain).await, Clock::system());
        let options = PostgresInboxOptions::new(Secret::new(database.url()));
        let options = PostgresInboxOptions { allows_unsafe: true, ..options };
        let open = || Inbox::shared(&options, clock.clone()).unwrap();
        let ((gone, gone_threads), (inbox, threads)) = (open(), open());
        gone.prepare().await.unwrap();
        let ledger = Arc::new(SqliteLedger::in_memory(clock.clone()).unwrap());
        let (shutdown, mut task) = (Shutdown::default(), tokio::task::JoinSet::new());
        let telling = run(inbox, Arc::clone(&ledger) as Arc<dyn Ledger>, Duration::from_millis(1), shutdown.clone());
        task.spawn(async move {
            let _ = telling.await;
        });
        // The first may be there before the other gateway looks for the first time.
        for number in 0..2 {
            let body = format!(r#"{{"id":"evt_{number}","object":"event","type":"invoice.paid","livemode":true}}"#);
            let envelope = Envelope::read(body.as_bytes()).unwrap();
            let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body.as_bytes()));
            let entry = gone.append(entry).await.unwrap().entry();
            let by_id = Selection { entries: vec![entry], ..Selection::default() };
            let order = Order { action: Action::Drop, by: None, note: None };
            assert_eq!(gone.operate(&by_id, &order, false, None).await.unwrap().changed(), 1);
            while !gone.untold_drops().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        }
        let events = ["evt_0".to_owned(), "evt_1".to_owned()];
        assert_eq!(ledger.known_events(&events).await.unwrap().len(), 2);
        shutdown.drain();
        while task.join_next().await.is_some() {}
        drop(gone);
        tokio::task::spawn_blocking(move || (gone_threads.join(), threads.join())).await.unwrap();
    }
}
