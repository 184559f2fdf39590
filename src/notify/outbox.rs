//! Queues before the channels: each has its own, with its own worker, so that one that is slow holds up none.
//!
//! At most [`QUEUED_MAX`] messages wait for a channel; one more is dropped and counted. A message is tried [`ATTEMPTS_MAX`] times,
//! or until the channel says that this is of no use. What is left when the gateway stops gets one attempt.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::channel::Channel;
use super::fault::SendError;
use super::message::Message;
use crate::domain::backoff::Backoff;
use crate::lifecycle::Shutdown;
use crate::telemetry::health::Level;
use crate::telemetry::instruments::Instruments;

/// Name on the health board.
pub const COMPONENT: &str = "notifications";

/// Most messages that wait for one channel.
pub const QUEUED_MAX: usize = 64;

/// Most attempts at one message.
pub const ATTEMPTS_MAX: u32 = 6;

/// Waits between attempts: some minutes in all.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_mins(2) };

/// Longest last attempt while the gateway stops.
const LAST_MAX: Duration = Duration::from_secs(2);

/// Takes messages for all channels. Never waits.
#[derive(Clone, Debug)]
pub struct Outbox {
    queues: Vec<(&'static str, mpsc::Sender<Message>)>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    instruments: Instruments,
    /// Messages that were neither sent nor given up yet.
    pending: AtomicUsize,
    /// The last error of each channel.
    faults: Mutex<BTreeMap<&'static str, Option<String>>>,
}

/// Sends the messages of one queue. It runs beside the gateway.
#[derive(Debug)]
pub struct Worker {
    channel: Channel,
    queue: mpsc::Receiver<Message>,
    gateway: String,
    backoff: Backoff,
    shared: Arc<Shared>,
}

impl Outbox {
    /// An outbox and its workers. `gateway` is the name of this gateway in messages.
    pub fn new(channels: Vec<Channel>, gateway: &str, instruments: &Instruments) -> (Self, Vec<Worker>) {
        let faults = channels.iter().map(|channel| (channel.name(), None)).collect();
        let shared =
            Shared { instruments: instruments.clone(), pending: AtomicUsize::new(0), faults: Mutex::new(faults) };
        let shared = Arc::new(shared);
        shared.publish();
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        for channel in channels {
            let (sender, queue) = mpsc::channel(QUEUED_MAX);
            queues.push((channel.name(), sender));
            let (gateway, shared) = (gateway.to_owned(), Arc::clone(&shared));
            workers.push(Worker { channel, queue, gateway, backoff: BACKOFF, shared });
        }
        (Self { queues, shared }, workers)
    }

    /// Sends a message to all channels.
    pub fn send(&self, message: &Message) {
        for (channel, queue) in &self.queues {
            // This comes before the worker can have sent it.
            self.shared.pending.fetch_add(1, Ordering::SeqCst);
            if queue.try_send(message.clone()).is_err() {
                self.shared.pending.fetch_sub(1, Ordering::SeqCst);
                self.shared.instruments.metrics.notifications.of("queue_full").increment(1);
                tracing::warn!(channel, title = message.title, "notification dropped: too many wait for the channel");
            }
        }
    }

    /// Whether every message was sent or given up.
    pub fn is_idle(&self) -> bool {
        self.shared.pending.load(Ordering::SeqCst) == 0
    }
}

impl Shared {
    fn note(&self, channel: &'static str, fault: Option<String>) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).insert(channel, fault);
        self.publish();
    }

    fn publish(&self) {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<String> = faults
            .iter()
            .filter_map(|(channel, fault)| fault.as_ref().map(|fault| format!("{channel} {fault}")))
            .collect();
        let (level, detail) = if told.is_empty() {
            (Level::Ok, format!("messages go to {}", faults.keys().copied().collect::<Vec<_>>().join(", ")))
        } else {
            (Level::Degraded, format!("a message did not arrive: {}; try `notify test`", told.join("; ")))
        };
        let now = self.instruments.clock.now();
        self.instruments.board.set(COMPONENT, level, detail, now);
    }
}

impl Worker {
    /// A name for the supervisor.
    pub const fn name(&self) -> &'static str {
        match self.channel {
            Channel::Slack(_) => "notifications to slack",
            Channel::Discord(_) => "notifications to discord",
            Channel::Teams(_) => "notifications to teams",
            Channel::Webhook(..) => "notifications to a webhook",
            Channel::Email(_) => "notifications by mail",
        }
    }

    /// Uses these waits between attempts instead.
    #[cfg(test)]
    pub(super) fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Sends until draining begins, and then tries each remaining message once.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Infallible> {
        loop {
            let message = tokio::select! {
                biased;
                () = shutdown.draining() => break,
                message = self.queue.recv() => match message {
                    Some(message) => message,
                    None => return Ok(()),
                },
            };
            tokio::select! {
                sent = self.deliver(&message) => self.conclude(&message, sent),
                () = shutdown.draining() => {
                    self.last(&message).await;
                    break;
                }
            }
        }
        self.queue.close();
        while let Some(message) = self.queue.recv().await {
            self.last(&message).await;
        }
        Ok(())
    }

    async fn last(&self, message: &Message) {
        let sent = tokio::time::timeout(LAST_MAX, self.attempt(message)).await.unwrap_or_else(|_| {
            let said = "the gateway stopped before it was sent".to_owned();
            Err(SendError { said, is_passing: true, retry_after: None })
        });
        self.conclude(message, sent);
    }

    async fn attempt(&self, message: &Message) -> Result<(), SendError> {
        self.channel.send(message, &self.gateway, &self.shared.instruments.clock).await
    }

    async fn deliver(&self, message: &Message) -> Result<(), SendError> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(message).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !error.is_passing || attempt >= ATTEMPTS_MAX {
                return Err(error);
            }
            // The fault shows before the last attempt.
            self.shared.note(self.channel.name(), Some(error.said.clone()));
            let wait = self.backoff.wait(attempt, &mut fastrand::Rng::new());
            tokio::time::sleep(error.retry_after.unwrap_or_default().max(wait)).await;
            attempt += 1;
        }
    }

    fn conclude(&self, message: &Message, sent: Result<(), SendError>) {
        let (channel, metrics) = (self.channel.name(), &self.shared.instruments.metrics);
        match sent {
            Ok(()) => {
                metrics.notifications.of("sent").increment(1);
                self.shared.note(channel, None);
            }
            Err(error) => {
                metrics.notifications.of("failed").increment(1);
                tracing::error!(channel, title = message.title, error = error.said, "notification not sent");
                self.shared.note(channel, Some(error.said));
            }
        }
        self.shared.pending.fetch_sub(1, Ordering::SeqCst);
    }
}
