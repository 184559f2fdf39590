//! What the events of a batch leave open and Stripe can tell: each thing is asked once for the whole batch.
//!
//! Asking has a bound in time for the batch as a whole. What is not answered by then is open: the events' own objects are
//! taken, and an event without one waits. Only Stripe's own "no" is an answer, too. Objects of thin events are asked for first,
//! and of a large batch as many as the time allows. An answer is younger than every event of the batch, because all of them were there before
//! it was asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::domain::clock::Clock;
use crate::stripe::api::{self, ApiDisposition, ApiError, Fetched, Rest, Scope, StripeApi};
use crate::stripe::event::{Event, Family, Related};
use crate::stripe::invoice::Invoice;
use crate::stripe::object::Object;
use crate::stripe::payment::{PaidInvoice, PaymentIds, paid_invoice, succeeded};

/// Longest time spent asking for one batch: half of the time in which an event should be done.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_millis(2500);

/// The earliest time after which an event that waits for an answer is looked at again.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(1);

/// The latest, whatever Stripe or the breaker says, so that a short outage does not cost a long wait.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(30);

/// Most questions under way at once.
pub const LOOKUPS_IN_FLIGHT_MAX: usize = 8;

/// Asks Stripe on behalf of batches.
#[derive(Debug)]
pub(super) struct Lookup {
    api: Arc<StripeApi>,
    clock: Clock,
    asked: AtomicU64,
    answered: AtomicU64,
}

/// How many questions were asked and answered since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupCounts {
    /// Questions that batches had.
    pub asked: u64,
    /// Questions that Stripe answered in time, including "there is none".
    pub answered: u64,
}

/// A question to Stripe, in the order of asking. A thin event cannot be applied without its object; other events can be
/// applied without an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Related(Scope, Related),
    /// The object of an event that Stripe could not make, by the id of the thin event that reports it.
    Failure(Scope, String),
    Subscription(Scope, String),
    /// How much a payment intent gave to which invoices.
    GivenBy(Scope, String),
    Rest(Scope, Rest),
}

#[derive(Debug)]
enum Answer {
    Object(Fetched),
    /// The subject of the lost event, with the object if it is one that is mapped.
    Failure(Related, Option<Fetched>),
    Given(Vec<Fetched>),
    Rest(Vec<Value>),
}

/// The answers of Stripe.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: BTreeMap<Question, Answer>,
    /// Questions that Stripe refused, with its words.
    refused: BTreeMap<Question, String>,
    /// Questions without an answer.
    open: BTreeSet<Question>,
    /// The wait after which asking again makes sense.
    again_after: Duration,
}

/// What is known of an object that its event does not include.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AboutObject<'a> {
    /// No key may be asked with.
    NotAsked,
    /// Stripe gave no answer.
    Open { after: Duration },
    /// Stripe refused, in these words.
    No(&'a str),
}

impl Answers {
    /// The object of a thin event.
    pub(super) fn related(&self, event: &Event) -> Option<&Fetched> {
        self.object(&related(event)?)
    }

    /// What is known of an object that [`Self::related`] does not have.
    pub(super) fn about_object(&self, event: &Event) -> AboutObject<'_> {
        let Some(question) = related(event) else { return AboutObject::NotAsked };
        match self.refused.get(&question) {
            Some(no) => AboutObject::No(no),
            None if self.open.contains(&question) => AboutObject::Open { after: self.again_after },
            None => AboutObject::NotAsked,
        }
    }

    /// The subscription that an event names. `related` is the object of a thin event.
    pub(super) fn subscription(&self, event: &Event, related: Option<&Fetched>) -> Option<&Fetched> {
        self.object(&subscription(scope(event), event.family, content(event, related))?)
    }

    /// How much the event's payment gave to which invoices; also empty if Stripe was not asked or did not say. `related` is
    /// the object of a thin event.
    pub(super) fn given(&self, event: &Event, related: Option<&Fetched>) -> &[Fetched] {
        match payment(scope(event), event.family, content(event, related))
            .and_then(|question| self.given.get(&question))
        {
            Some(Answer::Given(given)) => given,
            Some(Answer::Object(_) | Answer::Rest(_) | Answer::Failure(..)) | None => &[],
        }
    }

    /// The subject of the event that Stripe could not make and reports with this one.
    pub(super) fn failure(&self, event: &Event) -> Option<&Related> {
        match self.given.get(&related(event)?)? {
            Answer::Failure(related, _) => Some(related),
            Answer::Object(_) | Answer::Given(_) | Answer::Rest(_) => None,
        }
    }

    /// The event with complete lists in its object, if Stripe gave the missing parts.
    pub(super) fn completed(&self, event: &Event) -> Option<Event> {
        let mut completed = None;
        for question in lists(event) {
            if let (Some(Answer::Rest(more)), Question::Rest(_, rest)) = (self.given.get(&question), &question) {
                let event = completed.get_or_insert_with(|| event.clone());
                if let Some(object) = event.value.pointer_mut("/data/object") {
                    api::complete(object, rest, more.clone());
                }
            }
        }
        completed
    }

    fn object(&self, question: &Question) -> Option<&Fetched> {
        match self.given.get(question)? {
            Answer::Object(fetched) => Some(fetched),
            Answer::Failure(_, fetched) => fetched.as_ref(),
            Answer::Given(_) | Answer::Rest(_) => None,
        }
    }
}

fn scope(event: &Event) -> Scope {
    Scope { account: event.account.clone(), context: event.context.clone() }
}

fn related(event: &Event) -> Option<Question> {
    if event.is_unresolved_failure() {
        return Some(Question::Failure(scope(event), event.id.as_str().to_owned()));
    }
    let related = event.related.as_ref().filter(|_| event.family != Family::Other)?;
    Some(Question::Related(scope(event), related.clone()))
}

/// The object of an event: its own, or that of a thin event.
fn content<'a>(event: &'a Event, related: Option<&'a Fetched>) -> Object<'a> {
    related.map_or(event.object(), |fetched| Object::new(&fetched.object))
}

/// A subscription that has ended no longer changes, so asking for it is pointless.
fn subscription(scope: Scope, family: Family, object: Object<'_>) -> Option<Question> {
    let id = match family {
        Family::Subscription => {
            let over = matches!(object.at("status").word(), Some("canceled" | "incomplete_expired"));
            if over { None } else { object.at("id").id() }
        }
        Family::Session => object.at("subscription").id(),
        Family::Invoice => Invoice(object).subscription_id(),
        Family::Customer
        | Family::InvoicePayment
        | Family::Charge
        | Family::Refund
        | Family::Dispute
        | Family::PaymentIntent
        | Family::Other => None,
    };
    id.map(|id| Question::Subscription(scope, id.to_owned()))
}

/// Whether Stripe would be asked for the rest of a list of the event's object.
pub(super) fn lists_a_part(event: &Event) -> bool {
    !lists(event).is_empty()
}

/// The missing parts of the lists of an invoice or a charge. A subscription is fetched as a whole.
fn lists(event: &Event) -> Vec<Question> {
    let lists = match event.family {
        Family::Invoice | Family::Charge => api::missing(event.object()),
        _ => Vec::new(),
    };
    lists.into_iter().map(|rest| Question::Rest(scope(event), rest)).collect()
}

/// When money came in, it matters which invoices the payment paid; this asks if the payment does not say.
fn payment(scope: Scope, family: Family, payment: Object<'_>) -> Option<Question> {
    let ids = match family {
        Family::Charge => PaymentIds::of_charge(payment),
        Family::PaymentIntent => PaymentIds::of_intent(payment),
        _ => return None,
    };
    let came = succeeded(payment.at("status").word());
    let open = came && matches!(paid_invoice(payment), PaidInvoice::Unknown | PaidInvoice::Hinted(_));
    ids.intent.filter(|_| open).map(|id| Question::GivenBy(scope, id.to_owned()))
}

/// What the answer to a question leaves open: the object of a thin event may be a payment, or name a subscription.
fn following(question: &Question, answer: &Answer) -> Option<Question> {
    let (scope, related, fetched) = match (question, answer) {
        (Question::Related(scope, related), Answer::Object(fetched)) => (scope.clone(), related, fetched),
        (Question::Failure(scope, _), Answer::Failure(related, Some(fetched))) => (scope.of(related), related, fetched),
        _ => return None,
    };
    let (family, object) = (Family::of_object(&related.kind), Object::new(&fetched.object));
    match family {
        // It was fetched as a whole.
        Family::Subscription => None,
        Family::Charge | Family::PaymentIntent => payment(scope, family, object),
        _ => subscription(scope, family, object),
    }
}

impl Lookup {
    pub(super) fn new(api: Arc<StripeApi>, clock: Clock) -> Self {
        Self { api, clock, asked: AtomicU64::new(0), answered: AtomicU64::new(0) }
    }

    pub(super) fn counts(&self) -> LookupCounts {
        LookupCounts { asked: self.asked.load(Ordering::Relaxed), answered: self.answered.load(Ordering::Relaxed) }
    }

    /// Asks Stripe for everything that the events leave open.
    pub(super) async fn ask_for<'a>(&self, events: impl Iterator<Item = &'a Event>) -> Answers {
        let questions: BTreeSet<Question> = events.flat_map(|event| self.questions(event)).collect();
        if questions.is_empty() {
            return Answers::default();
        }
        let (answers, last_error) = self.ask(questions).await;
        let asked = answers.given.len() + answers.refused.len() + answers.open.len();
        self.asked.fetch_add(asked as u64, Ordering::Relaxed);
        self.answered.fetch_add(answers.given.len() as u64, Ordering::Relaxed);
        if answers.given.len() < asked {
            let cause = last_error.as_ref().map_or("no_time", ApiError::code);
            let (answered, error) = (answers.given.len(), last_error.as_ref().map(tracing::field::display));
            tracing::warn!(
                asked,
                answered,
                cause,
                error,
                "Stripe did not answer all questions; payloads are applied as they are, and events without one wait"
            );
        }
        answers
    }

    /// The questions that an event leaves open and that this key may ask.
    fn questions(&self, event: &Event) -> impl Iterator<Item = Question> + use<> {
        let foreign = matches!((event.livemode, self.api.livemode()), (Some(event), Some(key)) if event != key);
        let named = || {
            let (family, object) = (event.family, event.object());
            [related(event), subscription(scope(event), family, object), payment(scope(event), family, object)]
        };
        let questions = if foreign { [None, None, None] } else { named() };
        let lists = if foreign { Vec::new() } else { lists(event) };
        questions.into_iter().flatten().chain(lists)
    }

    async fn ask(&self, questions: BTreeSet<Question>) -> (Answers, Option<ApiError>) {
        let begin = self.clock.instant();
        let left = || LOOKUP_TIME_MAX.saturating_sub(self.clock.instant().saturating_duration_since(begin));
        let mut answers = Answers { open: questions.clone(), again_after: ASK_AGAIN_MIN, ..Answers::default() };
        let mut last_error = None;
        let mut waiting: VecDeque<Question> = questions.into_iter().collect();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < LOOKUPS_IN_FLIGHT_MAX && !left().is_zero() {
                let Some(question) = waiting.pop_front() else { break };
                let (api, within) = (Arc::clone(&self.api), left());
                under_way.spawn(async move { (answer(&api, &question, within).await, question) });
            }
            match under_way.join_next().await {
                Some(Ok((Ok(answer), question))) => {
                    answers.open.remove(&question);
                    if let Some(next) = following(&question, &answer)
                        && !answers.refused.contains_key(&next)
                        && !answers.given.contains_key(&next)
                        && answers.open.insert(next.clone())
                    {
                        waiting.push_back(next);
                    }
                    answers.given.insert(question, answer);
                }
                Some(Ok((Err(error), question))) => {
                    if error.is_verdict() {
                        answers.open.remove(&question);
                        answers.refused.insert(question, error.to_string());
                    } else if let ApiDisposition::Retry { after } = error.disposition() {
                        answers.again_after = answers.again_after.max(after.min(ASK_AGAIN_MAX));
                    }
                    last_error = Some(error);
                }
                // A question whose task panicked counts as not answered.
                Some(Err(_)) => {}
                None => return (answers, last_error),
            }
        }
    }
}

async fn answer(api: &StripeApi, question: &Question, within: Duration) -> Result<Answer, ApiError> {
    match question {
        Question::Subscription(scope, id) => api.subscription(id, scope, within).await.map(Answer::Object),
        Question::GivenBy(scope, id) => api.given_by(id, scope, within).await.map(Answer::Given),
        Question::Rest(scope, rest) => api.rest(rest, scope, within).await.map(Answer::Rest),
        Question::Failure(scope, id) => {
            let (related, fetched) = api.generation_failure(id, scope, within).await?;
            Ok(Answer::Failure(related, fetched))
        }
        Question::Related(scope, related) => api.related(related, scope, within).await.map(Answer::Object),
    }
}
