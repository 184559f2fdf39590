//! Decides which route entries take, and publishes the answer to all parts of the program.
//!
//! Entries go through the colony unless the operator says otherwise, the server fails (first circuit breaker), jobs are
//! not brought to their end in time (second one), or the oldest entry has waited too long. Each reason ends by itself:
//! a breaker lets a probe through when its wait is over, and the direct route brings old entries to their end. Before the
//! server has answered once, nothing is given to it.
//!
//! Guarantee: what [`RouteInForce`] says is what the next batch does, except for the one batch that is a probe.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use colonies::client::ClientError;
use tokio::sync::watch;

use super::in_flight::Say;
use super::switch::{RouteSwitch, Wish};
use crate::domain::backoff::Backoff;
use crate::domain::breaker::{Breaker, BreakerSettings, BreakerState, Permit};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::route::{Route, RouteInForce};
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::Metrics;

/// Name on the health board.
const COMPONENT: &str = "colony";

/// When entries leave the colony's route, and when they return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FallbackOptions {
    /// Once an entry is this old, it and all others go the direct route.
    pub after: Duration,
    /// Opens when the server fails.
    pub server: BreakerSettings,
    /// Opens when submitted jobs do not end in time.
    pub bees: BreakerSettings,
}

impl FallbackOptions {
    /// The usual breakers with an age: three failures of the server open the first for 1 to 30 s; one job that had to be
    /// taken back opens the second for 10 s to 5 min.
    pub const fn new(after: Duration) -> Self {
        let server = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };
        let bees = Backoff { first: Duration::from_secs(10), max: Duration::from_mins(5) };
        Self {
            after,
            server: BreakerSettings { failures: 3, open: server, probes: 1 },
            bees: BreakerSettings { failures: 1, open: bees, probes: 1 },
        }
    }
}

/// Permission to submit one job.
#[derive(Debug)]
pub(super) struct Admission {
    /// For the submission.
    pub(super) server: Permit,
    /// For the time until the process has ended.
    pub(super) bees: Permit,
}

/// Decides about the route. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Routing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    switch: RouteSwitch,
    in_force: RouteInForce,
    server: Breaker,
    bees: Breaker,
    after: Duration,
    is_overdue: AtomicBool,
    /// Whether the server has ever answered.
    has_answered: AtomicBool,
    /// Whether the last call failed. While that is so, earlier knowledge of the server does not count.
    has_failed: AtomicBool,
    /// The server's last fault.
    fault: Mutex<String>,
    /// The bees' last fault.
    bees_fault: Mutex<String>,
    changes: watch::Sender<Route>,
    metrics: Arc<Metrics>,
    board: Board,
    clock: Clock,
}

impl Routing {
    pub(super) fn new(
        options: FallbackOptions,
        switch: RouteSwitch,
        in_force: RouteInForce,
        metrics: Arc<Metrics>,
        board: Board,
        clock: Clock,
    ) -> Self {
        let routing = Self(Arc::new(Shared {
            switch,
            changes: watch::Sender::new(in_force.get()),
            in_force,
            server: Breaker::new(options.server, clock.clone()),
            bees: Breaker::new(options.bees, clock.clone()),
            after: options.after,
            is_overdue: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            fault: Mutex::default(),
            bees_fault: Mutex::default(),
            metrics,
            board,
            clock,
        }));
        routing.refresh();
        routing
    }

    /// The circuit breakers, for code that shows or resets them.
    pub(super) fn breakers(&self) -> [(&'static str, Breaker); 2] {
        [("colony", self.0.server.clone()), ("bees", self.0.bees.clone())]
    }

    pub(super) fn switch(&self) -> &RouteSwitch {
        &self.0.switch
    }

    /// The route of the next batch, as far as it is known without asking for permission.
    pub(super) fn in_force(&self) -> Route {
        self.0.in_force.get()
    }

    /// Reports every change of the route from now on.
    pub(super) fn changes(&self) -> watch::Receiver<Route> {
        self.0.changes.subscribe()
    }

    /// Permission to submit a job, if jobs may be submitted.
    pub(super) fn admit(&self) -> Option<Admission> {
        let is_possible = self.is_wished()
            && self.0.has_answered.load(Ordering::Relaxed)
            && !self.0.is_overdue.load(Ordering::Relaxed);
        let admission = is_possible.then(|| {
            let server = self.0.server.admit().ok()?;
            let bees = self.0.bees.admit().ok()?;
            Some(Admission { server, bees })
        });
        self.refresh();
        admission.flatten()
    }

    pub(super) fn is_wished(&self) -> bool {
        self.0.switch.get() == Wish::Auto
    }

    /// Whether the state of the server is unknown, because it has neither answered nor failed.
    pub(super) fn is_unasked(&self) -> bool {
        self.is_wished()
            && !self.0.has_answered.load(Ordering::Relaxed)
            && self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Permission to find out the server's state if it is unknown: it never answered, the last call failed, or the
    /// breaker's wait is over. Without this, a server that fails just before traffic pauses would pass for a sound one
    /// until the next event comes.
    pub(super) fn admit_server_probe(&self) -> Option<Permit> {
        let is_known = self.0.has_answered.load(Ordering::Relaxed)
            && !self.0.has_failed.load(Ordering::Relaxed)
            && self.0.server.state() == BreakerState::Closed;
        if self.is_wished() && !is_known { self.0.server.admit().ok() } else { None }
    }

    /// Permission to find out whether bees do jobs again, after they did not and the wait is over. This asks nothing of a
    /// server that has trouble itself.
    pub(super) fn admit_rehearsal(&self) -> Option<Permit> {
        let is_asked = self.is_wished()
            && self.0.has_answered.load(Ordering::Relaxed)
            && self.0.server.state() == BreakerState::Closed
            && self.0.bees.state() != BreakerState::Closed;
        if is_asked { self.0.bees.admit().ok() } else { None }
    }

    /// Permission to ask the server a question.
    pub(super) fn admit_question(&self) -> Option<Permit> {
        self.0.server.admit().ok()
    }

    /// Reports the result of a call. Only a fault of the server opens its breaker, or a refusal that would meet all jobs.
    pub(super) fn called(&self, permit: Permit, error: Option<&ClientError>) {
        let was_unasked = self.is_unasked();
        match error {
            None => {
                self.0.has_answered.store(true, Ordering::Relaxed);
                self.0.has_failed.store(false, Ordering::Relaxed);
                permit.succeed();
            }
            Some(error) => {
                let mut text = error.to_string();
                let mut source = error.source();
                while let Some(cause) = source {
                    text.push_str(": ");
                    text.push_str(&cause.to_string());
                    source = cause.source();
                }
                *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = text;
                self.0.has_failed.store(true, Ordering::Relaxed);
                permit.fail();
            }
        }
        self.refresh();
        if was_unasked {
            // Wakes tasks that wait for the first answer, whatever it was.
            self.0.changes.send_modify(|_| ());
        }
    }

    /// Reports the result of a probe by [`Self::admit_server_probe`]. A server that answers a question is back. But only a
    /// job that it takes clears its count of refused jobs, which continues while the breaker is closed.
    pub(super) fn probed(&self, permit: Permit, error: Option<&ClientError>) {
        if error.is_none() && !permit.is_probe() && self.0.has_answered.load(Ordering::Relaxed) {
            self.0.has_failed.store(false, Ordering::Relaxed);
            drop(permit);
            self.refresh();
        } else {
            self.called(permit, error);
        }
    }

    /// Notes what the end of a process says about the bees. A lie closes the route for the longest wait there is.
    pub(super) fn said(&self, say: &Say) {
        if let Say::Bad(why) | Say::Lie(why) = say {
            self.0.bees_fault.lock().unwrap_or_else(PoisonError::into_inner).clone_from(why);
        }
        match say {
            Say::Lie(_) => drop(self.0.bees.trip()),
            // While the breaker is open, the fault is why. Other bees that end their jobs well do not mend it.
            Say::Good if self.0.bees.state() == BreakerState::Closed => {
                self.0.bees_fault.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            Say::Good | Say::Bad(_) | Say::Nothing => {}
        }
        self.refresh();
    }

    /// Whether an entry received at that time is too old for the colony. One that came while the clock was far ahead is,
    /// because its age is not known: it would stay young until the clock gets there.
    pub(super) fn is_too_old(&self, received: Timestamp) -> bool {
        let now = self.0.clock.now();
        now.since(received).max(received.since(now)) > self.0.after
    }

    /// Age from which an entry is too old for the colony.
    pub(super) fn age_max(&self) -> Duration {
        self.0.after
    }

    /// Notes the oldest entry that this process does not work on.
    pub(super) fn note_oldest(&self, received: Option<Timestamp>) {
        let is_overdue = received.is_some_and(|received| self.is_too_old(received));
        self.0.is_overdue.store(is_overdue, Ordering::Relaxed);
        self.refresh();
    }

    /// Updates the route in force.
    pub(super) fn refresh(&self) {
        let shared = &*self.0;
        let (route, level, detail) = self.judge();
        shared.in_force.set(route);
        let changed = shared.changes.send_if_modified(|now| std::mem::replace(now, route) != route);
        for known in Route::ALL {
            shared.metrics.route.set(known.as_str(), f64::from(u8::from(known == route)));
        }
        for (gauge, now) in [
            (&shared.metrics.colony_breaker, shared.server.state()),
            (&shared.metrics.bees_breaker, shared.bees.state()),
        ] {
            for known in BreakerState::ALL {
                gauge.set(known.as_str(), f64::from(u8::from(known == now)));
            }
        }
        shared.board.set(COMPONENT, level, &detail, shared.clock.now());
        if changed {
            let route = route.as_str();
            match level {
                Level::Ok => tracing::info!(route, "colony: {detail}"),
                Level::Degraded | Level::Down => tracing::warn!(route, "colony: {detail}"),
            }
        }
    }

    fn judge(&self) -> (Route, Level, String) {
        let shared = &*self.0;
        if shared.switch.get() == Wish::Direct {
            return (Route::Direct, Level::Ok, "switched off: entries go the direct route".to_owned());
        }
        let has_answered = shared.has_answered.load(Ordering::Relaxed);
        if self.is_unasked() {
            return (Route::Direct, Level::Ok, "the Colonies server was not asked yet".to_owned());
        }
        if shared.server.state() != BreakerState::Closed || !has_answered {
            let fault = shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return (Route::Direct, Level::Degraded, format!("entries go the direct route, because {fault}"));
        }
        let why = if shared.bees.state() != BreakerState::Closed {
            match shared.bees_fault.lock().unwrap_or_else(PoisonError::into_inner).as_str() {
                "" => "an operator opened the breaker of the bees".to_owned(),
                why => why.to_owned(),
            }
        } else if shared.is_overdue.load(Ordering::Relaxed) {
            "the oldest entry has waited too long".to_owned()
        } else if shared.has_failed.load(Ordering::Relaxed) {
            let fault = shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return (
                Route::ColonyOs,
                Level::Degraded,
                format!("took jobs; the last call failed and is repeated: {fault}"),
            );
        } else {
            return (Route::ColonyOs, Level::Ok, "takes jobs".to_owned());
        };
        (Route::Direct, Level::Degraded, format!("entries go the direct route, because {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn routing() -> (Routing, RouteInForce, RouteSwitch, Board, Clock) {
        let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
        let (switch, in_force, board) =
            (RouteSwitch::new(Wish::Auto), RouteInForce::new(Route::Direct), Board::default());
        let options = FallbackOptions::new(MINUTE);
        let routing =
            Routing::new(options, switch.clone(), in_force.clone(), Metrics::new(), board.clone(), clock.clone());
        assert_eq!((in_force.get(), routing.is_unasked()), (Route::Direct, true), "nobody has asked");
        assert!(routing.admit().is_none());
        routing.called(routing.admit_server_probe().unwrap(), None);
        (routing, in_force, switch, board, clock)
    }

    fn fault() -> ClientError {
        ClientError::TimedOut { server: "http://colony".to_owned(), deadline: MINUTE }
    }

    #[test]
    fn a_server_that_fails_is_left_alone_until_a_probe_succeeds() {
        let (routing, in_force, _, board, clock) = routing();
        assert_eq!(in_force.get(), Route::ColonyOs);
        for _ in 0..3 {
            let admission = routing.admit().unwrap();
            routing.called(admission.server, Some(&fault()));
        }
        assert!(routing.admit().is_none());
        assert_eq!((in_force.get(), board.read()["colony"].status), (Route::Direct, Level::Degraded));
        assert!(board.read()["colony"].detail.contains("no complete reply"));
        clock.advance(MINUTE);
        let probe = routing.admit().unwrap();
        assert!(routing.admit().is_none(), "one probe at a time");
        routing.called(probe.server, None);
        assert_eq!((in_force.get(), board.read()["colony"].status), (Route::ColonyOs, Level::Ok));
    }

    #[test]
    fn a_good_end_beside_a_lie_does_not_hide_it() {
        let (routing, in_force, _, board, _) = routing();
        routing.said(&Say::Lie("executor 0af3 lied".to_owned()));
        routing.said(&Say::Good);
        let detail = board.read()["colony"].detail.clone();
        assert!(in_force.get() == Route::Direct && detail.contains("0af3"), "{detail}");
    }

    #[test]
    fn a_server_that_fails_before_traffic_pauses_is_asked_until_it_answers_or_is_left_alone() {
        let (routing, in_force, _, board, clock) = routing();
        assert!(routing.admit_server_probe().is_none(), "all is known");
        routing.called(routing.admit().unwrap().server, Some(&fault()));
        let health = &board.read()["colony"];
        assert_eq!((in_force.get(), health.status), (Route::ColonyOs, Level::Degraded));
        assert!(health.detail.contains("no complete reply"), "{}", health.detail);
        routing.probed(routing.admit_server_probe().unwrap(), None);
        assert_eq!((in_force.get(), board.read()["colony"].status), (Route::ColonyOs, Level::Ok));
        assert!(routing.admit_server_probe().is_none(), "all is known again");
        routing.called(routing.admit().unwrap().server, Some(&fault()));
        routing.probed(routing.admit_server_probe().unwrap(), Some(&fault()));
        assert!(routing.admit_server_probe().is_none(), "three failures: the wait of the breaker has begun");
        assert_eq!((in_force.get(), board.read()["colony"].status), (Route::Direct, Level::Degraded));
        clock.advance(MINUTE);
        routing.probed(routing.admit_server_probe().unwrap(), None);
        assert_eq!((in_force.get(), board.read()["colony"].status), (Route::ColonyOs, Level::Ok));
    }

    #[test]
    fn jobs_that_are_not_taken_open_the_breaker_though_questions_are_answered() {
        let (routing, in_force, ..) = routing();
        for _ in 0..3 {
            routing.called(routing.admit().unwrap().server, Some(&fault()));
            if let Some(probe) = routing.admit_server_probe() {
                routing.probed(probe, None);
            }
        }
        assert_eq!(in_force.get(), Route::Direct);
    }

    #[test]
    fn a_server_that_never_answered_takes_no_jobs_and_is_asked_until_it_does() {
        let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
        let (switch, in_force, board) =
            (RouteSwitch::new(Wish::Auto), RouteInForce::new(Route::Direct), Board::default());
        let options = FallbackOptions::new(MINUTE);
        let routing =
            Routing::new(options, switch.clone(), in_force.clone(), Metrics::new(), board.clone(), clock.clone());
        let says = || (board.read()["colony"].status, board.read()["colony"].detail.clone());
        assert_eq!(says(), (Level::Ok, "the Colonies server was not asked yet".to_owned()));
        routing.called(routing.admit_server_probe().unwrap(), Some(&fault()));
        assert!(
            !routing.is_unasked() && routing.admit().is_none(),
            "one failure is enough as long as nothing else is known"
        );
        assert_eq!((in_force.get(), says().0), (Route::Direct, Level::Degraded));
        switch.set(Wish::Direct);
        assert!(routing.admit_server_probe().is_none(), "nobody wants to know");
        switch.set(Wish::Auto);
        routing.called(routing.admit_server_probe().unwrap(), None);
        assert_eq!((in_force.get(), says()), (Route::ColonyOs, (Level::Ok, "takes jobs".to_owned())));
        assert!(routing.admit_server_probe().is_none() && routing.admit_rehearsal().is_none(), "all is known");
    }

    #[test]
    fn bees_that_failed_are_asked_by_a_rehearsal_when_the_wait_is_over() {
        let (routing, in_force, _, _, clock) = routing();
        let admission = routing.admit().unwrap();
        routing.called(admission.server, None);
        admission.bees.fail();
        assert!(routing.admit_rehearsal().is_none(), "not at once");
        clock.advance(MINUTE);
        let permit = routing.admit_rehearsal().unwrap();
        assert!(routing.admit().is_none() && routing.admit_rehearsal().is_none(), "one probe at a time");
        permit.succeed();
        routing.refresh();
        assert_eq!(in_force.get(), Route::ColonyOs);
    }

    #[test]
    fn jobs_that_nobody_ends_close_the_route_until_one_is_ended() {
        let (routing, in_force, _, _, clock) = routing();
        let admission = routing.admit().unwrap();
        routing.called(admission.server, None);
        admission.bees.fail();
        assert!(routing.admit().is_none());
        assert_eq!(in_force.get(), Route::Direct);
        clock.advance(MINUTE);
        let probe = routing.admit().unwrap();
        routing.called(probe.server, None);
        assert!(routing.admit().is_none(), "the probe is not at its end");
        probe.bees.succeed();
        assert!(routing.admit().is_some());
        assert_eq!(in_force.get(), Route::ColonyOs);
    }

    #[test]
    fn the_switch_and_an_old_entry_send_everything_the_direct_route() {
        let (routing, in_force, switch, board, clock) = routing();
        let received = clock.now();
        clock.advance(MINUTE);
        routing.note_oldest(Some(received));
        assert!(routing.admit().is_some());
        clock.advance(Duration::from_millis(1));
        routing.note_oldest(Some(received));
        assert!(routing.admit().is_none());
        assert_eq!(in_force.get(), Route::Direct);
        routing.note_oldest(None);
        assert_eq!(in_force.get(), Route::ColonyOs);
        switch.set(Wish::Direct);
        assert!(routing.admit().is_none());
        assert_eq!((in_force.get(), board.read()["colony"].status), (Route::Direct, Level::Ok));
    }
}
