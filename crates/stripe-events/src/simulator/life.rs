//! The story of one customer: signs up, checks out, renews, fails to pay, changes, cancels, comes back.
//!
//! A story is an agenda of scenes in the order of time. Playing a scene changes the customer's state and drafts the
//! events that Stripe would send for it. No two scenes of a story share a second. Within a scene some customers change their
//! mind, and a second has several updates: what each replaced tells their order.

mod billing;
mod changes;
mod drafts;
mod money;

use std::collections::VecDeque;

use super::catalogue::{Currency, Tier};
use super::ids::Ids;
use super::objects::World;
use super::objects::invoice::Invoice;
use super::objects::payment::Payment;
use super::objects::subscription::Subscription;
use super::people::{Binding, Person};
use super::version::ApiVersion;

pub(super) use drafts::Draft;

pub(super) const HOUR: i64 = 3600;
pub(super) const DAY: i64 = 24 * HOUR;

/// Length of a billing period.
const PERIOD: i64 = 30 * DAY;
const TRIAL: i64 = 14 * DAY;

/// Most billing periods in a story, over all its subscriptions.
const PERIODS_MAX: u32 = 6;

/// No story is longer than this, in seconds.
pub(super) const STORY_MAX: i64 = 240 * DAY;

/// What happens next in a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    SignUp,
    Expire,
    CheckOut,
    TrialWillEnd,
    TrialEnd,
    Pause,
    Resume,
    Refund,
    Dispute,
    DisputeEnds,
    Hold,
    Bundle,
    ChangeTier,
    ScheduleCancel,
    UnscheduleCancel,
    AnnounceInvoice,
    Renew,
    Collect,
    Dun,
    Cancel,
    CancelNow,
}

/// One customer and their place in their story.
#[derive(Clone, Debug)]
pub(super) struct Life {
    world: World,
    ids: Ids,
    random: fastrand::Rng,
    person: Person,
    agenda: VecDeque<(i64, Scene)>,
    drafts: VecDeque<Draft>,
    /// Number of events drafted. It is also the place of the next one.
    place: u32,
    tier: Tier,
    subscription: Option<Subscription>,
    invoice: Option<Invoice>,
    payment: Option<Payment>,
    /// The disputed payment, the dispute's id, and the second in which it was opened.
    disputed: Option<(Payment, String, i64)>,
    invoices: u32,
    periods_left: u32,
    may_return: bool,
}

impl Life {
    /// A customer who arrives at `at`, in seconds.
    pub(super) fn begin(world: World, ids: Ids, mut random: fastrand::Rng, at: i64) -> Self {
        let person = Person::draw(&ids, at, &mut random);
        let tier = Tier::ALL[random.usize(..Tier::ALL.len())];
        let periods_left = random.u32(1..=PERIODS_MAX);
        let may_return = random.u32(..100) < 30;
        Self {
            world,
            ids,
            random,
            person,
            agenda: VecDeque::from([(at, Scene::SignUp)]),
            drafts: VecDeque::new(),
            place: 0,
            tier,
            subscription: None,
            invoice: None,
            payment: None,
            disputed: None,
            invoices: 0,
            periods_left,
            may_return,
        }
    }

    /// Makes this the story of the given user and customer. All objects that can will name them, along with what is
    /// bought.
    pub(super) fn belong_to(&mut self, user: &str, customer: &str, tier: Option<Tier>, currency: Currency) {
        let person = &mut self.person;
        user.clone_into(&mut person.user_id);
        customer.clone_into(&mut person.customer_id);
        (person.binding, person.names_tier, person.currency) = (Binding::Everywhere, true, currency);
        self.tier = tier.unwrap_or(self.tier);
    }

    /// The API version the customer's events are rendered in.
    pub(super) fn version(&self) -> ApiVersion {
        self.world.version
    }

    /// Second of the next event; `None` if the story is over.
    pub(super) fn next_at(&self) -> Option<i64> {
        self.drafts.front().map(|draft| draft.at).or_else(|| self.agenda.front().map(|(at, _)| *at))
    }

    /// The next event, rendered no earlier than asked for.
    pub(super) fn next(&mut self) -> Option<Draft> {
        while self.drafts.is_empty() {
            let (at, scene) = self.agenda.pop_front()?;
            self.play(scene, at);
        }
        self.drafts.pop_front()
    }

    /// The identifier of an event made now.
    pub(super) fn event_id(&mut self, at: i64) -> String {
        self.ids.dated("evt", at, &mut self.random)
    }

    /// The identifier of the request that caused an event, and its idempotency key.
    pub(super) fn request(&mut self) -> (String, String) {
        (super::ids::drawn("req", 14, &mut self.random), super::ids::uuid(&mut self.random))
    }

    fn play(&mut self, scene: Scene, at: i64) {
        match scene {
            Scene::SignUp => self.sign_up(at),
            Scene::Expire => self.expire(at),
            Scene::CheckOut => self.check_out(at),
            Scene::TrialWillEnd => self.trial_will_end(at),
            Scene::TrialEnd => self.trial_end(at),
            Scene::Pause => self.pause(at),
            Scene::Resume => self.resume(at),
            Scene::Refund => self.refund(at),
            Scene::Dispute => self.dispute(at),
            Scene::DisputeEnds => self.dispute_ends(at),
            Scene::Hold => self.hold(at),
            Scene::Bundle => self.bundle(at),
            Scene::ChangeTier => {
                self.change_tier(at);
                if self.percent(35) {
                    self.change_tier(at);
                }
            }
            Scene::ScheduleCancel => {
                self.schedule_cancel(at);
                if self.percent(25) {
                    self.unschedule_cancel(at);
                    self.schedule_cancel(at);
                }
            }
            Scene::UnscheduleCancel => self.unschedule_cancel(at),
            Scene::AnnounceInvoice => self.announce_invoice(at),
            Scene::Renew => self.renew(at),
            Scene::Collect => self.collect(at),
            Scene::Dun => self.dun(at),
            Scene::Cancel => self.cancel(at, "cancellation_requested"),
            Scene::CancelNow => {
                self.agenda.clear();
                self.cancel(at, "cancellation_requested");
            }
        }
        if self.percent(5) {
            self.draft_unknown(at);
        }
    }

    /// Plans what happens from `now`, when the period was paid, until its end.
    fn plan_period(&mut self, now: i64, end: i64) {
        let rest = end - now;
        let mut plan = |scene, from: i64, to: i64, random: &mut fastrand::Rng| {
            self.agenda.push_back((now + rest * random.i64(from..to) / 100, scene));
        };
        let random = &mut self.random;
        let mut percent = |chance: u32| random.u32(..100) < chance;
        let (refund, change, leave_now) = (percent(9), percent(7), percent(3));
        let last = self.periods_left == 0;
        let (stays, leave, regret) = (last && percent(50), percent(10), percent(25));
        let (disputed, hold, bundle) = (percent(4), percent(5), percent(4));
        if refund && self.payment.is_some() {
            plan(Scene::Refund, 10, 20, random);
        } else if disputed && self.payment.is_some() {
            plan(Scene::Dispute, 10, 20, random);
        }
        if hold {
            plan(Scene::Hold, 21, 24, random);
        } else if bundle && self.world.version.is_basil_or_later() {
            plan(Scene::Bundle, 21, 24, random);
        }
        if change {
            plan(Scene::ChangeTier, 25, 35, random);
        }
        if disputed && !refund && self.payment.is_some() {
            plan(Scene::DisputeEnds, 36, 39, random);
        }
        if stays {
            return;
        }
        if leave_now {
            plan(Scene::CancelNow, 40, 50, random);
            return;
        }
        if leave || last {
            plan(Scene::ScheduleCancel, 55, 65, random);
            if !regret || last {
                self.agenda.push_back((end, Scene::Cancel));
                return;
            }
            plan(Scene::UnscheduleCancel, 70, 80, random);
        }
        plan(Scene::AnnounceInvoice, 85, 95, random);
        self.agenda.push_back((end, Scene::Renew));
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.random.u32(..100) < chance
    }
}
