//! Decides how events are delivered: in which order, how often, and which forgeries come between them.
//!
//! Every event is delivered genuinely once. Duplicates and forgeries are extra deliveries, so whatever the ratios, a
//! gateway that keeps its promises ends in the state that the events alone lead to.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::SimulatedEvent;
use super::sign::{sign_all, sign_v0};
use crate::Timestamp;

/// Largest window of disorder, in deliveries. No more deliveries are held back at a time.
pub const OUT_OF_ORDER_MAX: usize = 10_000;

/// A duplicate follows its original by at most this many deliveries (before disorder).
const DUPLICATE_LAG_MAX: usize = 64;

/// Stripe's libraries refuse signatures older than this.
const TOLERANCE: Duration = Duration::from_mins(5);

/// How to deliver.
#[derive(Clone, Debug)]
pub struct DeliveryOptions {
    /// Seed of the plan. The same seed gives the same plan.
    pub seed: u64,
    /// Share of events that are delivered a second time, from 0 to 1.
    pub duplicates: f64,
    /// Deliveries are shuffled within windows of this size; 0 and 1 keep the order. At most [`OUT_OF_ORDER_MAX`].
    pub out_of_order: usize,
    /// Age of the signatures at delivery. Beyond 300 s the gateway must refuse every delivery.
    pub age: Duration,
    /// Share of events that come with a forgery, from 0 to 1.
    pub bad_signatures: f64,
}

impl Default for DeliveryOptions {
    /// Everything once, in order, signed at delivery.
    fn default() -> Self {
        Self { seed: 0, duplicates: 0.0, out_of_order: 0, age: Duration::ZERO, bad_signatures: 0.0 }
    }
}

/// One POST to make.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event to deliver.
    pub event: SimulatedEvent,
    /// In which role.
    pub role: Role,
    age: Duration,
}

/// The role of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one genuine delivery of its event.
    Genuine,
    /// Another genuine delivery of the same event.
    Duplicate,
    /// A forgery: not from Stripe.
    Forged(Forgery),
}

/// How a delivery is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// Signed with another secret.
    WrongSecret,
    /// A true signature over another body.
    AlteredBody,
    /// No signature header.
    NoHeader,
    /// A true signature from too long ago, as in a replay.
    Stale,
    /// A true signature under the scheme that proves nothing.
    UnknownScheme,
    /// Not a signature header at all.
    Garbage,
}

impl Forgery {
    /// Every way.
    pub const ALL: [Self; 6] =
        [Self::WrongSecret, Self::AlteredBody, Self::NoHeader, Self::Stale, Self::UnknownScheme, Self::Garbage];
}

/// What the gateway must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Any 2xx.
    Accepted,
    /// 400.
    Refused,
}

impl Delivery {
    /// What the gateway must answer.
    pub fn expectation(&self) -> Expectation {
        match self.role {
            Role::Genuine | Role::Duplicate if self.age <= TOLERANCE => Expectation::Accepted,
            Role::Genuine | Role::Duplicate | Role::Forged(_) => Expectation::Refused,
        }
    }

    /// The body to post.
    pub fn body(&self) -> Bytes {
        match self.role {
            Role::Forged(Forgery::AlteredBody) => [self.event.body.as_ref(), b"\n"].concat().into(),
            Role::Genuine | Role::Duplicate | Role::Forged(_) => self.event.body.clone(),
        }
    }

    /// The `Stripe-Signature` header for a post at `now`. It has one signature for each secret, as Stripe sends
    /// while a secret is rolled. Each attempt is signed afresh.
    pub fn signature(&self, secrets: &[&str], now: Timestamp) -> Option<String> {
        let (body, at) = (self.event.body.as_ref(), now.minus(self.age));
        let forgery = match self.role {
            Role::Genuine | Role::Duplicate => return Some(sign_all(secrets, at, body)),
            Role::Forged(forgery) => forgery,
        };
        match forgery {
            Forgery::WrongSecret => Some(sign_all(&["whsec_of_somebody_else"], at, body)),
            Forgery::AlteredBody => Some(sign_all(secrets, at, body)),
            Forgery::NoHeader => None,
            Forgery::Stale => Some(sign_all(secrets, at.minus(TOLERANCE * 2), body)),
            Forgery::UnknownScheme => secrets.first().map(|secret| sign_v0(secret, at, body)),
            Forgery::Garbage => Some("v1=let-me-in".to_owned()),
        }
    }
}

/// Turns events into deliveries for as long as there are events. Holds back no more than a window of disorder and
/// the duplicates to come.
#[derive(Debug)]
pub struct Deliveries<I> {
    events: I,
    options: DeliveryOptions,
    random: fastrand::Rng,
    /// Number of deliveries planned.
    planned: usize,
    /// Planned in this order, but not shuffled yet.
    next: VecDeque<Delivery>,
    /// Duplicates, each with the number of the delivery that it follows, in no order.
    later: Vec<(usize, Delivery)>,
    /// Shuffled.
    window: Vec<Delivery>,
}

impl<I: Iterator<Item = SimulatedEvent>> Deliveries<I> {
    /// Plans deliveries for `events`.
    pub fn new(events: impl IntoIterator<IntoIter = I>, options: DeliveryOptions) -> Self {
        let random = fastrand::Rng::with_seed(options.seed);
        Self {
            events: events.into_iter(),
            options,
            random,
            planned: 0,
            next: VecDeque::new(),
            later: Vec::new(),
            window: Vec::new(),
        }
    }

    fn planned(&mut self) -> Option<Delivery> {
        let due = self.later.iter().position(|(after, _)| *after <= self.planned);
        let delivery = match due {
            Some(at) => Some(self.later.swap_remove(at).1),
            None => {
                self.next.pop_front().or_else(|| self.plan_event()).or_else(|| self.later.pop().map(|(_, last)| last))
            }
        };
        self.planned += usize::from(delivery.is_some());
        delivery
    }

    /// Plans the next event. Returns its first delivery and keeps the others.
    fn plan_event(&mut self) -> Option<Delivery> {
        let event = self.events.next()?;
        let age = self.options.age;
        let delivery = |role| Delivery { event: event.clone(), role, age };
        if self.random.f64() < self.options.duplicates {
            let after = self.planned + self.random.usize(1..=DUPLICATE_LAG_MAX);
            self.later.push((after, delivery(Role::Duplicate)));
        }
        let genuine = delivery(Role::Genuine);
        if self.random.f64() >= self.options.bad_signatures {
            return Some(genuine);
        }
        let forged = delivery(Role::Forged(Forgery::ALL[self.random.usize(..Forgery::ALL.len())]));
        let (first, second) = if self.random.bool() { (genuine, forged) } else { (forged, genuine) };
        self.next.push_back(second);
        Some(first)
    }
}

impl<I: Iterator<Item = SimulatedEvent>> Iterator for Deliveries<I> {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        let size = self.options.out_of_order.min(OUT_OF_ORDER_MAX);
        if size < 2 {
            return self.planned();
        }
        if self.window.is_empty() {
            while self.window.len() < size {
                let Some(delivery) = self.planned() else { break };
                self.window.push(delivery);
            }
            self.random.shuffle(&mut self.window);
        }
        self.window.pop()
    }
}

#[cfg(test)]
mod tests;
