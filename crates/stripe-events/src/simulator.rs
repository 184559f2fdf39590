//! Stripe-shaped traffic for tests, for `dev` and for `simulate`: coherent stories of customers who sign up, pay,
//! renew, fail to pay, change, cancel and come back, as the events Stripe would send, in the shape of any API version.
//!
//! Pure: no network, no clock, no randomness but the seed. The same options give the same events, byte for byte, with
//! the same release of this crate. [`Simulator`] makes events, [`Expected`] knows what they must lead to,
//! [`Deliveries`] decides how they are delivered (duplicates, disorder, forgeries) and [`sign()`] signs them.
//!
//! Their money has authorisations that are let go or captured in part, refunds, disputes, invoices paid around Stripe, and
//! payments for two invoices. It does not model taxes, prorations, quantities or several subscriptions at once.

mod catalogue;
mod deliveries;
mod expected;
mod ids;
mod life;
mod objects;
mod people;
mod sample;
mod sign;
mod thin;
mod version;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::EventId;
use crate::Timestamp;

pub use catalogue::{Currency, Tier};
pub use deliveries::{Deliveries, Delivery, DeliveryOptions, Expectation, Forgery, OUT_OF_ORDER_MAX, Role};
pub use expected::{Expected, ExpectedSubscription, ExpectedUser, Revenue, SubscriptionStatus};
pub use sample::{SAMPLE_TYPES, SampleOptions, sample};
pub use sign::{sign, sign_all};
pub use thin::Held;
pub use version::{ApiVersion, UnknownApiVersion};

use expected::Told;
use ids::Ids;
use life::{DAY, Draft, Life, STORY_MAX};
use objects::World;

/// Most users at a time.
pub const USERS_MAX: u32 = 1_000_000;

/// New stories begin within this many seconds after the start.
const ARRIVALS: i64 = 60 * DAY;

/// No event is created later than this after the start. With a start that long ago, no event is in the future.
pub const SPAN: Duration = Duration::from_secs((ARRIVALS + STORY_MAX).unsigned_abs());

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of the stories. The same seed gives the same stories.
    pub seed: u64,
    /// Number of customers whose stories run at the same time. When one is through, a new one follows. At most
    /// [`USERS_MAX`].
    pub users: NonZeroU32,
    /// The API version of all events. Without it, each customer's events have a version of their own.
    pub api_version: Option<ApiVersion>,
    /// Earliest `created` of an event.
    pub start: Timestamp,
    /// Value of `livemode` on everything.
    pub livemode: bool,
    /// Connected account that the events belong to.
    pub account: Option<String>,
}

/// One event, ready to be delivered.
#[derive(Clone, Debug)]
pub struct SimulatedEvent {
    /// `evt_…`
    pub id: EventId,
    /// The event's type.
    pub kind: &'static str,
    /// The event's `created`, in whole seconds.
    pub created: Timestamp,
    /// The JSON that Stripe would post.
    pub body: Bytes,
    /// What a thin event leaves out: the object as Stripe holds it after the event. `None` for a snapshot, which
    /// has it in its body.
    pub held: Option<Held>,
    told: Told,
}

impl SimulatedEvent {
    /// The application's user that the event is about, even if the event does not say so.
    pub fn user_id(&self) -> &str {
        &self.told.user_id
    }
}

/// Makes events without end. The events of a customer follow the order of their story. `created` never decreases
/// until the time span is used up. Then it starts again from the beginning, with new customers.
#[derive(Clone, Debug)]
pub struct Simulator {
    options: Options,
    thin: bool,
    ids: Ids,
    start: i64,
    /// Stories begun so far.
    begun: u64,
    slots: Vec<Life>,
    /// The next turns as (time span, second of the next event, slot), earliest first.
    turns: BinaryHeap<Reverse<(u64, i64, usize)>>,
}

impl Simulator {
    /// Prepares the first customers. It renders events only on demand.
    pub fn new(options: Options) -> Self {
        Self::of(options, false)
    }

    /// As [`Self::new`], with thin events. Their objects are in the newest version, which is the one to fetch them
    /// with.
    pub fn thin(options: Options) -> Self {
        Self::of(Options { api_version: Some(ApiVersion::NEWEST), ..options }, true)
    }

    fn of(options: Options, thin: bool) -> Self {
        let ids = Ids::new(&mut fastrand::Rng::with_seed(options.seed));
        let start = options.start.seconds();
        let users = options.users.get().min(USERS_MAX);
        let mut simulator = Self { options, thin, ids, start, begun: 0, slots: Vec::new(), turns: BinaryHeap::new() };
        for slot in 0..users as usize {
            let (arrives, life) = simulator.begin(None);
            simulator.slots.push(life);
            simulator.turns.push(Reverse((0, arrives, slot)));
        }
        simulator
    }

    /// Begins a story, at a drawn time or soon after another one ended.
    fn begin(&mut self, after: Option<i64>) -> (i64, Life) {
        let mut random = fastrand::Rng::with_seed(mixed(self.options.seed, self.begun));
        self.begun += 1;
        let arrives = match after {
            Some(end) => end + random.i64(1..DAY),
            None => self.start + random.i64(0..ARRIVALS),
        };
        let drawn = ApiVersion::DRAWN[random.usize(..ApiVersion::DRAWN.len())];
        let world = World { version: self.options.api_version.unwrap_or(drawn), livemode: self.options.livemode };
        (arrives, Life::begin(world, self.ids.clone(), random, arrives))
    }

    /// Puts the slot's next turn on the heap, with a new story if the last one is over.
    fn schedule(&mut self, span: u64, now: i64, slot: usize) {
        if let Some(at) = self.slots[slot].next_at() {
            self.turns.push(Reverse((span, at, slot)));
            return;
        }
        let fits = now + DAY < self.start + ARRIVALS;
        let (arrives, life) = self.begin(fits.then_some(now));
        self.slots[slot] = life;
        self.turns.push(Reverse((if fits { span } else { span + 1 }, arrives, slot)));
    }
}

impl Iterator for Simulator {
    type Item = SimulatedEvent;

    fn next(&mut self) -> Option<SimulatedEvent> {
        loop {
            let Reverse((span, at, slot)) = self.turns.pop()?;
            let draft = self.slots[slot].next();
            let make = if self.thin { thin_event } else { envelope };
            let event = draft.map(|draft| make(&self.options, &mut self.slots[slot], draft));
            self.schedule(span, at, slot);
            if event.is_some() {
                return event;
            }
        }
    }
}

/// The envelope, in Stripe's order of fields.
#[derive(Serialize)]
struct Envelope<'a> {
    id: &'a str,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    api_version: &'static str,
    created: i64,
    data: Data<'a>,
    livemode: bool,
    pending_webhooks: u32,
    request: Request,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Data<'a> {
    object: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_attributes: Option<&'a Value>,
}

#[derive(Serialize)]
struct Request {
    id: Option<String>,
    idempotency_key: Option<String>,
}

fn envelope(options: &Options, life: &mut Life, draft: Draft) -> SimulatedEvent {
    let id = life.event_id(draft.at);
    let (request, key) = draft.requested.then(|| life.request()).unzip();
    let envelope = Envelope {
        id: &id,
        object: "event",
        account: options.account.as_deref(),
        api_version: life.version().as_str(),
        created: draft.at,
        data: Data { object: &draft.object, previous_attributes: draft.previous.as_ref() },
        livemode: options.livemode,
        pending_webhooks: 1,
        request: Request { id: request, idempotency_key: key },
        r#type: draft.kind,
    };
    let body = serde_json::to_vec_pretty(&envelope).expect("maps with text keys serialise to memory");
    SimulatedEvent {
        id: EventId::new(id),
        kind: draft.kind,
        created: Timestamp::from_seconds(draft.at),
        body: body.into(),
        held: None,
        told: draft.told,
    }
}

fn thin_event(options: &Options, life: &mut Life, draft: Draft) -> SimulatedEvent {
    let id = life.event_id(draft.at);
    let body = thin::body(options, life, &draft, &id);
    SimulatedEvent {
        id: EventId::new(id),
        kind: draft.kind,
        created: Timestamp::from_seconds(draft.at),
        body: body.into(),
        held: thin::held(&draft),
        told: draft.told,
    }
}

/// A seed for each story, mixed with the finaliser of `SplitMix64`.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
