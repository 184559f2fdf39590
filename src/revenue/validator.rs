//! From the bodies of events to verdicts about them: parse, guard, look up, project, check.
//!
//! Every event gets a verdict, in the order they came, and none depends on its neighbours: an event that cannot be
//! read is rejected, one that would break the projection is quarantined. What Stripe cannot be asked is taken from
//! the event itself; an event that does not hold its object waits until Stripe has answered, by its object or its "no".

mod again;
mod fetched;
mod tried;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::checks;
use super::guardian::{Guardian, Review, Surroundings};
use super::lookup::{AboutObject, Answers, Lookup};
use super::project::{self, Context, Settings};
use super::rows::{Action, Decision, EventFacts, Severity};
use super::verdict::{Suspicion, Verdict};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::outcome::ProblemCode;
use crate::stripe::api::{Fetched, StripeApi};
use crate::stripe::event::{Event, Family};

pub use self::again::{Again, Untold};
pub use self::fetched::{LISTED_ID_PREFIX, LISTED_KIND};
pub use self::tried::{Tried, Untried};
pub use super::lookup::{LOOKUP_TIME_MAX, LOOKUPS_IN_FLIGHT_MAX, LookupCounts};

/// Rule that holds back an event whose projection failed. It should never be seen.
pub const PROJECTION_FAILED: &str = ProblemCode::ProjectionFailed.as_str();

/// Rule that holds back a thin event whose object Stripe does not have or cannot be asked for. Then there is nothing to
/// apply.
pub const OBJECT_UNKNOWN: &str = ProblemCode::ObjectUnknown.as_str();

/// How long until an event that waits for a bee with a key is offered to the colony again.
const BEES_AGAIN: Duration = Duration::from_secs(30);

/// Why an event is looked at. By default, because it arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// The time at which a person released it from quarantine. No rule holds it again, and the user that it names is the
    /// operator's own word of this moment.
    pub released_at: Option<Timestamp>,
    /// Whether a person wants it applied again, even if it was applied before.
    pub replayed: bool,
}

impl Occasion {
    /// Whether it is looked at for the first time. Only then is it counted.
    fn is_arrival(self) -> bool {
        self == Self::default()
    }
}

/// Other processes that may ask Stripe for the object of an event, if this one has no key for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherKeys {
    /// There are none: an object that cannot be asked for here stays unknown.
    #[default]
    None,
    /// The bees of a colony may have one.
    Bees,
}

/// Why an event without its object has no verdict yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Stripe was asked, but gave no answer.
    ByStripe,
    /// This process has no key, but bees may have one.
    WithoutKey,
}

/// Turns events into verdicts.
#[derive(Debug)]
pub struct Validator {
    settings: Settings,
    guardian: Arc<Guardian>,
    clock: Clock,
    lookup: Option<Lookup>,
}

/// The result of looking at an event.
#[derive(Clone, Debug)]
pub enum Look {
    Decided(Verdict),
    /// The event lacks its object, and Stripe's answer is not known yet. That says nothing about the event.
    Unanswered {
        event: EventFacts,
        why: Unanswered,
        /// The wait after which asking again makes sense.
        after: Duration,
    },
}

impl Look {
    /// The verdict. For an event that waits for Stripe, the verdict that it would get without waiting.
    fn verdict(self) -> Verdict {
        match self {
            Self::Decided(verdict) => verdict,
            Self::Unanswered { event, .. } => Verdict::Quarantine {
                event,
                rule: OBJECT_UNKNOWN.to_owned(),
                reason: "Stripe gave no answer about the object of the event".to_owned(),
                decisions: Vec::new(),
            },
        }
    }
}

/// An event that will get a verdict.
enum Candidate {
    /// It has its verdict.
    Decided(Verdict),
    /// The rules let it pass, and Stripe may be asked.
    Passed(Passed),
}

/// An event that passed, or one whose facts alone are written.
struct Passed {
    event: Event,
    body: Bytes,
    occasion: Occasion,
    decisions: Vec<Decision>,
    /// The rule that holds it.
    suspicion: Option<Decision>,
}

impl Validator {
    /// Applies payloads as they are, without asking Stripe.
    pub fn new(settings: Settings, guardian: Arc<Guardian>, clock: Clock) -> Self {
        Self { settings, guardian, clock, lookup: None }
    }

    /// Asks Stripe for what events leave open: the subscription that they name, which is then written as it is now and not
    /// as it was when the event was made; the invoice that a payment paid; the object of a thin event.
    #[must_use]
    pub fn with_stripe(mut self, api: Arc<StripeApi>) -> Self {
        self.lookup = Some(Lookup::new(api, self.clock.clone()));
        self
    }

    /// Whether this process asks Stripe.
    pub fn asks_stripe(&self) -> bool {
        self.lookup.is_some()
    }

    /// How many questions Stripe was asked and answered since the start; zeros without a key.
    pub fn lookup_counts(&self) -> LookupCounts {
        self.lookup.as_ref().map(Lookup::counts).unwrap_or_default()
    }

    /// The Guardian, for its counts and to change its rules.
    pub fn guardian(&self) -> &Arc<Guardian> {
        &self.guardian
    }

    /// The verdicts about events, in the same order.
    pub async fn validate(&self, events: &[Bytes]) -> Vec<Verdict> {
        self.run(events.iter().map(|body| (body, Occasion::default()))).await
    }

    /// The verdicts about events that a person released from quarantine. No rule holds them again, they are not counted
    /// again, and the users that they name are the operator's word. A body that is not an event at all is still rejected.
    pub async fn release(&self, events: &[Bytes]) -> Vec<Verdict> {
        let occasion = Occasion { released_at: Some(self.clock.now()), replayed: false };
        self.run(events.iter().map(|body| (body, occasion))).await
    }

    /// The verdicts about events, each looked at for its own reason.
    pub async fn decide(&self, events: &[(Bytes, Occasion)]) -> Vec<Verdict> {
        self.run(events.iter().map(|(body, occasion)| (body, *occasion))).await
    }

    /// As [`Self::decide`], for callers that can wait: an event about which Stripe has still to be asked has no verdict.
    pub async fn look(&self, events: &[(Bytes, Occasion)], others: OtherKeys) -> Vec<Look> {
        self.look_at(events.iter().map(|(body, occasion)| (body, *occasion)), others).await
    }

    async fn run(&self, events: impl Iterator<Item = (&Bytes, Occasion)>) -> Vec<Verdict> {
        self.look_at(events, OtherKeys::None).await.into_iter().map(Look::verdict).collect()
    }

    async fn look_at(&self, events: impl Iterator<Item = (&Bytes, Occasion)>, others: OtherKeys) -> Vec<Look> {
        let candidates: Vec<Candidate> = events.map(|(body, occasion)| self.admit(body, occasion)).collect();
        let answers = self.look_up(&candidates).await;
        let verdicts = candidates.into_iter().map(|candidate| match candidate {
            Candidate::Decided(verdict) => Look::Decided(verdict),
            Candidate::Passed(passed) => self.conclude(passed, &answers, others),
        });
        verdicts.collect()
    }

    /// Parses an event and lets the Guardian look at it.
    fn admit(&self, body: &Bytes, occasion: Occasion) -> Candidate {
        let event = match Event::parse(body) {
            Ok(event) => event,
            Err(error) => {
                return Candidate::Decided(Verdict::Reject { code: error.code(), reason: error.to_string() });
            }
        };
        let Some(mut review) = self.inspect(&event, body.len()) else {
            let passed = Passed { event, body: body.clone(), occasion, decisions: Vec::new(), suspicion: None };
            return Candidate::Decided(self.hold_back(passed, failed()));
        };
        if occasion.is_arrival() {
            self.guardian.note(&event, &review.decisions, self.clock.now());
        }
        if occasion.released_at.is_some() {
            for decision in &mut review.decisions {
                decision.action = decision.action.min(Action::Flag);
            }
        }
        if let Some(decision) = review.foreign().cloned() {
            if occasion.is_arrival() {
                self.guardian.count(&event, Some(&decision), &[]);
            }
            return Candidate::Decided(quarantine(&event, body, decision, review.decisions));
        }
        let suspicion = review.blocking().cloned();
        Candidate::Passed(Passed { event, body: body.clone(), occasion, decisions: review.decisions, suspicion })
    }

    /// The decisions of the rules about an event; `None` if a rule panicked.
    fn inspect(&self, event: &Event, body_bytes: usize) -> Option<Review> {
        let Settings { tiers, user_fields, .. } = &self.settings;
        let surroundings = Surroundings { body_bytes, tiers, user_fields, now: self.clock.now() };
        catch_unwind(AssertUnwindSafe(|| self.guardian.inspect(event, surroundings))).ok()
    }

    /// Objects that were fetched for an event are inspected as if an event were about them: an answer of Stripe vouches for
    /// nothing that a rule holds.
    fn inspect_answers(&self, passed: &mut Passed, related: Option<&Fetched>, answers: &Answers) {
        if passed.occasion.released_at.is_some() || passed.suspicion.is_some() {
            return;
        }
        let subscription = answers.subscription(&passed.event, related).map(|fetched| (Family::Subscription, fetched));
        let related = related.map(|fetched| (passed.event.family, fetched));
        for (family, fetched) in [related, subscription].into_iter().flatten() {
            let event = fetched::as_event(&passed.event, family, fetched);
            let Some(review) = self.inspect(&event, 0) else { continue };
            if let Some(decision) = review.blocking() {
                passed.decisions.retain(|known| known.rule != decision.rule);
                passed.decisions.push(decision.clone());
                passed.suspicion = Some(decision.clone());
                return;
            }
        }
    }

    /// Asks Stripe for everything that the events need, each object once.
    async fn look_up(&self, candidates: &[Candidate]) -> Answers {
        let Some(lookup) = &self.lookup else { return Answers::default() };
        let passed = candidates.iter().filter_map(|candidate| match candidate {
            Candidate::Passed(passed) => Some(&passed.event),
            Candidate::Decided(_) => None,
        });
        lookup.ask_for(passed).await
    }

    /// Projects an event that was let pass.
    fn conclude(&self, passed: Passed, answers: &Answers, others: OtherKeys) -> Look {
        let related = answers.related(&passed.event);
        let mut passed = match answers.failure(&passed.event) {
            Some(about) => Passed { event: passed.event.about(about.clone()), ..passed },
            None => passed,
        };
        self.inspect_answers(&mut passed, related, answers);
        let (event, Occasion { released_at, replayed }) = (&passed.event, passed.occasion);
        let needs_object = event.family != Family::Other || event.is_unresolved_failure();
        if needs_object && event.thin && related.is_none() {
            let reason = match answers.about_object(event) {
                AboutObject::Open { after } => {
                    let event = project::facts(event, &passed.body);
                    return Look::Unanswered { event, why: Unanswered::ByStripe, after };
                }
                // An event that a person asks for again is looked at only here, so it must get a verdict.
                AboutObject::NotAsked if others == OtherKeys::Bees && passed.occasion.is_arrival() => {
                    let event = project::facts(event, &passed.body);
                    return Look::Unanswered { event, why: Unanswered::WithoutKey, after: BEES_AGAIN };
                }
                AboutObject::No(no) => format!("the event does not hold its object, and {no}"),
                AboutObject::NotAsked => {
                    "the event does not hold its object, and no key may be asked for it: configure \
                                          one of the event's mode that may read it, and replay the event"
                        .to_owned()
                }
            };
            return Look::Decided(self.hold_back(passed, hold(OBJECT_UNKNOWN, Severity::Warning, &reason)));
        }
        let completed = answers.completed(event);
        let whole = completed.as_ref().unwrap_or(event);
        let context = Context {
            settings: &self.settings,
            related,
            subscription: answers.subscription(event, related),
            given: answers.given(event, related),
            released_at,
            is_suspect: passed.suspicion.is_some(),
        };
        let projected = catch_unwind(AssertUnwindSafe(|| {
            let facts = project::facts(event, &passed.body);
            if event.family == Family::Other {
                let decisions = passed.decisions.clone();
                return match passed.suspicion.clone() {
                    // Only the event itself would be written.
                    Some(Decision { rule, reason, .. }) => {
                        Verdict::Quarantine { event: facts, rule, reason, decisions }
                    }
                    None => Verdict::Ignore { event: facts, decisions, reopen: released_at.is_some() || replayed },
                };
            }
            let mut plan = project::project(whole, facts, context);
            checks::check(whole, context, &mut plan);
            plan.decisions.clone_from(&passed.decisions);
            plan.replayed = replayed;
            plan.suspicion = passed.suspicion.clone().map(|Decision { rule, reason, .. }| Suspicion { rule, reason });
            Verdict::Apply(Box::new(plan))
        }));
        let Ok(verdict) = projected else { return Look::Decided(self.hold_back(passed, failed())) };
        if passed.occasion.is_arrival() {
            self.guardian.count(event, passed.suspicion.as_ref(), &passed.decisions);
        }
        Look::Decided(verdict)
    }

    /// Quarantines an event for something found after the Guardian had let it pass.
    fn hold_back(&self, passed: Passed, decision: Decision) -> Verdict {
        if passed.occasion.is_arrival() {
            self.guardian.count(&passed.event, Some(&decision), &[]);
        }
        let mut decisions = passed.decisions;
        decisions.push(decision.clone());
        quarantine(&passed.event, &passed.body, decision, decisions)
    }
}

fn quarantine(event: &Event, body: &[u8], decision: Decision, decisions: Vec<Decision>) -> Verdict {
    let Decision { rule, reason, .. } = decision;
    Verdict::Quarantine { event: project::facts(event, body), rule, reason, decisions }
}

fn failed() -> Decision {
    hold(PROJECTION_FAILED, Severity::Critical, "the event could not be projected; this is a fault of the gateway")
}

fn hold(rule: &str, severity: Severity, reason: &str) -> Decision {
    Decision { rule: rule.to_owned(), severity, action: Action::Quarantine, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
