//! The load: threads that post what the simulator tells, as Stripe does, and come again with what was not answered 2xx.
//!
//! They stop when their allowance is used up, so that a test says how much is sent and never how fast.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::stripe::simulator::{
    ApiVersion, Deliveries, Delivery, DeliveryOptions, Options, SPAN, SimulatedEvent, Simulator,
};

use crate::account::Account;
use crate::gateway::{Reply, SECRET, read_reply};

/// Senders at a time.
const SENDERS: usize = 6;

/// More than is ever held back by disorder and as duplicates.
const HELD_BACK_MAX: u64 = 10_000;

/// Pause of a sender whose delivery was not taken. Stripe waits far longer.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// How often a waiting test looks at what the senders cannot tell it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Longest wait for progress. Reached only when a test fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// A connection that was unused for longer is not used again: the gateway may be closing it.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Longest wait for one answer; longer than every time-out of the gateway.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// Running senders.
pub(crate) struct Load {
    shared: Arc<Shared>,
    /// Whether no story goes on any more.
    closing: Arc<AtomicBool>,
    senders: Vec<std::thread::JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    deliveries: Box<dyn Iterator<Item = Delivery> + Send>,
    again: VecDeque<Delivery>,
    allowance: u64,
    in_flight: u64,
    targets: Vec<SocketAddr>,
    skew_ms: i64,
    random: fastrand::Rng,
    is_over: bool,
    account: Account,
}

/// The simulator's events of a seed.
pub(crate) fn events(seed: u64, version: Option<ApiVersion>) -> Simulator {
    Simulator::new(Options {
        seed,
        users: NonZeroU32::new(20).unwrap(),
        api_version: version,
        // Whole seconds of a day long ago: the same seed gives the same events.
        start: Timestamp::from_seconds(1_760_000_000).minus(SPAN),
        livemode: false,
        account: None,
    })
}

impl Load {
    /// Senders of the seed's stories, with duplicates, disorder and forgeries. They wait for an allowance and a target.
    pub(crate) fn start(seed: u64) -> Self {
        Self::of(seed, events(seed, None))
    }

    /// As [`Self::start`], with most events delivered twice, in any order: to two gateways, or to one at once.
    pub(crate) fn start_overlapping(seed: u64) -> Self {
        Self::with(seed, events(seed, None), (0.8, 40))
    }

    /// Senders of these events.
    pub(crate) fn of(seed: u64, events: impl Iterator<Item = SimulatedEvent> + Send + 'static) -> Self {
        Self::with(seed, events, (0.1, 16))
    }

    fn with(
        seed: u64,
        events: impl Iterator<Item = SimulatedEvent> + Send + 'static,
        (duplicates, out_of_order): (f64, usize),
    ) -> Self {
        let plan =
            DeliveryOptions { seed, duplicates, out_of_order, bad_signatures: 0.02, ..DeliveryOptions::default() };
        let closing = Arc::new(AtomicBool::new(false));
        let is_closing = Arc::clone(&closing);
        let mut events = events;
        let events = std::iter::from_fn(move || if is_closing.load(Ordering::Relaxed) { None } else { events.next() });
        let state = State {
            deliveries: Box::new(Deliveries::new(events, plan)),
            again: VecDeque::new(),
            allowance: 0,
            in_flight: 0,
            targets: Vec::new(),
            skew_ms: 0,
            random: fastrand::Rng::with_seed(seed),
            is_over: false,
            account: Account::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let sender = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.send())
        };
        Self { senders: (0..SENDERS).map(sender).collect(), shared, closing }
    }

    /// Lets the senders take this many deliveries more.
    pub(crate) fn allow(&self, deliveries: u64) {
        self.shared.lock().allowance += deliveries;
        self.shared.changed.notify_all();
    }

    /// Where to send; nowhere holds everything back.
    pub(crate) fn target(&self, targets: &[SocketAddr]) {
        self.shared.lock().targets = targets.to_vec();
        self.shared.changed.notify_all();
    }

    /// How far Stripe's clock is ahead of this machine's.
    pub(crate) fn skew(&self, millis: i64) {
        self.shared.lock().skew_ms = millis;
    }

    /// Events acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.lock().account.acknowledged.len() as u64
    }

    /// Ids of the events acknowledged so far.
    pub(crate) fn acknowledged_ids(&self) -> BTreeSet<String> {
        self.shared.lock().account.acknowledged.clone()
    }

    /// Holds everything back and waits until nothing is under way.
    pub(crate) fn pause(&self) {
        self.target(&[]);
        self.until(|state| state.in_flight == 0);
    }

    /// Waits until everything allowed was sent and has come to its end, or `over` says so.
    pub(crate) fn until_sent_or(&self, mut over: impl FnMut() -> bool) {
        self.until(|state| state.is_sent() || over());
    }

    /// Waits until this many events are acknowledged.
    pub(crate) fn until_acknowledged(&self, events: u64) {
        self.until(|state| state.account.acknowledged.len() as u64 >= events);
    }

    /// As [`Self::until_acknowledged`], or until everything was sent.
    pub(crate) fn until_acknowledged_or_sent(&self, events: u64) {
        self.until(|state| state.is_sent() || state.account.acknowledged.len() as u64 >= events);
    }

    /// Genuine deliveries that were answered with this status so far.
    pub(crate) fn answered(&self, status: u16) -> u64 {
        self.shared.lock().account.answers.get(&status).copied().unwrap_or(0)
    }

    /// Waits until the account is as asked for, or everything was sent.
    pub(crate) fn until_account_or_sent(&self, done: impl Fn(&Account) -> bool) {
        self.until(|state| state.is_sent() || done(&state.account));
    }

    /// Waits until the account is as asked for.
    pub(crate) fn until_account(&self, done: impl Fn(&Account) -> bool) {
        self.until(|state| done(&state.account));
    }

    /// Waits until everything allowed was sent and has come to its end.
    pub(crate) fn until_sent(&self) {
        self.until(State::is_sent);
    }

    /// Sends what is left and gives the account. What disorder holds back is sent too: the stories end at one moment,
    /// without gaps before it, and only then does the simulator's account hold of payments that several events tell of.
    pub(crate) fn finish(mut self) -> Account {
        self.until_sent();
        self.closing.store(true, Ordering::Relaxed);
        self.allow(HELD_BACK_MAX);
        self.until_sent();
        self.end();
        std::mem::take(&mut self.shared.lock().account)
    }

    /// Waits until `done`; progress in the account renews the patience.
    fn until(&self, mut done: impl FnMut(&State) -> bool) {
        let clock = Clock::system();
        let mut since = clock.instant();
        let mut state = self.shared.lock();
        let mut known = 0;
        while !done(&state) {
            let progress = state.account.acknowledged.len();
            if progress > known {
                (known, since) = (progress, clock.instant());
            }
            assert!(
                clock.instant().duration_since(since) < PATIENCE,
                "no progress: {} acknowledged, {} to send again, {} allowed, {} in flight, answers {:?}",
                state.account.acknowledged.len(),
                state.again.len(),
                state.allowance,
                state.in_flight,
                state.account.answers,
            );
            (state, _) = self.shared.changed.wait_timeout(state, LOOK_AGAIN).unwrap();
        }
    }

    fn end(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        for sender in self.senders.drain(..) {
            // A sender that panicked has shown why; the drop of a failing test must not panic again.
            let _ = sender.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // After a failed assertion the senders still have to end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self) {
        let clock = Clock::system();
        let mut used = clock.instant();
        let mut connection: Option<(SocketAddr, TcpStream)> = None;
        while let Some((delivery, target, skew_ms)) = self.take() {
            let is_stale = clock.instant().duration_since(used) > IDLE_MAX;
            if is_stale || connection.as_ref().is_some_and(|(to, _)| *to != target) {
                connection = None;
            }
            used = clock.instant();
            if connection.is_none() {
                connection = connect(target).map(|stream| (target, stream));
            }
            let reply = connection.as_mut().and_then(|(_, stream)| post(stream, &delivery, skew_ms));
            if reply.is_none() {
                connection = None;
            }
            self.answered(delivery, reply.as_ref());
        }
    }

    fn take(&self) -> Option<(Delivery, SocketAddr, i64)> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if !state.targets.is_empty()
                && let Some(delivery) = state.next()
            {
                state.in_flight += 1;
                let targets = state.targets.len();
                let chosen = state.random.usize(..targets);
                return Some((delivery, state.targets[chosen], state.skew_ms));
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn answered(&self, delivery: Delivery, reply: Option<&Reply>) {
        let mut state = self.lock();
        state.in_flight -= 1;
        let is_done = state.account.answered(&delivery, reply);
        if !is_done {
            state.again.push_back(delivery);
        }
        self.changed.notify_all();
        drop(state);
        if !is_done {
            std::thread::sleep(AGAIN_AFTER);
        }
    }
}

impl State {
    fn is_sent(&self) -> bool {
        self.allowance == 0 && self.in_flight == 0 && self.again.is_empty()
    }

    fn next(&mut self) -> Option<Delivery> {
        if let Some(delivery) = self.again.pop_front() {
            return Some(delivery);
        }
        self.allowance = self.allowance.checked_sub(1)?;
        let next = self.deliveries.next();
        if next.is_none() {
            self.allowance = 0;
        }
        next
    }
}

fn connect(target: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(target).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    stream.set_write_timeout(Some(ANSWER_MAX)).ok()?;
    Some(stream)
}

/// The answer; nothing when the connection broke first.
fn post(stream: &mut TcpStream, delivery: &Delivery, skew_ms: i64) -> Option<Reply> {
    let body = delivery.body();
    let now = Timestamp::from_millis(Clock::system().now().millis() + skew_ms);
    let signature = delivery.signature(&[SECRET], now);
    let signature = signature.map(|signature| format!("stripe-signature: {signature}\r\n")).unwrap_or_default();
    let head =
        format!("POST /webhooks/stripe HTTP/1.1\r\nhost: gateway\r\n{signature}content-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    let reply = read_reply(stream)?;
    if reply.headers.get("connection").is_some_and(|value| value == "close") {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    Some(reply)
}
