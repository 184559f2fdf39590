//! Watches whether deliveries pass the check of their signatures, and reports it on the health board.
//!
//! With a wrong secret the gateway refuses every delivery of Stripe's, and nothing else fails: it stores nothing and has nothing to
//! do. So an endpoint that refuses and accepts nothing is reported, and one that refuses most.
//!
//! The worst level is `degraded`, never `down`. Anyone can post a forged delivery, and it looks like one of Stripe's under another
//! secret. A report of `down` would let anyone take the gateway out of service, and a gateway whose secret is wrong still works on
//! what it has. For the same reason an endpoint that has accepted a delivery is given time to accept the next one: beside ordinary
//! traffic, a few forgeries change nothing. Posts without a readable signature count only in numbers, because scanners send them
//! everywhere and Stripe never does; they matter if a proxy strips the header.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::counted;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::stripe::endpoint::Endpoint;
use crate::stripe::signature::SecretFingerprint;
use crate::stripe::tally::Tallied;
use crate::telemetry::health::{Board, Level};
use crate::telemetry::instruments::Instruments;

/// Name on the health board and in the report of `check`.
pub(super) const COMPONENT: &str = "signatures";

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// How long a refusal is recent if nothing was accepted after it. Stripe's pauses between two attempts are shorter.
const RECENT: Duration = Duration::from_hours(24);

/// How long an endpoint that has accepted deliveries may accept none while it refuses some.
const QUIET: Duration = Duration::from_mins(5);

/// The span in which refused and accepted deliveries are compared, and the time between two readings that are kept of it.
const SPAN: Duration = Duration::from_hours(1);
const SAMPLE: Duration = Duration::from_mins(1);

/// Fewest refusals that count: of deliveries with a signature before any was accepted, the same afterwards, and of posts
/// without a readable signature or of most deliveries.
const UNPROVEN_MIN: u64 = 1;
const PROVEN_MIN: u64 = 3;
const MANY_MIN: u64 = 10;

/// Starts the watch, if there is an endpoint.
pub(super) fn start(
    endpoints: Vec<Endpoint>,
    instruments: &Instruments,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) {
    if endpoints.is_empty() {
        return;
    }
    let (board, clock) = (instruments.board.clone(), instruments.clock.clone());
    let watched = endpoints.into_iter().map(|endpoint| (Record::begin(&endpoint, clock.now()), endpoint)).collect();
    supervisor.start("signatures", run(watched, board, clock, shutdown.clone()));
}

async fn run(
    mut watched: Vec<(Record, Endpoint)>,
    board: Board,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    let mut before = Level::Ok;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.draining() => return Ok(()),
        }
        let now = clock.now();
        let mut faults = Vec::new();
        let mut lately = Tallied::default();
        for (record, endpoint) in &mut watched {
            let (fault, hour) = record.look(endpoint, now);
            faults.extend(fault.map(|fault| format!("endpoint {}: {fault}", endpoint.name)));
            lately.accepted += hour.accepted;
            lately.unfit += hour.refused();
        }
        let (level, detail) = if faults.is_empty() {
            let accepted = counted(lately.accepted, "delivery", "deliveries");
            (Level::Ok, format!("{accepted} accepted and {} refused in the last hour", lately.unfit))
        } else {
            (Level::Degraded, faults.join("; "))
        };
        match (before, level) {
            (Level::Ok, Level::Degraded) => {
                tracing::warn!(
                    detail,
                    "deliveries are refused for their signatures; if they are Stripe's, the secret here is wrong"
                );
            }
            (Level::Degraded, Level::Ok) => tracing::info!(detail, "deliveries pass the check of their signatures"),
            _ => {}
        }
        before = level;
        board.set(COMPONENT, level, detail, now);
    }
}

/// What is remembered of one endpoint.
#[derive(Debug)]
struct Record {
    secrets: Vec<SecretFingerprint>,
    /// Whether a delivery proved these secrets.
    is_proven: bool,
    /// The counts when a delivery was last accepted.
    base: Tallied,
    last: Tallied,
    /// When refusals after `base` were first and last seen.
    refused: Option<(Timestamp, Timestamp)>,
    /// Counts of the last hour, oldest first.
    samples: VecDeque<(Timestamp, Tallied)>,
}

impl Record {
    fn begin(endpoint: &Endpoint, now: Timestamp) -> Self {
        let counts = endpoint.tally.read();
        let secrets = fingerprints(endpoint);
        let samples = VecDeque::from([(now, counts)]);
        Self { secrets, is_proven: false, base: counts, last: counts, refused: None, samples }
    }

    /// The fault of the endpoint, if it has one, and its counts of the last hour.
    fn look(&mut self, endpoint: &Endpoint, now: Timestamp) -> (Option<String>, Tallied) {
        // What other secrets refused says nothing about these.
        if self.secrets != fingerprints(endpoint) {
            *self = Self::begin(endpoint, now);
        }
        let counts = endpoint.tally.read();
        self.note(counts, now);
        let hour = counts.since(self.samples.front().map_or(self.base, |(_, oldest)| *oldest));
        (self.silent(counts, now).or_else(|| mostly_refused(hour)), hour)
    }

    fn note(&mut self, counts: Tallied, now: Timestamp) {
        if counts.accepted > self.last.accepted {
            (self.is_proven, self.base, self.refused) = (true, counts, None);
        } else if counts.refused() > self.last.refused() {
            self.refused = Some((self.refused.map_or(now, |(first, _)| first), now));
        }
        self.last = counts;
        if self.samples.back().is_none_or(|(at, _)| now.since(*at) >= SAMPLE) {
            self.samples.push_back((now, counts));
        }
        // The newest reading that is an hour old is where the hour begins.
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= SPAN) {
            self.samples.pop_front();
        }
    }

    /// Refusals, the last of them recent, after which no delivery was accepted.
    fn silent(&self, counts: Tallied, now: Timestamp) -> Option<String> {
        let (first, last) = self.refused?;
        let since = counts.since(self.base);
        let fewest = if self.is_proven { PROVEN_MIN } else { UNPROVEN_MIN };
        let is_enough = since.signed() >= fewest || since.unreadable >= MANY_MIN;
        let is_long = !self.is_proven || now.since(first) >= QUIET;
        (is_enough && is_long && now.since(last) < RECENT).then(|| {
            let deliveries = counted(since.refused(), "delivery was refused", "deliveries were refused");
            let first = Timestamp::from_seconds(first.seconds());
            format!("{deliveries} since {first} and none was accepted ({})", reasons(since))
        })
    }
}

/// Whether most of the deliveries with a signature were refused in the last hour.
fn mostly_refused(hour: Tallied) -> Option<String> {
    (hour.signed() >= MANY_MIN && hour.signed() > hour.accepted).then(|| {
        let accepted = counted(hour.accepted, "was accepted", "were accepted");
        format!("{} deliveries were refused in the last hour and {accepted} ({})", hour.refused(), reasons(hour))
    })
}

/// Why deliveries were refused, in words.
fn reasons(refused: Tallied) -> String {
    let kinds = [
        (refused.unfit, "fit no secret here"),
        (refused.untimely, "were too old or from the future, which is a wrong clock"),
        (refused.unreadable, "had no readable signature"),
    ];
    let told = kinds.into_iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
    told.collect::<Vec<_>>().join(", ")
}

fn fingerprints(endpoint: &Endpoint) -> Vec<SecretFingerprint> {
    endpoint.secrets.get().iter().map(stripe_events::signature::SigningSecret::fingerprint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::EndpointName;
    use crate::stripe::endpoint::Mode;
    use crate::stripe::envelope::PayloadKind;
    use crate::stripe::signature::{SignatureError, SigningSecret};
    use crate::stripe::tally::Tally;

    struct Scene {
        endpoint: Endpoint,
        record: Record,
        now: Timestamp,
    }

    fn secrets(text: &str) -> Vec<SigningSecret> {
        vec![SigningSecret::parse(text).unwrap().0]
    }

    impl Scene {
        fn new() -> Self {
            let endpoint = Endpoint {
                name: EndpointName::new("stripe"),
                paths: Vec::new(),
                secrets: secrets("whsec_one").into(),
                mode: Mode::Any,
                payload: PayloadKind::Snapshot,
                connect: None,
                tolerance: Duration::ZERO,
                tally: std::sync::Arc::new(Tally::default()),
            };
            let now = Timestamp::from_seconds(1_000_000);
            let record = Record::begin(&endpoint, now);
            Self { endpoint, record, now }
        }

        fn accept(&mut self) {
            self.endpoint.tally.accept();
            self.look();
        }

        fn refuse(&mut self, times: u64, error: SignatureError) {
            (0..times).for_each(|_| self.endpoint.tally.refuse(error));
            self.look();
        }

        fn look(&mut self) -> Option<String> {
            self.record.look(&self.endpoint, self.now).0
        }

        /// Looks again and again over this time, as the watch does.
        fn pass(&mut self, time: Duration) -> Option<String> {
            let end = self.now.plus(time);
            while self.now < end {
                self.now = self.now.plus(Duration::from_secs(30)).min(end);
                self.look();
            }
            self.look()
        }
    }

    #[test]
    fn the_first_refusal_is_told_while_nothing_has_proved_the_secret() {
        let mut scene = Scene::new();
        assert_eq!(scene.look(), None);
        scene.refuse(1, SignatureError::NoMatch);
        let told = scene.look().unwrap();
        assert!(told.contains("1 delivery was refused since 1970-01-12T13:46:40Z and none was accepted"), "{told}");
        assert!(told.ends_with("(1 fit no secret here)"), "{told}");
        scene.accept();
        assert_eq!(scene.look(), None);
    }

    #[test]
    fn forgeries_beside_ordinary_traffic_change_nothing() {
        let mut scene = Scene::new();
        for _ in 0..200 {
            scene.accept();
            scene.refuse(1, SignatureError::NoMatch);
            assert_eq!(scene.pass(Duration::from_mins(1)), None);
        }
    }

    #[test]
    fn a_secret_that_stopped_fitting_is_told_after_a_while_and_for_a_day() {
        let mut scene = Scene::new();
        scene.accept();
        scene.refuse(2, SignatureError::NoMatch);
        assert_eq!(scene.pass(QUIET * 2), None, "two are not enough");
        scene.refuse(1, SignatureError::NoMatch);
        assert!(scene.look().is_some());
        assert!(scene.pass(Duration::from_hours(23)).is_some(), "Stripe waits for hours before it tries again");
        assert_eq!(scene.pass(Duration::from_hours(1)), None);

        let mut scene = Scene::new();
        scene.accept();
        scene.refuse(5, SignatureError::NoMatch);
        assert_eq!(scene.look(), None, "the next good delivery may be on its way");
        assert!(scene.pass(QUIET).is_some());
    }

    #[test]
    fn an_endpoint_that_refuses_most_is_told_although_it_accepts_some() {
        let mut scene = Scene::new();
        for _ in 0..8 {
            scene.refuse(2, SignatureError::NoMatch);
            scene.accept();
            scene.pass(Duration::from_mins(1));
        }
        let told = scene.look().unwrap();
        assert!(told.starts_with("16 deliveries were refused in the last hour and 8 were accepted"), "{told}");
        assert_eq!(scene.pass(SPAN), None);
    }

    #[test]
    fn posts_without_a_signature_count_only_when_they_are_many() {
        let mut scene = Scene::new();
        scene.refuse(9, SignatureError::Missing);
        assert_eq!(scene.look(), None);
        scene.refuse(1, SignatureError::NoV1);
        assert!(scene.look().unwrap().ends_with("(10 had no readable signature)"));
        scene.accept();
        for _ in 0..20 {
            scene.refuse(10, SignatureError::Missing);
            scene.accept();
            assert_eq!(scene.pass(Duration::from_mins(1)), None);
        }
    }

    #[test]
    fn a_wrong_clock_is_told_and_new_secrets_begin_anew() {
        let mut scene = Scene::new();
        scene.refuse(2, SignatureError::Stale);
        assert!(scene.look().unwrap().contains("2 were too old or from the future"));
        scene.endpoint.secrets.set(secrets("whsec_two"));
        assert_eq!(scene.look(), None);
    }
}
