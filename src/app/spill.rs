//! The file that takes webhooks while the inbox's database is away: reports it, and empties it when the database is back.

use std::time::Duration;

use crate::domain::causes::chain;
use crate::domain::clock::Timestamp;
use crate::domain::counted::counted;
use crate::inbox::{Emptied, Inbox};
use crate::telemetry::health::Level;
use crate::telemetry::instruments::Instruments;

/// Name on the health board.
const COMPONENT: &str = "spill";

/// How often the database is offered again what it refused.
const AGAIN: Duration = Duration::from_mins(1);

/// Watches the file.
pub(super) struct SpillWatch {
    inbox: Inbox,
    instruments: Instruments,
    /// Deliveries that the database refused the last time.
    refused: u64,
    /// When it was last offered what is in the file.
    given: Option<Timestamp>,
}

impl SpillWatch {
    pub(super) fn new(inbox: Inbox, instruments: Instruments) -> Self {
        Self { inbox, instruments, refused: 0, given: None }
    }

    /// Looks at the file, tests it again if it refused a delivery, and empties it if the database takes writes.
    #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
    pub(super) async fn attend(&mut self, is_prepared: bool) {
        // The file logs when writes succeed again. Until then there is nothing new to report.
        let probed = self.inbox.probe_spill().await;
        let Ok(Some(standing)) = self.inbox.spilled().await else { return };
        self.refused = self.refused.min(standing);
        let now = self.instruments.clock.now();
        // A person may have removed the reason for which the database refused some of them.
        let is_due = standing > self.refused
            || (standing > 0 && self.given.is_none_or(|given| given > now || now.since(given) >= AGAIN));
        let standing = if is_due && is_prepared && self.inbox.stats().writable() {
            self.given = Some(now);
            self.empty().await;
            self.inbox.spilled().await.ok().flatten().unwrap_or(standing)
        } else {
            standing
        };
        self.instruments.metrics.inbox_spilled.set(standing as f64);
        let (level, detail) = match probed {
            Ok(()) => tell(standing, self.refused),
            Err(error) => (Level::Degraded, format!("inbox.spill_dir takes no deliveries: {}", chain(&error))),
        };
        self.instruments.board.set(COMPONENT, level, detail, self.instruments.clock.now());
    }

    async fn empty(&mut self) {
        match self.inbox.empty_spill().await {
            Ok(Emptied { carried, refused }) => {
                if carried > 0 {
                    tracing::info!(carried, "inbox: moved the deliveries of inbox.spill_dir into the database");
                }
                self.refused = refused;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "inbox: deliveries still wait in inbox.spill_dir for the database");
            }
        }
    }
}

/// The text for the health board.
fn tell(standing: u64, refused: u64) -> (Level, String) {
    match standing {
        0 => (Level::Ok, "nothing stands in inbox.spill_dir".to_owned()),
        _ if refused > 0 => (
            Level::Degraded,
            format!(
                "{} in inbox.spill_dir, {refused} of which the database refuses: its log says why",
                counted(standing, "delivery stands", "deliveries stand")
            ),
        ),
        _ => (
            Level::Degraded,
            format!(
                "{} in inbox.spill_dir until the inbox's database is back; nothing is lost",
                counted(standing, "delivery stands", "deliveries stand")
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use testkit::postgres::{Database, Flavour};
    use testkit::proxy::Proxy;

    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::ids::EndpointName;
    use crate::domain::secret::Secret;
    use crate::inbox::{Door, InboxOptions, NewEntry, PostgresInboxOptions};
    use crate::stripe::envelope::Envelope;
    use crate::stripe::tests::delivery;
    use crate::telemetry::health::Board;
    use crate::telemetry::metrics::Metrics;
    use crate::telemetry::trace::Tracer;

    #[tokio::test]
    async fn what_the_database_refused_is_given_to_it_again_after_a_while() {
        let (database, directory) = (Database::create(Flavour::Plain).await, tempfile::tempdir().unwrap());
        let mut proxy = Proxy::start(([127, 0, 0, 1], database.port()).into()).await;
        let url = database.url().replace(&database.port().to_string(), &proxy.address().port().to_string());
        let options = PostgresInboxOptions {
            allows_unsafe: true,
            spill: Some(InboxOptions::new(directory.path())),
            ..PostgresInboxOptions::new(Secret::new(url))
        };
        let clock = Clock::manual(Clock::system().now());
        let (inbox, threads) = Inbox::shared(&options, clock.clone()).unwrap();
        inbox.prepare().await.unwrap();
        database.run("ALTER TABLE gateway_inbox.entries ADD CONSTRAINT odd CHECK (event_id <> 'evt_1')").await;
        proxy.refuse().await;
        let body = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":true}"#;
        let envelope = Envelope::read(body).unwrap();
        let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body));
        inbox.append(entry).await.unwrap();
        proxy.listen_again().await;
        while inbox.probe().await.is_err() {}
        let (board, metrics, tracer) = (Board::default(), Metrics::new(), Tracer::default());
        let instruments = Instruments { metrics, board, clock: clock.clone(), tracer };
        let mut watch = SpillWatch::new(inbox.clone(), instruments);
        watch.attend(true).await;
        assert_eq!((watch.refused, inbox.spilled().await.unwrap()), (1, Some(1)));
        database.run("ALTER TABLE gateway_inbox.entries DROP CONSTRAINT odd").await;
        watch.attend(true).await;
        assert_eq!(inbox.spilled().await.unwrap(), Some(1), "not at once");
        clock.advance(AGAIN);
        watch.attend(true).await;
        assert_eq!((watch.refused, inbox.spilled().await.unwrap()), (0, Some(0)));
        drop((watch, inbox));
        tokio::task::spawn_blocking(move || threads.join()).await.unwrap();
    }
}
