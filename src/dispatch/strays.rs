//! Takes entries back from the processes of a colony that this program does not use: an earlier run submitted them, with other
//! settings, and nothing here asks a server about them.
//!
//! Guarantee: removing a colony from the configuration leaves no entry behind with it. What a process still does is recognised by the
//! ledger. Of an inbox that gateways share, only processes are taken whose own gateway has stopped asking about them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::process_end;
use crate::domain::outcome::Returned;
use crate::inbox::{Concluded, Inbox, InboxError};
use crate::telemetry::metrics::Metrics;

/// Time between two looks: in a shared inbox another gateway may leave processes behind at any time, and a file may not be readable
/// at the start.
const LOOK: Duration = Duration::from_secs(5);

/// Most processes of one look.
const PROCESSES_MAX: u32 = 256;

/// The task of a gateway without a colony.
#[derive(Debug)]
pub struct Strays {
    inbox: Inbox,
    metrics: Arc<Metrics>,
}

impl Strays {
    pub fn new(inbox: Inbox, metrics: Arc<Metrics>) -> Self {
        Self { inbox, metrics }
    }

    /// Runs until draining begins.
    pub async fn run(self, draining: CancellationToken) -> Result<(), Infallible> {
        loop {
            match self.take_back().await {
                // Nothing in this program submits.
                Ok(None) if !self.inbox.is_shared() => {
                    draining.cancelled().await;
                    return Ok(());
                }
                Ok(None | Some(0)) => {}
                Ok(Some(entries)) => {
                    tracing::warn!(
                        entries,
                        "took entries back from the processes of a colony that this gateway does not use"
                    );
                    self.inbox.wake();
                    continue;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "the inbox cannot be asked what was submitted");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = draining.cancelled() => return Ok(()),
            }
        }
    }

    /// Makes the entries of such processes wait again. Returns how many there were; `None` if there is no such process.
    async fn take_back(&self) -> Result<Option<usize>, InboxError> {
        let processes = self.inbox.submitted(PROCESSES_MAX).await?;
        if processes.is_empty() {
            return Ok(None);
        }
        let mut taken = 0;
        for process in processes {
            let entries = self.inbox.entries_of(process.process.clone()).await?;
            let ends = process_end::take_back(entries, Returned::NoColony, "this gateway uses no colony");
            let conclusions = ends.into_iter().map(|ended| (ended.entry, ended.conclusion)).collect();
            let concluded = self.inbox.conclude_submitted(process.process, conclusions).await?;
            let returned = concluded.iter().filter(|concluded| **concluded == Concluded::Done).count();
            self.metrics.returned.of(Returned::NoColony.as_str()).increment(returned as u64);
            taken += returned;
        }
        Ok(Some(taken))
    }
}

#[cfg(test)]
mod tests {
    use testkit::postgres::{Database, Flavour};

    use super::*;
    use crate::domain::clock::{Clock, Timestamp};
    use crate::domain::ids::{EndpointName, ProcessId};
    use crate::domain::secret::Secret;
    use crate::inbox::{Conclusion, Door, LeaseRequest, NewEntry, PostgresInboxOptions, Time};
    use crate::stripe::envelope::Envelope;
    use crate::stripe::tests::delivery;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn of_a_shared_inbox_only_what_its_own_gateway_left_is_taken_back() {
        let (database, clock) =
            (Database::create(Flavour::Plain).await, Clock::manual(Timestamp::from_seconds(1_700_000_000)));
        let options = PostgresInboxOptions::new(Secret::new(database.url()));
        let options = PostgresInboxOptions { time: Time::Clock, allows_unsafe: true, ..options };
        let open = || Inbox::shared(&options, clock.clone()).unwrap();
        let ((with_colony, threads), (inbox, own_threads)) = (open(), open());
        with_colony.prepare().await.unwrap();
        let body = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":true}"#;
        let envelope = Envelope::read(body).unwrap();
        let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body));
        with_colony.append(entry).await.unwrap();
        let request = LeaseRequest { entries_max: 1, bytes_max: 1 << 20, duration: 60 * SECOND };
        let leased = with_colony.lease(request).await.unwrap().entries.pop().unwrap();
        let process = ProcessId::new("p1");
        let submitted = Conclusion::Submitted { process: process.clone(), poll_after: SECOND };
        with_colony.conclude(vec![(leased.lease, submitted)]).await.unwrap();
        let strays = Strays::new(inbox, Metrics::new());
        for _ in 0..3 {
            clock.advance(8 * SECOND);
            assert_eq!(strays.take_back().await.unwrap(), None, "its gateway asks about it");
            with_colony.postpone(vec![(process.clone(), SECOND)]).await.unwrap();
        }
        clock.advance(12 * SECOND);
        assert_eq!(strays.take_back().await.unwrap(), Some(1));
        assert_eq!((strays.take_back().await.unwrap(), strays.inbox.counts().await.unwrap().waiting), (None, 1));
        drop((with_colony, strays));
        tokio::task::spawn_blocking(move || (threads.join(), own_threads.join())).await.unwrap();
    }
}
